"""A* and GPRS on a proposal that is cut into bins of equal mass."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax.randomness import Stream
from recjax.samplers._search import bins as partition
from recjax.samplers._search import candidate_search
from recjax.samplers._search.partitioned_pair import PartitionedPair
from recjax.samplers.a_star import AStar
from recjax.samplers.codelength import rate_value, zeta_bits
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.gprs import GPRS

_GROUP_BITS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitioned(ExactCoder):
    """A coder whose candidates come from the bins of a partition, and whose index is (bin, rank), uint32[2].

    The rule inside sees one list of candidates from P' = sum_j pi_j P|_{B_j}; the bin of each is drawn from pi by the
    encoder alone, and the rank is the number of candidates before it in the bin.

    Args:
        bits: log2 of the bins of every component.
        max_steps: cap on the candidates examined.
    """

    rule: ClassVar[ExactCoder]

    bits: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        partition.check_bits(self.bits)

    @property
    def total_bits(self) -> int:
        return sum(self.bits)

    @property
    def last_index(self) -> UInt32[np.ndarray, "2"]:
        return np.array([(1 << self.total_bits) - 1, self.limit - 1], np.uint32)

    def pair(self, target: Any, proposal: Any) -> PartitionedPair:
        return PartitionedPair(target, proposal, self.bits)

    def draw(self, words: Array, index: Array, proposal: Any) -> Array:
        return partition.draw(words, index, proposal, self.bits)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        partition.check_fit(self.bits, proposal)
        return candidate_search.decode(
            self, key, partition.checked_index(index, self.last_index), proposal
        )

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """log2 J bits for the bin, and the zeta code of the rank at a rate shorter by as much.

        Args:
            rate_bits: the divergence of targets from P, not from P'.
        """
        rate = jnp.maximum(rate_value(rate_bits, proposal.dtype) - self.total_bits, 0)
        return self.total_bits + zeta_bits(partition.checked_index(index, self.last_index)[1], rate)

    def start(self, pair):
        counts = jnp.zeros(1 << min(self.total_bits, _GROUP_BITS), jnp.uint32)
        return self.rule.start(pair), counts, jnp.zeros(2, jnp.uint32)

    def log_ratios(self, pair: PartitionedPair, carry: Any, words: Array, index: Array) -> Array:
        def one(place):
            return pair.log_ratio(
                (self.draw(words[Stream.CANDIDATE], place, pair.proposal), place[0])
            )

        return jax.vmap(one)(self._places(pair, carry[1], words, index)[0])

    def examine(self, pair, carry, chunk):
        inner, counts, chosen = carry
        places, groups = self._places(pair, counts, chunk.words, chunk.index)
        verdict = self.rule.examine(pair, inner, chunk)
        which = verdict.index - chunk.index[0]
        chosen = jnp.where(
            which < chunk.index.size, places[jnp.minimum(which, chunk.index.size - 1)], chosen
        )
        counts = counts.at[groups].add((jnp.arange(groups.size) < verdict.used).astype(jnp.uint32))
        return dataclasses.replace(verdict, carry=(verdict.carry, counts, chosen), index=chosen)

    def _places(self, pair, counts, words, index):
        """(bin, rank) of some candidates in a row, and in which counts they enter."""
        bins = jax.vmap(lambda i: pair.bins(words[Stream.ACCEPT], i))(index)
        hashed = self.total_bits > _GROUP_BITS
        groups = (bins * jnp.uint32(0x9E3779B1)) >> (32 - _GROUP_BITS) if hashed else bins
        before = jnp.tril(groups[:, None] == groups[None], -1).sum(-1, dtype=jnp.uint32)
        return jnp.stack([bins, counts[groups] + before], -1), groups


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitionedAStar(SpacePartitioned):
    """A* with the proposal P cut into J equal-mass bins, which the search visits as often as the target makes worth it.

    He, Flamich and Hernández-Lobato, *Accelerating relative entropy coding with space partitioning*, NeurIPS 2024:
    the Poisson functional representation of Q over P' = sum_j pi_j P|_{B_j}. Exact, for any number of independent
    components. The index is uint32[2]: the bin, and how many candidates of the bin came before (beyond 2^12 bins: of
    all bins with its hash). The receiver regenerates the bin's own list of candidates and never needs pi. ``steps``
    includes the arrival that ends the search: its mean is 1 + (1/J) sum_j max_{B_j} r, between 2 and 1 + 2^{D_inf}.

    The shares pi_j are those with the fewest steps, in proportion to max_{B_j} r; the paper has Q(B_j). The law of the
    code is the same (up to 2^12 bins): in the own time of every bin the winner is the least J S / r(X) over unit-rate
    arrivals S, whatever pi is.

    Args:
        bits: log2 of the bins of every component, such that J is 2 to their sum; 0 to 10 each and 30 in all. See
            `recjax.allot_bits`. More bits than the divergence are legal, and wasted.
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal([1.0, -0.5], [0.1, 0.5]), recjax.Normal([0.0, 0.0], [1.0, 1.0])
    >>> coder, key = recjax.SpacePartitionedAStar(bits=(3, 1)), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool((coder.decode(key, code.index, p) == code.sample).all())
    True
    """

    rule = AStar()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpacePartitionedGPRS(SpacePartitioned):
    """GPRS with the proposal cut into J equal-mass bins: see ``SpacePartitionedAStar`` for bins, shares and index.

    The first arrival with T_k < sigma(r'(X_k)), r' = dQ/dP' (He, Flamich and Hernández-Lobato, NeurIPS 2024). Exact,
    for scalar pairs with a unimodal ratio: there the level sets of r' are intervals, one a bin, so that its width
    functions are sums over the bins. Those of a product of components are not known; take A* for vectors. ``steps``
    has the mean (1/J) sum_j max_{B_j} r. The stretch function costs J times as much as that of ``GPRS``: for few bins.

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

    rule = GPRS()
    widths = True
