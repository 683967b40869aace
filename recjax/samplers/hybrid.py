"""Hybrid coding: universal quantisation finds the place, a search in it the sample."""

import dataclasses
import functools
from typing import Any

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
from recjax.samplers._streams.hybrid import HybridCode, HybridIndex, checked_hybrid
from recjax.samplers._streams.numbers import ZetaCode
from recjax.samplers.a_star import AStar
from recjax.samplers.base import Code, Coder, check_range, sent_sample
from recjax.samplers.index_code import IndexCode

_REACH = 5.0  # scales at which a normal target is cut: 6e-7 of its mass lies beyond
_SLACK = 1e-6  # mass under the proposal by which rounding may widen a support beyond its window


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridCoder(Coder):
    """A* coding among dithered candidates, for targets whose supports have small mass.

    In the quantiles of the proposal a component's support must lie in an interval of length
    2^-cell_bits. Candidate n is a shared dither, uniform on a cell, moved into that interval: its
    ``cell_bits`` leading bits are the cell (K of universal quantisation), those that follow are
    random. Sender and receiver agree on the latter, and the index is the cell and the rank n:
    d cell_bits bits, and those of A* coding for the rest of the divergence. The largest ratio, and
    with it the number of steps, is smaller by 2^(d cell_bits) than without cells.

    Source: Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022, with cells of
    dyadic size. Exact for uniform, triangular and mixed uniform targets; a normal one is cut at 5
    scales, beyond which 6e-7 of its mass lies. ``steps`` counts as for `AStar`. The rank is sent in
    a zeta code.

    Args:
        cell_bits: bits of the cell in each component, 0 to 16.
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Triangular(1.0, 1.25), recjax.Uniform(0.0, 4.0)
    >>> coder, key = recjax.HybridCoder(cell_bits=4), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    >>> int(code.index.cell) in (4, 5)
    True
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

    def check_batch(self, targets: Any, proposals: Any) -> None:
        super().check_batch(targets, proposals)
        if (values := concrete((targets, proposals))) is not None:
            _checked(_window_lanes(self.cell_bits, *values))

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        windows = _window_lanes(self.cell_bits, targets, proposals)
        code = candidate_search.encode_lanes(self._sampler, keys, targets, windows)
        return _finish_lanes(self.cell_bits, keys, code, windows)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        cell, rank = checked_hybrid(index, self._last_cell(proposal), self.limit - 1)
        return _decode(self.cell_bits, key, cell, rank, proposal)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        if proposal is None:
            raise ValueError("proposal is needed: the code of hybrid coding depends on its shape")
        rank = ZetaCode(
            last=self.limit - 1,
            proposal=proposal,
            rate_bits=rate_bits,
            spent_bits=self.cell_bits * proposal.event_size,
        )
        return HybridCode(self._last_cell(proposal), self.cell_bits, rank)

    def _last_cell(self, proposal: Any) -> UInt32[np.ndarray, "*event"]:
        return np.full(proposal.event_shape, (1 << self.cell_bits) - 1, np.uint32)

    @property
    def _sampler(self) -> AStar:
        return AStar(max_steps=self.max_steps)


@family
class _Window(StandIn):
    """The proposal within an interval of its quantiles for each component: the candidates' law.

    Attributes:
        proposal: the proposal.
        start: the first quantile of each interval, in units of 2^-32.
        wide: whether a component of the target has a support that its interval cannot hold.
        bits: -log2 of the length of the intervals.
    """

    proposal: Distribution
    start: UInt32[Array, "*event"]
    wide: Bool[Array, "*event"]
    bits: UInt32[Array, ""]

    def __init__(self, *values: Any) -> None:
        for name, value in zip(self.parameters, values, strict=True):
            object.__setattr__(self, name, value)

    def quantiles(self, bits: UInt32[Array, "... d"]) -> UInt32[Array, "... d"]:
        """Quantiles in the intervals, from random bits.

        A quantile begins with the bits of its cell. The leading random bits follow.
        """
        dither, room = bits >> self.bits, 32 - self.bits
        start = self.start.reshape(-1)
        base = start >> room
        # the interval lies in two cells: a dither below its start is in the second
        cell = base + (dither < start - (base << room)).astype(jnp.uint32)
        return (cell << room) | dither

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self.proposal.sample_from_bits(randomness.bits_at_quantile(self.quantiles(bits)))


@register_pair(object, _Window)
class _WindowPair(Pair):
    """A target and the candidates of its window, whose density is larger by the window's gain."""

    def __init__(self, target: Any, proposal: _Window) -> None:
        super().__init__(target, proposal)
        self.inner = pair_of(target, proposal.proposal)
        dtype = proposal.dtype
        self.gain = proposal.event_size * proposal.bits.astype(dtype) * np.log(2).astype(dtype)

    def log_ratio(self, x: Float[Array, "*event"]) -> Float[Array, ""]:
        return self.inner.log_ratio(x) - self.gain

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.inner.log_ratio_max() - self.gain

    def violations(self) -> Violations:
        return [*self.inner.violations(), *_too_wide(self.proposal)]

    def bound_violations(self) -> Violations:
        return self.inner.bound_violations()


