"""The contract of every coder, and the results that a coder returns."""

import abc
import dataclasses
import enum
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Num, UInt32

from recjax import parallel
from recjax.distributions.base import concrete
from recjax.distributions.pair import check_pair, check_pairs
from recjax.errors import check_range as check_range
from recjax.samplers.index_code import IndexCode


class Status(enum.IntEnum):
    """The reason why an encoder stopped."""

    DONE = 0
    """The algorithm ran to its end."""
    MAX_STEPS = 1
    """The cap on steps came first; the sample is the best one found, not an exact sample."""
    INVALID = 2
    """Traced parameters are invalid (NaN, scale not positive, unbounded density ratio): no search.
    The sample is NaN, or -1 where samples are integers."""
    MAX_DEPTH = 3
    """The limit on the depth of a tree cut off nodes that might have held the sample; the sample is
    the best one found."""
    QUEUE_FULL = 4
    """A tree had more open nodes than the queue holds; the sample is the best one found, not an
    exact sample."""
    TOO_FEW_DIMENSIONS = 5
    """A vector has fewer coordinates than its divergence needs blocks: no search. The sample is
    NaN."""
    BOUND_TOO_SMALL = 6
    """The sample's density ratio exceeds `Pair.log_ratio_max`: the pair is wrong, and samples of
    all searches with it are biased."""
    TOO_FEW_CANDIDATES = 7
    """A vector diverges more than all candidates of its blocks could say, by 10 % and 8 bits: the
    sample is the best one found, far from the target."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Code:
    """The result of an encoder.

    No gradient with respect to the target passes through the search: indices are constant between
    jumps, so that `jax.grad` of a function of ``sample`` is 0, without an error. The guide "Code a
    Gaussian inside a Flax training loop" has the straight-through form that trains.

    Attributes:
        index: the message: a pytree of integer arrays of fixed shape.
        sample: the sample that the decoder makes of this index. The one exception: where ``status``
            is INVALID the sample is NaN, or -1 if samples are integers, whatever the index is.
        steps: number of candidates examined, int32.
        status: a ``Status`` as int32.
    """

    index: Any
    sample: Float[Array, "*event"]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class Coder(abc.ABC):
    """A relative entropy coder: a frozen, hashable configuration whose methods are pure functions.

    ``encode``, ``decode`` and ``codelength`` treat one example and are jitted inside; use them
    under ``jax.jit``, ``jax.vmap`` and ``jax.shard_map`` at will. Encoder and decoder share
    ``key``, a typed JAX key or ``uint32[2]`` that is used for nothing else.

    A new coder is a frozen dataclass that defines `search`, `search_lanes`, `decode` and
    `index_code`, and sets the class attributes `bounded` and `widths` if their values do not fit.
    """

    bounded: ClassVar[bool] = True
    """Whether the density ratio has to be bounded: pairs of an unbounded ratio are refused."""

    widths: ClassVar[bool] = False
    """Whether the coder needs `recjax.Pair.widths`: pairs without width functions are refused."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in {"search", "decode"} & vars(cls).keys():
            setattr(cls, name, parallel.per_device(getattr(cls, name)))

    def encode(self, key: Array, target: Any, proposal: Any) -> Code:
        """Draws a sample of ``target`` that ``decode`` finds again from the key and a short index.

        Raises:
            ValueError: concrete parameters are invalid, event shapes differ, the target is not
                absolutely continuous with respect to the proposal, or the coder cannot treat the
                pair. On traced parameters the code's status is ``Status.INVALID`` instead.
        """
        check_pair(target, proposal, self.bounded, self.widths)
        return self.search(key, target, proposal)

    def encode_batch(self, keys: Array, targets: Any, proposal: Any) -> Code:
        """Encodes a batch: the results of ``jax.vmap(encode)`` in less time.

        All devices of the process take part, and all cores that it may use on CPUs. Arrays that are
        sharded along the batch axis, also over the devices of several processes, stay where they
        are, and the results are sharded likewise.

        Args:
            keys: one key per example.
            targets: a distribution whose parameters have a leading batch axis.
            proposal: one proposal for all examples, or a batch of proposals.

        Raises:
            ValueError: as for ``encode``, or the numbers of keys and targets differ. Parameters of
                which other processes have a part are not checked, like traced ones.
        """
        sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(targets)}
        batch = batch_of(keys)
        if len(batch) != 1 or sizes != {batch} or batch == (0,):
            raise ValueError(
                f"keys: a batch of keys {list(batch)} does not fit "
                f"targets with leading axes {sizes}"
            )
        if getattr(proposal, "event_shape", ()) != getattr(targets, "event_shape", ()):
            proposal = jax.tree.map(
                lambda x: jnp.broadcast_to(x, (keys.shape[0], *jnp.shape(x))), proposal
            )
        self.check_batch(targets, proposal)
        leaves = jax.tree.leaves((keys, targets, proposal))
        if any(isinstance(leaf, Tracer) for leaf in leaves):  # under a transformation
            return jax.vmap(self.search)(keys, targets, proposal)
        return parallel.over_devices(type(self).search_lanes, self, (keys, targets, proposal))

    def check_batch(self, targets: Any, proposals: Any) -> None:
        """Checks a batch with concrete parameters; traced ones pass.

        Raises:
            ValueError: as for `encode`.
        """
        check_pairs(targets, proposals, self.bounded, self.widths)

    @abc.abstractmethod
    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        """Encodes one example; concrete parameters have been checked.

        Traced parameters have not: where they are invalid, the status has to be `Status.INVALID`.
        Compile it (``jax.jit`` with ``static_argnums=0``).
        """

    @abc.abstractmethod
    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        """Encodes a batch of examples, which have been checked.

        The results are those of ``jax.vmap(self.search)(keys, targets, proposals)``, which will do.
        Parameters are concrete on a single CPU device, and traced elsewhere.
        """

    @abc.abstractmethod
    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        """Returns the sample of an index: ``code.sample``, bit for bit.

        Raises:
            ValueError: a concrete index is out of range. Traced indices are clamped to the range.
        """

    @parallel.per_device
    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """Returns the length of an index in bits, from what the receiver knows.

        It is the share of this index in the string that `recjax.write_indices` makes of many.

        Args:
            key: the shared key.
            index: the index of one sample.
            proposal: the proposal.
            rate_bits: the expected divergence in bits of targets from the proposal, which the code
                is tuned for. If it is None, numbers are in Elias delta, which needs no rate. Codes
                that the rate does not enter ignore it.

        Raises:
            ValueError: a concrete index is out of range, or the rate is negative or not finite.
        """
        return self.index_code(proposal, rate_bits).bits(key, index)

    @abc.abstractmethod
    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        """Returns the code of indices, which `codelength` and `recjax.write_indices` follow.

        Args:
            proposal: the proposal of all samples. None will do for `IndexCode.put` and
                `IndexCode.take` if the code does not depend on it.
            rate_bits: as for `codelength`.
        """

    def string_code(self, keys: Any, proposal: Any, rate_bits: Any, kl_bits: Any) -> IndexCode:
        """The code of strings: `index_code`, for the arguments of `recjax.write_indices`.

        Raises:
            ValueError: the keys are not an array of keys, or the coder has no ``kl_bits``.
        """
        if kl_bits is not None:
            raise ValueError(
                f"kl_bits: the code of {type(self).__name__} is tuned by rate_bits, not by kl_bits"
            )
        if len(batch_of(keys)) != 1:
            raise ValueError("keys must be an array of keys, one for every index")
        return self.index_code(proposal, rate_bits)


