"""Settings of the encoder of staged coefficients by effort, 1 to 9."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedEffort:
    """How an encoder chooses symbols.

    Attributes:
        lagrangian: squared error per bit, in squared quantisation steps, that a smaller symbol may
            cost; 0 rounds.
        cells: sizes of cells that are tried, in powers of two times the smallest.
        extra_bits: 0: there are no blocks.
    """

    lagrangian: float
    cells: tuple[int, ...]
    extra_bits: int = 0


EFFORTS = {
    level: StagedEffort(
        lagrangian=0.09 if level > 1 else 0.0, cells=(0, 1, 2, 3) if level > 6 else ()
    )
    for level in range(1, 10)
}
