"""Signals to streams of a transform: from the top level down, the best path of samples."""

import math
from collections.abc import Callable, Sequence

import jax

from recjax.blocks.trellis import TrellisCoder
from recjax.codec.payload import Payload
from recjax.codec.transform.chain_coding import ChainCoding
from recjax.codec.transform.efforts import TransformEffort
from recjax.codec.transform.fit import fit_transform
from recjax.codec.transform.level_coding import code_levels
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.stream import part_bits, write_stream
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches

VALUES_A_CALL = 1 << 21
"""Cells of the signals that are coded together, about; it bounds the memory."""


def encode(
    grids: Sequence[Grid],
    prior: TransformPrior,
    effort: TransformEffort,
    key: jax.Array,
    lagrangians: Sequence[float],
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """The streams of all signals, each the same as if it were coded alone."""
    coder = TrellisCoder(budget=prior.budget, extra_bits=effort.extra_bits)
    code = {small: ChainCoding(coder, small) for small in (True, False)}
    out: dict[int, Payload] = {}
    for small, group in _groups(grids, prior):
        fits = [
            fit_transform(
                grids[i], prior, steps=effort.fit_steps, lagrangian=lagrangians[i], key=key
            )
            for i in group
        ]
        signals = code_levels(prior, fits, key, code[small])
        out |= {i: _payload(prior, signal) for i, signal in zip(group, signals, strict=True)}
        if progress:
            progress(len(out) / len(grids))
    return [out[i] for i in range(len(grids))]


def _groups(grids, prior):
    """Numbers of the signals in groups of bounded size, whose blocks share the lanes of products.

    Small signals, of one cell of the top level, have programs and groups apart from others.
    """
    groups: dict[bool, list[list[int]]] = {True: [[]], False: [[]]}
    size = {True: 0, False: 0}
    for i, grid in enumerate(grids):
        cells = math.prod(n_patches(grid.sides, prior.patch))
        small, values = cells == 1, cells * math.prod(prior.patch)
        if groups[small][-1] and size[small] + values > VALUES_A_CALL:
            groups[small].append([])
            size[small] = 0
        groups[small][-1].append(i)
        size[small] += values
    return [(small, group) for small, members in groups.items() for group in members if group]


def _payload(prior, coded):
    parts = coded.parts
    bits = part_bits(prior, parts)
    names = [f"level {level}" for level in range(prior.config.levels)]
    return Payload(
        stream=write_stream(prior, parts),
        exponent=0,
        stream_bits=sum(bits.values()),
        # quantised latents and classes have no KL: they count with the length of their code
        kl_bits={
            "numbers": bits["numbers"],
            "classes": bits["classes"],
            "blocks": sum(code.kl_bits for code in coded.levels),
        },
        latents=dict(zip(names, reversed(coded.latents), strict=True)),
    )
