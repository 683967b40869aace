"""Coding vectors of any size in blocks."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int, UInt32

from recjax.bits.number_models import NumberModel, UniformModel, ZipfModel
from recjax.bits.zipf import budget_exponent
from recjax.blocks.vector_layout import LARGEST_SIZE, parts_of_bits
from recjax.blocks.vector_methods import METHODS, Plan
from recjax.distributions.base import concrete
from recjax.distributions.normal import Normal
from recjax.distributions.pair import check_pair, check_pairs
from recjax.errors import check_range
from recjax.randomness import SharedKey, key_words
from recjax.samplers._search import vectors
from recjax.samplers._search.vectors import VectorCode as VectorCode
from recjax.samplers._search.vectors import plan_for
from recjax.samplers._streams.vectors import VectorsCode
from recjax.samplers.base import batch_of

_TABLE_NUMBERS = 1 << 27  # most numbers of a table that is drawn for a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorCoder:
    """Coder of normal vectors with independent components, of any size and divergence.

    The vector is cut into blocks of at most ``block_bits - extra_bits`` bits of KL divergence. All
    candidates are rows of one table, which the key determines. Receivers know ``kl_bits``, the
    divergence that the blocks are made for: of the vector, whose coordinates are then dealt out in
    turn, or of every coordinate.

    The method *ordered* draws a sample: each block is coded by ordered random coding (Theis and
    Yosri, *Algorithms for the communication of samples*, ICML 2022) as one of at most 2^block_bits
    candidates. Samples are biased towards the proposal: with 2^16 candidates and unit variances,
    the slope of a sample on its mean is 0.82, 0.86, 0.90, 0.93 with 0, 2, 4, 6 ``extra_bits``,
    which cost about 1.8 bits per block at 4.

    The method *trellis* finds the vector of the largest density ratio among those that as many bits
    as the divergence can tell apart, by the Viterbi algorithm in a trellis of 2^block_bits states
    (Viterbi and Omura, *Trellis encoding of memoryless discrete-time sources with a fidelity
    criterion*, 1974). It is no sample: given the key, nothing about it is random. Its slope is
    0.97 at 700 bits, and its distance from the mean about that of a sample.

    Args:
        block_bits: log2 of the largest number of candidates of a block, 4 to 20. Time is
            proportional to that number.
        extra_bits: log2 of the number of candidates beyond the divergence of a block, 0 to
            ``block_bits - 1``. Those of the method *ordered* cost bits, those of *trellis* none.
        method: ``"ordered"`` or ``"trellis"``.

    Raises:
        ValueError: a setting is out of range.

    >>> import jax, recjax
    >>> mean = 0.1 * jax.random.normal(jax.random.key(1), (10_000,))
    >>> target, proposal = recjax.Normal(mean, 1.0), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.VectorCoder(block_bits=12), jax.random.key(0)
    >>> code = coder.encode(key, target, proposal, kl_bits=72)
    >>> code.index.shape, round(float(code.kl_bits))
    ((9,), 71)
    >>> x = coder.decode(key, code.index, recjax.Normal(jax.numpy.zeros(10_000), 1.0), kl_bits=72)
    >>> bool((x == code.sample).all())
    True
    """

    block_bits: int = 16
    extra_bits: int = 4
    method: Literal["ordered", "trellis"] = "ordered"

    def __post_init__(self) -> None:
        check_range("block_bits", self.block_bits, 4, 20)
        check_range("extra_bits", self.extra_bits, 0, self.block_bits - 1)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {self.method!r}")

    def encode(
        self,
        key: SharedKey,
        target: Normal,
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
        call: int | Int[Array, ""] = 0,
        table: Float[Array, "N columns"] | None = None,
    ) -> VectorCode:
        """Codes a sample of ``target``, or the best path, which `decode` finds again.

        Args:
            key: key of the table, known to the receiver.
            target: distribution of one vector.
            proposal: the proposal, of the shape of the target or a scalar.
            kl_bits: divergence that the receiver expects, a number or one per coordinate; not
                traced. It is no part of the indices: floor(256 kl_bits + 1/2), as a whole number,
                is all of it that counts. If the target diverges more, the sample is more biased:
                see ``effective_samples``; beyond what all candidates could say, the status is
                TOO_FEW_CANDIDATES.
            call: number of the call, known to the receiver; different for all vectors coded with
                one key.
            table: the result of `table` for this key, which saves drawing its columns anew. With a
                table of another key the status is INVALID.

        Raises:
            ValueError: parameters that are not traced are invalid, or shapes do not fit.
        """
        proposal = vectors.widened(target, proposal, [()])
        check_pair(target, proposal, bounded=False)
        plan = plan_for(self, kl_bits, target.event_shape)
        self._check_table(table)
        return vectors.encode(plan, key, vectors.checked_call(call), target, proposal, table)

    def encode_batch(
        self,
        keys: SharedKey,
        targets: Normal,
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
        call: int = 0,
        table: Float[Array, "N columns"] | None = None,
    ) -> VectorCode:
        """Codes a batch of vectors of one divergence: the results of `encode`, in less time.

        Example i is call number ``call + i``. With one key all examples share the table, which is
        drawn once, up to 512 MiB of it.

        Args:
            keys: one key for all examples, or one key per example.
            targets: a distribution whose parameters have a leading batch axis.
            proposal: one proposal for all examples, a scalar or of the shape of an example, or a
                batch of proposals.
            kl_bits: divergence of every example that the receiver expects, as for `encode`.
            call: number of the first example's call.
            table: the result of `table` for the one key.

        Raises:
            ValueError: as for `encode`, or the numbers of keys and targets differ.

        >>> import jax, jax.numpy as jnp, recjax
        >>> coder, key = recjax.VectorCoder(block_bits=10), jax.random.key(0)
        >>> targets = recjax.Normal(0.3 * jax.random.normal(key, (5, 200)), jnp.ones((5, 200)))
        >>> codes = coder.encode_batch(key, targets, recjax.Normal(0.0, 1.0), kl_bits=13)
        >>> wide = recjax.Normal(jnp.zeros(200), 1.0)
        >>> x = coder.decode(key, codes.index[3], wide, kl_bits=13, call=3)  # codes.sample[3]
        """
        shape = getattr(targets, "event_shape", ())
        if len(shape) < 2 or shape[0] < 1 or batch_of(keys) not in ((), shape[:1]):
            raise ValueError(
                f"targets must have a batch axis and one of coordinates, and keys be one key or "
                f"as many: got targets of shape {list(shape)}, keys {list(batch_of(keys))}"
            )
        n, shape = shape[0], shape[1:]
        proposal = vectors.widened(targets, proposal, [(), shape])
        check_pairs(targets, proposal, bounded=False)
        plan = plan_for(self, kl_bits, shape)
        if table is not None:
            if batch_of(keys):
                raise ValueError("table: examples with a key each have a table each")
            self._check_table(table)
        with jax.ensure_compile_time_eval():  # a number, in a program that is being traced too
            first = int(vectors.checked_call(call))
        check_range("call", first + n - 1, 0, (1 << 32) - 1)
        calls = jnp.arange(n, dtype=jnp.uint32) + jnp.uint32(first)
        if table is None and plan is not None and not batch_of(keys):
            columns = min(plan.layout.columns, _TABLE_NUMBERS >> self.block_bits)
            table = self.table(key_words(keys), columns, targets.dtype)
        return vectors.encode_batch(plan, keys, calls, targets, proposal, table)

    def decode(
        self,
        key: SharedKey,
        index: UInt32[Array | np.ndarray, "blocks"],
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
        call: int | Int[Array, ""] = 0,
    ) -> Float[Array, "*event"]:
        """Returns the sample of the indices: ``code.sample``, bit for bit.

        Args:
            key: the key of the encoder.
            index: the index of every block.
            proposal: the proposal, of the shape of the sample.
            kl_bits: the divergence as the encoder had it.
            call: the number of the call.

        Raises:
            ValueError: an index that is not traced is out of range, there are too few or too many,
                or the coordinates are too few for the divergence.
        """
        plan = self._checked_plan(index, proposal, kl_bits)
        index = jnp.asarray(index).astype(jnp.uint32)
        return vectors.decode(plan, key, vectors.checked_call(call), index, proposal)

    def codelength(
        self,
        key: SharedKey,
        index: UInt32[Array | np.ndarray, "blocks"],
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
    ) -> Float[Array, ""]:
        """Returns the length of the indices of a vector in bits, from what the receiver knows.

        It is their share in the string that `recjax.write_indices` makes of many calls.

        Raises:
            ValueError: as for `decode`.
        """
        plan = self._checked_plan(index, proposal, kl_bits)
        model = self._index_model(plan, kl_bits)
        return VectorsCode((plan.indices,), (model,), ((),), proposal.dtype).bits(key, [index])

    def table(self, key: SharedKey, columns: int, dtype: Any = jnp.float32) -> Array:
        """Draws columns of the table, for any number of calls of `encode`.

        Args:
            key: the key.
            columns: number of columns, rounded up to a multiple of 64. A block of w coordinates
                reads max(w, 64), w being d over the number of indices (of the method *trellis*, of
                twice as many); columns beyond are drawn anew. The table takes 4 columns
                2^block_bits bytes.
            dtype: float32 or float64.

        Raises:
            ValueError: the number of columns is not from 1 to 10^7.
        """
        check_range("columns", columns, 1, LARGEST_SIZE)
        return vectors.table(key, 1 << self.block_bits, -(-columns // 64) * 64, jnp.dtype(dtype))

    def string_code(self, keys: Any, proposal: Any, rate_bits: Any, kl_bits: Any) -> VectorsCode:
        """The code of strings, for the arguments of `recjax.write_indices`.

        Raises:
            ValueError: ``kl_bits`` is not a sequence, a divergence is bad, or an argument is
                missing or not one of this coder.
        """
        if rate_bits is not None:
            raise ValueError("rate_bits: the code of VectorCoder is tuned by kl_bits")
        if kl_bits is None or not np.iterable(kl_bits):
            raise ValueError(f"kl_bits must be a sequence, one entry per call, got {kl_bits!r}")
        if not isinstance(proposal, Normal):
            raise ValueError("proposal is needed, one Normal of the shape of all vectors")
        plans = [self._plan(proposal, each) for each in kl_bits]
        return VectorsCode(
            blocks=tuple(plan.indices for plan in plans),
            models=tuple(map(self._index_model, plans, kl_bits)),
            layouts=tuple(plan.layout.settings(proposal.event_size) for plan in plans),
            dtype=proposal.dtype,
        )

    def _check_table(self, table) -> None:
        rows = 1 << self.block_bits
        if table is None:
            return
        if table.ndim != 2 or len(table) != rows:
            raise ValueError(
                f"table must be the result of table(), {rows} rows, got shape {table.shape}"
            )

    def _plan(self, proposal, kl_bits) -> Plan:
        if not proposal.event_shape:
            raise ValueError(
                "proposal must have the shape of the vectors, such as Normal(jnp.zeros(d), 1.0); "
                "got a scalar"
            )
        plan = plan_for(self, kl_bits, proposal.event_shape)
        if plan is None:
            raise ValueError(
                f"proposal: {proposal.event_size} coordinates cannot be cut into blocks of at most "
                f"{self.block_bits - self.extra_bits} bits of kl_bits"
            )
        return plan

    def _checked_plan(self, index, proposal, kl_bits) -> Plan:
        plan = self._plan(proposal, kl_bits)
        if np.shape(index) != (plan.indices,):
            raise ValueError(
                f"index must hold {plan.indices} numbers with this kl_bits, "
                f"got shape {np.shape(index)}; decode batches with jax.vmap"
            )
        value = concrete(jnp.asarray(index) if isinstance(index, list | tuple) else index)
        if value is not None and (
            not np.issubdtype(value.dtype, np.integer)
            or np.any((value < 0) | (value >> plan.index_bits > 0))
        ):
            raise ValueError(f"index must hold whole numbers below 2^{plan.index_bits}")
        return plan

    def _index_model(self, plan: Plan, kl_bits: npt.ArrayLike) -> NumberModel:
        """The model of the indices of a plan, tuned for the mean divergence of its blocks."""
        if self.method == "trellis":  # all paths are equally likely
            return UniformModel(plan.index_bits)
        parts = int(parts_of_bits(kl_bits).ravel()[-1])
        return ZipfModel(plan.index_bits, budget_exponent(parts // plan.indices, plan.index_bits))
