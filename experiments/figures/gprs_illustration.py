"""Greedy Poisson rejection sampling at work: arrivals, the bound sigma(r(x)), and the one accepted.

Source: Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023, figure 1: P = N(0, 1), Q = N(1, 1/16) (scale 1/4);
global search, two parallel processes, branch and bound split on samples. All candidates and times are those of the
coders for one key; the time of a parallel process is that of a process of unit rate, J times as fast.
"""

import jax
import jax.numpy as jnp
import numpy as np

import recjax
from experiments.figures.points import Points
from recjax import randomness
from recjax.distributions import pair_of
from recjax.randomness import Stream
from recjax.results.files import Axis, Curve, Panel, Results
from recjax.samplers._search import tree
from recjax.samplers._search.stretch import stretch_between

Q, P = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
KEY = jax.random.key(17)
PROCESSES = 2
_TOP = 14.0
"""The latest time drawn."""


def bound(x: np.ndarray) -> np.ndarray:
    """sigma(r(x)), infinite where r is largest."""
    return np.asarray(_bound(jnp.asarray(x, jnp.float32)), np.float64)


@jax.jit
@jax.vmap
def _bound(x):
    pair = pair_of(Q, P)
    log_ratio = pair.log_ratio(x)
    stretched = stretch_between(pair, jnp.full((), -jnp.inf, log_ratio.dtype), log_ratio)
    return jnp.where(log_ratio < pair.log_ratio_max(), stretched, jnp.inf)


def candidates(count: int, processes: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and places of the first candidates of a list, which ``processes`` own in turns."""

    @jax.jit
    def draw(index):
        bits = randomness.coordinate_bits(randomness.stream_key(KEY, Stream.ARRIVAL), index, 1)[
            :, 0
        ]
        return randomness.exponential(bits), jax.vmap(lambda k: recjax.GPRS().decode(KEY, k, P))(
            index
        )

    gaps, places = (
        np.asarray(part, np.float64) for part in draw(jnp.arange(count, dtype=jnp.uint32))
    )
    times = np.zeros(count)
    for process in range(processes):
        times[process::processes] = processes * np.cumsum(gaps[process::processes])
    return times, places


def path(index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, places and intervals [low, high] of the nodes on the way to one, split on samples."""

    @jax.jit
    def visit(node, right):
        candidate, arrival = (
            tree.stream_words(KEY, stream) for stream in (Stream.CANDIDATE, Stream.ARRIVAL)
        )
        gap = randomness.exponential(node.draws(arrival)[0]) / node.mass(jnp.float32)
        point = node.point(candidate)
        drawn = [tree.sample_at(P, quantile) for quantile in (point, node.low, node.high)]
        return jnp.stack([gap, *drawn]), node.child(right, point)

    bits = format(int.from_bytes(np.asarray(index, ">u4").tobytes(), "big"), "b")
    node, rows = tree.root(), []
    for bit in bits[1:] + "0":  # the child of the last node is not visited
        row, node = visit(node, jnp.asarray(bit == "1"))
        rows.append(np.asarray(row, np.float64))
    gaps, places, low, high = np.array(rows).T
    return np.cumsum(gaps), places, np.stack([low, high], axis=1)


def search(processes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The candidates of a search of the list, and which is the earliest below the bound."""
    times, places = candidates(64, processes)
    return times, places, int(np.argmin(np.where(times < bound(places), times, np.inf)))


def figure(full: bool, point: Points) -> Results:
    """The same picture at either scale."""
    x = np.linspace(-2, 2.5, 181)
    sigma = np.array(point("bound", lambda: np.minimum(bound(x), _TOP).tolist()))
    panels = []
    for title, processes in (("Global", 1), ("Parallel, 2 processes", PROCESSES)):
        times, places, accepted = point(title, lambda j=processes: _plain(search(j)))
        times, places = np.array(times), np.array(places)
        curves = []
        for process in range(processes):
            own = np.arange(process, times.size, processes)
            # a process stops at the first arrival after the accepted one
            own = own[
                : np.searchsorted(times[own], times[accepted], "right")
                + (process != accepted % processes)
            ]
            name = f"arrivals of process {process}" if processes > 1 else "arrivals"
            curves.append(_curve(name, places[own], times[own]))
        panels.append(_panel(title, curves, (places[accepted], times[accepted]), x, sigma))
    index = point("index", lambda: recjax.BranchAndBoundGPRS().encode(KEY, Q, P).index.tolist())
    times, places, ends = (
        np.array(part) for part in point("path", lambda: _plain(path(np.array(index))))
    )
    curves = [_curve("arrivals", places, times)]
    starts = np.concatenate([[0], times[:-1]])
    for side, name in enumerate(("lower end of the interval", "upper end of the interval")):
        ends_drawn = np.clip(ends[:, side], x[0], x[-1])
        line = np.repeat(ends_drawn, 2), np.stack([starts, times], axis=1).ravel()
        curves.append(
            Curve(
                name, *(tuple(part.tolist()) for part in line), kind="theory", source="the search"
            )
        )
    panels.append(_panel("Split on sample", curves, (places[-1], times[-1]), x, sigma))
    return Results(
        "gprs_illustration",
        "The earliest arrival below sigma(r(x)) is a sample of Q; bound and times are cut off at the top.",
        "python -m experiments.figures gprs_illustration",
        tuple(panels),
    )


def _panel(title, curves, accepted, x, sigma):
    below = Curve(
        "sigma(r(x))",
        tuple(x.tolist()),
        tuple(sigma.tolist()),
        kind="theory",
        source="Flamich, 2023",
    )
    chosen = Curve("accepted", (float(accepted[0]),), (float(accepted[1]),))
    return Panel(title, Axis("x"), Axis("time t"), (*curves, chosen, below))


def _curve(label, x, y):
    return Curve(label, tuple(x.tolist()), tuple(y.tolist()), joined=False)


def _plain(values):
    return [np.asarray(value).tolist() for value in values]
