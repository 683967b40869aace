"""The numbers of coders in strings of indices. Frozen: FORMAT.md, section Strings."""

import enum
from typing import Any


class CoderNumber(enum.IntEnum):
    """Number of each class of coders; its settings are known to the reader."""

    RejectionSampler = 1
    GreedyRejectionSampler = 2
    GreedyRejectionCoder = 3
    AStar = 4
    AStarCoder = 5
    GPRS = 6
    ParallelGPRS = 7
    BranchAndBoundGPRS = 8
    MinimalRandomCoder = 9
    OrderedRandomCoder = 10
    BudgetedAStar = 11
    DitheredQuantizer = 12
    SpacePartitionedAStar = 13
    SpacePartitionedGPRS = 14
    PoissonPrivate = 15
    HybridCoder = 16
    RingToss = 17
    VectorCoder = 18
    FOREIGN = 255  # all coders that are defined outside recjax


def number_of(coder: Any) -> CoderNumber:
    """The number of a coder.

    >>> import recjax
    >>> number_of(recjax.AStarCoder(split="dyadic"))
    <CoderNumber.AStarCoder: 5>
    """
    cls = type(coder)
    # a class of the same name, or a subclass, may have another code
    inside = cls.__module__.startswith("recjax.")
    return CoderNumber.__members__.get(cls.__name__ if inside else "", CoderNumber.FOREIGN)


def name_of(number: int) -> str:
    """What a number stands for, for messages.

    >>> name_of(5), name_of(255), name_of(77)
    ('AStarCoder', 'a coder that is not of recjax', 'the unknown coder 77')
    """
    if number == CoderNumber.FOREIGN:
        return "a coder that is not of recjax"
    if number in set(CoderNumber):
        return CoderNumber(number).name
    return f"the unknown coder {number}"