def _too_wide(window: _Window) -> Violations:
    message = "target: a component's support has more than 2^-cell_bits of the proposal's mass"
    return [(message, window.wide)]


def _checked(window: _Window) -> _Window:
    """The window; a ValueError if it is concrete and the target too wide for it."""
    values = concrete(window)
    if values is not None:
        raise_first(_too_wide(values))
    return window


def _window_of(bits: int, target: Any, proposal: Any) -> _Window:
    """The window around the middle of the target's support, in quantiles."""
    low, high = (proposal.cdf(end) for end in _support(target))
    length = 2.0**-bits
    start = jnp.clip(0.5 * (low + high) - 0.5 * length, 0, 1 - length) * 2.0**32
    # NaN compares as not too wide: the pair reports it
    wide = high - low > length + _SLACK
    return _Window(proposal, start.astype(jnp.uint32), wide, jnp.uint32(bits))


_window = jax.jit(_window_of, static_argnums=0)
_window_lanes = jax.jit(jax.vmap(_window_of, in_axes=(None, 0, 0)), static_argnums=0)


def _support(target: Any) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
    """The ends of every component's support.

    Raises:
        ValueError: the support is not known to be bounded.
    """
    match target:
        case Normal():
            return target.loc - _REACH * target.scale, target.loc + _REACH * target.scale
        case Uniform() | Triangular():
            return target.low, target.high
        case UniformMixture():
            return target.low.min(-1), target.high.max(-1)
    raise ValueError(f"target: the support of a {type(target).__name__} is not known to be bounded")


@functools.partial(jax.jit, static_argnums=0)
def _encode(coder: HybridCoder, key: Array, target: Any, window: _Window) -> Code:
    code = candidate_search.encode(coder._sampler, key, target, window)
    return _finish(coder.cell_bits, key, code, window)


def _finish(bits: int, key: Array, code: Code, window: _Window) -> Code:
    """The code with the cell in its index, and the decoder's sample."""
    quantiles = window.quantiles(_candidate_bits(key, code.index, window.proposal))
    cell = (quantiles >> (32 - window.bits)).reshape(window.event_shape)
    sample = sent_sample(_decode(bits, key, cell, code.index, window.proposal), code.status)
    return dataclasses.replace(code, index=HybridIndex(cell, code.index), sample=sample)


_finish_lanes = jax.jit(jax.vmap(_finish, in_axes=(None, 0, 0, 0)), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _decode(
    bits: int, key: Array, cell: UInt32[Array, "*event"], rank: UInt32[Array, ""], proposal: Any
) -> Float[Array, "*event"]:
    dither = _candidate_bits(key, rank, proposal) >> bits
    quantile = (cell.reshape(-1) << (32 - bits)) | dither
    return proposal.sample_from_bits(randomness.bits_at_quantile(quantile))


def _candidate_bits(key: Array, rank: UInt32[Array, ""], proposal: Any) -> UInt32[Array, "d"]:
    """The random bits of a candidate, 32 per component."""
    words = randomness.stream_key(key, Stream.CANDIDATE)
    return randomness.coordinate_bits(words, rank, proposal.event_size)
