"""Dithered quantisation."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax import randomness
from recjax.distributions.base import any_violation, concrete, raise_first
from recjax.distributions.laplace import Laplace
from recjax.distributions.normal import Normal
from recjax.distributions.pair import pair_of
from recjax.distributions.uniform import Uniform
from recjax.randomness import Stream
from recjax.samplers.base import Code, Coder, Status

_LARGEST = 1 << 22
_ULPS = 8  # of its ends by which the length of a target may differ from the step


@dataclasses.dataclass(frozen=True, kw_only=True)
class DitheredQuantizer(Coder):
    """Subtractive dither: the index is K = round(c / step - U), the sample (K + U) step, uniform on c -+ step / 2.

    U, uniform on [-1/2, 1/2], is shared (Roberts 1962; Ziv, *On universal quantization*, 1985). Targets are
    ``Uniform(c - step / 2, c + step / 2)``, of any event shape; the index is an int32 for each component. Exact.
    ``steps`` is 1.

    Given U, the receiver expects of the points (k + U) step what the density of the proposal says of them: index K
    takes -log2 of the share of its point in their sum. Over U that sum times the step has the mean 1, so that the mean
    bits are at most D_KL of the target from the proposal, without any overhead; and where the proposal is the law of
    the samples, H[K|U] = I.

    Args:
        step: the length of the targets, positive.

    >>> import jax, recjax
    >>> q, p = recjax.Uniform(2.1, 2.6), recjax.Uniform(0.0, 4.0)
    >>> coder, key = recjax.DitheredQuantizer(step=0.5), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample), float(coder.codelength(key, code.index, p))
    (True, 3.0)
    """

    step: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.step, int | float | np.number) and not isinstance(self.step, bool)
        if not number or not 0 < self.step < math.inf:
            raise ValueError(f"step must be a positive number, got {self.step!r}")

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        self._check(target, proposal)
        return _encode(self.step, key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        self._check(targets, proposals)
        return _encode_lanes(self.step, keys, targets, proposals)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(self.step, key, _checked(index, proposal), proposal)

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """-log2 of the probability of the index given U, for proposals that `reach` knows; the rate is not used."""
        return _codelength(self.step, key, _checked(index, proposal), proposal)

    def _check(self, target, proposal):
        if not isinstance(target, Uniform):
            raise ValueError(
                f"target: dithered quantisation simulates a Uniform, not a {type(target).__name__}"
            )
        values = concrete((target, proposal))
        if values is not None:
            raise_first(_violations(self.step, pair_of(*values).target))


def dither(key: Array, proposal: Any) -> Float[Array, "*event"]:
    """U of every component."""
    words = randomness.stream_key(key, Stream.CANDIDATE)
    bits = randomness.coordinate_bits(words, jnp.uint32(0), proposal.event_size)
    return (randomness.uniform(bits, proposal.dtype) - 0.5).reshape(proposal.event_shape)


def reach(proposal: Any) -> tuple[Any, Any]:
    """The ends of what a proposal expects, elementwise; written with operators only, for NumPy and JAX arrays.

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
    raise ValueError(f"proposal: a {type(proposal).__name__} has no code for dithered quantisation")


def nats(proposal: Any, y: Any) -> Any:
    """The log density of the proposal within its reach but for a constant, as `reach`."""
    if isinstance(proposal, Uniform):
        return 0 * y
    z = (y - proposal.loc) / proposal.scale
    return -0.5 * z * z if isinstance(proposal, Normal) else -abs(z)


def _violations(step, target):
    far = abs(target.low) + abs(target.high)
    slack = _ULPS * float(jnp.finfo(target.low.dtype).eps)
    return [
        (
            f"target: it must be of length step = {step}",
            abs((target.high - target.low) - step) > slack * (far + step),
        ),
        ("target: it must lie within 2^22 steps of 0", far > 2 * step * (_LARGEST - 1)),
    ]


def _checked(index, proposal) -> Int[Array, "*event"]:
    """Signed whole numbers as int32: concrete ones are checked, traced ones clamped."""
    if (
        not jnp.issubdtype(jnp.result_type(index), jnp.integer)
        or np.shape(index) != proposal.event_shape
    ):
        raise ValueError(f"index must be whole numbers {list(proposal.event_shape)}")
    known = concrete(index)
    if known is not None and np.any((known < -_LARGEST) | (known > _LARGEST)):
        raise ValueError(f"index must be from {-_LARGEST} to {_LARGEST}")
    if jnp.issubdtype(jnp.result_type(index), jnp.unsignedinteger):
        return jnp.minimum(jnp.asarray(index), _LARGEST).astype(jnp.int32)
    return jnp.clip(jnp.asarray(index), -_LARGEST, _LARGEST).astype(jnp.int32)


def _encode_one(step, key, target, proposal):
    pair = pair_of(target, proposal)
    bad = any_violation([*pair.violations(), *_violations(step, pair.target)])
    centre = 0.5 * pair.target.low + 0.5 * pair.target.high
    index = jnp.where(bad, 0, jnp.round(centre / step - dither(key, proposal))).astype(jnp.int32)
    status = jnp.where(bad, Status.INVALID, Status.DONE).astype(jnp.int32)
    return Code(
        index, _decode(step, key, index, proposal), jnp.where(bad, 0, 1).astype(jnp.int32), status
    )


_encode = jax.jit(_encode_one, static_argnums=0)
_encode_lanes = jax.jit(jax.vmap(_encode_one, in_axes=(None, 0, 0, 0)), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _decode(step, key, index, proposal):
    # a product of a sum: nothing that compilers may or may not fuse
    return (index.astype(proposal.dtype) + dither(key, proposal)) * step


@functools.partial(jax.jit, static_argnums=0)
def _codelength(step, key, index, proposal):
    low, high = reach(proposal)
    u = dither(key, proposal)
    first, last = jnp.ceil(low / step - u), jnp.floor(high / step - u)

    def more(state):
        return jnp.any(state[0] <= last)

    def add(state):
        k, total = state
        return k + 1, total + jnp.where(k <= last, jnp.exp(nats(proposal, (k + u) * step)), 0)

    total = jax.lax.while_loop(more, add, (first, jnp.zeros_like(u)))[1]
    return jnp.sum(
        jnp.log2(total) - nats(proposal, (index.astype(u.dtype) + u) * step) / math.log(2)
    )
