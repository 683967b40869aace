"""Signals to ``.rec`` bytes: fit, code block after block, pack."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recjax import randomness
from recjax.bits.container import Header, Modality, header_bits, pack
from recjax.bits.range_coder import encode_indices
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.codec.effort import Effort, effort_of
from recjax.codec.fit import FitState, advance, initial_fit, with_blocks_fixed
from recjax.codec.patches import Batch, make_batch, render, table_key
from recjax.codec.prior import Prior, load_prior
from recjax.codec.refine import code_blocks
from recjax.codec.signals import Targets, make_targets
from recjax.codec.start import guessed, leading_blocks, prior_start
from recjax.modalities import Signal
from recjax.modalities.image import MAX_SIDE, n_patches, psnr, to_patches
from recjax.samplers.trellis_coder import TrellisCoder

STEPS_A_DISPATCH = 100
BLOCKS_A_DISPATCH = 4


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A file and what went into it.

    Attributes:
      blob: the file.
      kl_bits: KL of all blocks when they were coded; no exact code can be much shorter on average.
      index_bits: length of the indices' code; the stream is rounded up to bytes.
      header_bits: everything in the file but the index stream.
      psnr: of the decoded signal, in dB.
    """

    blob: bytes
    kl_bits: float
    index_bits: float
    header_bits: int
    psnr: float


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

    prior: Prior
    counts: list[tuple[int, int]]
    batch: Batch
    patches: np.ndarray
    targets: Targets


