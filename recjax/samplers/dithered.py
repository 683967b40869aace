"""Dithered quantisation."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax.distributions.base import Violations, any_violation, concrete, raise_first
from recjax.distributions.pair import pair_of
from recjax.distributions.uniform import Uniform
from recjax.samplers._streams.centres import CentresCode
from recjax.samplers._streams.dithered import LARGEST, DitheredCode, checked_dithered, dither
from recjax.samplers.base import Code, Coder, Status, sent_sample
from recjax.samplers.index_code import IndexCode

_CODES = {"samples": DitheredCode, "centres": CentresCode}
_ULPS = 8  # units in the last place of its ends by which a target's length may differ from the step


@dataclasses.dataclass(frozen=True, kw_only=True)
class DitheredQuantizer(Coder):
    """Subtractive dither: the index is K = round(c / step - U), the sample (K + U) step.

    The sample is uniform on c -+ step / 2. The dither U, uniform on [-1/2, 1/2], is shared (Roberts
    1962; Ziv, *On universal quantization*, 1985). Targets are
    ``Uniform(c - step / 2, c + step / 2)``, of any event shape; the index is an int32 per
    component. Exact. ``steps`` is 1.

    The code: given U, the receiver expects the points (k + U) step in proportion to the density of
    the proposal, so that index K takes -log2 of its point's share of the sum over points. Over U
    that sum times the step has the mean 1, so that the mean bits are at most D_KL of the target
    from the proposal, without any overhead. Where the proposal is the law of the samples,
    H[K|U] = I. Proposals are Normal, Laplace or Uniform; the rate does not enter.

    With ``proposal_of="centres"`` the proposal is the law of the centres c: a Normal, Laplace or
    Logistic, as the prior of latents in learned compression (Ballé et al., *End-to-end optimized
    image compression*, ICLR 2017; Agustsson and Theis, *Universally quantized neural compression*,
    NeurIPS 2020). Index K then takes -log2 of the prior's probability of (K + U -+ 1/2) step, and
    strings take millions of symbols per second. They exceed these lengths by about 0.005 bits per
    symbol, more where scales are below step / 32, which are coded as that.

    Whole numbers decide a string, and follow from dither, location and scale by exactly rounded
    operations: equal locations and scales decode it on every machine. Where a network on another
    device computes them, their last bits differ, and one differing bin spoils the rest of the
    string: derive them from integers, or compute them on one device.

    Args:
        step: the length of the targets, positive.
        proposal_of: the law that the proposal is: of the ``"samples"`` or of the ``"centres"``. It
            matters to code lengths and strings only.

    >>> import jax, recjax
    >>> q, p = recjax.Uniform(2.1, 2.6), recjax.Uniform(0.0, 4.0)
    >>> coder, key = recjax.DitheredQuantizer(step=0.5), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    >>> float(coder.codelength(key, code.index, p))
    3.0
    """

    step: float = 1.0
    proposal_of: str = "samples"

    def __post_init__(self) -> None:
        if self.proposal_of not in tuple(_CODES):  # also of what cannot be hashed
            raise ValueError(
                f"proposal_of must be 'samples' or 'centres', got {self.proposal_of!r}"
            )
        number = isinstance(self.step, int | float | np.number) and not isinstance(self.step, bool)
        if not number or not 0 < self.step < math.inf:
            raise ValueError(f"step must be a positive number, got {self.step!r}")

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        self._check(target, proposal)
        return _encode(self.step, key, target, proposal)

    def check_batch(self, targets: Any, proposals: Any) -> None:
        super().check_batch(targets, proposals)
        self._check(targets, proposals)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return _encode_lanes(self.step, keys, targets, proposals)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(self.step, key, checked_dithered(index, proposal), proposal)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        return _CODES[self.proposal_of](self.step, proposal)

    def _check(self, target: Any, proposal: Any) -> None:
        if not isinstance(target, Uniform):
            raise ValueError(
                f"target: dithered quantisation simulates a Uniform, not a {type(target).__name__}"
            )
        values = concrete((target, proposal))
        if values is not None:
            raise_first(_violations(self.step, pair_of(*values).target))


def _violations(step: float, target: Uniform) -> Violations:
    """What is wrong with the length or the place of a target."""
    far = abs(target.low) + abs(target.high)
    slack = _ULPS * float(jnp.finfo(target.low.dtype).eps)
    return [
        (
            f"target: it must be of length step = {step}",
            abs((target.high - target.low) - step) > slack * (far + step),
        ),
        ("target: it must lie within 2^22 steps of 0", far > 2 * step * (LARGEST - 1)),
    ]


def _encode_one(step: float, key: Array, target: Uniform, proposal: Any) -> Code:
    pair = pair_of(target, proposal)
    bad = any_violation([*pair.violations(), *_violations(step, pair.target)])
    centre = 0.5 * pair.target.low + 0.5 * pair.target.high
    # index 0 where parameters are bad: NaN has no integer
    index = jnp.where(bad, 0, jnp.round(centre / step - dither(key, proposal))).astype(jnp.int32)
    status = jnp.where(bad, Status.INVALID, Status.DONE).astype(jnp.int32)
    steps = jnp.where(bad, 0, 1).astype(jnp.int32)
    sample = sent_sample(_decode(step, key, index, proposal), status)
    return Code(index, sample, steps, status)


_encode = jax.jit(_encode_one, static_argnums=0)
_encode_lanes = jax.jit(jax.vmap(_encode_one, in_axes=(None, 0, 0, 0)), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _decode(
    step: float, key: Array, index: Int[Array, "*event"], proposal: Any
) -> Float[Array, "*event"]:
    # a product of a sum: no product to add, which compilers may or may not fuse into one rounding
    return (index.astype(proposal.dtype) + dither(key, proposal)) * step
