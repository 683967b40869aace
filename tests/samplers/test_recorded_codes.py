"""Codes of tree coders, recorded before their loops were made faster: no index may ever change.

Searches for normal targets of 4, 8 and 12 bits fill few slots of a queue. Those for a target of
many narrow modes fill all of it, and some of them end with QUEUE_FULL.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax

RECORDED = Path(__file__).with_name("recorded_codes.npz")
CODERS = {
    "as": recjax.AStarCoder(),
    "ad": recjax.AStarCoder(split="dyadic"),
    "ad-shallow": recjax.AStarCoder(split="dyadic", max_depth=9, max_steps=12),
    "grcs": recjax.GreedyRejectionCoder(),
    "grcd": recjax.GreedyRejectionCoder(split="dyadic"),
    "gprs": recjax.BranchAndBoundGPRS(),
    "gprs-dyadic": recjax.BranchAndBoundGPRS(split="dyadic"),
}
FRONTIERS = ("as", "ad", "ad-shallow", "gprs-dyadic")
FIELDS = ("index", "steps", "status")


def normals():
    kl = np.tile([4.0, 8.0, 12.0], 64)
    scale = 2.0**-kl
    signs = np.where(np.arange(kl.size) % 2, -1, 1)
    loc = np.sqrt(1 - scale * scale) * signs
    targets = recjax.Normal(loc.astype(np.float32), scale.astype(np.float32))
    return jax.random.split(jax.random.key(20), kl.size), targets, recjax.Normal(0.0, 1.0)


def modes():
    low = np.arange(100, dtype=np.float32) / 100
    weights = np.linspace(0.9, 1.1, 100, dtype=np.float32)
    target = recjax.UniformMixture(low, low + np.float32(2e-4), weights)
    targets = jax.tree.map(lambda x: jnp.broadcast_to(x, (64, *x.shape)), target)
    return jax.random.split(jax.random.key(21), 64), targets, recjax.Uniform(0.0, 1.0)


CASES = [(name, normals) for name in CODERS] + [(name, modes) for name in FRONTIERS]
QUICK = ("ad", modes)
each_case = pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(*case, marks=() if case == QUICK else pytest.mark.slow) for case in CASES],
)


def recorded(name, case, field):
    with np.load(RECORDED) as file:
        return file[f"{name}/{case.__name__}/{field}"]


@each_case
def test_batches_have_the_recorded_codes(name, case):
    found = CODERS[name].encode_batch(*case())
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), recorded(name, case, field))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), [("ad", modes), ("ad", normals), ("grcs", normals)])
def test_single_searches_have_the_recorded_codes(name, case):
    found = jax.vmap(CODERS[name].encode, (0, 0, None))(*case())
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), recorded(name, case, field))


def test_records_reach_the_ends_of_the_queue():
    status = recorded(*QUICK, "status")
    assert (status == recjax.Status.QUEUE_FULL).any() and (status == recjax.Status.DONE).any()


def record(path=RECORDED):
    """Writes the file anew: only for a coder that is new."""
    codes = {(name, case.__name__): CODERS[name].encode_batch(*case()) for name, case in CASES}
    np.savez_compressed(
        path,
        **{
            f"{name}/{case}/{field}": np.asarray(getattr(code, field))
            for (name, case), code in codes.items()
            for field in FIELDS
        },
    )
