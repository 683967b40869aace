"""Search for the Lagrange multiplier of one file that meets a target."""

import dataclasses
import math

from recjax.codec.encoding import Encoding
from recjax.codec.targets import Target

_NARROW = 0.01
"""Width of a bracket, in nats of the multiplier, within which only other noise changes a file."""
_INSIDE = 0.99
"""Share of the range of Lagrange multipliers, at both ends, that is tried."""


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
class MultiplierSearch:
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
            longer = self._in_range(last.log_price + 2 * step)
            return max(guess, longer) if step > 0 else min(guess, longer)
        return guess

    def _extrapolated(self, last: _Try) -> float:
        return self._in_range(last.log_price + last.excess / self.slope)

    def _in_range(self, log_price: float) -> float:
        least, most = self.nearest.prior.price_range
        return min(max(log_price, -math.log(_INSIDE / least)), math.log(_INSIDE * most))

    def _excess(self, file: Encoding) -> float:
        error = self.target.error(self.target.measure(file), self.value)
        aim = -self.target.margin if self.target.ceiling else self.target.margin
        return (error - aim) * (1 if self.target.slope < 0 else -1)

    def _distance(self, file: Encoding) -> float:
        return abs(self.target.error(self.target.measure(file), self.value))

    def _rank(self, file: Encoding) -> int:
        return len(file.blob) if self.target.bounds_rate else -len(file.blob)
