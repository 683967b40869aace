"""Files of a wanted size, by the choice of a prior and of the price of a bit."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from recjax.codec.encoding import AnyPrior, Encoding, as_prior, check_signals, encode_batch
from recjax.codec.prior import Prior
from recjax.modalities import Signal

_TRIES = 6
_NEAR = 0.985
"""Of the wanted size is near enough."""
_AIM = 0.994
_SLOPE = 0.55
"""How fast the logarithm of a size falls with that of the price, before it is known."""
_DEAREST = 99.0


def encode_at_rate(
    signal: Signal,
    bpp: float,
    prior: AnyPrior | None = None,
    *,
    effort: int | Any = 5,
    key: jax.Array | None = None,
    progress: Callable[[float], None] | None = None,
) -> Encoding:
    """The largest file found that is not larger than wanted, of a transform.

    Args:
      signal: an image.
      bpp: bits of the file for each pixel, at most.
      prior: or its name or path; by default that of the embedded ones whose own rate is nearest.
      effort: 1 (fast) to 9 (slow, better), of each of up to six tries.
      key: see :func:`recjax.codec.encode_batch`.
      progress: called with the fraction of the tries that may be needed.

    Raises:
      ValueError: there is no such small file, or an argument is out of range.
    """
    if not 0 < bpp < math.inf:
        raise ValueError(f"bpp must be positive and finite, got {bpp}")
    modality = check_signals([signal])
    names = modality.qualities.values() if prior is None else (prior,)
    priors = [as_prior(own) for own in names]
    if not all(own.rate_is_free for own in priors):
        raise ValueError(
            "only transforms have a rate that can be chosen; that of another prior is its own"
        )
    limit = math.floor(bpp * math.prod(modality.to_grid(signal).sides) / 8)
    own, size = _nearest(priors, signal, limit, key)
    log_price, slope, fits, tries = _towards(0.0, size, limit, _SLOPE), _SLOPE, [], []
    for _ in range(_TRIES):
        (result,) = encode_batch([signal], own, effort=effort, key=key, price=math.exp(log_price))
        size = len(result.blob)
        tries.append((log_price, size))
        if progress:
            progress(len(tries) / _TRIES)
        if size <= limit:
            fits.append(result)
        if _NEAR * limit <= size <= limit:
            break
        if len(tries) > 1 and len({price for price, _ in tries[-2:]}) == 2:
            (a, b), (c, d) = tries[-2:]
            slope = min(max(math.log(b / d) / (c - a), 0.2), 2.0)
        before, log_price = log_price, _towards(log_price, size, limit, slope)
        if log_price == before:
            break
    if not fits:
        smallest = min(size for _, size in tries)
        raise ValueError(
            f"no file of at most {limit} bytes ({bpp:g} bpp): the smallest tried has {smallest}"
        )
    return max(fits, key=lambda result: len(result.blob))


def _nearest(priors: Sequence[Prior], signal, limit, key):
    """The prior whose quickest file is nearest to the limit, and the size of this file."""
    sizes = []
    for prior in priors:
        (result,) = encode_batch([signal], prior, effort=1, key=key)
        sizes.append(len(result.blob))
        if sizes[-1] > limit:
            break
    best = min(range(len(sizes)), key=lambda i: abs(math.log(sizes[i] / max(limit, 1))))
    return priors[best], sizes[best]


def _towards(log_price, size, limit, slope):
    wanted = log_price + math.log(size / max(_AIM * limit, 1)) / slope
    return min(max(wanted, -math.log(_DEAREST)), math.log(_DEAREST))
