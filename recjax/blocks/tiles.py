"""Shapes of the products that search for candidates. Free to change: no decoder depends on them.

The shapes must not let a score depend on the batch, since then an index would.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from jax import lax

TILE = 2048
"""Candidates per product on the CPU."""

_CPU_LANES = 64
"""From 64 lanes on, matrix products on the CPU sum in the same order whatever their size."""

_DEVICE_TILE = 1 << 15
"""Candidates per product on accelerators, which small products one after the other leave idle. The
scores of the largest product take 128 MiB."""


class Products(NamedTuple):
    """Shapes of products on a platform.

    Attributes:
        granule: the lanes of a product are a multiple of this number.
        tile: candidates per product, at most.
    """

    granule: int
    tile: int


Result = TypeVar("Result")


def lane_groups(batch: int, most: int, granule: int) -> tuple[int, int]:
    """Divides a batch into equal groups for one product each.

    Args:
        batch: number of blocks or chains.
        most: largest number of lanes of a product.
        granule: the lanes of a group are a multiple of this number.

    Returns:
        The number of groups, and the number of lanes of each, which may exceed what `batch` needs.

    >>> lane_groups(1030, 1024, 64), lane_groups(1030, 1024, 1024)
    ((2, 576), (2, 1024))
    """
    groups = max(1, -(-batch // most))
    return groups, max(1, -(-batch // (granule * groups))) * granule


def for_platform(search: Callable[..., Result], most: int, *args) -> Result:
    """Calls `search(*args, products=...)` with the `Products` of the platform compiled for.

    On the CPU a small batch takes a small product. Other backends do not promise a fixed order of
    summation: there every product has the full shape of `most` lanes. The platform is that of the
    compiled program, not of the process that traces it: a program exported for another platform
    has that platform's shapes.
    """
    return lax.platform_dependent(
        *args,
        cpu=functools.partial(search, products=Products(_CPU_LANES, TILE)),
        default=functools.partial(search, products=Products(most, _DEVICE_TILE)),
    )
