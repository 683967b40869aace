"""``.rec`` bytes to signals."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from recjax import randomness
from recjax.bits.container import Header, parse, verify
from recjax.bits.range_coder import decode_indices
from recjax.codec.patches import make_batch, render, table_key
from recjax.codec.prior import Prior, embedded_priors, load_prior
from recjax.codec.refine import decode_blocks
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image import MAX_SIDE, n_patches
from recjax.samplers.block_coder import BlockCoder
from recjax.samplers.trellis_coder import TrellisCoder


def decompress(blob: bytes, *, priors: Sequence[Prior] = ()) -> Signal:
    """The signal in a ``.rec`` file.

    Args:
      blob: the file.
      priors: besides the embedded ones; the file names its prior by digest.

    Raises:
      FormatError: the file is damaged, of a newer version, or its prior is not at hand.
      ValueError: ``blob`` is not bytes.
    """
    return decompress_batch([blob], priors=priors)[0]


def decompress_batch(blobs: Sequence[bytes], *, priors: Sequence[Prior] = ()) -> list[Signal]:
    """:func:`decompress` for many files at once."""
    groups: dict[tuple, list[int]] = {}
    known = [*priors, *map(load_prior, embedded_priors())]
    parsed = [_open(blob, known) for blob in blobs]
    for i, (prior, header, _) in enumerate(parsed):
        groups.setdefault((prior.digest, header.version, header.extra_bits), []).append(i)
    out: list[Signal | None] = [None] * len(blobs)
    for members in groups.values():
        for i, signal in zip(members, _decode([parsed[i] for i in members]), strict=True):
            out[i] = signal
    return [signal for signal in out if signal is not None]


def _open(blob, known):
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise ValueError(f"blob must be the bytes of a .rec file, got {type(blob).__name__}")
    blob = bytes(blob)
    header, _ = parse(blob)
    matching = [prior for prior in known if prior.digest.startswith(header.digest_prefix)]
    if not matching:
        raise FormatError(
            f"the prior {header.digest_prefix.hex()}... of this file is not known: it is neither embedded nor given"
        )
    if header.scheme != randomness.SCHEME:
        raise FormatError(f"randomness scheme {header.scheme} is not known (this release knows {randomness.SCHEME})")
    prior, payload = _verified(blob, matching)
    if header.modality.name.lower() != prior.modality:
        raise FormatError(f"a prior for {prior.modality} cannot decode {header.modality.name.lower()}")
    if max(header.shape or (1,)) > MAX_SIDE:
        raise FormatError(f"shape {header.shape} is larger than {MAX_SIDE} x {MAX_SIDE}")
    try:
        _coder(prior, header)
    except ValueError as error:
        raise FormatError(str(error)) from None
    return prior, header, payload


def _verified(blob, priors):
    """The prior among those of one digest prefix that the checksum fits, and the index stream."""
    for prior in priors[:-1]:
        try:
            return prior, verify(blob, prior.digest)[1]
        except FormatError:
            continue
    return priors[-1], verify(blob, priors[-1].digest)[1]


def _coder(prior: Prior, header: Header) -> BlockCoder | TrellisCoder:
    kind = BlockCoder if header.version == 1 else TrellisCoder
    return kind(budget=prior.budget, extra_bits=header.extra_bits)


def _decode(group):
    prior, first, _ = group[0]
    coder = _coder(prior, first)
    shapes = [header.shape or prior.patch_shape[:2] for _, header, _ in group]
    patches = [n_patches(shape, prior.patch_shape) for shape in shapes]
    # Before the batch: a few damaged bytes must not cost the memory of a large image.
    indices = [
        decode_indices(payload, np.full(sum(counts), header.log2_indices(prior.budget)), header.exponent)
        for (_, header, payload), counts in zip(group, map(prior.blocks_in, patches), strict=True)
    ]
    batch, z = make_batch(prior, patches), []
    ends = [np.cumsum(prior.blocks_in(image)) for image in patches]
    for g, (own, blocks) in enumerate(zip(prior.groups, batch.blocks, strict=True)):
        rows = np.zeros((len(blocks.slots), own.n_blocks), np.int32)
        parts = [np.split(index, end)[g] for index, end in zip(indices, ends, strict=True)]
        rows[: batch.rows[g]] = np.concatenate(parts).reshape(batch.rows[g], -1)
        z.append(decode_blocks(coder, table_key(prior), batch.arrangement.layouts[g], blocks, jnp.asarray(rows.T)))
    wanted = [(shape, header.gray) for shape, (_, header, _) in zip(shapes, group, strict=True)]
    return render(prior, batch, tuple(z), wanted)
