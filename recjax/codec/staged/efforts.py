"""Settings of the encoder of staged coefficients by effort, 1 to 9."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedEffort:
    """How an encoder chooses symbols.

    Attributes:
        lagrangian: squared error per bit, in squared quantisation steps, that a smaller symbol may
            cost; 0 rounds.
        all_cells: whether all sizes of cells are tried; else one is estimated to be the best.
        extra_bits: 0: there are no blocks.
    """

    lagrangian: float
    all_cells: bool
    extra_bits: int = 0


EFFORTS = {
    level: StagedEffort(lagrangian=0.09 if level > 1 else 0.0, all_cells=level > 6)
    for level in range(1, 10)
}
