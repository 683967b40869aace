"""A* and GPRS on a proposal that is cut into bins of equal mass."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.randomness import Stream
from recjax.samplers._search import bins as partition
from recjax.samplers._search.candidate_rule import Chunk, Verdict
from recjax.samplers._search.partitioned_pair import PartitionedPair
from recjax.samplers._streams.numbers import ListCode, ZetaCode
from recjax.samplers.a_star import AStar
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.gprs import GPRS
from recjax.samplers.index_code import IndexCode

_GROUP_BITS = 12  # log2 of the most counts of candidates that a search keeps


class PartitionState(NamedTuple):
    """State of a search over a partition."""

    inner: Any  # state of the coder inside
    counts: UInt32[Array, "groups"]  # candidates of each bin so far; bins may share a count
    chosen: UInt32[Array, "2"]  # bin and rank of the candidate chosen so far


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitioned(ExactCoder):
    """A coder whose candidates come from the bins of a partition. Its index is (bin, rank).

    The coder inside sees one list of candidates from P' = sum_j pi_j P|_{B_j}. The bin of each is
    drawn from pi by the encoder alone, and the rank is the number of candidates before it in the
    bin.

    Args:
        bits: log2 of the bins of every component.
        max_steps: cap on the candidates examined.
    """

    bits: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        partition.check_bits(self.bits)

    @property
    @abc.abstractmethod
    def inside(self) -> ExactCoder:
        """The coder that chooses among the candidates of P'."""

    @property
    def total_bits(self) -> int:
        """log2 of the number of bins."""
        return sum(self.bits)

    @property
    def last_index(self) -> UInt32[np.ndarray, "2"]:
        return np.array([(1 << self.total_bits) - 1, self.limit - 1], np.uint32)

    def pair(self, target: Any, proposal: Any) -> PartitionedPair:
        return PartitionedPair(target, proposal, self.bits)

    def draw(
        self, words: UInt32[Array, "2"], index: UInt32[Array, "2"], proposal: Any
    ) -> Float[Array, "*event"]:
        partition.check_fit(self.bits, proposal)
        return partition.draw(words, index, proposal, self.bits)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        rank = ZetaCode(
            last=self.limit - 1,
            proposal=proposal,
            rate_bits=rate_bits,
            spent_bits=self.total_bits,
        )
        return _BinCode(self.last_index, 1 << self.total_bits, rank)

    def start(self, pair: PartitionedPair) -> PartitionState:
        counts = jnp.zeros(1 << min(self.total_bits, _GROUP_BITS), jnp.uint32)
        return PartitionState(self.inside.start(pair), counts, jnp.zeros(2, jnp.uint32))

    def log_ratios(
        self,
        pair: PartitionedPair,
        state: PartitionState,
        words: UInt32[Array, "streams 2"],
        index: UInt32[Array, "n"],
    ) -> Float[Array, "n"]:
        def one(place):
            event = self.draw(words[Stream.CANDIDATE], place, pair.proposal)
            return pair.log_ratio((event, place[0]))

        return jax.vmap(one)(self._places(pair, state.counts, words, index)[0])

    def log_ratio(
        self, pair: PartitionedPair, sample: Float[Array, "*event"], index: UInt32[Array, "2"]
    ) -> Float[Array, ""]:
        return pair.log_ratio((sample, index[0]))

    def examine(self, pair: PartitionedPair, state: PartitionState, chunk: Chunk) -> Verdict:
        places, groups = self._places(pair, state.counts, chunk.words, chunk.index)
        verdict = self.inside.examine(pair, state.inner, chunk)
        # A choice from an earlier chunk lies before this chunk: as an unsigned difference it is
        # beyond the chunk's end, and the place chosen before is kept.
        which = verdict.index - chunk.index[0]
        last = chunk.index.size - 1
        chosen = jnp.where(which <= last, places[jnp.minimum(which, last)], state.chosen)
        # only candidates that the coder inside has dealt with count
        used = jnp.arange(groups.size) < verdict.used
        counts = state.counts.at[groups].add(used.astype(jnp.uint32))
        state = PartitionState(verdict.state, counts, chosen)
        return dataclasses.replace(verdict, state=state, index=chosen)

    def _places(
        self,
        pair: PartitionedPair,
        counts: UInt32[Array, "groups"],
        words: UInt32[Array, "streams 2"],
        index: UInt32[Array, "n"],
    ) -> tuple[UInt32[Array, "n 2"], UInt32[Array, "n"]]:
        """(bin, rank) of consecutive candidates, and the counts that they enter.

        Beyond 2^12 bins those with equal hashes share a count: ranks are then larger, but still
        different for the candidates of a bin.
        """
        bins = jax.vmap(lambda i: pair.bins(words[Stream.ACCEPT], i))(index)
        hashed = self.total_bits > _GROUP_BITS
        groups = (bins * jnp.uint32(0x9E3779B1)) >> (32 - _GROUP_BITS) if hashed else bins
        # candidates of the same count before each one in the chunk
        before = jnp.tril(groups[:, None] == groups[None], -1).sum(-1, dtype=jnp.uint32)
        return jnp.stack([bins, counts[groups] + before], -1), groups


