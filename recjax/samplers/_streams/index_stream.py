"""Many coded samples as one range-coded byte string, and back."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from recjax.bits import heap_path, range_coder, stream, zipf
from recjax.errors import FormatError
from recjax.samplers._search import interval, tree
from recjax.samplers._streams import dithered, hybrid, ring_toss
from recjax.samplers.base import Coder
from recjax.samplers.budgeted_a_star import BudgetedAStar
from recjax.samplers.codelength import budget_exponent, depth_rate
from recjax.samplers.dithered import DitheredQuantizer
from recjax.samplers.global_coder import ExactCoder, GlobalCoder
from recjax.samplers.hybrid import HybridCoder
from recjax.samplers.minimal_random import MinimalRandomCoder
from recjax.samplers.ordered_random import OrderedRandomCoder
from recjax.samplers.parallel_gprs import ParallelGPRS
from recjax.samplers.ring_toss import RingToss
from recjax.samplers.space_partitioning import SpacePartitioned
from recjax.samplers.tree_coder import TreeCoder

_DIGIT_BITS = 16


def write_indices(
    coder: Coder, keys: Array, index: Any, *, rate_bits: float, proposal: Any = None
) -> bytes:
    """The indices of ``coder`` as bytes: the sum of their ``codelength`` and a few bits for all of them together.

    The exponent of coders with a budget is rounded to 1/64, and its code binned as in `recjax.bits.zipf`: the sum is
    met within 0.05 bits a sample.

    Args:
        coder: any coder of this package, but for budgets of 0 bits, which need no file.
        keys: the keys of the samples, known to the reader.
        index: the indices, in a batch: uint32 [n] or [n, 4], or what else the coder sends.
        rate_bits: the divergence in bits that the code is tuned for, known to the reader.
        proposal: that of all samples, known to the reader; needed by `RingToss`, `HybridCoder` and `DitheredQuantizer`.

    Raises:
        ValueError: the coder's indices have no such code, an index is out of range, or there is not one for every key.

    >>> import jax, recjax
    >>> coder, keys = recjax.BranchAndBoundGPRS(), jax.random.split(jax.random.key(0), 100)
    >>> q, p = recjax.Normal(jnp.full(100, 1.0), jnp.full(100, 0.25)), recjax.Normal(0.0, 1.0)
    >>> index = coder.encode_batch(keys, q, p).index
    >>> data = write_indices(coder, keys, index, rate_bits=2.0)
    >>> bool((read_indices(coder, data, keys, rate_bits=2.0) == index).all())
    True
    """
    if own := _own_stream(coder, proposal):
        return own.write(coder, index, keys, proposal, rate_bits)
    if not isinstance(coder, TreeCoder):
        _number_code(coder, rate_bits)  # refuses what has no code
        assert isinstance(coder, GlobalCoder)
        last = coder.last_index
        return _write_numbers(
            coder, _checked(index, (len(keys), *last.shape), last).astype(np.int64), rate_bits
        )
    heaps = _checked(index, (len(keys), 4), np.uint32(0xFFFFFFFF))
    if len(out := np.flatnonzero((heaps[:, 0] >> 31 == 1) | ~heaps.any(axis=1))):
        raise ValueError(
            f"index must hold heap indices of depth 1 to {tree.MAX_DEPTH}, number {out[0]} is not"
        )
    bits = np.unpackbits(heaps.astype(">u4").view(np.uint8), axis=1).astype(bool)
    first = bits.argmax(axis=1)
    depths = bits.shape[1] - first
    levels = depths.max(initial=1) - 1
    branches = np.take_along_axis(
        np.pad(bits, ((0, 0), (0, bits.shape[1]))), first[:, None] + 1 + np.arange(levels), axis=1
    )
    frequencies = np.zeros((len(depths), levels), np.int64)
    nodes = _roots(keys)
    for level in range(levels):
        frequency, cut = _cut(coder.split, nodes)
        frequencies[:, level] = frequency
        nodes = _descend(nodes, cut, branches[:, level])
    return heap_path.encode_paths(depths, branches, frequencies, _exponent(rate_bits))


def read_indices(
    coder: Coder, data: bytes, keys: Array, *, rate_bits: float, proposal: Any = None
) -> Any:
    """The indices that `write_indices` wrote with the same coder, keys, rate and proposal.

    Raises:
        FormatError: if no such indices have the code ``data``.
        ValueError: as `write_indices`.
    """
    if own := _own_stream(coder, proposal):
        return own.read(coder, data, keys, proposal, rate_bits)
    if not isinstance(coder, TreeCoder):
        return _read_numbers(coder, data, len(keys), rate_bits).astype(np.uint32)
    state = {"nodes": _roots(keys), "cut": None}

    def next_frequencies(level, branches):
        if level:
            state["nodes"] = _descend(state["nodes"], state["cut"], branches[:, -1])
        frequency, state["cut"] = _cut(coder.split, state["nodes"])
        return np.asarray(frequency, np.int64)

    depths, branches = heap_path.decode_paths(
        data, len(keys), _exponent(rate_bits), next_frequencies
    )
    bits = np.zeros((len(depths), 128), np.uint8)
    rows = np.arange(len(depths))
    bits[rows, 128 - depths] = 1
    places = 129 - depths[:, None] + np.arange(branches.shape[1])
    row, level = np.nonzero(branches & (places < 128))
    bits[row, places[row, level]] = 1
    return np.packbits(bits, axis=1).view(">u4").astype(np.uint32)


def _own_stream(coder, proposal):
    """The module that writes the indices of a coder whose code hangs on the proposal, or None."""
    streams = {DitheredQuantizer: dithered, HybridCoder: hybrid, RingToss: ring_toss}
    own = next((streams[kind] for kind in streams if isinstance(coder, kind)), None)
    if own and proposal is None:
        raise ValueError(f"proposal is needed: the code of a {type(coder).__name__} hangs on it")
    return own


def _checked(index, shape, last):
    index = np.asarray(index)
    if index.shape != shape or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"index must hold whole numbers {list(shape)}, as many as keys, got {list(index.shape)}"
        )
    if np.any(index < 0) or np.any(index > last):
        raise ValueError(f"index must be from 0 to {last}")
    return index


def _write_numbers(coder, index, rate_bits):
    """First the list that each sample is from, each as likely as the others, then the numbers in the lists."""
    lists, log2_size, exponent = _number_code(coder, rate_bits)
    which, local = _split(coder, index, lists)
    encoder = stream.queue.RangeEncoder()
    for shift, count in _digits(lists):
        encoder.encode(((which >> shift) % count).astype(np.int32), stream.model.Uniform(count))
    range_coder.put_indices(encoder, local, np.full(local.shape, log2_size), exponent)
    return stream.shortest(encoder)


def _read_numbers(coder, data, count, rate_bits):
    lists, log2_size, exponent = _number_code(coder, rate_bits)
    decoder = stream.reader(data)
    try:
        which = np.zeros(count, np.int64)
        for shift, size in _digits(lists):
            which += decoder.decode(stream.model.Uniform(size), count).astype(np.int64) << shift
        local = range_coder.take_indices(decoder, np.full(count, log2_size), exponent)
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    index = (
        np.stack([which, local], -1)
        if isinstance(coder, SpacePartitioned)
        else local * lists + which
    )
    if np.any(index > coder.last_index) or _write_numbers(coder, index, rate_bits) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return index


def _split(coder, index, lists):
    """The list of candidates of each sample, and its number there."""
    if isinstance(coder, SpacePartitioned):
        return index[:, 0], index[:, 1]
    local, which = np.divmod(index, lists)
    return which, local


def _digits(lists):
    """Numbers below ``lists`` as digits that the range coder can tell apart: shifts and numbers of values."""
    if lists <= 1 << _DIGIT_BITS:
        return [(0, lists)] if lists > 1 else []
    return [(0, 1 << _DIGIT_BITS), (_DIGIT_BITS, lists >> _DIGIT_BITS)]


def _number_code(coder, rate_bits):
    """The number of lists, log2 of the local numbers' support, and the exponent of its Zipf code in units of 1/64."""
    match coder:
        case MinimalRandomCoder(budget_bits=bits) if bits:
            return 1, bits, 0
        case OrderedRandomCoder(budget_bits=bits) | BudgetedAStar(budget_bits=bits) if bits:
            return 1, bits, round(64 * float(budget_exponent(jnp.float32(rate_bits), bits)))
        case ParallelGPRS(n_processes=lists):
            return (
                lists,
                zipf.MAX_LOG2_SIZE,
                zipf.zeta_exponent(max(rate_bits - math.log2(lists), 0)),
            )
        case SpacePartitioned(total_bits=bits):
            return 1 << bits, zipf.MAX_LOG2_SIZE, zipf.zeta_exponent(max(rate_bits - bits, 0))
        case ExactCoder():
            return 1, zipf.MAX_LOG2_SIZE, zipf.zeta_exponent(rate_bits)
    raise ValueError(
        f"coder: the indices of a {type(coder).__name__} have no code for many samples"
    )


def _exponent(rate_bits):
    return zipf.zeta_exponent(float(depth_rate(np.float32(rate_bits))))


@jax.jit
def _roots(keys):
    words = jax.vmap(tree.candidate_key)(keys)
    return words, jax.tree.map(lambda x: jnp.broadcast_to(x, len(keys)), tree.root())


@functools.partial(jax.jit, static_argnums=0)
def _cut(split, state):
    def one(key, node):
        cut = node.cut(node.point(key), split)
        return interval.left_frequency(node.low, cut, node.high, zipf.PRECISION), cut

    return jax.vmap(one)(*state)


@jax.jit
def _descend(state, cut, right):
    keys, nodes = state
    return keys, jax.vmap(lambda node, cut, right: node.child(right, cut))(nodes, cut, right)