def make_job(signals: Sequence[Signal], prior: Prior) -> Job:
    """The patches of all signals as the rows of one batch."""
    shape = prior.patch_shape
    cut = [to_patches(signal.values, shape) for signal in signals]
    counts = [n_patches(signal.values.shape, shape) for signal in signals]
    batch = make_batch(prior, counts)
    padding = [(0, len(batch.blocks[-1].slots) - batch.rows[-1])]
    patches = np.pad(np.concatenate([patches for patches, _ in cut]), padding + [(0, 0)] * 3)
    weights = np.pad(np.concatenate([weights for _, weights in cut]), padding + [(0, 0)] * 2)
    return Job(prior, counts, batch, patches, make_targets(patches, weights, split=prior.config.split))


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
    rates = effort.lr * (effort.lr_refine / effort.lr) ** np.linspace(0, 1, pieces + 1, dtype=np.float32)
    for i in range(pieces):
        span = (jnp.float32(rates[i]), jnp.float32(rates[i + 1]))
        state, error = advance(
            prior.network, state, job.batch.arrangement, job.targets, key, span,
            steps=effort.fit_steps // pieces, budget=float(prior.budget) if prior.config.steered else None,
        )  # fmt: skip
        if progress:
            error.block_until_ready()
            progress((i + 1) * (effort.fit_steps // pieces) / _total_steps(prior, effort))
    return state


def code_signals(
    signals: Sequence[Signal],
    prior: Prior,
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
    table = coder.table(table_key(prior), batch.arrangement.layouts[0].blocks.shape[1])
    indices = [
        jnp.zeros((own.n_blocks, len(b.slots)), jnp.int32) for own, b in zip(prior.groups, batch.blocks, strict=True)
    ]
    kl_bits = [jnp.zeros(index.shape, jnp.float32) for index in indices]

    def code(state, g, start, stop, rates, steps):
        state, indices[g], kl_bits[g] = code_blocks(
            prior.network, state, batch.arrangement, targets, key, rates, table, table_key(prior), batch.blocks[g],
            (jnp.int32(start), jnp.int32(stop)), indices[g], kl_bits[g], coder=coder, group=g, steps=steps,
            steered=prior.config.steered,
        )  # fmt: skip
        return state

    flat = (jnp.float32(0), jnp.float32(0))
    lead = leading_blocks(prior)
    if lead:
        state = initial_fit(batch.arrangement, [guessed(prior, job.counts, job.patches)], prior.beta)
        coded = code(state, 0, 0, lead, flat, 0).posteriors[0].mean
        state = initial_fit(batch.arrangement, [guessed(prior, job.counts, job.patches, coded)], prior.beta)
        state = with_blocks_fixed(state, batch.arrangement.layouts[0], lead)
    else:
        state = initial_fit(batch.arrangement, prior_start(prior), prior.beta)
    state = fit(job, state, effort, key, progress)
    steps, before = _refine_steps(prior, effort), 0
    for g, group in enumerate(prior.groups):
        rates = (
            effort.lr_refine + (effort.lr_end - effort.lr_refine) * np.array([before, before + group.n_blocks]) / total
        )
        span = (jnp.float32(rates[0]), jnp.float32(rates[1]))
        for start in range(lead if g == len(prior.groups) - 1 else 0, group.n_blocks, BLOCKS_A_DISPATCH):
            stop = min(start + BLOCKS_A_DISPATCH, group.n_blocks)
            state = code(state, g, start, stop, span, steps[g])
            if progress:
                indices[g].block_until_ready()
                done = sum(n * own.n_blocks for n, own in zip(steps[:g], prior.groups, strict=False)) + stop * steps[g]
                progress((effort.fit_steps + done) / max(_total_steps(prior, effort), 1))
        before += group.n_blocks
    indices, kl_bits = (
        [np.asarray(x).T[:rows] for x, rows in zip(arrays, batch.rows, strict=True)] for arrays in (indices, kl_bits)
    )
    return batch, tuple(posterior.mean for posterior in state.posteriors), indices, kl_bits


def _refine_steps(prior, effort):
    """Steps after each block of every group: the few bits above the patches get half the patches' steps at most."""
    share = prior.n_blocks * effort.refine_steps
    upper = [min(effort.refine_steps, -(-share // max(2 * group.n_blocks, 1))) for group in prior.groups[:-1]]
    return [*upper, effort.refine_steps]


def _total_steps(prior, effort):
    steps = _refine_steps(prior, effort)
    return effort.fit_steps + sum(n * group.n_blocks for n, group in zip(steps, prior.groups, strict=True))


def encode_batch(
    signals: Sequence[Signal],
    prior: Prior | None = None,
    *,
    effort: int | Effort = 5,
    key: jax.Array | None = None,
    extra_bits: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Encoded]:
    """Compresses signals together, with an account of the bits of each.

    Args:
      signals: images of any sizes.
      prior: by default ``photo-high``.
      effort: 1 (fast) to 9 (slow, better), or explicit settings.
      key: of the encoder's own noise; the decoder does not need it.
      extra_bits: overrides the effort's ``t``.
      progress: called with the fraction done.

    Raises:
      ValueError: a signal is no image, a setting is out of range, or a posterior could not be coded (it was not
        finite).
    """
    if not signals:
        return []
    prior = load_prior("photo-high") if prior is None else prior
    if not isinstance(prior, Prior):
        raise ValueError(f"prior must be a Prior (recjax.load_prior reads one), got {type(prior).__name__}")
    for signal in signals:
        _check(signal, prior)
    effort = effort if isinstance(effort, Effort) else effort_of(effort, guessed=leading_blocks(prior) > 0)
    if extra_bits is not None:
        effort = dataclasses.replace(effort, extra_bits=extra_bits)
    key = jax.random.key(0) if key is None else key
    t = effort.extra_bits
    coder = TrellisCoder(budget=prior.budget, extra_bits=t, lookahead=effort.lookahead)
    batch, z, indices, kl_bits = code_signals(signals, prior, effort, key, coder, progress)
    if any((index < 0).any() for index in indices):
        raise ValueError("a posterior is not finite: the fit diverged")
    wanted = [(signal.values.shape, bool(signal.meta.get("gray"))) for signal in signals]
    decoded = render(prior, batch, z, wanted)
    return [
        _pack(signal, image, prior, t, _flat(index), _flat(kl))
        for signal, image, index, kl in zip(signals, decoded, batch.split(indices), batch.split(kl_bits), strict=True)
    ]


def _flat(groups):
    """The arrays of all groups of a signal, row after row."""
    return np.concatenate([part.reshape(-1) for part in groups])


def _check(signal, prior):
    if not isinstance(signal, Signal):
        raise ValueError(f"a signal must be a recjax.Signal (recjax.load reads one), got {type(signal).__name__}")
    values = signal.values
    if signal.modality != prior.modality:
        raise ValueError(f"a prior for {prior.modality} cannot code {signal.modality}")
    if not isinstance(values, np.ndarray):
        raise ValueError(f"the values of an image must be a NumPy array, got {type(values).__name__}")
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"the values of an image must be uint8[H, W, 3], got {values.dtype}{list(values.shape)}")
    if not (min(values.shape) >= 1 and max(values.shape) <= MAX_SIDE):
        raise ValueError(f"an image must have sides of 1 to {MAX_SIDE}, got {values.shape[0]} x {values.shape[1]}")


def _pack(signal, decoded, prior, extra_bits, indices, kl_bits):
    sizes = np.full(len(indices), prior.budget)
    exponent = best_exponent(indices, sizes)
    payload = encode_indices(indices, sizes, exponent)
    sides = signal.values.shape[:2]
    header = Header(
        scheme=randomness.SCHEME,
        modality=Modality.IMAGE,
        shape=None if sides == prior.patch_shape[:2] else sides,
        gray=bool(signal.meta.get("gray")),
        extra_bits=extra_bits,
        exponent=exponent,
        digest_prefix=prior.digest[:3],
    )
    return Encoded(
        blob=pack(header, payload, prior.digest),
        kl_bits=float(kl_bits.sum()),
        index_bits=float(codelength_bits(indices, sizes, exponent).sum()),
        header_bits=header_bits(header, payload),
        psnr=psnr(signal.values, decoded.values),
    )


def compress(signal: Signal, prior: Prior | None = None, *, effort: int = 5, key: jax.Array | None = None) -> bytes:
    """Compresses one signal to the bytes of a ``.rec`` file; same input, same bytes.

    Args:
      signal: an image, see :func:`recjax.load`.
      prior: by default the embedded ``photo-high``.
      effort: 1 (fast) to 9 (slow, better).
      key: of the encoder's own noise; the decoder does not need it.

    Raises:
      ValueError: an argument is out of range.
    """
    return compress_batch([signal], prior, effort=effort, key=key)[0]


def compress_batch(
    signals: Sequence[Signal], prior: Prior | None = None, *, effort: int = 5, key: jax.Array | None = None
) -> list[bytes]:
    """:func:`compress` for many signals at once, which fills a device."""
    return [result.blob for result in encode_batch(signals, prior, effort=effort, key=key)]
