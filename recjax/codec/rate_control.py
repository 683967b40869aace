"""Files that meet a target, by the choice of a prior and of the Lagrange multiplier.

A target bounds a measure of a file. `TARGETS` lists all of them; the search is the same for each.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from recjax.codec.encoding import (
    AnyPrior,
    Encoding,
    as_prior,
    check_signals,
    decode_together,
    default_key,
    encode_batch,
)
from recjax.codec.prior import Prior
from recjax.codec.prior_files import embedded_of_kind
from recjax.errors import TargetWarning
from recjax.modalities import Modality, Signal

_TRIES = 10
_NARROW = 0.01
"""Width of a bracket, in nats of the multiplier, within which only other noise changes a file."""
_LARGEST = math.log(99.0)
"""Largest logarithm of a Lagrange multiplier, and its smallest negated."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound on a measure of files, which the Lagrange multiplier can meet.

    Attributes:
        name: argument of `recjax.compress`, and flag of the command line.
        measure: from a file to the measure.
        text: from a value of the measure to its words in messages.
        ceiling: whether values above the target violate it, rather than values below.
        bounds_rate: whether the best file is the largest that meets the target, rather than the
            smallest.
        needs_decoding: whether the measure is one of the decoded signal.
        scale: from the measure to a number which changes about linearly with the logarithm of the
            multiplier.
        slope: change of that number per nat of the multiplier, before it is known.
        tolerance: distance from the target, in units of that number, at which the search has
            failed.
        near: distance at which the search ends.
        margin: distance inside the bound that the search aims at.
    """

    name: str
    measure: Callable[[Encoding], float]
    text: Callable[[float], str]
    ceiling: bool
    bounds_rate: bool
    needs_decoding: bool
    scale: Callable[[float], float]
    slope: float
    tolerance: float
    near: float
    margin: float

    def is_met(self, measure: float, value: float) -> bool:
        """Whether a file with this measure meets the target ``value``."""
        return measure <= value if self.ceiling else measure >= value

    def error(self, measure: float, value: float) -> float:
        """Signed distance of a measure from the target, in units of ``scale``."""
        return self.scale(measure) - self.scale(value)

    def check(self, value: float) -> None:
        """Raises a ValueError unless the target is a positive, finite number."""
        if not 0 < value < math.inf:
            raise ValueError(f"{self.name} must be positive and finite, got {value}")


def _log(value: float) -> float:
    return math.log(max(value, 1e-300))


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="bpp",
            measure=lambda encoding: encoding.rate,
            text=lambda value: f"{value:.4g} bpp",
            ceiling=True,
            bounds_rate=True,
            needs_decoding=False,
            scale=_log,
            slope=-0.55,
            tolerance=0.02,
            near=0.015,
            margin=0.006,
        ),
        Target(
            name="psnr",
            measure=lambda encoding: encoding.score,
            text=lambda value: f"{value:.2f} dB",
            ceiling=False,
            bounds_rate=False,
            needs_decoding=True,
            scale=lambda value: min(value, 1e3),  # equal signals have an infinite PSNR
            slope=-2.5,
            tolerance=0.2,
            near=0.06,
            margin=0.02,
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class _Try:
    """A multiplier that was tried.

    Attributes:
        log_price: its logarithm.
        excess: how far, on the target's scale, the file has more bits or quality than is aimed at;
            inf if no file of use could be made.
    """

    log_price: float
    excess: float


@dataclasses.dataclass(eq=False)
class _Search:
    """The search for one file: extrapolation until the target is bracketed, then regula falsi and
    bisection.

    Attributes:
        target: the target.
        value: its bound.
        nearest: the file nearest to the bound; at first one at the multiplier 1.
        log_price: logarithm of the multiplier to be tried next.
        slope: decrease of the excess per nat of the multiplier.
        low: the last try at a multiplier that is too small.
        high: the last try at a multiplier that is too large.
        last: the last try.
        draw: number of the encoder's noise. With the same noise, a size may jump across the target.
        best: the best file that meets the target.
        done: whether nothing is left to be tried.
    """

    target: Target
    value: float
    nearest: Encoding
    log_price: float = 0.0
    slope: float = dataclasses.field(init=False)
    low: _Try | None = None
    high: _Try | None = None
    last: _Try | None = None
    draw: int = 0
    best: Encoding | None = None
    done: bool = False

    def __post_init__(self) -> None:
        self.slope = abs(self.target.slope)
        self.log_price = self._extrapolated(_Try(0.0, self._excess(self.nearest)))

    def take(self, file: Encoding) -> None:
        """Notes a file, and chooses the next multiplier."""
        found, closest = _Try(self.log_price, self._excess(file)), self._distance(self.nearest)
        if self._distance(file) < closest:
            self.nearest = file
        if self.target.is_met(self.target.measure(file), self.value):
            if self.best is None or self._rank(file) > self._rank(self.best):
                self.best = file
            self.done = self._distance(file) <= self.target.near
        elif not self.target.bounds_rate and (
            self._distance(file) > closest + 2 * self.target.tolerance
        ):
            # far from the multiplier of its training a prior gets worse with more bits
            return self.fail()
        other = self.high if found.excess > 0 else self.low
        same = self.low if found.excess > 0 else self.high
        if other is None and same is not None:
            change = (same.excess - found.excess) / (found.log_price - same.log_price)
            first = abs(self.target.slope)
            self.slope = min(max(change, 0.35 * first), 3.5 * first)  # noise can say anything
        if found.excess > 0:
            self.low = found
        else:
            self.high = found
        self._go(found)

    def fail(self) -> None:
        """Notes that no file of use can be made at the multiplier: it is too small."""
        self.low = _Try(self.log_price, math.inf)
        self._go(self.low)

    def _go(self, last: _Try) -> None:
        log_price, self.last = self._next(last, self.last), last
        low, high = self.low, self.high
        if low and high and high.log_price - low.log_price < _NARROW and not self.done:
            self.draw, self.low, self.high, self.last = self.draw + 1, None, None, None
            self.log_price = log_price
            return
        self.done = self.done or abs(log_price - self.log_price) < 1e-3
        self.log_price = log_price

    def _next(self, last: _Try, before: _Try | None) -> float:
        low, high = self.low, self.high
        again = before is not None and (before.excess > 0) == (last.excess > 0)
        if low and high and low.log_price >= high.log_price:  # noise: the earlier try is forgotten
            self.low = low if last is low else None
            self.high = high if last is high else None
        elif low and high and again and low.excess < math.inf:  # regula falsi would creep
            return (low.log_price + high.log_price) / 2
        elif low and high and low.excess < math.inf:
            share = low.excess / (low.excess - high.excess)
            return low.log_price + min(max(share, 0.1), 0.9) * (high.log_price - low.log_price)
        elif low and high:
            guess = self._extrapolated(high)
            return guess if guess > low.log_price else (low.log_price + high.log_price) / 2
        if last.excess == math.inf:  # towards the multiplier of the training
            return last.log_price / 2
        guess = self._extrapolated(last)
        if before is not None and again:
            # a second step in one direction is at least as long again, whatever noise says
            step = last.log_price - before.log_price
            longer = min(max(last.log_price + 2 * step, -_LARGEST), _LARGEST)
            return max(guess, longer) if step > 0 else min(guess, longer)
        return guess

    def _extrapolated(self, last: _Try) -> float:
        return min(max(last.log_price + last.excess / self.slope, -_LARGEST), _LARGEST)

    def _excess(self, file: Encoding) -> float:
        error = self.target.error(self.target.measure(file), self.value)
        aim = -self.target.margin if self.target.ceiling else self.target.margin
        return (error - aim) * (1 if self.target.slope < 0 else -1)

    def _distance(self, file: Encoding) -> float:
        return abs(self.target.error(self.target.measure(file), self.value))

    def _rank(self, file: Encoding) -> int:
        return len(file.blob) if self.target.bounds_rate else -len(file.blob)


def encode_to_target(
    signals: Sequence[Signal],
    target: Target,
    value: float,
    prior: AnyPrior | None = None,
    *,
    effort: int | Any = 5,
    key: jax.Array | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Encoding]:
    """The best files found that meet a target.

    Every signal has a Lagrange multiplier of its own; each round of the search codes together all
    signals whose search goes on.

    Args:
        signals: signals of one modality.
        target: an entry of `TARGETS`.
        value: the bound.
        prior: a prior, its name or its path; by default the embedded one of the modality whose file
            at the multiplier of its training is nearest to the target. A prior whose rate is not
            free stands for all embedded ones of its modality and kind.
        effort: 1 (fast) to 9 (slow, better), of each of up to ten tries.
        key: key of the encoder's noise.
        progress: called with the fraction of the tries that may be needed.

    Raises:
        ValueError: no file meets the target, or an argument is out of range.

    Warns:
        TargetWarning: a file meets the target, but is not within the tolerance.
    """
    target.check(value)
    key = default_key() if key is None else key
    if not signals:
        return []
    modality = check_signals(signals)
    candidates, is_free = _candidates(modality, prior)
    tick = _ticks(progress, (_TRIES if is_free else 0) + len(candidates))
    first = _first_files(signals, candidates, target, value, 1 if is_free else effort, key, tick)
    if not is_free:
        return [_chosen_of_fixed_rates(files, target, value) for files in first]
    searches = [_Search(target, value, _nearest(files, target, value)) for files in first]
    priors = [search.nearest.prior for search in searches]
    for _ in range(_TRIES):
        groups: dict[tuple[bytes, int], list[int]] = {}
        for i, search in enumerate(searches):
            if not search.done:
                groups.setdefault((priors[i].digest, search.draw), []).append(i)
        for (_, draw), members in groups.items():
            used, noise = priors[members[0]], jax.random.fold_in(key, draw) if draw else key
            prices = [math.exp(searches[i].log_price) for i in members]
            results = _try([signals[i] for i in members], used, target, effort, noise, prices)
            for i, result in zip(members, results, strict=True):
                if result is None:
                    searches[i].fail()
                else:
                    searches[i].take(result)
        next(tick)
    return [_result(search) for search in searches]


def _candidates(modality: Modality, prior: AnyPrior | None) -> tuple[list[Prior], bool]:
    """The priors to choose from, in order of rate, and whether their rate is free."""
    if prior is None:
        loaded = [as_prior(name) for name in modality.qualities.values()]
        free = [prior for prior in loaded if prior.rate_is_free]
        return free or loaded, bool(free)
    loaded = as_prior(prior)
    if loaded.rate_is_free:
        return [loaded], True
    same = embedded_of_kind(modality.name, loaded.kind)
    return same if any(other.digest == loaded.digest for other in same) else [loaded], False


def _first_files(signals, candidates, target, value, effort, key, tick):
    """Files of every signal with the candidates, by rate, up to the first beyond the target."""
    files: list[list[Encoding]] = [[] for _ in signals]
    for prior in candidates:
        members = [
            i for i, made in enumerate(files) if not made or not _is_beyond(made[-1], target, value)
        ]
        if members:
            results = encode_batch([signals[i] for i in members], prior, effort=effort, key=key)
            if target.needs_decoding:
                decode_together(results)
            for i, result in zip(members, results, strict=True):
                files[i].append(result)
        next(tick)
    return files


def _is_beyond(file, target, value):
    """Whether priors of a higher rate are of no use: the rate or the quality is high enough."""
    return target.is_met(target.measure(file), value) != target.bounds_rate


def _try(signals, prior, target, effort, key, prices) -> list[Encoding | None]:
    """Files at given multipliers; None where there can be none."""
    if not signals:
        return []
    try:
        results = encode_batch(signals, prior, effort=effort, key=key, price=prices)
    except ValueError:  # a posterior is not finite; which signal's, only single ones can tell
        if len(signals) == 1:
            return [None]
        return [
            _try([signal], prior, target, effort, key, [price])[0]
            for signal, price in zip(signals, prices, strict=True)
        ]
    if target.needs_decoding:
        decode_together(results)
    return list(results)


def _result(search: _Search) -> Encoding:
    if search.best is None:
        raise ValueError(_unreachable(search.nearest, search.target, search.value))
    _warn_unless_near(search.best, search.target, search.value)
    return search.best


def _nearest(files: Sequence[Encoding], target: Target, value: float) -> Encoding:
    return min(files, key=lambda file: abs(target.error(target.measure(file), value)))


def _chosen_of_fixed_rates(files: list[Encoding], target: Target, value: float) -> Encoding:
    """The best among files whose priors have one rate each."""
    fits = [file for file in files if target.is_met(target.measure(file), value)]
    if not fits:
        raise ValueError(_unreachable(_nearest(files, target, value), target, value))
    return (max if target.bounds_rate else min)(fits, key=lambda file: len(file.blob))


def _unreachable(nearest: Encoding, target: Target, value: float) -> str:
    return (
        f"no file of {'at most' if target.ceiling else 'at least'} {target.text(value)} was found: "
        f"the nearest has {target.text(target.measure(nearest))} ({len(nearest.blob)} bytes)"
    )


def _warn_unless_near(file: Encoding, target: Target, value: float) -> None:
    size = 8 * len(file.blob)
    # a byte more or less is no failure
    rounding = math.log((size + 8) / size) if target.bounds_rate else 0
    if abs(target.error(target.measure(file), value)) > max(target.tolerance, rounding):
        which = "largest" if target.bounds_rate else "smallest"
        text = (
            f"{target.text(value)} is out of reach: the {which} file that could be made has "
            f"{target.text(target.measure(file))}"
        )
        warnings.warn(text, TargetWarning, stacklevel=4)


def _ticks(progress: Callable[[float], None] | None, count: int) -> Iterator[None]:
    """Reports one more of ``count`` steps as done each time that it is advanced."""
    for done in range(1, count + 1):
        if progress:
            progress(done / count)
        yield
