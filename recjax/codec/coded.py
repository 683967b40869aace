"""What an encoder makes of a signal before it is a file."""

import dataclasses

from recjax.modalities import Signal


@dataclasses.dataclass(frozen=True)
class Coded:
    """A stream and what went into it.

    Attributes:
      payload: the index stream.
      exponent: of its Zipf code.
      stream_bits: length of the code; the stream is rounded up to bytes.
      kl_bits: KL of all blocks when they were coded; no exact code can be much shorter on average.
      decoded: the signal that a decoder will see.
    """

    payload: bytes
    exponent: int
    stream_bits: float
    kl_bits: float
    decoded: Signal
