"""Implicit neural representations of signals: fit, and code block after block."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recjax.bits.range_coder import encode_indices
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.coded import Coded
from recjax.codec.effort import Effort
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import Batch, make_batch, render
from recjax.codec.siren.fit import FitState, advance, initial_fit
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.prior import InrPrior
from recjax.codec.siren.refine import code_blocks
from recjax.codec.siren.targets import Targets, make_targets
from recjax.modalities import Signal
from recjax.modalities.image.pixels import n_patches, to_patches

STEPS_A_DISPATCH = 100
BLOCKS_A_DISPATCH = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """Signals about to be coded with one prior.

    Attributes:
      prior: that they are coded with.
      counts: rows and columns of patches of each.
      batch: their rows.
      patches: ``uint8[rows, h, w, 3]``, padding included.
      targets: what a fit aims at.
    """

    prior: InrPrior
    counts: list[tuple[int, int]]
    batch: Batch
    patches: np.ndarray
    targets: Targets


def make_job(signals: Sequence[Signal], prior: InrPrior) -> Job:
    """The patches of all signals as the rows of one batch."""
    shape = prior.patch_shape
    cut = [to_patches(signal.values, shape) for signal in signals]
    counts = [n_patches(signal.values.shape, shape) for signal in signals]
    batch = make_batch(prior, counts)
    padding = [(0, len(batch.blocks[-1].slots) - batch.rows[-1])]
    patches = np.pad(np.concatenate([patches for patches, _ in cut]), padding + [(0, 0)] * 3)
    weights = np.pad(np.concatenate([weights for _, weights in cut]), padding + [(0, 0)] * 2)
    return Job(
        prior, counts, batch, patches, make_targets(patches, weights, split=prior.config.split)
    )


def fit(
    job: Job,
    state: FitState,
    effort: Effort,
    key: jax.Array,
    progress: Callable[[float], None] | None = None,
) -> FitState:
    """Posteriors of all patches of all signals, before blocks are coded."""
    prior = job.prior
    pieces = -(-effort.fit_steps // STEPS_A_DISPATCH)
    rates = effort.lr * (effort.lr_refine / effort.lr) ** np.linspace(
        0, 1, pieces + 1, dtype=np.float32
    )
    for i in range(pieces):
        span = (jnp.float32(rates[i]), jnp.float32(rates[i + 1]))
        state, error = advance(
            prior.network, state, job.batch.arrangement, job.targets, key, span,
            steps=effort.fit_steps // pieces, budget=float(prior.budget),
        )  # fmt: skip
        if progress:
            error.block_until_ready()
            progress((i + 1) * (effort.fit_steps // pieces) / _total_steps(prior, effort))
    return state


def code_signals(
    signals: Sequence[Signal],
    prior: InrPrior,
    effort: Effort,
    key: jax.Array,
    coder: Any,
    progress: Callable[[float], None] | None = None,
) -> tuple[Batch, tuple[jax.Array, ...], list[np.ndarray], list[np.ndarray]]:
    """Fits and codes group after group, block after block.

    Args:
      coder: see :func:`code_blocks`.

    Returns:
      The batch; for every group the coded latents of its rows, padding included; and for every group, row and
      block the index (-1 if the fit diverged) and the KL in bits.
    """
    job = make_job(signals, prior)
    batch, targets, total = job.batch, job.targets, sum(group.n_blocks for group in prior.groups)
    table = coder.table(stream_key(prior), batch.arrangement.layouts[0].blocks.shape[1])
    indices = [
        jnp.zeros((own.n_blocks, len(b.slots)), jnp.int32)
        for own, b in zip(prior.groups, batch.blocks, strict=True)
    ]
    kl_bits = [jnp.zeros(index.shape, jnp.float32) for index in indices]

    def code(state, g, start, stop, rates, steps):
        state, indices[g], kl_bits[g] = code_blocks(
            prior.network, state, batch.arrangement, targets, key, rates, table, stream_key(prior), batch.blocks[g],
            (jnp.int32(start), jnp.int32(stop)), indices[g], kl_bits[g], coder=coder, group=g, steps=steps,
        )  # fmt: skip
        return state

    state = initial_fit(batch.arrangement, prior_start(prior), prior.beta)
    state = fit(job, state, effort, key, progress)
    steps, before = _refine_steps(prior, effort), 0
    for g, group in enumerate(prior.groups):
        rates = (
            effort.lr_refine
            + (effort.lr_end - effort.lr_refine)
            * np.array([before, before + group.n_blocks])
            / total
        )
        span = (jnp.float32(rates[0]), jnp.float32(rates[1]))
        for start in range(0, group.n_blocks, BLOCKS_A_DISPATCH):
            stop = min(start + BLOCKS_A_DISPATCH, group.n_blocks)
            state = code(state, g, start, stop, span, steps[g])
            if progress:
                indices[g].block_until_ready()
                done = (
                    sum(n * own.n_blocks for n, own in zip(steps[:g], prior.groups, strict=False))
                    + stop * steps[g]
                )
                progress((effort.fit_steps + done) / _total_steps(prior, effort))
        before += group.n_blocks
    indices, kl_bits = (
        [np.asarray(x).T[:rows] for x, rows in zip(arrays, batch.rows, strict=True)]
        for arrays in (indices, kl_bits)
    )
    return batch, tuple(posterior.mean for posterior in state.posteriors), indices, kl_bits


def _refine_steps(prior, effort):
    """Steps after each block of every group: the few bits above the patches get half the patches' steps at most."""
    share = prior.n_blocks * effort.refine_steps
    upper = [
        min(effort.refine_steps, -(-share // max(2 * group.n_blocks, 1)))
        for group in prior.groups[:-1]
    ]
    return [*upper, effort.refine_steps]


def _total_steps(prior, effort):
    steps = _refine_steps(prior, effort)
    return effort.fit_steps + sum(
        n * group.n_blocks for n, group in zip(steps, prior.groups, strict=True)
    )


def prior_start(prior: InrPrior) -> list[Posterior]:
    """One row for all of every group: the prior's mean, and the average width seen in training."""
    return [
        Posterior(
            mean=jnp.zeros((1, group.n_latents), jnp.float32),
            log_std=jnp.asarray(group.log_std)[None],
        )
        for group in prior.groups
    ]


def encode_inr(
    signals: Sequence[Signal],
    prior: InrPrior,
    effort: Effort,
    key: jax.Array,
    progress: Callable[[float], None] | None,
) -> list[Coded]:
    """The streams of all signals, which are coded together."""
    coder = TrellisCoder(
        budget=prior.budget, extra_bits=effort.extra_bits, lookahead=effort.lookahead
    )
    batch, z, indices, kl_bits = code_signals(signals, prior, effort, key, coder, progress)
    if any((index < 0).any() for index in indices):
        raise ValueError("a posterior is not finite: the fit diverged")
    wanted = [(signal.values.shape, bool(signal.meta.get("gray"))) for signal in signals]
    decoded = render(prior, batch, z, wanted)
    return [
        _coded(image, prior, _flat(index), _flat(kl))
        for image, index, kl in zip(
            decoded, batch.split(indices), batch.split(kl_bits), strict=True
        )
    ]


def _flat(groups):
    """The arrays of all groups of a signal, row after row."""
    return np.concatenate([part.reshape(-1) for part in groups])


def _coded(decoded, prior, indices, kl_bits):
    sizes = np.full(len(indices), prior.budget)
    exponent = best_exponent(indices, sizes)
    return Coded(
        payload=encode_indices(indices, sizes, exponent),
        exponent=exponent,
        stream_bits=float(codelength_bits(indices, sizes, exponent).sum()),
        kl_bits=float(kl_bits.sum()),
        decoded=decoded,
    )
