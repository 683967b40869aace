"""Points from papers, kept as data with their source, to be drawn beside ours."""

import json
from pathlib import Path

from recjax.results import Curve, load_results

_FOLDER = Path(__file__).parent


def load_curve(dataset: str, method: str) -> tuple[list[float], list[float]]:
    """Rates (bits per pixel) and PSNR (dB) of a published curve.

    >>> load_curve("cifar10", "COMBINER")[0][0]
    0.9062
    """
    results = json.loads((_FOLDER / f"{dataset}.json").read_text())["results"]
    return results[method]["bpp"], results[method]["psnr"]


def load_panel(figure: str, title: str) -> dict[str, Curve]:
    """The curves of a panel of a published figure, by label.

    >>> load_panel("greedy_rejection_coding", "Steps at D_KL = 3 bits")["GRCS"].y[0]
    3.613
    """
    (panel,) = (panel for panel in load_results(_FOLDER / f"{figure}.json").panels if panel.title == title)
    return {curve.label: curve for curve in panel.curves}
