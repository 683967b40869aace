"""Pairs (Q, P) of a target and a proposal: their density ratio, as samplers and limits use it."""

import abc
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num

from recjax.distributions.base import Distribution, Violations, concrete, raise_first
from recjax.distributions.quadrature import gauss_legendre

PairClass = TypeVar("PairClass", bound=type["Pair"])
_PAIRS: dict[tuple[type, type], type["Pair"]] = {}

_NEAR = 1.0
"""Depth below ln r_max, in nats, down to which survival probabilities are integrated."""


class Pair(abc.ABC):
    """Density ratio r = dQ/dP of a target Q and a proposal P, in natural logarithms.

    Subclass it and decorate the subclass with `register_pair` to make a new pair known to all
    coders and limits. Only `log_ratio` and `log_ratio_max` are required. GPRS and the channel
    simulation divergence also need `widths`. The closed forms `kl` and `channel_simulation` are
    optional: quadrature of the widths replaces them.

    A target may be any pytree with an `event_shape`; it arrives in the dtype of the proposal. A
    proposal is a `Distribution`. Methods are traced: write them with `jax.numpy`.

    >>> import dataclasses
    >>> import recjax
    >>> @jax.tree_util.register_dataclass
    ... @dataclasses.dataclass(frozen=True)
    ... class Power:  # density n x^(n - 1) on [0, 1]
    ...     n: Array
    ...
    ...     @property
    ...     def event_shape(self):
    ...         return self.n.shape
    >>> @recjax.register_pair(Power, recjax.Uniform)
    ... class PowerPair(recjax.Pair):  # over Uniform(0, 1)
    ...     def log_ratio(self, x):
    ...         return jnp.log(self.target.n) + (self.target.n - 1) * jnp.log(x)
    ...
    ...     def log_ratio_max(self):
    ...         return jnp.log(self.target.n)
    >>> q, p, coder = Power(jnp.float32(3.0)), recjax.Uniform(0.0, 1.0), recjax.AStar()
    >>> keys = jax.random.split(jax.random.key(0), 1000)
    >>> codes = coder.encode_batch(keys, Power(jnp.full(1000, 3.0)), p)
    >>> bool(abs(codes.sample.mean() - 0.75) < 0.02)
    True
    """

    def __init__(self, target: Any, proposal: Any) -> None:
        self.target = target
        self.proposal = proposal

    @abc.abstractmethod
    def log_ratio(self, x: Num[ArrayLike, "*event"]) -> Float[Array, ""]:
        """ln r(x), summed over the event; -inf outside the support of Q."""

    @abc.abstractmethod
    def log_ratio_max(self) -> Float[Array, ""]:
        """ln of the essential supremum of r.

        An upper bound of it suffices for rejection sampling and A* coding. Where it is too small,
        samples are biased: codes of samples with a larger ratio have the status
        `recjax.Status.BOUND_TOO_SMALL`.
        """

    def prepared(self) -> "Pair":
        """The same pair for a search over many candidates: with tables that all of them share.

        It is called once per search, under `jax.jit`. By default it is the pair itself.
        """
        return self

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Width functions w_P(h) = P[r(X) >= h] and w_Q(h) = Q[r(X) >= h].

        Raises:
            ValueError: the pair has no width functions.
        """
        raise ValueError(
            f"{self._name} has no width functions: define `widths` in its pair, or for divergences "
            f"alone override `kl` or `channel_simulation`"
        )

    def survival(self, log_h: Float[ArrayLike, ""]) -> Float[Array, ""]:
        """Survival probability w_Q(h) - h w_P(h) = E_P[(r - h)^+].

        Near the maximum of r, where the difference would cancel, it is the integral of w_P over
        [h, r_max].
        """
        w_p, w_q = self.widths(log_h)
        top = self.log_ratio_max()
        depth = jnp.maximum(top - log_h, 0)
        edges = jnp.concatenate(
            [depth[None], jnp.clip(top - self.kinks(), 0, depth), jnp.zeros(1, depth.dtype)]
        )
        # u = top - v^2 removes the square root with which smooth densities reach their maximum;
        # the quadrature is split at the kinks of the widths
        edges = jnp.sqrt(jnp.sort(jnp.minimum(edges, _NEAR)))
        nodes, weights = gauss_legendre(16, depth.dtype)
        length = jnp.diff(edges)
        v = edges[:-1, None] + jnp.outer(length, nodes)
        inner = jax.vmap(
            jax.vmap(lambda v: self.widths(top - v * v)[0] * jnp.exp(top - v * v) * 2 * v)
        )(v)
        near = jnp.sum(inner * jnp.outer(length, weights))
        return jnp.where(depth < _NEAR, near, jnp.maximum(w_q - jnp.exp(log_h) * w_p, 0))

    def stretch(
        self, log_low: Float[ArrayLike, ""], log_high: Float[ArrayLike, ""]
    ) -> Float[Array, ""] | None:
        """Integral of 1 / survival over h from low to high < max r, or None for quadrature."""
        return None

    def mode(self) -> Float[Array, "*event"]:
        """Mode of r, for scalar pairs with a unimodal ratio, which falls on both sides of its mode.

        Raises:
            ValueError: the ratio is not known to be unimodal.
        """
        raise ValueError(
            f"target: this coder needs a unimodal density ratio, "
            f"and that of {self._name} is not known to be unimodal"
        )

    def level_set(
        self, log_h: Float[ArrayLike, ""]
    ) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
        """Ends of the interval {r >= h} of a unimodal ratio.

        Raises:
            ValueError: the pair has no level sets.
        """
        raise ValueError(f"target: {self._name} has no level sets, which this coder needs")

    def masses(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """P([low, high]) and Q([low, high]) of a scalar pair."""
        return self.proposal.mass(low, high).reshape(()), self.target.mass(low, high).reshape(())

    def log_ratio_max_on(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, ""]:
        """ln of the largest r on [low, high], or an upper bound of it."""
        return self.log_ratio(jnp.clip(self.mode(), low, high))

    def kinks(self) -> Float[Array, "k"]:
        """Levels ln h at which the widths are not smooth."""
        return jnp.zeros(0, self.proposal.dtype)

    def kl(self) -> Float[Array, ""] | None:
        """D_KL(Q || P) in nats, or None for quadrature of the widths."""
        return None

    def channel_simulation(self) -> Float[Array, ""] | None:
        """D_CS(Q || P) in nats, or None for quadrature of the widths."""
        return None

    def violations(self) -> Violations:
        """Violations that make the pair meaningless.

        These are bad parameters, or that Q is not absolutely continuous with respect to P.
        """
        return [
            (f"{role}: {message}", bad)
            for role, distribution in (("target", self.target), ("proposal", self.proposal))
            if isinstance(distribution, Distribution)
            for message, bad in distribution.violations()
        ]

    def bound_violations(self) -> Violations:
        """Violations that make the ratio unbounded, so that no exact sampler can code the pair."""
        return [
            (
                f"target: the density ratio of {self._name} is unbounded",
                ~(self.log_ratio_max() < math.inf),
            )
        ]

    def width_violations(self) -> Violations:
        """Violations of the conditions under which a pair with `widths` has them."""
        return []

    def _scalar(self, parameter: Float[Array, "*event"]) -> Float[Array, ""]:
        if self.proposal.event_size != 1:
            raise ValueError(f"{self._name}: width functions exist for scalar pairs only")
        return parameter.reshape(())

    @property
    def _name(self) -> str:
        target, proposal = type(self.target).__name__, type(self.proposal).__name__
        return f"{target} {self.target.event_shape} over {proposal}"


def register_pair(target: type, proposal: type) -> Callable[[PairClass], PairClass]:
    """Decorates the `Pair` of targets of one type over proposals of another.

    Args:
        target: type of the targets; a pair also serves its subclasses.
        proposal: type of the proposals, likewise.

    Returns:
        A class decorator that returns the class itself.
    """

    def register(cls: PairClass) -> PairClass:
        _PAIRS[target, proposal] = cls
        return cls

    return register


def pair_of(target: Any, proposal: Any) -> Pair:
    """Returns the registered `Pair` of a target and a proposal with equal event shapes.

    Raises:
        ValueError: no such pair is registered, the event shapes differ, or an argument has no
            `event_shape`.

    >>> import recjax
    >>> pair = pair_of(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0))
    >>> round(float(pair.log_ratio_max()), 4)
    1.3598
    """
    _check_roles(target, proposal)
    if target.event_shape != proposal.event_shape:
        raise ValueError(
            f"target: its event shape {target.event_shape} is not that of the proposal, "
            f"{proposal.event_shape}"
        )
    for q in type(target).__mro__:
        for p in type(proposal).__mro__:
            if (q, p) in _PAIRS:
                return _PAIRS[q, p](_cast(target, proposal.dtype), proposal)
    raise ValueError(
        f"target: no pair of a {type(target).__name__} over a {type(proposal).__name__} "
        f"is registered: define one with recjax.register_pair"
    )


def violations(pair: Pair, bounded: bool, widths: bool = False) -> Violations:
    """Lists the violations of a pair that a coder or limit needs.

    Args:
        pair: the pair.
        bounded: include those of a bounded ratio.
        widths: include those of width functions.
    """
    return (
        pair.violations()
        + (pair.bound_violations() if bounded else [])
        + (pair.width_violations() if widths else [])
    )


def check_pair(target: Any, proposal: Any, bounded: bool, widths: bool = False) -> None:
    """Checks a pair with concrete parameters; traced ones pass.

    Raises:
        ValueError: there is a violation; see `violations`.
    """
    _check_roles(target, proposal)  # before numbers become arrays
    values = concrete((target, proposal))
    if values is not None:
        with jax.ensure_compile_time_eval():  # constants of a program that is being traced
            raise_first(violations(pair_of(*values), bounded, widths))


def check_pairs(targets: Any, proposals: Any, bounded: bool, widths: bool = False) -> None:
    """Checks a batch of pairs, whose parameters have a leading axis, as `check_pair` checks one."""
    check_pair(targets, proposals, bounded)
    # concrete values: `vmap` would refuse constants beside arrays of an Explicit mesh
    if widths and (values := concrete((targets, proposals))) is not None:
        # vmap cannot return the messages, which are strings: they leave by this list
        names: list[str] = []

        def bad(target, proposal):
            found = pair_of(target, proposal).width_violations()
            names[:] = [message for message, _ in found]
            return [jnp.any(value) for _, value in found]

        found = jax.vmap(bad)(*values)
        raise_first([(name, np.asarray(value)) for name, value in zip(names, found, strict=True)])


def _check_roles(target: Any, proposal: Any) -> None:
    for role, given in (("target", target), ("proposal", proposal)):
        if not hasattr(given, "event_shape"):
            kind = type(given).__name__
            raise ValueError(f"{role} must be a distribution like recjax.Normal, got a {kind}")


def _cast(target: Any, dtype) -> Any:
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, target
    )
