"""Encoding: fits posteriors of signals, codes block after block, and writes the index streams."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from recjax.bits.range_coder import encode_indices
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.payload import Payload
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import Batch, make_batch
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.fit import FitState, Job, advance, initial_fit
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.siren.refine import Candidates, code_blocks, initial_coding
from recjax.codec.siren.targets import make_targets
from recjax.modalities import Grid
from recjax.modalities.grid import cut, filled_up, n_patches, weights_of

STEPS_PER_DISPATCH = 100
BLOCKS_PER_DISPATCH = 4


def make_job(grids: Sequence[Grid], prior: SirenPrior, key: Array) -> tuple[Batch, Job]:
    """The patches of all signals as the rows of one batch.

    Args:
        grids: the signals.
        prior: their prior.
        key: key of the encoder's noise.
    """
    patch = prior.patch
    batch = make_batch(prior, [n_patches(grid.sides, patch) for grid in grids])
    patches = [cut(filled_up(grid.values, patch), patch) for grid in grids]
    weights = [cut(weights_of(grid, patch), patch) for grid in grids]
    # rows of padding have weight 0
    patches, weights = (_with_rows(np.concatenate(x), batch.padded[-1]) for x in (patches, weights))
    targets = make_targets(patches, weights, split=prior.config.split)
    layout = jax.tree.map(jnp.asarray, batch.layout)
    return batch, Job(prior.network, layout, targets, key)


def _with_rows(array, rows):
    return np.pad(array, [(0, rows - len(array)), *[(0, 0)] * (array.ndim - 1)])


def prior_start(prior: SirenPrior) -> list[Posterior]:
    """One row that stands for all, per group: the prior's mean, the average width in training."""
    return [
        Posterior(
            mean=jnp.zeros((1, group.n_latents), jnp.float32),
            log_std=jnp.asarray(group.log_std)[None],
        )
        for group in prior.groups
    ]


def fit(
    job: Job,
    prior: SirenPrior,
    effort: SirenEffort,
    progress: Callable[[int], None] | None = None,
) -> FitState:
    """Posteriors of all patches of all signals, before blocks are coded.

    Args:
        job: the signals.
        prior: their prior.
        effort: number of steps and learning rates.
        progress: called with the number of steps done.
    """
    state = initial_fit(job.layout, prior_start(prior), jnp.float32(math.log(prior.beta)))
    pieces = -(-effort.fit_steps // STEPS_PER_DISPATCH)
    steps = effort.fit_steps // max(pieces, 1)
    ends = np.linspace(0, 1, pieces + 1, dtype=np.float32)
    rates = effort.lr * (effort.lr_refine / effort.lr) ** ends
    for i in range(pieces):
        span = (jnp.float32(rates[i]), jnp.float32(rates[i + 1]))
        state, error = advance(job, state, span, steps=steps, budget=float(prior.budget))
        if progress:
            error.block_until_ready()
            progress((i + 1) * steps)
    return state


def code_signals(
    grids: Sequence[Grid],
    prior: SirenPrior,
    effort: SirenEffort,
    key: Array,
    coder: Any,
    progress: Callable[[float], None] | None = None,
) -> tuple[
    Batch,
    tuple[Float[Array, "_padded_rows _latents"], ...],
    list[Int[np.ndarray, "_rows _blocks"]],
    list[Float[np.ndarray, "_rows _blocks"]],
]:
    """Fits signals and codes them group after group, block after block.

    Args:
        grids: the signals.
        prior: their prior.
        effort: number of steps and learning rates.
        key: key of the encoder's noise.
        coder: see `recjax.codec.siren.refine.code_blocks`.
        progress: called with the fraction done.

    Returns:
        The batch; for every group the coded latents of its rows, padding included; the index of
        every block (-1 if the fit diverged); and its KL in bits when it was coded.
    """
    batch, job = make_job(grids, prior, key)
    steps = _refine_steps(prior, effort)
    blocks = [group.n_blocks for group in prior.groups]
    total = effort.fit_steps + int(np.dot(steps, blocks))
    report = (lambda done: progress(done / total)) if progress else None
    candidates = Candidates(
        coder.table(stream_key(prior), batch.layout.groups[0].blocks.shape[1]), stream_key(prior)
    )
    state = initial_coding(fit(job, prior, effort, report))
    # the learning rate falls from group to group, in proportion to the blocks of a row
    ends = effort.lr_refine + (effort.lr_end - effort.lr_refine) * (
        np.cumsum([0, *blocks]) / sum(blocks)
    )
    done = effort.fit_steps
    for g in range(len(blocks)):
        rates = (jnp.float32(ends[g]), jnp.float32(ends[g + 1]))
        for start in range(0, blocks[g], BLOCKS_PER_DISPATCH):
            stop = min(start + BLOCKS_PER_DISPATCH, blocks[g])
            span = (jnp.int32(start), jnp.int32(stop))
            state = code_blocks(
                job, candidates, state, span, rates, coder=coder, group=g, steps=steps[g]
            )
            done += (stop - start) * steps[g]
            if report:
                jax.block_until_ready(state.indices)
                report(done)
    indices = [np.asarray(x)[1:].T[:n] for x, n in zip(state.indices, batch.rows, strict=True)]
    kl_bits = [np.asarray(x).T[:n] for x, n in zip(state.kl_bits, batch.rows, strict=True)]
    z = tuple(posterior.mean for posterior in state.fit.posteriors)
    return batch, z, indices, kl_bits


def _refine_steps(prior, effort):
    """Steps after each block of every group; those above the patches get half of the patches' steps
    at most, since they have few bits."""
    patch_steps = prior.n_blocks * effort.refine_steps
    upper = [
        min(effort.refine_steps, -(-patch_steps // max(2 * group.n_blocks, 1)))
        for group in prior.groups[:-1]
    ]
    return [*upper, effort.refine_steps]


def encode(
    grids: Sequence[Grid],
    prior: SirenPrior,
    effort: SirenEffort,
    key: Array,
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """Codes signals together; see `recjax.codec.kinds.Kind`.

    Raises:
        ValueError: a fit diverged.
    """
    coder = TrellisCoder(
        budget=prior.budget, extra_bits=effort.extra_bits, lookahead=effort.lookahead
    )
    batch, z, indices, kl_bits = code_signals(grids, prior, effort, key, coder, progress)
    if any((index < 0).any() for index in indices):
        raise ValueError("a posterior is not finite: the fit diverged")
    signals = zip(
        *(batch.split(x) for x in (indices, kl_bits, [np.asarray(rows) for rows in z])), strict=True
    )
    return [_payload(prior, *signal) for signal in signals]


def flat_indices(groups: Sequence[Shaped[np.ndarray, "_rows _blocks"]]) -> Shaped[np.ndarray, "n"]:
    """The indices of a signal in the order of its stream: group after group, row after row."""
    return np.concatenate([indices.reshape(-1) for indices in groups])


def _payload(prior, indices, kl_bits, latents):
    flat, kinds = flat_indices(indices), [group.kind for group in prior.groups]
    sizes = np.full(len(flat), prior.budget)
    exponent = best_exponent(flat, sizes)
    return Payload(
        stream=encode_indices(flat, sizes, exponent),
        exponent=exponent,
        stream_bits=float(codelength_bits(flat, sizes, exponent).sum()),
        kl_bits={kind: float(kl.sum()) for kind, kl in zip(kinds, kl_bits, strict=True)},
        latents=dict(zip(kinds, latents, strict=True)),
    )
