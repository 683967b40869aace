"""A second decoder of .rec files, written from recjax/FORMAT.md, of the standard library and NumPy alone.

It keeps to the words of that page, not to speed, and computes samples and networks in float64. Of files with a right
checksum it refuses nothing.
"""

from independent.container import File, Prior, parse, read_prior
from independent.inr import decode_inr, inr_pixels
from independent.staged import decode_staged
from independent.transform import decode_transform, transform_pixels
from independent.vector import decode_vector

__all__ = [
    "File",
    "Prior",
    "decode_inr",
    "decode_staged",
    "decode_transform",
    "decode_vector",
    "inr_pixels",
    "parse",
    "read_prior",
    "transform_pixels",
]
