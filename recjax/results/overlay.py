"""Overlay of the results of several files."""

import dataclasses
from collections.abc import Sequence

from recjax.results.files import Curve, Panel, Results


def overlay(results: Sequence[Results]) -> list[Panel]:
    """Merges the panels of all results that have equal axes and titles, up to case.

    Curves that are equal in several results appear once. Measured curves with one label and a
    single point each, such as those of `recjax eval` with several priors, become one curve. Other
    curves with one label get the names of their results added to it.

    >>> from recjax.results.files import PSNR, RATE
    >>> def file(name, rate, psnr):
    ...     curve = Curve("codec", (rate,), (psnr,))
    ...     return Results(name, "", "", (Panel("Set", RATE, PSNR, (curve,)),))
    >>> overlay([file("a", 2.0, 40.0), file("b", 1.0, 30.0)])[0].curves[0].x
    (1.0, 2.0)
    """
    panels: dict[tuple, list[Panel]] = {}
    found: dict[tuple, dict[Curve, str]] = {}
    for file in results:
        for panel in file.panels:
            key = panel.title.casefold(), panel.x, panel.y
            panels.setdefault(key, []).append(panel)
            for curve in panel.curves:
                found.setdefault(key, {}).setdefault(curve, file.name)
    return [
        dataclasses.replace(same[0], curves=tuple(_distinct(found.get(key, {}))))
        for key, same in panels.items()
    ]


def _distinct(named: dict[Curve, str]) -> list[Curve]:
    """Curves with distinct labels, from curves and the names of their results."""
    alike: dict[tuple, list[Curve]] = {}
    for curve in named:
        alike.setdefault((curve.label, curve.kind), []).append(curve)
    out = []
    for curves in alike.values():
        if len(curves) == 1:
            out += curves
        elif all(curve.kind == "measured" and len(curve.x) == 1 for curve in curves):
            out.append(_joined(curves))
        else:
            out += [
                dataclasses.replace(curve, label=f"{curve.label} ({named[curve]})")
                for curve in curves
            ]
    return out


def _joined(points: list[Curve]) -> Curve:
    """One curve of several curves with one point each, in the order of x."""
    points = sorted(points, key=lambda point: point.x)
    coordinates = {
        name: sum((getattr(point, name) for point in points), ())
        for name in ("x", "y", "low", "high")
    }
    if len(coordinates["low"]) < len(points):
        # a band needs its ends at every point
        coordinates |= {"low": (), "high": ()}
    return dataclasses.replace(points[0], **coordinates)
