"""Signals to ``.rec`` bytes and back, as one batch of patches."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recjax import randomness
from recjax.bits.container import Header, Modality, header_bits, pack, parse, verify
from recjax.bits.range_coder import decode_indices, encode_indices
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.codec.effort import Effort, effort_of
from recjax.codec.fit import FitState, Layout, advance, initial_fit
from recjax.codec.objective import in_chunks, padded_rows
from recjax.codec.partition import source_rows
from recjax.codec.prior import Prior, embedded_priors, load_prior
from recjax.codec.refine import code_blocks, decode_blocks
from recjax.codec.signals import Targets, make_targets
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image import from_patches, n_patches, psnr, to_gray, to_patches
from recjax.samplers.block_coder import BlockCoder

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
class Batch:
    """The patches of several signals as rows, padded to a shape that is compiled only once.

    Attributes:
      counts: patches of each signal.
      slots: number of each row within its signal.
      layout: where the latents of every block are.
    """

    counts: list[int]
    slots: jax.Array
    layout: Layout

    @property
    def rows(self) -> int:
        """Rows that belong to a signal."""
        return sum(self.counts)

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """The part of each signal of an array ``[rows, ...]``."""
        return np.split(rows[: self.rows], np.cumsum(self.counts)[:-1])


def make_batch(prior: Prior, counts: Sequence[int]) -> Batch:
    """Rows and layout for signals of so many patches."""
    counts = list(counts)
    padding = padded_rows(sum(counts)) - sum(counts)
    padded = counts + [1] * padding
    n_latents = prior.config.n_latents
    words = randomness.coordinate_bits(
        randomness.stream_key(table_key(prior), randomness.Stream.BRANCH), jnp.uint32(0), n_latents
    )
    source, inverse = source_rows(padded, np.asarray(words))
    member = np.zeros((n_latents + 1, prior.n_blocks), np.float32)
    member[prior.blocks, np.arange(prior.n_blocks)[:, None]] = 1
    layout = Layout(
        source=jnp.asarray(source),
        inverse=jnp.asarray(inverse),
        blocks=jnp.asarray(prior.blocks),
        member=jnp.asarray(member[:-1]),
    )
    slots = np.concatenate([np.arange(count, dtype=np.uint32) for count in padded])
    return Batch(counts=counts, slots=jnp.asarray(slots), layout=layout)


def table_key(prior: Prior) -> jax.Array:
    """The shared randomness of all files of a prior: the first 64 bits of its digest."""
    return jnp.asarray(np.frombuffer(prior.digest[:8], ">u4").astype(np.uint32))


def fit_signals(
    signals: Sequence[Signal],
    prior: Prior,
    effort: Effort,
    key: jax.Array,
    progress: Callable[[float], None] | None = None,
) -> tuple[Batch, Targets, FitState]:
    """Posteriors of all patches of all signals, before any block is coded."""
    cut = [to_patches(signal.values, prior.patch_shape) for signal in signals]
    batch = make_batch(prior, [len(patches) for patches, _ in cut])
    padding = [(0, len(batch.slots) - batch.rows)]
    patches = np.pad(np.concatenate([patches for patches, _ in cut]), padding + [(0, 0)] * 3)
    weights = np.pad(np.concatenate([weights for _, weights in cut]), padding + [(0, 0)] * 2)
    targets = make_targets(patches, weights)
    state = initial_fit(batch.layout, jnp.asarray(prior.log_std), prior.beta)
    steps = min(100, effort.fit_steps)
    pieces = max(effort.fit_steps // steps, 1)
    rates = effort.lr * (effort.lr_refine / effort.lr) ** np.linspace(0, 1, pieces + 1, dtype=np.float32)
    for i in range(pieces):
        span = (jnp.float32(rates[i]), jnp.float32(rates[i + 1]))
        state, error = advance(
            prior.network, state, batch.layout, targets, key, span, steps=steps, budget=float(prior.budget)
        )
        if progress:
            error.block_until_ready()
            done = (i + 1) * steps
            progress(done / (effort.fit_steps + prior.n_blocks * effort.refine_steps))
    return batch, targets, state


def render(prior: Prior, batch: Batch, z: jax.Array, signals: Sequence[tuple[tuple[int, ...], bool]]) -> list[Signal]:
    """Signals of the given ``(shape, gray)`` from the latents of their patches."""
    points = jnp.arange(prior.config.n_points)
    draw = jax.jit(lambda network, z: in_chunks(lambda rows: network.render(rows, points), z))
    values = np.asarray(draw(prior.network, z)).transpose(0, 2, 1)
    pixels = np.floor((np.clip(values, -0.5, 0.5) + 0.5) * 255 + 0.5).astype(np.uint8)
    out = []
    for patches, (shape, gray) in zip(batch.split(pixels), signals, strict=True):
        image = from_patches(patches.reshape(-1, *prior.patch_shape), shape, prior.patch_shape)
        out.append(Signal(to_gray(image) if gray else image, "image", {"gray": gray}))
    return out


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
      ValueError: an argument is out of range, or a posterior could not be coded (it was not finite).
    """
    if not signals:
        return []
    prior = load_prior("photo-high") if prior is None else prior
    effort = effort_of(effort) if isinstance(effort, int) else effort
    key = jax.random.key(0) if key is None else key
    t = effort.extra_bits if extra_bits is None else extra_bits
    coder = BlockCoder(budget=prior.budget, extra_bits=t)
    batch, targets, state = fit_signals(signals, prior, effort, key, progress)

    table = coder.table(table_key(prior), prior.blocks.shape[1])
    indices = jnp.zeros((prior.n_blocks, len(batch.slots)), jnp.int32)
    kl_bits = jnp.zeros(indices.shape, jnp.float32)
    rates = jnp.float32(effort.lr_refine), jnp.float32(effort.lr_end)
    for start in range(0, prior.n_blocks, BLOCKS_A_DISPATCH):
        stop = min(start + BLOCKS_A_DISPATCH, prior.n_blocks)
        state, indices, kl_bits = code_blocks(
            prior.network, state, batch.layout, targets, key, rates, table, table_key(prior), batch.slots,
            jnp.asarray(prior.widths), (jnp.int32(start), jnp.int32(stop)), indices, kl_bits,
            coder=coder, steps=effort.refine_steps,
        )  # fmt: skip
        if progress:
            indices.block_until_ready()
            done = effort.fit_steps + stop * effort.refine_steps
            progress(done / (effort.fit_steps + prior.n_blocks * effort.refine_steps))
    kl_bits = np.asarray(kl_bits).T
    if (np.asarray(indices)[:, : batch.rows] < 0).any():
        raise ValueError("a posterior is not finite: the fit diverged")

    wanted = [(signal.values.shape, bool(signal.meta.get("gray"))) for signal in signals]
    z = decode_blocks(coder, table_key(prior), batch.layout, batch.slots, jnp.asarray(prior.widths), indices)
    decoded = render(prior, batch, z, wanted)
    rows = np.asarray(indices).T.astype(np.int64)
    return [
        _pack(signal, image, prior, t, index, kl)
        for signal, image, index, kl in zip(signals, decoded, batch.split(rows), batch.split(kl_bits), strict=True)
    ]


