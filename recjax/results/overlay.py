"""Results of several files over each other."""

import dataclasses
from collections.abc import Sequence

from recjax.results.files import Curve, Panel, Results


def overlay(results: Sequence[Results]) -> list[Panel]:
    """The panels of all results, those of equal title (whatever the case) and axes as one.

    Curves that are the same in several results are there once. Where measured curves of one label have a single point
    each, as those of ``recjax eval`` with several priors, they become one curve; else equal labels get the results'
    names added.

    >>> from recjax.results.files import PSNR, RATE
    >>> def file(name, *point):
    ...     return Results(name, "", "", (Panel("Set", RATE, PSNR, (Curve("codec", *((v,) for v in point)),)),))
    >>> overlay([file("a", 2.0, 40.0), file("b", 1.0, 30.0)])[0].curves[0].x
    (1.0, 2.0)
    """
    panels: dict[tuple, list[Panel]] = {}
    found: dict[tuple, dict[Curve, str]] = {}
    for each in results:
        for panel in each.panels:
            key = panel.title.casefold(), panel.x, panel.y
            panels.setdefault(key, []).append(panel)
            for curve in panel.curves:
                found.setdefault(key, {}).setdefault(curve, each.name)
    return [
        dataclasses.replace(same[0], curves=tuple(_distinct(found.get(key, {}))))
        for key, same in panels.items()
    ]


def _distinct(named: dict[Curve, str]) -> list[Curve]:
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
    points = sorted(points, key=lambda point: point.x)
    parts = {
        name: sum((getattr(point, name) for point in points), ())
        for name in ("x", "y", "low", "high")
    }
    if len(parts["low"]) < len(points):  # a band of some points is none
        parts |= {"low": (), "high": ()}
    return dataclasses.replace(points[0], **parts)
