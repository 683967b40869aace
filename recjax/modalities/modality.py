"""The description of a kind of signal: all that codec, container and command line know of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recjax.atomic import MAX_BYTES
from recjax.modalities.grid import Grid
from recjax.modalities.signal import Signal


@dataclasses.dataclass(frozen=True)
class Score:
    """A measure of a decoded signal.

    Attributes:
        name: as it is printed, such as ``"PSNR"``.
        unit: unit of its values, such as ``"dB"``.
        measure: from the original and the decoded signal to a number.
    """

    name: str
    unit: str
    measure: Callable[[Signal, Signal], float]

    @property
    def label(self) -> str:
        """Name and unit, as on an axis of a plot."""
        return f"{self.name} ({self.unit})"


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
    """A kind of signal: a module with these functions, and one entry in `MODALITIES`.

    To add a modality, write a module ``recjax/modalities/NAME.py`` (or a package) that ends in
    ``NAME = Modality(...)``, and add ``NAME`` to ``MODALITIES`` in `recjax.modalities.registry`.
    Nothing else changes: the container, the codec, training and the command line ask the entry.
    ``tests/modalities/test_contract.py`` then holds it to the promises below, as it does
    ``tests/toy_sound.py`` (one axis) and ``tests/toy_volume.py`` (three axes), which may serve as
    models.

    * The doors: ``to_grid`` maps a signal, without loss that matters, to values in [-1/2, 1/2],
      float32, of shape ``[*sides, channels]``. ``from_grid`` clips, rounds and restores type and
      meaning; ``from_grid(to_grid(signal))`` equals the signal. What the decoder must know beyond
      the values is one bit, ``Grid.flag``, or bytes, ``Grid.meta``. Cells whose values mean nothing
      are False in ``Grid.mask``.
    * Between the doors nobody knows the modality: the number of axes comes from the prior, and
      errors count equally in all values. A fixed change of coordinates, such as one of colours,
      belongs at the door; prediction from decoded neighbours belongs to the kind of prior.
    * ``sniff`` is true of files of this modality and of no other, and ``read`` refuses a file that
      is damaged or would lose meaning, in one line that names it. Optional dependencies are
      imported inside these functions, since reading a ``.rec`` file needs none of them.
    * ``check`` refuses whatever ``to_grid`` cannot map: other types and shapes, no cells at all,
      more than ``max_side`` along an axis. The codec itself refuses values that are not finite.
    * ``code`` is one of the eight that the header has room for, and is never given to another
      modality: files with it may exist.
    * Until a prior is embedded, ``qualities`` names a prior that has yet to be trained
      (``recjax train``), and users pass ``prior=`` or ``--prior``.

    Attributes:
        name: that signals, priors and messages use.
        code: three bits in the header of files; never given to another modality.
        axes: names of the axes besides that of the channels.
        channels: numbers of channels that priors may have.
        unit: cell that a rate refers to, such as ``"pixel"``.
        max_side: cells along an axis, at most; checked before anything is allocated.
        max_cells: cells of a signal, at most.
        max_bytes: bytes of a file that is read, at most.
        score: quality of decoded signals.
        more_scores: other measures, for the results files of `recjax eval`.
        qualities: embedded priors by the name of their quality, in order of rate.
        prices: Lagrange multipliers of qualities relative to the one of their prior's training; 1
            for those that are not named.
        default_quality: the quality of a file for which nothing else is asked.
        check: raises a ValueError unless a signal can be coded.
        to_grid: from a checked signal to what the codec sees.
        from_grid: from what was decoded to a signal, with its type, range and side information.
        formats: names of the file formats, for messages, such as ``"PNG, JPEG or WebP image"``.
        sniff: whether a file with these first bytes is of this modality.
        read: from the bytes and the name of a file to a signal; a ValueError names the file.
        write: from a signal and a suffix to the bytes of a file.
        suffixes: suffixes of the files that `write` writes, with their dots, in lower case.
        read_suffixes: those of other files that `read` reads.
        describe: facts for people, from flag and side information.
        symmetry: a training signal changed, by a random generator, in a way that leaves the
            statistics of signals as they are, such as mirroring; arrays of the type of
            ``Signal.values``.
        augment: a training signal changed in a way that widens the statistics.
        rescale: a training signal at another scale, or None if there is no such thing.
        rivals: other codecs.
        segment: cells along the first axis of the segments that long signals are coded in, each as
            a signal of its own; 0 if signals are not divided.
        cells_per_second: from side information to the cells per second along the first axis; None
            unless that is time.
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
    segment: int = 0
    more_scores: tuple[Score, ...] = ()
    prices: Mapping[str, float] = dataclasses.field(default_factory=dict)
    read_suffixes: tuple[str, ...] = ()
    max_bytes: int = MAX_BYTES
    cells_per_second: Callable[[bytes], float] | None = None

    @property
    def rank(self) -> int:
        """Number of axes besides that of the channels."""
        return len(self.axes)

    @property
    def rate_label(self) -> str:
        """Quantity and unit of rates, as on an axis of a plot."""
        return f"rate (bits per {self.unit})"

    def prior_of_quality(self, quality: str | int | None = None) -> str:
        """The name of the embedded prior of a quality.

        Args:
            quality: its name, or its number in order of rate from 1; by default the default
                quality.

        Raises:
            ValueError: there is no such quality.
        """
        return self.qualities[self._name_of_quality(quality)]

    def price_of_quality(self, quality: str | int | None = None) -> float:
        """The Lagrange multiplier of a quality, relative to the one of its prior's training.

        Args:
            quality: as for `prior_of_quality`.

        Raises:
            ValueError: there is no such quality.
        """
        return self.prices.get(self._name_of_quality(quality), 1.0)

    def _name_of_quality(self, quality: str | int | None) -> str:
        names = list(self.qualities)
        if quality is None:
            quality = self.default_quality
        by_number = {str(number): name for number, name in enumerate(names, 1)}
        name = by_number.get(str(quality), str(quality))
        if name not in self.qualities:
            choices = f"{', '.join(names)}, or 1 to {len(names)}"
            raise ValueError(f"quality of {self.name} must be {choices}; got {quality}")
        return name
