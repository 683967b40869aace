"""Hybrid coding: universal quantisation finds the place, a search in it the sample."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, concrete, family, raise_first
from recjax.distributions.normal import Normal
from recjax.distributions.pair import Pair, pair_of, register_pair
from recjax.distributions.stand_in import StandIn
from recjax.distributions.triangular import Triangular
from recjax.distributions.uniform import Uniform
from recjax.distributions.uniform_mixture import UniformMixture
from recjax.randomness import Stream
from recjax.samplers._search import candidate_search
from recjax.samplers.a_star import AStar
from recjax.samplers.base import Code, Coder, check_range, checked_index
from recjax.samplers.codelength import rate_value, zeta_bits

_REACH = 5.0  # scales at which a normal target is cut: 6e-7 of its mass lies beyond
_SLACK = 1e-6  # of the proposal's mass, by which rounding may lift a support over a cell


class HybridIndex(NamedTuple):
    """What hybrid coding sends.

    Attributes:
        cell: of every component, where in the proposal's quantiles, from 0 to 2^cell_bits - 1.
        rank: the 0-based number of the candidate.
    """

    cell: UInt32[Array | np.ndarray, "*event"]
    rank: UInt32[Array | np.ndarray, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridCoder(Coder):
    """A* coding among dithered candidates, for targets whose components have supports of small mass under the proposal.

    In the quantiles of the proposal a component's support must lie in an interval of length 2^-cell_bits. Candidate n
    is a shared dither, uniform on a cell, put into that interval: its ``cell_bits`` leading bits say where (K of
    universal quantisation), those that follow are random. Sender and receiver agree on the latter, and the index is
    the cell and the rank n: d cell_bits bits, and those of A* coding for the rest of the divergence. The largest
    ratio, and with it the number of steps, is smaller by 2^(d cell_bits) than without cells.

    Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022, with cells of dyadic size. Exact for
    uniform, triangular and mixed uniform targets; a normal one is cut at 5 scales, where its density has lost
    6e-7 of its mass. ``steps`` counts as `AStar` does.

    Args:
        cell_bits: bits of the cell in each component, 0 to 16.
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Triangular(1.0, 1.25), recjax.Uniform(0.0, 4.0)
    >>> coder, key = recjax.HybridCoder(cell_bits=4), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample), int(code.index.cell) in (4, 5)
    (True, True)
    """

    cell_bits: int = 4
    max_steps: int = 1 << 24

    def __post_init__(self) -> None:
        check_range("cell_bits", self.cell_bits, 0, 16)
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    @property
    def limit(self) -> int:
        """The number of ranks."""
        return self.max_steps

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return _encode(self, key, target, _checked(_window(self.cell_bits, target, proposal)))

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        windows = _checked(_window_lanes(self.cell_bits, targets, proposals))
        code = candidate_search.encode_lanes(self._sampler, keys, targets, windows)
        return _finish_lanes(self.cell_bits, keys, code, windows)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(self.cell_bits, key, checked_hybrid_index(index, self, proposal), proposal)

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """``cell_bits`` a component, and the zeta code of the rank at a rate shorter by as much."""
        rank = checked_hybrid_index(index, self, proposal).rank
        cells = self.cell_bits * proposal.event_size
        return cells + zeta_bits(
            rank, jnp.maximum(rate_value(rate_bits, proposal.dtype) - cells, 0)
        )

    @property
    def _sampler(self):
        return AStar(max_steps=self.max_steps)


def checked_hybrid_index(index: Any, coder: HybridCoder, proposal: Any) -> HybridIndex:
    """A cell and a rank as uint32: concrete ones are checked, traced ones clamped."""
    if not isinstance(index, tuple) or len(index) != 2:
        raise ValueError("index must be a HybridIndex: a cell for every component, and a rank")
    cell, rank = index
    if (
        not jnp.issubdtype(jnp.result_type(cell), jnp.integer)
        or np.shape(cell) != proposal.event_shape
    ):
        raise ValueError(f"index: its cells must be whole numbers {list(proposal.event_shape)}")
    largest = (1 << coder.cell_bits) - 1
    known = concrete(cell)
    if known is not None and np.any((known < 0) | (known > largest)):
        raise ValueError(f"index: its cells must be from 0 to {largest}")
    return HybridIndex(
        jnp.clip(jnp.asarray(cell), 0, largest).astype(jnp.uint32), checked_index(rank, coder.limit)
    )


@family
class _Window(StandIn):
    """The proposal within an interval of its quantiles for each component, from start / 2^32 on, 2^-bits long."""

    proposal: Distribution
    start: UInt32[Array, "*event"]
    wide: Bool[Array, "*event"]  # whether the target's support is too wide for it
    bits: UInt32[Array, ""]

    def __init__(self, *values: Any) -> None:
        for name, value in zip(self.parameters, values, strict=True):
            object.__setattr__(self, name, value)

    def quantiles(self, bits):
        """For random bits, the quantiles in the interval whose last 32 - bits bits are the leading ones of theirs."""
        dither, room = bits >> self.bits, 32 - self.bits
        start = self.start.reshape(-1)
        base = start >> room
        cell = base + (dither < start - (base << room)).astype(jnp.uint32)
        return (cell << room) | dither

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self.proposal.sample_from_bits(randomness.bits_at_quantile(self.quantiles(bits)))


@register_pair(object, _Window)
class _WindowPair(Pair):
    """A target over the candidates of its window."""

    def __init__(self, target: Any, proposal: _Window) -> None:
        super().__init__(target, proposal)
        self.inner = pair_of(target, proposal.proposal)
        self.gain = (
            proposal.event_size
            * proposal.bits.astype(proposal.dtype)
            * np.log(2).astype(proposal.dtype)
        )

    def log_ratio(self, x: Float[Array, "*event"]) -> Float[Array, ""]:
        return self.inner.log_ratio(x) - self.gain

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.inner.log_ratio_max() - self.gain

    def violations(self) -> Violations:
        return [*self.inner.violations(), *_too_wide(self.proposal)]

    def bound_violations(self) -> Violations:
        return self.inner.bound_violations()


def _too_wide(window) -> Violations:
    return [
        (
            "target: a component's support has more than 2^-cell_bits of the proposal's mass",
            window.wide,
        )
    ]


def _checked(window):
    values = concrete(window)
    if values is not None:
        raise_first(_too_wide(values))
    return window


def _window_of(bits, target, proposal):
    """The window round the middle of the support, in quantiles."""
    low, high = (proposal.cdf(end) for end in _support(target))
    length = 2.0**-bits
    start = jnp.clip(0.5 * (low + high) - 0.5 * length, 0, 1 - length) * 2.0**32
    # a NaN, which the pair reports itself, is not too wide
    return _Window(
        proposal, start.astype(jnp.uint32), high - low > length + _SLACK, jnp.uint32(bits)
    )


_window = jax.jit(_window_of, static_argnums=0)
_window_lanes = jax.jit(jax.vmap(_window_of, in_axes=(None, 0, 0)), static_argnums=0)


def _support(target):
    match target:
        case Normal():
            return target.loc - _REACH * target.scale, target.loc + _REACH * target.scale
        case Uniform() | Triangular():
            return target.low, target.high
        case UniformMixture():
            return target.low.min(-1), target.high.max(-1)
    raise ValueError(f"target: the support of a {type(target).__name__} is not known to be bounded")


@functools.partial(jax.jit, static_argnums=0)
def _encode(coder, key, target, window):
    return _finish(
        coder.cell_bits, key, candidate_search.encode(coder._sampler, key, target, window), window
    )


def _finish(bits, key, code, window):
    quantiles = window.quantiles(_candidate_bits(key, code.index, window.proposal))
    cell = (quantiles >> (32 - window.bits)).reshape(window.event_shape)
    index = HybridIndex(cell, code.index)
    return dataclasses.replace(code, index=index, sample=_decode(bits, key, index, window.proposal))


_finish_lanes = jax.jit(jax.vmap(_finish, in_axes=(None, 0, 0, 0)), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _decode(bits, key, index, proposal):
    dither = _candidate_bits(key, index.rank, proposal) >> bits
    quantile = (index.cell.reshape(-1) << (32 - bits)) | dither
    return proposal.sample_from_bits(randomness.bits_at_quantile(quantile))


def _candidate_bits(key, rank, proposal):
    return randomness.coordinate_bits(
        randomness.stream_key(key, Stream.CANDIDATE), rank, proposal.event_size
    )
