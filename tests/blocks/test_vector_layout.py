"""How vectors are cut into blocks: every coordinate in one block, few bits in each, at any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.blocks import vector_layout
from recjax.blocks.vector_layout import layout_of, parts_of_bits

WORDS = jnp.uint32(1), jnp.uint32(2)
BITS, EXTRA = 12, 4


def profile(d, total, seed=0):
    shares = np.random.default_rng(seed).exponential(size=d)
    return total * shares / shares.sum()


LAYOUTS = [
    *((d, float(kl)) for d, kl in [(1, 7), (7, 5), (7, 50), (1000, 50), (70_001, 700), (900, 0)]),
    *((d, profile(d, kl)) for d, kl in [(7, 20), (1000, 50), (70_001, 700), (900, 0)]),
]


@pytest.mark.parametrize("d,kl", LAYOUTS, ids=lambda x: str(np.shape(x) or x))
def test_every_coordinate_has_one_place(d, kl):
    layout = layout_of(d, parts_of_bits(kl), BITS, EXTRA)
    all_coordinates = jnp.arange(d, dtype=jnp.uint32)
    block, place = jax.jit(vector_layout.places)(WORDS, layout, all_coordinates)
    widths = np.bincount(np.asarray(block), minlength=layout.blocks)
    assert len(widths) == layout.blocks and widths.min() >= 1
    assert widths.max() <= layout.columns == max(64, widths.max())
    assert len(set(zip(block.tolist(), place.tolist(), strict=True))) == d
    assert (np.asarray(place) < widths[np.asarray(block)]).all()
    if np.ndim(kl) == 0:
        assert widths.max() - widths.min() <= 1
    # the search goes the other way
    columns = jnp.arange(layout.columns, dtype=jnp.uint32)[:, None]
    blocks = jnp.arange(layout.blocks, dtype=jnp.uint32)
    found, exists = jax.jit(vector_layout.coordinates, static_argnums=4)(
        WORDS, layout, blocks, jnp.broadcast_to(columns, (layout.columns, layout.blocks)), d
    )
    assert exists.sum() == d
    found, exists = np.asarray(found), np.asarray(exists)
    np.testing.assert_array_equal(found[place, block], all_coordinates)
    assert exists[place, block].all()


@pytest.mark.parametrize("d,kl", LAYOUTS, ids=lambda x: str(np.shape(x) or x))
def test_candidates_cover_the_divergence_of_blocks(d, kl):
    layout = layout_of(d, parts_of_bits(kl), BITS, EXTRA)
    block, _ = jax.jit(vector_layout.places)(WORDS, layout, jnp.arange(d, dtype=jnp.uint32))
    in_block = np.bincount(np.asarray(block), np.broadcast_to(kl, d) / (1 if np.ndim(kl) else d))
    largest = in_block.max() if np.ndim(kl) else kl / layout.blocks
    if np.sum(kl) == 0:
        assert layout.log2_candidates == 0
        return
    assert layout.log2_candidates <= BITS
    assert 0 <= layout.log2_candidates - EXTRA - largest + 1 / 128 < 1 + 1 / 64
    # no fewer blocks would do, but for the rounding up of each
    assert layout.blocks <= -(-np.sum(kl) // (BITS - EXTRA)) * (1 if np.ndim(kl) == 0 else 2) + 1


def test_wide_blocks_have_fewer_candidates():
    """A table of at most 2^32 numbers, whatever the size and the divergence."""
    for d, kl in [(10**7, 1.0), (10**7, 100.0), (10**7, 10**6), (10**5, 12.0)]:
        layout = layout_of(d, parts_of_bits(kl), 16, 4)
        assert layout.columns << layout.log2_candidates <= 2**32
        assert layout.log2_candidates >= 5 and kl / layout.blocks <= layout.log2_candidates - 4
    layout = layout_of(10**6, parts_of_bits(np.zeros(10**6)), 16, 4)
    assert layout.columns << layout.log2_candidates <= 2**32


@pytest.mark.parametrize(
    "d,kl", [(1, 9.0), (7, 57.0), (2, np.array([1.0, 8.5])), (3, np.array([9.0, 0, 0]))]
)
def test_too_few_coordinates(d, kl):
    assert layout_of(d, parts_of_bits(kl), BITS, EXTRA) is None


def test_divergences_are_rounded_to_parts():
    assert [parts_of_bits(x) for x in (0.0, 1 / 512 - 1e-9, 1 / 512, 1.0)] == [0, 0, 1, 256]
    # many small ones are not lost
    assert parts_of_bits(np.full(10_000, 0.001))[-1] == 2560
    assert layout_of(9, parts_of_bits(8.0), BITS, EXTRA).blocks == 1
    assert layout_of(9, parts_of_bits(8.001), BITS, EXTRA).blocks == 1
    assert layout_of(9, parts_of_bits(8.002), BITS, EXTRA).blocks == 2


def test_blocks_read_columns_rows_and_signs_of_their_own():
    layout = layout_of(64 * 200, parts_of_bits(8.0 * 200), BITS, EXTRA)
    blocks = jnp.arange(layout.blocks, dtype=jnp.uint32)
    for call in (0, 1):
        first, mask = vector_layout.heads(
            vector_layout.call_key(jnp.zeros(2, jnp.uint32), call), layout, blocks
        )
        # of 200 drawn from 64 and from 4,096
        assert len(np.unique(first)) > 50 and len(np.unique(mask)) > 180
        assert first.max() < layout.columns and mask.max() < 1 << layout.log2_candidates
    signs = np.stack(vector_layout.sign_words(WORDS, blocks, jnp.uint32(0)))
    ones = np.bitwise_count(signs).sum()
    assert abs(ones - 200 * 32) < 5 * np.sqrt(200 * 64) / 2
