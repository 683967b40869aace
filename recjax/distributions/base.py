"""Base of coding distributions: pytrees of parameters that decode shared random bits."""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Num, Shaped, UInt32

Violations = list[tuple[str, Any]]
"""Pairs of a message and a mask of the parameters to which it applies (True is an error)."""


class Distribution(abc.ABC):
    """Product of independent scalar distributions, one for each entry of the parameters.

    Every axis of the parameters is an event axis, so that `log_prob` of one event is a scalar;
    batch with `jax.vmap`. Subclasses are frozen dataclasses made by `family`. Their parameters are
    floating-point arrays of one shape and dtype: float32, or float64 if a parameter has it.

    In annotations, `*event` is the shape of one event, and `*samples_event` that of events with any
    leading axes; arguments are broadcast against the parameters.

    ``==`` compares identities, like all of JAX's pytrees of arrays that define nothing else:
    compare parameters instead, with ``jax.tree.map(jnp.array_equal, a, b)``.
    """

    parameters: ClassVar[tuple[str, ...]]
    """Names of the parameters, in the order of the fields."""

    def _set(self, **values: Any) -> None:
        """Converts the parameters to arrays of one shape and dtype, and checks concrete values."""
        dtype = _common_dtype(values.values())
        try:
            shape = jnp.broadcast_shapes(*(np.shape(value) for value in values.values()))
        except ValueError as error:
            shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in values.items())
            raise ValueError(
                f"{type(self).__name__}: the shapes of {shapes} do not fit together"
            ) from error
        for name, value in values.items():
            object.__setattr__(self, name, jnp.broadcast_to(jnp.asarray(value, dtype), shape))
        if (known := concrete(self)) is not None:
            raise_first(known.violations())

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event."""
        return np.shape(getattr(self, self.parameters[0]))

    @property
    def event_size(self) -> int:
        """Number of components of one event."""
        return math.prod(self.event_shape)

    @property
    def dtype(self) -> np.dtype:
        """Floating-point dtype of the parameters and of all computations."""
        return getattr(self, self.parameters[0]).dtype

    @abc.abstractmethod
    def violations(self) -> Violations:
        """Lists what can be wrong with the parameters.

        Implementations use operators and methods of arrays only: they run on NumPy arrays (concrete
        parameters) and on JAX arrays (traced ones).
        """

    @abc.abstractmethod
    def log_prob(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        """Log density in nats, summed over the event axes."""

    @abc.abstractmethod
    def cdf(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        """Cumulative distribution function of each component."""

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        """Probability of the interval [low, high], low <= high, in each component."""
        return self.cdf(high) - self.cdf(low)

    @abc.abstractmethod
    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Num[Array, "*#samples_event"]:
        """Inverse of `cdf` in each component, for `u` in (0, 1)."""

    @abc.abstractmethod
    def mean(self) -> Float[Array, "*event"]:
        """Mean of each component."""

    @abc.abstractmethod
    def variance(self) -> Float[Array, "*event"]:
        """Variance of each component."""

    def sample(self, key: Array, shape: tuple[int, ...] = ()) -> Num[Array, "*samples_event"]:
        """Independent events from JAX's generator, which no coder uses: for data and for tests.

        Args:
            key: a typed JAX key or ``uint32[2]``.
            shape: axes of the events, which come first.

        Raises:
            ValueError: ``shape`` is not a tuple of whole numbers.

        >>> import recjax
        >>> recjax.Normal([0.0, 5.0], [1.0, 2.0]).sample(jax.random.key(0), (10,)).shape
        (10, 2)
        """
        whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
        if not whole:
            raise ValueError(f"shape must be a tuple of whole numbers, got {shape!r}")
        bits = jax.random.bits(key, (math.prod(shape), self.event_size), jnp.uint32)
        events = jax.vmap(self.sample_from_bits)(bits)
        return events.reshape(*shape, *self.event_shape)

    @abc.abstractmethod
    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Num[Array, "*samples_event"]:
        """Maps 32 uniform bits per component to an event; `d` components in row-major order."""

    def sample_from_quantile(
        self, high: UInt32[ArrayLike, "*n"], low: UInt32[ArrayLike, "*n"]
    ) -> Float[Array, "*samples_event"]:
        """Value of a scalar event at the quantile (high 2^32 + low) / 2^64, monotone in it.

        Raises:
            ValueError: the family has no such function.
        """
        raise ValueError(
            f"proposal: a {type(self).__name__} has no quantile function that tree coders need"
        )

    def _event(self, flat: Shaped[Array, "... d"]) -> Shaped[Array, "*samples_event"]:
        return flat.reshape(*flat.shape[:-1], *self.event_shape)

    def _affine(
        self, loc: Float[Array, "*event"], scale: Float[Array, "*event"], z: Float[Array, "... d"]
    ) -> Float[Array, "*samples_event"]:
        """Returns loc + scale z as (loc / scale + z) scale.

        The usual form adds a product, which compilers may or may not fuse into one rounding.
        """
        return (loc / scale + self._event(z)) * scale

    def _sum(self, terms: Float[Array, "*samples_event"]) -> Float[Array, "*samples"]:
        """Sums over the event axes, with equal bits for one event and for a batch of events."""
        samples = terms.shape[: terms.ndim - len(self.event_shape)]
        # The barrier keeps compilers from fusing a product before the sum into one rounding, which
        # they do in some batch sizes only. The order of summation is fixed by halving: a reduction
        # would leave it to the backend.
        terms = jax.lax.optimization_barrier(terms).reshape(*samples, self.event_size)
        while (n := terms.shape[-1]) > 1:
            terms, rest = terms[..., : (n + 1) // 2], terms[..., (n + 1) // 2 :]
            terms = terms.at[..., : n // 2].add(rest) if n % 2 else terms + rest
        return terms.reshape(*samples, -1).sum(-1)


def family(cls):
    """Makes a subclass of `Distribution` a frozen dataclass and a pytree of its parameters."""
    cls = dataclasses.dataclass(frozen=True, init=False, eq=False)(cls)
    cls.parameters = tuple(field.name for field in dataclasses.fields(cls))

    def flatten_with_keys(self):
        return [
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in cls.parameters
        ], None

    def unflatten(_, leaves):
        # no __init__: JAX also rebuilds trees around things that are not arrays
        self = object.__new__(cls)
        for name, leaf in zip(cls.parameters, leaves, strict=True):
            object.__setattr__(self, name, leaf)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten)
    return cls


def concrete(tree: Any) -> Any | None:
    """Returns the tree with NumPy leaves, or None if a leaf is traced (under `jit` or `vmap`).

    Arrays of which other processes have a part count as traced: this process cannot read them.
    """
    try:
        if not all(getattr(x, "is_fully_addressable", True) for x in jax.tree.leaves(tree)):
            return None
        return jax.tree.map(np.asarray, tree)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return None


def raise_first(violations: Violations) -> None:
    """Raises a ValueError with the first message that applies to concrete parameters."""
    for message, bad in violations:
        if np.any(bad):
            raise ValueError(message)


def any_violation(violations: Violations) -> Bool[Array, ""]:
    """Returns whether any violation of a list, as of `Pair.violations`, applies; may be traced."""
    return jnp.stack([jnp.any(bad) for _, bad in violations]).any()


def finite(name: str, value: Any) -> tuple[str, Any]:
    """Violation of a finite parameter."""
    # negated comparisons: NaN is a violation, too
    return f"{name} must be finite", ~(abs(value) < math.inf)


def positive(name: str, value: Any) -> tuple[str, Any]:
    """Violation of a positive and finite parameter."""
    return f"{name} must be positive and finite", ~((value > 0) & (value < math.inf))


def interval(low: Any, high: Any) -> Violations:
    """Violations of the ends of intervals."""
    half = float(jnp.finfo(low.dtype).max) / 2
    far = ~(abs(low) <= half) | ~(abs(high) <= half)
    return [
        finite("low", low),
        finite("high", high),
        ("high must be greater than low", ~(high > low)),
        ("high - low must be finite: both within half the range of numbers", far),
    ]


def _common_dtype(values) -> np.dtype:
    given = [
        v.dtype for v in values if hasattr(v, "dtype") and jnp.issubdtype(v.dtype, jnp.floating)
    ]
    if not given:
        return jax.dtypes.canonicalize_dtype(float)
    widest = max(np.dtype(dtype).itemsize for dtype in given)
    return jax.dtypes.canonicalize_dtype(np.float64 if widest == 8 else np.float32)
