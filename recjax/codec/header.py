"""The header of a ``.rec`` file. Frozen: FORMAT.md, The file."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recjax.bits.zipf import MAX_EXPONENT
from recjax.codec.prior import Prior
from recjax.codec.varint import varint
from recjax.modalities import Modality

if TYPE_CHECKING:
    from recjax.blocks.ordered_random import BlockCoder
    from recjax.blocks.trellis_decoder import TrellisDecoder

MAGIC = b"\xecr"
PREFIX_BYTES = 3
SIDE_BYTES = {1: 3, 2: 3, 3: 5}
"""Most bytes of a side in each version."""
MOST_META = 1 << 20
"""Most bytes of metadata."""

_RANGES = {"scheme": 15, "extra_bits": 7, "exponent": MAX_EXPONENT}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Everything a file says before its index stream.

    Attributes:
        scheme: version of the shared randomness, 0 .. 15.
        modality: modality of the signal.
        shape: cells along every axis, within the bounds of the modality; None: one patch of the
            prior.
        flag: the bit that the modality owns; of an image, whether it is gray.
        extra_bits: ``t``, 0 .. 7; a block of budget ``b`` has ``2^(b + t)`` candidates.
        exponent: exponent of the Zipf code in units of 1/64, 0 .. 255.
        digest_prefix: the first three bytes of the prior's digest.
        version: version of the format, 1 to 3.
        meta: bytes that the modality writes and reads; version 3.
        segment: cells of a segment along the first axis, of which the last segment may have fewer;
            0 for a file of one stream. Version 3.

    Raises:
        ValueError: if a field is outside its range.
    """

    scheme: int
    modality: Modality
    shape: tuple[int, ...] | None
    flag: bool
    extra_bits: int
    exponent: int
    digest_prefix: bytes
    version: int = 2
    meta: bytes = b""
    segment: int = 0

    def __post_init__(self) -> None:
        for name, last in _RANGES.items():
            if not 0 <= getattr(self, name) <= last:
                raise ValueError(f"{name} must be in 0..{last}, got {getattr(self, name)}")
        if self.version < least_version(self.shape, self.meta, self.segment):
            raise ValueError(f"version {self.version} has no metadata, long sides or segments")
        if len(self.meta) > MOST_META:
            raise ValueError(f"metadata of {len(self.meta)} bytes: at most {MOST_META}")
        if self.segment and not (self.shape and 0 < self.segment < self.shape[0]):
            raise ValueError(f"segments of {self.segment} cells do not divide {self.shape}")
        if len(self.digest_prefix) != PREFIX_BYTES:
            raise ValueError(
                f"digest_prefix must have {PREFIX_BYTES} bytes, got {len(self.digest_prefix)}"
            )
        if self.shape is not None:
            modality = self.modality
            if len(self.shape) != modality.rank:
                raise ValueError(f"a shape of {modality.name} needs {modality.rank} sides")
            if not all(1 <= side <= modality.max_side for side in self.shape):
                raise ValueError(f"shape {self.shape} has a side outside 1..{modality.max_side}")
            if math.prod(self.shape) > modality.max_cells:
                raise ValueError(
                    f"shape {self.shape} has more than {modality.max_cells} {modality.unit}s"
                )

    def sides(self, prior: Prior) -> tuple[int, ...]:
        """Cells of the signal along every axis."""
        return prior.patch if self.shape is None else self.shape

    def seconds(self, prior: Prior) -> float | None:
        """Duration of the signal; None if its first axis is not time."""
        frequency = self.modality.cells_per_second
        return None if frequency is None else self.sides(prior)[0] / frequency(self.meta)

    @property
    def segments(self) -> int:
        """Number of streams."""
        return -(-self.shape[0] // self.segment) if self.segment and self.shape else 1

    def of_segment(self, number: int, exponent: int) -> "Header":
        """The header that a segment would have as a file."""
        assert self.shape is not None
        first = min(self.segment, self.shape[0] - number * self.segment)
        shape = (first, *self.shape[1:])
        return dataclasses.replace(self, shape=shape, exponent=exponent, segment=0)

    def block_coder(self, prior: Prior) -> "BlockCoder | TrellisDecoder":
        """The coder of the file's blocks.

        Raises:
            ValueError: the extra bits do not fit the prior's budget.
        """
        # both import JAX, which a header does not need
        from recjax.blocks.ordered_random import BlockCoder
        from recjax.blocks.trellis_decoder import TrellisDecoder

        coder = BlockCoder if self.version == 1 else TrellisDecoder
        return coder(budget=prior.budget, extra_bits=self.extra_bits)

    def log2_indices(self, budget: int) -> int:
        """Bits of the largest index of a block."""
        return budget + self.extra_bits if self.version == 1 else budget


def least_version(shape: Sequence[int] | None, meta: bytes, segment: int) -> int:
    """The first version that can say this.

    >>> least_version((512, 768), b"", 0), least_version((1 << 21,), b"", 0)
    (1, 3)
    """
    long = any(len(varint(side)) > SIDE_BYTES[2] for side in shape or ())
    return 3 if meta or segment or long else 1


def head_bytes(header: Header) -> bytes:
    """The bytes of a file before its payload."""
    flags = (
        header.modality.code
        | (header.shape is None) << 3
        | header.flag << 4
        | header.extra_bits << 5
    )
    fixed = bytes([header.version << 4 | header.scheme, flags, header.exponent])
    head = MAGIC + fixed + header.digest_prefix
    head += b"".join(varint(side) for side in header.shape or ())
    if header.version < 3:
        return head
    return head + varint(len(header.meta)) + header.meta + varint(header.segment)