class _BinCode(ListCode):
    """Lists are bins: an index is a bin and a rank."""

    def split(self, index: Any) -> tuple[Any, Any]:
        return index[..., 0], index[..., 1]

    def join(
        self, which: Int[np.ndarray, "n"], number: UInt32[np.ndarray, "n"]
    ) -> UInt32[np.ndarray, "n 2"]:
        return np.stack([which.astype(np.uint32), number], -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitionedAStar(SpacePartitioned):
    """A* with the proposal P cut into J equal-mass bins, visited as often as suits the target.

    The Poisson functional representation of Q over P' = sum_j pi_j P|_{B_j} (He, Flamich and
    Hernández-Lobato, *Accelerating relative entropy coding with space partitioning*, NeurIPS 2024).
    Exact, for any number of independent components. The index is uint32[2]: the bin, and the rank,
    the number of candidates of the bin that came before (beyond 2^12 bins: of all bins with its
    hash). The receiver regenerates the bin's list of candidates and never needs pi. ``steps``
    includes the arrival that ends the search: its mean is 1 + (1/J) sum_j max_{B_j} r, between 2
    and 1 + 2^{D_inf}.

    The shares pi_j are those with the fewest steps, in proportion to max_{B_j} r; the paper has
    Q(B_j). The law of the code is the same (up to 2^12 bins): in each bin's time the winner is the
    least J S / r(X) over unit-rate arrivals S, whatever pi is.

    The index takes log2 J bits for the bin, and the zeta code of the rank at a rate that is less by
    as much. The rate is the divergence of targets from P, not from P'.

    Args:
        bits: log2 of the bins of every component, such that J is 2 to their sum; 0 to 10 each and
            30 in all. See `recjax.allot_bits`. More bits than the divergence are legal, and wasted.
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal([1.0, -0.5], [0.1, 0.5]), recjax.Normal([0.0, 0.0], [1.0, 1.0])
    >>> coder, key = recjax.SpacePartitionedAStar(bits=(3, 1)), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool((coder.decode(key, code.index, p) == code.sample).all())
    True
    """

    @property
    def inside(self) -> ExactCoder:
        return AStar()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitionedGPRS(SpacePartitioned):
    """GPRS with the proposal cut into J equal-mass bins.

    See ``SpacePartitionedAStar`` for the bins, their shares, the index and its code. The sample is
    the first arrival with T_k < sigma(r'(X_k)), r' = dQ/dP' (He, Flamich and Hernández-Lobato,
    NeurIPS 2024). Exact, for scalar pairs with a unimodal ratio: the level sets of r' are intervals
    in each bin, so that its width functions are sums over the bins. Those of a product of
    components are not known; take A* for vectors. ``steps`` has the mean (1/J) sum_j max_{B_j} r.
    The stretch function costs J times as much as that of ``GPRS``: for few bins.

    Args:
        bits: one number, log2 of J: 0 to 10.
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.1), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.SpacePartitionedGPRS(bits=(2,)), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    widths: ClassVar[bool] = True

    @property
    def inside(self) -> ExactCoder:
        return GPRS()
