"""Code of dithered quantisation's indices: the proposal's density at the points of the lattice.

Given the dither U, an index k stands for the point (k + U) step. Its probability is the density of
the proposal at that point, divided by the sum over all points within the proposal's reach.

In a string every index has its own table of integer frequencies. They follow from the dither and
the proposal by exactly rounded operations in double precision (sums, products, quotients) and from
there on by integers, those of `few_weights`: every machine has the same table.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax import randomness
from recjax.bits import stream
from recjax.bits.frequencies import integer_shares
from recjax.distributions.base import concrete
from recjax.distributions.integer_weights import few_weights
from recjax.distributions.laplace import Laplace
from recjax.distributions.normal import Normal
from recjax.distributions.uniform import Uniform
from recjax.randomness import Stream
from recjax.samplers.index_code import IndexCode, refuse

LARGEST = 1 << 22
"""The largest absolute value of an index."""

_MOST = 1 << 12  # points of a table
_ROWS = 1 << 11  # tables made at a time


@dataclasses.dataclass(frozen=True, eq=False)
class DitheredCode(IndexCode):
    """-log2 of the probability of an index given the dither; the rate does not enter.

    Args:
        step: the quantisation step.
        proposal: a Normal, Laplace or Uniform of any event shape.
    """

    step: float
    proposal: Any

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        return _bits(self.step, key, checked_dithered(index, self.proposal), self.proposal)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        """Encodes the indices of a batch.

        Raises:
            ValueError: an index is beyond its table, as for no target within the proposal's reach.
        """
        tables = _tables(self.step, keys, self.proposal)
        index, shape = np.asarray(index), (len(keys), *self.proposal.event_shape)
        if index.shape != shape or not np.issubdtype(index.dtype, np.integer):
            raise ValueError(f"index must hold whole numbers {list(shape)}, as many as keys")
        place = index.ravel().astype(np.int64) - tables.first
        if np.any(place < 0) or np.any(place >= tables.count):
            raise ValueError("index: a sample is beyond the reach of the proposal")
        for rows, frequencies in tables.parts:
            model = stream.model.Categorical(perfect=False)
            encoder.encode(place[rows].astype(np.int32), model, stream.weights(frequencies))

    def take(self, decoder: Any, keys: Any) -> Int[np.ndarray, "n *event"]:
        tables = _tables(self.step, keys, self.proposal)
        place = np.zeros_like(tables.first)
        for rows, frequencies in tables.parts:
            model = stream.model.Categorical(perfect=False)
            place[rows] = decoder.decode(model, stream.weights(frequencies))
        refuse(place >= tables.count)  # rows are as wide as the longest table
        return (tables.first + place).astype(np.int32).reshape(-1, *self.proposal.event_shape)


def checked_dithered(index: Any, proposal: Any) -> Int[Array, "*event"]:
    """Signed whole numbers as int32: concrete values are checked, traced ones clamped.

    Raises:
        ValueError: the shape is not the proposal's, the index does not consist of whole numbers, or
            the absolute value of a concrete one is larger than 2^22.
    """
    whole_numbers = jnp.issubdtype(jnp.result_type(index), jnp.integer)
    if not whole_numbers or np.shape(index) != proposal.event_shape:
        raise ValueError(f"index must be whole numbers {list(proposal.event_shape)}")
    known = concrete(index)
    if known is not None and np.any((known < -LARGEST) | (known > LARGEST)):
        raise ValueError(f"index must be from {-LARGEST} to {LARGEST}")
    if jnp.issubdtype(jnp.result_type(index), jnp.unsignedinteger):
        return jnp.minimum(jnp.asarray(index), LARGEST).astype(jnp.int32)
    return jnp.clip(jnp.asarray(index), -LARGEST, LARGEST).astype(jnp.int32)


def dither(key: Array, proposal: Any) -> Float[Array, "*event"]:
    """The dither U of every component, uniform on [-1/2, 1/2]."""
    words = randomness.stream_key(key, Stream.CANDIDATE)
    bits = randomness.coordinate_bits(words, jnp.uint32(0), proposal.event_size)
    return (randomness.uniform(bits, proposal.dtype) - 0.5).reshape(proposal.event_shape)


def reach(proposal: Any) -> tuple[Any, Any]:
    """The ends of the interval in which samples are expected, elementwise.

    It is written with operators only, so that it runs on NumPy and on JAX arrays.

    Raises:
        ValueError: the proposal is not a Normal, Laplace or Uniform.
    """
    match proposal:
        case Normal():
            return proposal.loc - 8 * proposal.scale, proposal.loc + 8 * proposal.scale
        case Laplace():
            return proposal.loc - 32 * proposal.scale, proposal.loc + 32 * proposal.scale
        case Uniform():
            return proposal.low, proposal.high
        case None:
            raise ValueError("proposal is needed: the code of dithered quantisation depends on it")
    raise ValueError(f"proposal: a {type(proposal).__name__} has no code for dithered quantisation")


def log_density(proposal: Any, y: Any) -> Any:
    """Log density of the proposal within its reach in nats, except for a constant.

    Like `reach` it runs on NumPy and on JAX arrays.
    """
    if isinstance(proposal, Uniform):
        return 0 * y
    z = (y - proposal.loc) / proposal.scale
    return -0.5 * z * z if isinstance(proposal, Normal) else -abs(z)


class _Sum(NamedTuple):
    """Sum of densities under way."""

    k: Float[Array, "*event"]  # the next index
    total: Float[Array, "*event"]  # of the densities before it


@functools.partial(jax.jit, static_argnums=0)
def _bits(step: float, key: Array, index: Int[Array, "*event"], proposal: Any) -> Float[Array, ""]:
    low, high = reach(proposal)
    u = dither(key, proposal)
    first, last = jnp.ceil(low / step - u), jnp.floor(high / step - u)

    def add(state):
        density = jnp.exp(log_density(proposal, (state.k + u) * step))
        # components with fewer points have ended before the others
        return _Sum(state.k + 1, state.total + jnp.where(state.k <= last, density, 0))

    start = _Sum(first, jnp.zeros_like(u))
    total = jax.lax.while_loop(lambda state: jnp.any(state.k <= last), add, start).total
    nats = log_density(proposal, (index.astype(u.dtype) + u) * step)
    return jnp.sum(jnp.log2(total) - nats / math.log(2))


class _Tables(NamedTuple):
    """Tables of frequencies for all components of all samples, in one row of n d."""

    first: Int[np.ndarray, "nd"]  # index of each table's first point
    count: Int[np.ndarray, "nd"]  # number of points of each table
    parts: Iterator[tuple[slice, Int[np.ndarray, "rows points"]]]  # some rows at a time


def _tables(step: float, keys: Any, proposal: Any) -> _Tables:
    reach(proposal)  # refuses other proposals
    u = np.asarray(dithers(keys, proposal), np.float64)
    law = jax.tree.map(
        lambda x: np.broadcast_to(np.asarray(x, np.float64), u.shape).ravel(), proposal
    )
    low, high = reach(law)
    u = u.ravel()
    # One more point on either side, of the least frequency, for samples that rounding has moved out
    # of the reach.
    first, last = np.ceil(low / step - u) - 1, np.floor(high / step - u) + 1
    count = (last - first).astype(np.int64) + 1
    width = int(count.max(initial=1))
    if width > _MOST:
        raise ValueError(
            f"step {step} is too small for the proposal: {width} values, of {_MOST} at most"
        )

    def parts():
        for start in range(0, u.size, _ROWS):
            rows = slice(start, start + _ROWS)
            k = first[rows, None] + np.arange(width)
            part = jax.tree.map(lambda x, rows=rows: x[rows, None], law)
            # Shorter tables are padded to the width of the longest: no density beyond their points.
            inside = (k > first[rows, None]) & (k < last[rows, None])
            nats = log_density(part, (k + u[rows, None]) * step)
            yield rows, _frequencies(np.where(inside, nats, -np.inf))

    return _Tables(first.astype(np.int64), count, parts())


dithers = jax.jit(jax.vmap(dither, in_axes=(0, None)))
"""The dithers of a batch of keys."""


def _frequencies(logits: Float[np.ndarray, "rows points"]) -> Int[np.ndarray, "rows points"]:
    """Positive integers that sum to 2^24 in every row.

    Raises:
        ValueError: a table has no point within the proposal's reach.
    """
    if np.any(logits.max(-1) == -np.inf):
        raise ValueError("proposal: its scale is too small for the step")
    weights = np.asarray(few_weights(logits.astype(np.float32)), np.int64)
    return integer_shares(weights)
