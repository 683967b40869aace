"""The upper levels of a pyramid, quantised: few latents, which carry many bits each.

A block of 16 bits holds so few of these that it is now far too small and now far too large, and what it misses the
levels below must make up for. They are rounded to multiples of a step instead, and their numbers entropy-coded, so that
rare values have long codes: dithered quantisation (Ziv, *On universal quantization*, 1985) without its dither. The
noise is less than that of an average posterior sample.

The prior holds a table of frequencies a latent: integers, so that every decoder finds the same.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Float, Int, Int32

from recjax.bits import stream
from recjax.bits.zipf import PRECISION
from recjax.errors import FormatError

LARGEST = 255
"""Numbers are at most so large; what is beyond is clipped."""
_LEAST = 1 << 5
_PRIOR_CELLS = 30
_FINER = 0.6
"""Measured: what is missed here costs more below, where widths differ from the average."""


def step_of(log_std: Float[np.ndarray, "cells depth"]) -> Float[np.ndarray, "depth"]:
    """Steps at which rounding errors have ``_FINER`` of the average width of these posteriors."""
    return (_FINER * math.sqrt(12) * np.exp(log_std.mean(0, dtype=np.float64))).astype(np.float32)


def number_frequencies(
    mean: Float[np.ndarray, "cells depth"],
    step: Float[np.ndarray, "depth"],
    scale: Float[np.ndarray, "depth"],
    tail: Float[np.ndarray, "depth"],
) -> Int32[np.ndarray, "depth numbers"]:
    """Frequencies of the numbers -LARGEST to LARGEST of every latent, which sum to 2^24.

    As often as these means have the number or its opposite. The prior, which has the spread of samples and not of
    means, says how likely are those that hardly occur.

    Args:
      mean: of the posteriors of some cells.
      step: of every latent.
      scale, tail: of its prior, see :mod:`recjax.codec.transform.sinh_prior`.
    """
    edges = (np.arange(-LARGEST, LARGEST) + 0.5)[None] * step[:, None]
    below = np.asarray(
        ndtr(jnp.asarray(np.arcsinh(tail[:, None] * edges / scale[:, None]) / tail[:, None]))
    )
    prior = np.diff(
        np.concatenate([0 * step[:, None], below.astype(np.float64), 0 * step[:, None] + 1], axis=1)
    )
    counts = [
        np.bincount(own + LARGEST, minlength=2 * LARGEST + 1) for own in numbers_of(mean, step).T
    ]
    shares = np.stack(counts) + _PRIOR_CELLS * np.maximum(prior, 0)
    shares = shares + shares[:, ::-1]
    shares /= shares.sum(1, keepdims=True)
    out = _LEAST + np.floor(shares * ((1 << PRECISION) - _LEAST * shares.shape[1])).astype(np.int32)
    out[:, LARGEST] += (1 << PRECISION) - out.sum(1, dtype=np.int32)
    return out


def check_frequencies(frequencies: Int32[np.ndarray, "depth numbers"]) -> bool:
    """Whether these can be the frequencies of numbers."""
    return bool(
        (frequencies > 0).all() and (frequencies.astype(np.int64).sum(1) == 1 << PRECISION).all()
    )


def numbers_of(
    mean: Float[np.ndarray, "*cells depth"], step: Float[np.ndarray, "depth"]
) -> Int32[np.ndarray, "*cells depth"]:
    """The numbers nearest to the means of the posterior."""
    return np.clip(np.rint(mean / step), -LARGEST, LARGEST).astype(np.int32)


def number_bits(
    numbers: Int[np.ndarray, "height width depth"], frequencies: Int32[np.ndarray, "depth numbers"]
) -> float:
    """Length of their code, in bits."""
    used = np.take_along_axis(
        frequencies.T[:, None], numbers.reshape(-1, 1, numbers.shape[-1]) + LARGEST, axis=0
    )
    return float((PRECISION - np.log2(used)).sum())


def put_numbers(
    encoder,
    numbers: Int[np.ndarray, "height width depth"],
    frequencies: Int32[np.ndarray, "depth numbers"],
) -> None:
    """Encodes the numbers of one level, latent by latent."""
    for own, row in zip(np.moveaxis(numbers, -1, 0), frequencies, strict=True):
        encoder.encode(np.ascontiguousarray(own.ravel() + LARGEST, np.int32), _model(row))


def take_numbers(
    decoder, shape: Sequence[int], frequencies: Int32[np.ndarray, "depth numbers"]
) -> Int32[np.ndarray, "height width depth"]:
    """Decodes what `put_numbers` encoded.

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
