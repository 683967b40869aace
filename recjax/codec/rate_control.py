"""Files that meet a target, by the choice of a prior and of the Lagrange multiplier."""

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
from recjax.codec.multiplier_search import MultiplierSearch
from recjax.codec.prior import Prior
from recjax.codec.prior_files import embedded_of_kind
from recjax.codec.targets import Target
from recjax.errors import TargetWarning
from recjax.modalities import Modality, Signal

_TRIES = 10


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
    target.check_modality(modality)
    candidates, is_free = _candidates(modality, prior)
    tick = _ticks(progress, (_TRIES if is_free else 0) + len(candidates))
    first = _first_files(signals, candidates, target, value, 1 if is_free else effort, key, tick)
    if not is_free:
        return [_chosen_of_fixed_rates(files, target, value) for files in first]
    searches = [MultiplierSearch(target, value, _nearest(files, target, value)) for files in first]
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
        # several qualities may be one prior at several multipliers
        loaded = [as_prior(name) for name in dict.fromkeys(modality.qualities.values())]
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


def _result(search: MultiplierSearch) -> Encoding:
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
