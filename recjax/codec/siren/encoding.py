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
from recjax.codec.kinds import Payload
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import Batch, make_batch
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.fit import FitState, advance, initial_fit
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.siren.refine import code_blocks
from recjax.codec.siren.targets import Targets, make_targets
from recjax.modalities import Grid
from recjax.modalities.grid import cut, filled_up, n_patches, weights_of

STEPS_A_DISPATCH = 100
BLOCKS_A_DISPATCH = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """Signals about to be coded with one prior.

    Attributes:
      prior: that they are coded with.
      counts: patches of each along every axis.
      batch: their rows.
      patches: values, ``float32[rows, *patch, channels]``, padding included.
      targets: what a fit aims at.
    """

    prior: SirenPrior
    counts: list[tuple[int, ...]]
    batch: Batch
    patches: np.ndarray
    targets: Targets


def make_job(grids: Sequence[Grid], prior: SirenPrior) -> Job:
    """The patches of all signals as the rows of one batch."""
    patch = prior.patch
    counts = [n_patches(grid.sides, patch) for grid in grids]
    batch = make_batch(prior, counts)
    patches = np.concatenate([cut(filled_up(grid.values, patch), patch) for grid in grids])
    weights = np.concatenate([cut(weights_of(grid, patch), patch) for grid in grids])
    # rows are filled up to a size that is compiled already; those without a signal weigh nothing
    padding = [(0, len(batch.blocks[-1].slots) - batch.rows[-1])]
    patches = np.pad(patches, padding + [(0, 0)] * (patches.ndim - 1))
    weights = np.pad(weights, padding + [(0, 0)] * (weights.ndim - 1))
    return Job(
        prior, counts, batch, patches, make_targets(patches, weights, split=prior.config.split)
    )


def fit(
    job: Job,
    state: FitState,
    effort: SirenEffort,
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
    grids: Sequence[Grid],
    prior: SirenPrior,
    effort: SirenEffort,
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
    job = make_job(grids, prior)
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


def prior_start(prior: SirenPrior) -> list[Posterior]:
    """One row for all of every group: the prior's mean, and the average width seen in training."""
    return [
        Posterior(
            mean=jnp.zeros((1, group.n_latents), jnp.float32),
            log_std=jnp.asarray(group.log_std)[None],
        )
        for group in prior.groups
    ]


def encode(
    grids: Sequence[Grid],
    prior: SirenPrior,
    effort: SirenEffort,
    key: jax.Array,
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """The streams of all signals, which are coded together.

    Raises:
      ValueError: a fit diverged.
    """
    coder = TrellisCoder(
        budget=prior.budget, extra_bits=effort.extra_bits, lookahead=effort.lookahead
    )
    batch, z, indices, kl_bits = code_signals(grids, prior, effort, key, coder, progress)
    if any((index < 0).any() for index in indices):
        raise ValueError("a posterior is not finite: the fit diverged")
    latents = [np.asarray(part)[:rows] for part, rows in zip(z, batch.rows, strict=True)]
    parts = zip(batch.split(indices), batch.split(kl_bits), batch.split(latents), strict=True)
    return [_payload(prior, *part) for part in parts]


def _flat(groups):
    """The arrays of all groups of a signal, row after row."""
    return np.concatenate([part.reshape(-1) for part in groups])


def _payload(prior, indices, kl_bits, latents):
    flat, kinds = _flat(indices), [group.kind for group in prior.groups]
    sizes = np.full(len(flat), prior.budget)
    exponent = best_exponent(flat, sizes)
    return Payload(
        stream=encode_indices(flat, sizes, exponent),
        exponent=exponent,
        stream_bits=float(codelength_bits(flat, sizes, exponent).sum()),
        kl_bits={kind: float(kl.sum()) for kind, kl in zip(kinds, kl_bits, strict=True)},
        latents=dict(zip(kinds, latents, strict=True)),
    )
