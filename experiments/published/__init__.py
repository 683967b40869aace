"""Points from papers, kept as data with their source, to be drawn beside ours."""

import json
from pathlib import Path


def load_curve(dataset: str, method: str) -> tuple[list[float], list[float]]:
    """Rates (bits per pixel) and PSNR (dB) of a published curve.

    >>> load_curve("cifar10", "COMBINER")[0][0]
    0.9062
    """
    results = json.loads((Path(__file__).parent / f"{dataset}.json").read_text())["results"]
    return results[method]["bpp"], results[method]["psnr"]