def sent_sample(sample: Num[Array, "*event"], status: Int[Array, ""]) -> Num[Array, "*event"]:
    """The sample of a `Code`: no number may pass for a sample where there was no search.

    Args:
        sample: the decoder's sample.
        status: the status of the search.

    >>> float(sent_sample(jnp.float32(0.5), jnp.int32(Status.INVALID)))
    nan
    """
    nothing = jnp.nan if jnp.issubdtype(sample.dtype, jnp.floating) else -1
    return jnp.where(status == Status.INVALID, jnp.asarray(nothing, sample.dtype), sample)


def batch_of(keys: Any) -> tuple[int, ...]:
    """The batch axes of an array of keys, typed or raw.

    Raises:
        ValueError: the keys are no array.
    """
    if not hasattr(keys, "dtype"):
        raise ValueError(f"keys must be an array of keys, got {type(keys).__name__}")
    return keys.shape if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else keys.shape[:-1]


def checked_index(index: Any, last: UInt32[np.ndarray, "*shape"]) -> UInt32[Array, "*shape"]:
    """One index as uint32: concrete values are checked, traced ones clamped.

    Args:
        index: a whole number, or an array of the shape of ``last``.
        last: the largest index, elementwise.

    Raises:
        ValueError: the shape is not that of ``last``, the index does not consist of whole numbers,
            or a concrete value is not from 0 to ``last``.
    """
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer) or np.shape(index) != last.shape:
        form = f"whole numbers {list(last.shape)}" if last.shape else "one integer"
        raise ValueError(f"index must be {form}; decode batches with jax.vmap")
    value = concrete(index)
    if value is None:
        most = min(jnp.iinfo(index.dtype).max, 0xFFFFFFFF)  # a bound that the index's type has
        largest = np.minimum(last, np.uint32(most)).astype(index.dtype)
        return jnp.clip(index, 0, largest).astype(jnp.uint32)
    if np.any(value < 0) or np.any(value > last):
        raise ValueError(
            f"index must be from {np.zeros_like(last).tolist()} to {last.tolist()}, "
            f"got {value.tolist()}"
        )
    return jnp.asarray(value.astype(np.uint32))
