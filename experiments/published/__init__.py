"""Points from papers, kept as results files with their source, to be drawn beside ours."""

from pathlib import Path

from recjax.results import Curve, load_results


def load_curve(dataset: str, method: str) -> Curve:
    """Rates (bits per pixel) and PSNR (dB) of a published curve.

    >>> load_curve("cifar10", "COMBINER").x[0]
    0.9062
    """
    panels = load_results(Path(__file__).parent / f"{dataset}.json").panels
    (curve,) = (curve for panel in panels for curve in panel.curves if curve.label == method)
    return curve