def _pack(signal, decoded, prior, extra_bits, indices, kl_bits):
    indices = indices.reshape(-1)
    sizes = np.full(len(indices), prior.budget + extra_bits)
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


def decompress(blob: bytes, *, priors: Sequence[Prior] = ()) -> Signal:
    """The signal in a ``.rec`` file.

    Args:
      blob: the file.
      priors: besides the embedded ones; the file names its prior by digest.

    Raises:
      FormatError: the file is damaged, of a newer version, or its prior is not at hand.
    """
    return decompress_batch([blob], priors=priors)[0]


def decompress_batch(blobs: Sequence[bytes], *, priors: Sequence[Prior] = ()) -> list[Signal]:
    """:func:`decompress` for many files at once."""
    groups: dict[tuple, list[int]] = {}
    parsed = [_open(blob, priors) for blob in blobs]
    for i, (prior, header, _) in enumerate(parsed):
        groups.setdefault((prior.digest, header.extra_bits), []).append(i)
    out: list[Signal | None] = [None] * len(blobs)
    for members in groups.values():
        for i, signal in zip(members, _decode([parsed[i] for i in members]), strict=True):
            out[i] = signal
    return [signal for signal in out if signal is not None]


def _open(blob, priors):
    header, _ = parse(blob)
    known = [*priors, *map(load_prior, embedded_priors())]
    matching = [prior for prior in known if prior.digest.startswith(header.digest_prefix)]
    if not matching:
        raise FormatError(f"the prior {header.digest_prefix.hex()}... of this file is not known")
    if header.scheme != randomness.SCHEME:
        raise FormatError(f"randomness scheme {header.scheme} is not known (this release knows {randomness.SCHEME})")
    prior = matching[0]
    header, payload = verify(blob, prior.digest)
    if Modality(header.modality).name.lower() != prior.modality:
        raise FormatError(f"a prior for {prior.modality} cannot decode {header.modality.name.lower()}")
    return prior, header, payload


def _decode(group):
    prior, first, _ = group[0]
    coder = BlockCoder(budget=prior.budget, extra_bits=first.extra_bits)
    shapes = [header.shape or prior.patch_shape[:2] for _, header, _ in group]
    batch = make_batch(prior, [math.prod(n_patches(shape, prior.patch_shape)) for shape in shapes])
    rows = np.zeros((len(batch.slots), prior.n_blocks), np.int32)
    start = 0
    for (_, header, payload), count in zip(group, batch.counts, strict=True):
        sizes = np.full(count * prior.n_blocks, prior.budget + header.extra_bits)
        rows[start : start + count] = decode_indices(payload, sizes, header.exponent).reshape(count, -1)
        start += count
    z = decode_blocks(
        coder, table_key(prior), batch.layout, batch.slots, jnp.asarray(prior.widths), jnp.asarray(rows.T)
    )
    return render(prior, batch, z, [(shape, header.gray) for shape, (_, header, _) in zip(shapes, group, strict=True)])
