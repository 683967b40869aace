"""Code of dithered quantisation for a prior of the centres. Frozen: FORMAT.md, section Strings.

Given the dither U, index k has the prior's probability of (k + U -+ 1/2) step: the prior convolved
with the noise, as in learned compression. Everything is in units of the step here.

In a string, indices share tables of integer frequencies, one per family, bin of the scale and bin
of the offset between the centre of the prior and the lattice. A bin of scales is 1/16 of an octave,
a bin of offsets 1/64 of a step. Scales of 8 and more are halved b times until they are below 8, and
the last b bits of the index are sent as they are. Values beyond a table are its first or last
symbol, and how far beyond follows in Elias delta: no index is refused.

Bins follow from scale, centre and dither by exactly rounded operations in double precision (sums,
differences, quotients, products with powers of two), and so do the tables: every machine has the
same ones. Strings exceed the ideal lengths by about 0.005 bits per index.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax.bits import stream
from recjax.bits.frequencies import integer_shares
from recjax.bits.number_models import EliasDelta
from recjax.distributions.laplace import Laplace
from recjax.distributions.logistic import Logistic
from recjax.distributions.normal import Normal
from recjax.samplers._streams.dithered import LARGEST, checked_dithered, dither, dithers
from recjax.samplers.index_code import IndexCode, refuse

_OCTAVES = range(-5, 3)  # of the scales of tables: from 2^-5 to 2^3 steps
_SCALES = 16  # bins per octave, linear within it
_OFFSETS = 64  # bins per step
_ROWS = 1 << 13  # symbols that are handed to the range coder at a time
_LOW_BITS = 16  # the range coder's uniform models have at most 24 bits


@dataclasses.dataclass(frozen=True, eq=False)
class CentresCode(IndexCode):
    """-log2 of the prior's probability of an index given the dither; the rate does not enter.

    Args:
        step: the quantisation step.
        proposal: the prior of the centres, a Normal, Laplace or Logistic of any event shape.
    """

    step: float
    proposal: Any

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        _family(self.proposal)
        return _bits(self.step, key, checked_dithered(index, self.proposal), self.proposal)

    def settings(self, keys: Any) -> tuple[int, ...]:
        return (*super().settings(keys), 1)  # 1 tells centres from samples

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        index, shape = np.asarray(index), (len(keys), *self.proposal.event_shape)
        if index.shape != shape or not np.issubdtype(index.dtype, np.integer):
            raise ValueError(f"index must hold whole numbers {list(shape)}, as many as keys")
        if np.any((index < -LARGEST) | (index > LARGEST)):
            raise ValueError(f"index must be from {-LARGEST} to {LARGEST}")
        index = index.ravel().astype(np.int64)
        plan = _plan(self.step, keys, self.proposal)
        place = (index >> plan.halvings) - plan.nearest
        beyond = [np.zeros(0, np.int64)]
        for group, weights in plan.groups():
            reach = weights.shape[-1] // 2
            here = place[group]
            symbol = np.clip(here, -reach, reach) + reach
            for rows in _slabs(group.size):
                model = stream.model.Categorical(perfect=False)
                rows_of = weights[plan.row[group[rows]]]
                encoder.encode(symbol[rows].astype(np.int32), model, rows_of)
            excess = np.abs(here) - reach
            beyond.append(excess[excess >= 0])
        beyond = np.concatenate(beyond)
        EliasDelta().put(encoder, beyond)
        for shift, size, wide in plan.digits():
            digit = (index[wide] >> shift) % size
            encoder.encode(digit.astype(np.int32), stream.model.Uniform(), size.astype(np.int32))

    def take(self, decoder: Any, keys: Any) -> Int[np.ndarray, "n *event"]:
        plan = _plan(self.step, keys, self.proposal)
        place = np.zeros(plan.row.size, np.int64)
        ends = np.zeros(plan.row.size, np.int64)
        for group, weights in plan.groups():
            reach = weights.shape[-1] // 2
            for rows in _slabs(group.size):
                model = stream.model.Categorical(perfect=False)
                rows_of = weights[plan.row[group[rows]]]
                place[group[rows]] = decoder.decode(model, rows_of) - reach
            here = place[group]
            ends[group] = np.where(np.abs(here) == reach, np.sign(here), 0)
        far = [group[ends[group] != 0] for group, _ in plan.groups()]
        far = np.concatenate([np.zeros(0, np.int64), *far])
        place[far] += ends[far] * EliasDelta().take(decoder, far.size)
        index = (place + plan.nearest) << plan.halvings
        for shift, size, wide in plan.digits():
            digit = decoder.decode(stream.model.Uniform(), size.astype(np.int32))
            index[wide] += digit.astype(np.int64) << shift
        refuse(np.abs(index) > LARGEST)
        return index.astype(np.int32).reshape(len(keys), *self.proposal.event_shape)


def _slabs(size: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, size, _ROWS))


class _Plan(NamedTuple):
    """Tables for all components of all samples, in one row of n d."""

    family: type
    octave: Int[np.ndarray, "nd"]  # number of each table's octave in _OCTAVES
    row: Int[np.ndarray, "nd"]  # number of the table in its octave
    nearest: Int[np.ndarray, "nd"]  # the middle of the table, as a halved index
    halvings: Int[np.ndarray, "nd"]

    def groups(self) -> Iterator[tuple[Int[np.ndarray, "n"], Float[np.ndarray, "tables symbols"]]]:
        """Octave by octave: the components in their order, and the weights of all tables."""
        order = np.argsort(self.octave, kind="stable")
        counts = np.bincount(self.octave, minlength=len(_OCTAVES))
        for octave, group in zip(_OCTAVES, np.split(order, np.cumsum(counts)[:-1]), strict=True):
            if group.size:
                yield group, _tables(self.family, octave)

    def digits(self) -> Iterator[tuple[Any, Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]:
        """The low bits of the indices: shift, number of values, components."""
        for shift in (0, _LOW_BITS):
            wide = np.flatnonzero(self.halvings > shift)
            if wide.size:
                bits = np.minimum(self.halvings[wide] - shift, _LOW_BITS)
                yield shift, np.int64(1) << bits, wide


def _plan(step: float, keys: Any, proposal: Any) -> _Plan:
    family = _family(proposal)
    u = np.asarray(dithers(keys, proposal), np.float64).reshape(len(keys), proposal.event_size)
    # centres and scales in steps: quotients are exactly rounded
    loc, scale = (np.asarray(x, np.float64).ravel() / step for x in (proposal.loc, proposal.scale))
    # the exponent and the first four bits of the fraction, read off the number itself
    first = 2.0**_OCTAVES.start
    code = (np.clip(scale, first, 4.0 * LARGEST).view(np.int64) >> 48) - (
        np.array(first).view(np.int64) >> 48
    )
    halvings = np.maximum((code >> 4) - (len(_OCTAVES) - 1), 0)
    octave = np.minimum(code >> 4, len(_OCTAVES) - 1)
    # a halved index K stands for the cell of the indices from K 2^b to (K + 1) 2^b - 1
    middle = (loc - u + 0.5) * np.ldexp(1.0, -halvings) - 0.5
    nearest = np.floor(middle + 0.5)
    # Far centres are held where a sum with any reach still fits: their indices are out of range.
    offset = np.clip(np.floor((middle - nearest + 0.5) * _OFFSETS), 0, _OFFSETS - 1)
    row = (code & (_SCALES - 1)) * _OFFSETS + offset.astype(np.int64)
    nearest = np.clip(nearest, -(2.0**30), 2.0**30).astype(np.int64)
    octave, halvings = (np.broadcast_to(x, u.shape) for x in (octave, halvings))
    return _Plan(family, *(x.ravel() for x in (octave.astype(np.uint8), row, nearest, halvings)))


@functools.cache
def _tables(family: type, octave: int) -> Float[np.ndarray, "tables symbols"]:
    """Weights of an octave's tables: bin of scales by bin of scales, in each all bins of offsets.

    A symbol 0 <= i <= 2 R stands for the place i - R from the middle, the first and the last one
    for everything beyond, too.
    """
    law = _LAWS[family]
    scales = (1 + (np.arange(_SCALES) + 0.5) / _SCALES) * 2.0**octave
    offsets = (np.arange(_OFFSETS) + 0.5) / _OFFSETS - 0.5
    reach = int(law.reach * 2.0 ** (octave + 1)) + 2
    edges = np.arange(-reach, reach) + 0.5
    ends = law.cdf((edges - offsets[:, None]) / scales[:, None, None])
    ends = np.concatenate(
        [np.zeros_like(ends[..., :1]), ends, np.ones_like(ends[..., :1])], axis=-1
    )
    # 38 bits: whole numbers whose products with 2^24 have less than 63
    shares = np.floor(np.maximum(np.diff(ends), 0) * 2.0**38).astype(np.int64)
    return stream.weights(integer_shares(shares.reshape(-1, shares.shape[-1])))


def _exp(x: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """e^x for x from -64 to 0, by sums and products alone: exactly rounded ones, on every machine.

    Ten squarings of the Taylor polynomial at x / 1024.
    """
    y = np.maximum(x, -64.0) / 1024
    power = np.ones_like(y)
    for n in range(9, 0, -1):
        power = 1 + power * y / n
    for _ in range(10):
        power = power * power
    return power


def _normal_cdf(z: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """1/2 + phi(z) (z + z^3 / 3 + z^5 / 15 + ...), for |z| up to 7 and held beyond."""
    z = np.clip(z, -7, 7)
    square = z * z
    term = total = z
    for n in range(3, 180, 2):
        term = term * square / n
        total = total + term
    return 0.5 + total * _exp(-0.5 * square) * 0.3989422804014327


def _laplace_cdf(z: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    tail = 0.5 * _exp(-np.abs(z))
    return np.where(z < 0, tail, 1 - tail)


def _logistic_cdf(z: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    tail = _exp(-np.abs(z))
    tail = tail / (1 + tail)
    return np.where(z < 0, tail, 1 - tail)


class _Law(NamedTuple):
    """A standardised prior: its distribution function, and where tables end."""

    cdf: Callable[[Float[np.ndarray, "*n"]], Float[np.ndarray, "*n"]]
    reach: float


_LAWS = {
    Normal: _Law(_normal_cdf, 4.5),
    Laplace: _Law(_laplace_cdf, 8.0),
    Logistic: _Law(_logistic_cdf, 8.0),
}


def _family(proposal: Any) -> type:
    """The type of the prior.

    Raises:
        ValueError: the prior is missing or has no tables.
    """
    if proposal is None:
        raise ValueError("proposal is needed: the code of dithered quantisation depends on it")
    if type(proposal) not in _LAWS:
        names = ", ".join(law.__name__ for law in _LAWS)
        raise ValueError(
            f"proposal: a {type(proposal).__name__} has no code as the law of centres; "
            f"these have: {names}"
        )
    return type(proposal)


@functools.partial(jax.jit, static_argnums=0)
def _bits(step: float, key: Array, index: Int[Array, "*event"], proposal: Any) -> Float[Array, ""]:
    standard = type(proposal)(jnp.zeros_like(proposal.loc), proposal.scale)
    point = (index.astype(proposal.dtype) + dither(key, proposal)) * step - proposal.loc
    # on the left side, where distribution functions keep their relative precision
    point = -jnp.abs(point)
    mass = standard.mass(point - step / 2, point + step / 2)
    # far out strings take the escape's length
    far = 24 + 3 * jnp.log2(1 + jnp.abs(point / step))
    return jnp.sum(jnp.minimum(-jnp.log2(mass), far))
