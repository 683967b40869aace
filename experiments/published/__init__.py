"""Points from papers, kept as results files with their source, to be drawn beside ours."""

from pathlib import Path

from recjax.results.files import Curve, load_results

_FOLDER = Path(__file__).parent


def load_curve(dataset: str, method: str) -> Curve:
    """Rates (bits per pixel) and PSNR (dB) of a published curve.

    >>> load_curve("cifar10", "COMBINER").x[0]
    0.9062
    """
    panels = load_results(_FOLDER / f"{dataset}.json").panels
    (curve,) = (curve for panel in panels for curve in panel.curves if curve.label == method)
    return curve


def load_panel(figure: str, title: str) -> dict[str, Curve]:
    """The curves of a panel of a published figure, by label.

    >>> load_panel("greedy_rejection_coding", "Steps at D_KL = 3 bits")["GRCS"].y[0]
    3.613
    """
    (panel,) = (
        panel for panel in load_results(_FOLDER / f"{figure}.json").panels if panel.title == title
    )
    return {curve.label: curve for curve in panel.curves}
