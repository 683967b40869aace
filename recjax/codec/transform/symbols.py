"""Frozen (FORMAT.md, transforms): symbols of the upper levels of a pyramid, which are quantised.

The upper levels have few latents, which carry many bits each. So few of these fit a 16-bit block
that its rate fluctuates, and lower levels pay for the misses. They are rounded to multiples of a
quantisation step instead, and the symbols entropy-coded, so that rare values have long codes:
dithered quantisation (Ziv, *On universal quantization*, 1985) without its dither. The noise is less
than that of an average posterior sample.

The prior holds a table of frequencies per latent: integers, so that every decoder finds the same.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int32

from recjax.bits import stream
from recjax.bits.zipf import PRECISION
from recjax.errors import FormatError

LARGEST = 255
"""Largest magnitude of a symbol; symbols beyond are clipped."""
_LEAST = 1 << 5
_PRIOR_CELLS = 30
_FINER = 0.6
"""Measured: what is missed here costs more below, where widths differ from the average."""


def step_sizes_of(log_std: Float[np.ndarray, "cells depth"]) -> Float[np.ndarray, "depth"]:
    """Quantisation steps whose error has ``_FINER`` times the width of these posteriors."""
    return (_FINER * math.sqrt(12) * np.exp(log_std.mean(0, dtype=np.float64))).astype(np.float32)


def symbol_frequencies(
    mean: Float[np.ndarray, "cells depth"],
    step: Float[np.ndarray, "depth"],
    scale: Float[np.ndarray, "depth"],
    tail: Float[np.ndarray, "depth"],
) -> Int32[np.ndarray, "depth symbols"]:
    """Frequencies of the symbols -LARGEST to LARGEST of every latent, which sum to 2^24.

    They count the symbols of these means and their opposites. The prior, which has the spread of
    samples and not of means, adds a few counts for symbols that hardly occur.

    Args:
        mean: posterior means of training cells.
        step: quantisation step of every latent.
        scale, tail: parameters of its prior, see `recjax.codec.transform.sinh_prior`.
    """
    import jax.numpy as jnp
    from jax.scipy.special import ndtr

    edges = (np.arange(-LARGEST, LARGEST) + 0.5)[None] * step[:, None]
    below = np.asarray(
        ndtr(jnp.asarray(np.arcsinh(tail[:, None] * edges / scale[:, None]) / tail[:, None]))
    )
    prior = np.diff(below.astype(np.float64), axis=1, prepend=0, append=1)
    counts = [
        np.bincount(column + LARGEST, minlength=2 * LARGEST + 1)
        for column in symbols_of(mean, step).T
    ]
    shares = np.stack(counts) + _PRIOR_CELLS * np.maximum(prior, 0)
    shares = shares + shares[:, ::-1]
    shares /= shares.sum(1, keepdims=True)
    out = _LEAST + np.floor(shares * ((1 << PRECISION) - _LEAST * shares.shape[1])).astype(np.int32)
    out[:, LARGEST] += (1 << PRECISION) - out.sum(1, dtype=np.int32)
    return out


def check_frequencies(frequencies: Int32[np.ndarray, "depth symbols"]) -> bool:
    """Whether these can be frequencies of symbols."""
    return bool(
        (frequencies > 0).all() and (frequencies.astype(np.int64).sum(1) == 1 << PRECISION).all()
    )


def symbols_of(
    mean: Float[np.ndarray, "*_cells _depth"], step: Float[np.ndarray, "_depth"]
) -> Int32[np.ndarray, "*cells depth"]:
    """The symbols nearest to posterior means."""
    return np.clip(np.rint(mean / step), -LARGEST, LARGEST).astype(np.int32)


def symbol_bits(
    symbols: Int[np.ndarray, "*_cells _depth"], frequencies: Int32[np.ndarray, "_depth _symbols"]
) -> float:
    """Length of the code of the symbols, in bits."""
    used = np.take_along_axis(
        frequencies.T[:, None], symbols.reshape(-1, 1, symbols.shape[-1]) + LARGEST, axis=0
    )
    return float((PRECISION - np.log2(used)).sum())


def put_symbols(
    encoder,
    symbols: Int[np.ndarray, "*cells depth"],
    frequencies: Int32[np.ndarray, "depth symbols"],
) -> None:
    """Encodes the symbols of one level, latent by latent."""
    for column, row in zip(np.moveaxis(symbols, -1, 0), frequencies, strict=True):
        encoder.encode(np.ascontiguousarray(column.ravel() + LARGEST, np.int32), _model(row))


def take_symbols(
    decoder, shape: Sequence[int], frequencies: Int32[np.ndarray, "_depth _symbols"]
) -> Int32[np.ndarray, "*cells depth"]:
    """Decodes what `put_symbols` encoded.

    Raises:
        FormatError: the stream is damaged.
    """
    try:
        out = [decoder.decode(_model(row), math.prod(shape)) for row in frequencies]
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    return np.stack(out, axis=-1).reshape(*shape, -1).astype(np.int32) - LARGEST


def _model(frequencies):
    return stream.model.Categorical(stream.weights(frequencies), perfect=False)
