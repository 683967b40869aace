"""Ring toss beside GPRS and A* with zeta codes, and all bounds, on channels that add Gaussian noise to 16 inputs."""

import numpy as np

import recjax
from experiments.channel_rates import measure
from experiments.figures.points import Points
from recjax.results.files import Axis, Curve, Panel, Results

INPUTS = 16
NOISE = (1.0, 0.5, 0.25, 0.12, 0.06)
SPREAD = 1.25  # of the proposal, in standard deviations of the outputs
CODERS = {
    "ring toss": recjax.RingToss(),
    "GPRS, zeta code": recjax.GPRS(),
    "A*, zeta code": recjax.AStar(),
}


def noisy(noise: float) -> recjax.Channel:
    """Equally likely inputs on a grid of variance 1, and a normal proposal that is wider than the outputs."""
    grid = np.linspace(-1, 1, INPUTS, dtype=np.float32)
    targets = recjax.Normal(grid / grid.std(), np.full(INPUTS, noise, np.float32))
    return recjax.Channel(
        np.ones(INPUTS, int),
        targets,
        recjax.Normal(0.0, SPREAD * float(np.sqrt(1 + noise * noise))),
    )


def limits(noise: float) -> dict[str, float]:
    channel = noisy(noise)
    return {
        "information": float(recjax.mutual_information_bits(channel)),
        "functional": float(recjax.functional_information_bits(channel)),
        "bound on steps": float(np.exp(channel.log_max)),
    }


def figure(full: bool, point: Points) -> Results:
    """Rates of files against the mutual information."""
    count = 20_000 if full else 1500
    bounds = [point(f"limits {noise}", lambda noise=noise: limits(noise)) for noise in NOISE]
    information = np.array([b["information"] for b in bounds])
    functional = np.array([b["functional"] for b in bounds])
    curves, details = [], {"limits": bounds}
    for name, coder in CODERS.items():
        found = [
            point(
                f"{name} {noise}",
                lambda noise=noise, rate=rate, coder=coder: measure(
                    coder, noisy(noise), count, rate
                ),
            )
            for noise, rate in zip(NOISE, information, strict=True)
        ]
        details[name] = found
        curves.append(
            Curve.with_errors(
                name, information, [f["rate"] for f in found], [f["error"] for f in found]
            )
        )
    theory = {
        "I": (information, "the least possible as blocks grow"),
        "F": (functional, "thesis, theorem 3.1.4: no code is shorter"),
        "F + log2 e": (functional + np.log2(np.e), "arXiv 2604.23076"),
        "I + log2(I + 1) + 2.45": (
            np.asarray(recjax.channel_rate_bound_bits(information)),
            "arXiv 2604.23076",
        ),
        "I + log2(I + 2) + 3": (
            np.asarray(recjax.gprs_rate_bound_bits(information)),
            "thesis, theorem 4.2.7",
        ),
    }
    for name, (y, source) in theory.items():
        curves.append(
            Curve(
                name,
                tuple(map(float, information)),
                tuple(map(float, y)),
                kind="theory",
                source=source,
            )
        )
    axes = Axis("mutual information (bits)"), Axis("rate (bits)")
    about = f"Files of {count} outputs of channels with {INPUTS} inputs and Gaussian noise; proposals are normal."
    command = "python -m experiments.figures ring_toss" + (" --full" if full else "")
    return Results("ring_toss", about, command, (Panel("", *axes, tuple(curves)),), details)
