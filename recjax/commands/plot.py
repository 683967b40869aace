"""``recjax plot``."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional

from recjax.atomic import check_output, write_atomic
from recjax.modalities import MODALITIES
from recjax.results.drawing import FORMATS, draw, legend_name, picture
from recjax.results.files import Panel, load_results
from recjax.results.overlay import overlay
from recjax.results.rate_curves import bd_rate


def plot(
    files: Positional[tuple[Path, ...]], *, out: Path | None = None, force: bool = False
) -> None:
    """Draw results files over each other, and print BD-rates of curves of quality against rate.

    Panels of equal title and axes become one. Measured curves are solid, published ones dashed and
    grey, theory is dotted. Where curves of one label have a single point in each file, as those of
    recjax eval with several priors, the points become one curve; else the files' names tell equal
    labels apart.

    Args:
        files: results files, as of recjax eval --json, recjax bench --json and the experiments.
        out: the picture to write, .png, .pdf or .svg; by default the name of the first file with
            .png.
        force: replace the picture if it exists.
    """
    if not files:
        raise ValueError("there is nothing to plot: name at least one results file")
    out = out or files[0].with_suffix(".png")
    if out.suffix not in FORMATS:
        raise ValueError(f"output {out}: a picture ends with {', '.join(FORMATS)}")
    results = [load_results(path) for path in files]
    check_output(out, force=force)
    stems = [path.stem for path in files]
    names = stems if len(set(stems)) == len(files) else map(str, files)
    results = [
        dataclasses.replace(each, name=name) for each, name in zip(results, names, strict=True)
    ]
    try:
        data, table = picture(draw(results), out.suffix), bd_rate_table(overlay(results))
    except ImportError as error:
        raise ValueError(f"plots take {error.name}: pip install 'recjax[plots]'") from None
    write_atomic(out, data, force=force)
    print("\n".join([*table, str(out)]))


def bd_rate_table(panels: Sequence[Panel]) -> list[str]:
    """The additional rate of each curve at equal quality, relative to the first measured curve.

    Panels that do not show a modality's score against rate have no lines.
    """
    lines, scores = [], {modality.score.label for modality in MODALITIES}
    for panel in panels:
        if "bits per" not in panel.x.label or panel.y.label not in scores:
            continue
        curves = [curve for curve in panel.curves if len(curve.x) > 1 and curve.kind != "theory"]
        anchor = next((curve for curve in curves if curve.kind == "measured"), None)
        if anchor is None or len(curves) < 2:
            continue
        score = panel.y.label.partition(" (")[0]
        lines.append(
            f"{panel.title or panel.y.label}: rate at equal {score} (BD-rate) "
            f"against {legend_name(anchor)}"
        )
        for curve in curves:
            if curve is not anchor:
                bd = bd_rate(curve, anchor)
                lines.append(
                    f"  {legend_name(curve):<48}{'n/a' if bd is None else f'{bd:+.1f} %':>10}"
                )
    return lines
