"""The contract of every coder, and the results it returns."""

import abc
import dataclasses
import enum
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from recjax.distributions.pair import check_pair, check_pairs


class Status(enum.IntEnum):
    """Why an encoder stopped."""

    DONE = 0
    """The algorithm ran to its end."""
    MAX_STEPS = 1
    """The cap on steps came first; the sample is the best one found, not an exact sample."""
    INVALID = 2
    """Traced parameters turned out to be invalid (NaN, scale not positive, unbounded density ratio): no search."""
    MAX_DEPTH = 3
    """A limit on the depth of a tree cut off nodes that might have held the sample; it is the best one found."""
    QUEUE_FULL = 4
    """More nodes of a tree were open than are kept; the sample is the best one found, not an exact sample."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Code:
    """What an encoder returns.

    Attributes:
        index: what is sent: a pytree of integer arrays of fixed shape.
        sample: the decoder's own output for this index.
        steps: candidates examined.
        status: a ``Status`` as int32.
    """

    index: Any
    sample: Float[Array, "*event"]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class Coder(abc.ABC):
    """A relative entropy coder: a frozen, hashable configuration whose methods are pure functions.

    ``encode``, ``decode`` and ``codelength`` treat one example and are jitted inside; use them under ``jax.jit``,
    ``jax.vmap`` and ``jax.shard_map`` at will. Encoder and decoder share ``key``, a typed JAX key or ``uint32[2]``,
    used for nothing else.
    """

    bounded: ClassVar[bool] = True
    """Whether the density ratio has to be bounded."""

    widths: ClassVar[bool] = False
    """Whether the pair has to have width functions."""

    def encode(self, key: Array, target: Any, proposal: Any) -> Code:
        """Draws a sample of ``target`` that ``decode`` finds again from the key and a short index.

        Raises:
            ValueError: concrete parameters are invalid, event shapes differ, the target is not absolutely
                continuous with respect to the proposal, or the coder cannot treat the pair. On traced parameters
                the code's status is ``Status.INVALID`` instead.
        """
        check_pair(target, proposal, self.bounded, self.widths)
        return self.search(key, target, proposal)

    def encode_batch(self, keys: Array, targets: Any, proposal: Any) -> Code:
        """The results of ``jax.vmap(encode)`` in less time.

        Args:
            keys: one key an example.
            targets: a distribution whose parameters have a leading batch axis.
            proposal: one proposal for all, or a batch of them.

        Raises:
            ValueError: as ``encode``, or there is not one key for every target.
        """
        sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(targets)}
        batch = batch_of(keys)
        if len(batch) != 1 or sizes != {batch} or batch == (0,):
            raise ValueError(
                f"keys: a batch of keys {list(batch)} does not fit targets with leading axes {sizes}"
            )
        if getattr(proposal, "event_shape", ()) != getattr(targets, "event_shape", ()):
            proposal = jax.tree.map(
                lambda x: jnp.broadcast_to(x, (keys.shape[0], *jnp.shape(x))), proposal
            )
        check_pairs(targets, proposal, self.bounded, self.widths)
        leaves = jax.tree.leaves((keys, targets, proposal))
        if any(isinstance(leaf, Tracer) for leaf in leaves):  # under a transformation
            return jax.vmap(self.search)(keys, targets, proposal)
        # few different sizes, so that few programs are compiled; the last example is searched for once more
        (n,) = batch
        places = np.minimum(np.arange(_few_sizes(n, 64)), n - 1)
        filled = jax.tree.map(lambda x: x[places], (keys, targets, proposal))
        return jax.tree.map(lambda x: x[:n], self.search_lanes(*filled))

    @abc.abstractmethod
    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        """``encode`` for a pair that has been checked as far as it is known."""

    @abc.abstractmethod
    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        """``encode_batch`` of concrete values."""

    @abc.abstractmethod
    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        """The sample that an index stands for: ``code.sample``, bit for bit.

        Raises:
            ValueError: a concrete index is out of range. Traced indices are clamped to the range.
        """

    @abc.abstractmethod
    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """Bits that the index takes, from what the receiver knows.

        Args:
            rate_bits: the expected divergence of targets from the proposal that the code is tuned for.
        """


def batch_of(keys: Any) -> tuple[int, ...]:
    """The batch axes of typed keys, or of raw ones; a ValueError if they are no array."""
    if not hasattr(keys, "dtype"):
        raise ValueError(f"keys must be an array of keys, got {type(keys).__name__}")
    return keys.shape if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else keys.shape[:-1]


def check_range(name: str, value: Any, low: int, high: int) -> None:
    """Raises a ValueError unless ``value`` is a whole number between the bounds."""
    if (
        not isinstance(value, int | np.integer)
        or isinstance(value, bool)
        or not low <= value <= high
    ):
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def checked_index(index: Any, limit: int) -> Array:
    """A scalar candidate number as uint32: concrete ones are checked against ``limit``, traced ones clamped."""
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer) or np.ndim(index) != 0:
        raise ValueError("index must be one integer; decode batches with jax.vmap")
    try:
        value = int(index)
    except jax.errors.ConcretizationTypeError:
        largest = min(limit - 1, jnp.iinfo(index.dtype).max)
        return jnp.clip(index, 0, largest).astype(jnp.uint32)
    if not 0 <= value < limit:
        raise ValueError(f"index must be from 0 to {limit - 1}, got {value}")
    return jnp.uint32(value)


def _few_sizes(n: int, least: int) -> int:
    """The next of ``least`` times 1, 3/2, 2, 3, 4, 6, 8, ...; ``least`` is an even number.

    >>> [_few_sizes(n, 64) for n in (1, 64, 65, 97)]
    [64, 64, 96, 128]
    """
    size, power = least, least
    while size < n:
        size, power = (power * 3 // 2, power) if size == power else (2 * power, 2 * power)
    return size
