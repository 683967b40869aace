"""The description of a kind of signal: all that codec, container and command line know of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recjax.modalities.grid import Grid
from recjax.modalities.signal import Signal


@dataclasses.dataclass(frozen=True)
class Score:
    """A measure of a decoded signal.

    Attributes:
        name: as it is printed, such as ``"PSNR"``.
        unit: of its values, such as ``"dB"``.
        measure: from the original and the decoded signal to a number.
    """

    name: str
    unit: str
    measure: Callable[[Signal, Signal], float]


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another codec for signals of a modality, to compare files of at most equal size with.

    Attributes:
        name: key in results files, such as ``"jpeg"``.
        label: as it is printed, such as ``"JPEG"``.
        best: from a signal and a limit in bytes to score and size of the best file that is not
            larger, or None if there is none.
    """

    name: str
    label: str
    best: Callable[[Signal, int], tuple[float, int] | None]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Modality:
    """A kind of signal: a module with these functions, and one entry in `recjax.modalities.MODALITIES`.

    Attributes:
        name: that signals, priors and messages use.
        code: three bits in the header of files; never given to another modality.
        axes: names of the axes besides that of the channels.
        channels: numbers of channels that priors may have.
        unit: cell that a rate refers to, such as ``"pixel"``.
        max_side: cells along an axis, at most; checked before anything is allocated.
        max_cells: cells of a signal, at most.
        score: quality of decoded signals.
        qualities: embedded priors by the name of their quality, in order of rate.
        default_quality: the quality of a file for which nothing else is asked.
        check: raises a ValueError unless a signal can be coded.
        to_grid: from a checked signal to what the codec sees.
        from_grid: from what was decoded to a signal, with its type, range and side information.
        formats: of files, for messages, such as ``"PNG, JPEG or WebP image"``.
        sniff: whether a file with these first bytes is of this modality.
        read: from the bytes and the name of a file to a signal; a ValueError names the file.
        write: from a signal and a suffix to the bytes of a file.
        suffixes: of the files that `write` writes, with their dots, in lower case.
        describe: facts for people, from flag and side information.
        symmetry: a training signal changed, by a random generator, in a way that leaves the statistics
            of signals as they are, such as mirroring; arrays of the type of ``Signal.values``.
        augment: likewise, in ways that widen the statistics.
        rescale: a training signal at another scale, or None if there is no such thing.
        rivals: other codecs.
    """

    name: str
    code: int
    axes: tuple[str, ...]
    channels: frozenset[int]
    unit: str
    max_side: int
    max_cells: int
    score: Score
    qualities: Mapping[str, str]
    default_quality: str
    check: Callable[[Signal], None]
    to_grid: Callable[[Signal], Grid]
    from_grid: Callable[[Grid], Signal]
    formats: str
    sniff: Callable[[bytes], bool]
    read: Callable[[bytes, str], Signal]
    write: Callable[[Signal, str], bytes]
    suffixes: tuple[str, ...]
    describe: Callable[[bool, bytes], dict[str, Any]]
    symmetry: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    rescale: Callable[[np.ndarray, float], np.ndarray] | None = None
    rivals: tuple[Rival, ...] = ()

    @property
    def rank(self) -> int:
        """Number of axes besides that of the channels."""
        return len(self.axes)
