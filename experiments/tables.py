"""The result tables of the documentation, as Markdown, from the files in ``experiments/results``.

``python -m experiments.tables FOLDER`` writes one file for each table; ``make docs`` does so too. No
number of a table is typed by hand: a new run of an experiment changes the page.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recjax.results.files import load_results
from recjax.results.rate_curves import psnr_at

RESULTS = Path(__file__).parent / "results"
PUBLISHED = Path(__file__).parent / "published"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right.

    >>> print(table(["coder", "bits"], [["A*", "3"]]))
    | coder | bits |
    |---|--:|
    | A* | 3 |
    """
    rules = ["--:" if all(map(_number, column)) else "---" for column in zip(*rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def _number(cell: str) -> bool:
    return not cell or cell.lstrip("+-")[:1].isdigit()


def details(name: str) -> dict[str, Any]:
    """What a results file holds beside its curves."""
    return json.loads((RESULTS / f"{name}.json").read_text())["results"]


def description(name: str) -> str:
    """What was measured and by which command."""
    about = json.loads((RESULTS / f"{name}.json").read_text())
    command, *rest = about["source"].split(", ", 1)
    source = ", ".join([f"`{command}`", *rest])
    return f"{about['description'].rstrip('.')}. Made by {source}."


def published(data_set: str, curve: str, bpp: float) -> str:
    """The PSNR of a published curve at a rate, or an empty cell outside the curve."""
    panel = load_results(PUBLISHED / f"{data_set}.json").panels[0]
    (points,) = (held for held in panel.curves if held.label == curve)
    value = psnr_at(points, bpp)
    return "" if value is None else f"{value:.1f}"


def cifar10() -> str:
    """CIFAR-10: rate of the indices and of files, PSNR, exact samples, published curves."""
    head = ["prior", "index bits (bpp)", "file (bpp)", "PSNR (dB)", "encoding (s)", "decoding (s)"]
    head += ["exact: KL (bpp)", "PSNR (dB)", "RECOMBINER (dB)", "COMBINER (dB)"]
    rows = []
    for row in details("cifar10")["priors"]:
        files, exact = row["files"], row["exact"]
        at = [published("cifar10", name, files["index_bpp"]) for name in ("RECOMBINER", "COMBINER")]
        numbers = [f"{files['index_bpp']:.3f}", f"{files['file_bpp']:.3f}", _psnr(files["psnr"])]
        numbers += [f"{files[f'{way}seconds_an_image']:.3f}" for way in ("", "decode_")]
        numbers += [f"{exact['kl_bpp']:.3f}", f"{exact['psnr']['mean']:.2f}"]
        rows.append([f"`{row['prior']}`", *numbers, *at])
    return table(head, rows)


def coding_gap() -> str:
    """What the block coders lose against exact samples, for a SIREN on CIFAR-10."""
    rows = [
        [
            row["variant"],
            f"{row['index_bpp']:.3f}",
            f"{row['psnr']:.2f}",
            f"{row['gap_db']:.2f} ± {row['gap_standard_error']:.2f}",
            _percent(row["closed"]),
        ]
        for row in details("coding_gap")["coders"]
    ]
    return table(["coder", "index bits (bpp)", "PSNR (dB)", "gap (dB)", "closed"], rows)


def ablation() -> str:
    """What the components of RECOMBINER and COMBINER contribute at one rate."""
    rows = []
    for row in details("ablation")["settings"]:
        reference = row["setting"] == row["base"] == "RECOMBINER"
        theirs = row["published_difference"]
        rows.append(
            [
                row["setting"],
                f"{row['index_bpp']:.3f}",
                _psnr(row["psnr"]),
                "" if reference else row["base"],
                "" if reference else _psnr(row["difference"], sign="+"),
                "" if reference or theirs is None else f"{theirs:+.2f}",
            ]
        )
    return table(
        [
            "setting",
            "index bits (bpp)",
            "PSNR (dB)",
            "against",
            "difference (dB)",
            "published (dB)",
        ],
        rows,
    )


def kodak() -> str:
    """Kodak: rate and PSNR beside published and measured codecs."""
    results, rivals = details("kodak"), ["COMBINER", "RECOMBINER", "JPEG 2000", "BPG"]
    rows = []
    for kind, points in (("one price", "recjax"), ("equal sizes", "equal_sizes")):
        comparison = results["comparison"][kind]
        for i, row in enumerate(results[points]):
            beside = [
                next(
                    value["psnr_at_our_rates"][i]
                    for name, value in comparison.items()
                    if name.startswith(f"{rival} (")
                )
                for rival in rivals
            ]
            exact = row.get("exact", {})
            rows.append(
                [
                    f"`{row['name']}`"
                    if kind == "one price"
                    else f"`--bpp {row['name'].split()[0]}`",
                    f"{row['bpp']:.3f}",
                    f"{row['psnr']:.2f}",
                    *(
                        format(exact[name], form) if exact else ""
                        for name, form in (("kl_bpp", ".3f"), ("psnr", ".2f"))
                    ),
                    *("" if value is None else f"{value:.1f}" for value in beside),
                ]
            )
    head = ["prior", "bpp", "PSNR (dB)", "exact: bpp", "PSNR (dB)", *rivals]
    return table(head, rows)


def kodak_bd_rates() -> str:
    """The rate that recjax needs more than each codec at equal PSNR."""
    comparison = details("kodak")["comparison"]
    rows = [
        [name, *(f"{comparison[kind][name]['bd_rate_percent']:+.0f} %" for kind in comparison)]
        for name in comparison["one price"]
    ]
    return table(["codec", "one price for all images", "equal sizes for all images"], rows)


def kodak_times() -> str:
    """Mean times of an image in the run that made the Kodak table."""
    results = details("kodak")
    rows = [
        [f"`{row['name']}`", f"{row['seconds']:.1f}", f"{row['decode_seconds']:.2f}"]
        for row in [*results["recjax"], *results["equal_sizes"]]
    ]
    return table(["prior or size", "encoding (s)", "decoding (s)"], rows)


def transform_gap() -> str:
    """What the block coders lose against exact samples, for transforms on photographs."""
    high, low = (details(f"transform_gap-photo-{rate}")["coders"] for rate in ("high", "low"))
    rows = [
        [
            a["variant"],
            f"{a['bpp']:.3f}",
            f"{a['psnr']:.2f}",
            *(
                cell
                for row in (a, b)
                for cell in (
                    f"{row['gap_db']:.2f} ± {row['gap_standard_error']:.2f}",
                    _percent(row["closed"]),
                )
            ),
        ]
        for a, b in zip(high, low, strict=True)
    ]
    head = ["coder", "high: bpp", "PSNR (dB)", "gap (dB)", "closed", "low: gap (dB)", "closed"]
    return table(head, rows)


def samplers() -> str:
    """Thousands of exact samples per second of every coder, beside loops in NumPy and Numba."""
    held = details("samplers")["coders"]
    bits = sorted({row["bits"] for row in held})
    rows = []
    for coder in dict.fromkeys(row["coder"] for row in held):
        at = {row["bits"]: row for row in held if row["coder"] == coder}
        ours = [f"{at[b]['recjax'] / 1000:.0f}" if b in at else "" for b in bits]
        loops = [f"{at[4][kind] / 1000:.0f}" for kind in ("numpy", "numba")]
        rows.append([f"`{coder}`", *ours, *loops])
    head = ["thousands per second", *(f"{b} bits" for b in bits), "NumPy, 4 bits", "Numba, 4 bits"]
    return table(head, rows)


def _psnr(measured: dict[str, float], sign: str = "") -> str:
    return f"{measured['mean']:{sign}.2f} ± {measured['standard_error']:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share else ""


def node_cost() -> str:
    """CPU nanoseconds per sample and step of the coders over trees, before and after, beside Numba."""
    rows = [
        [
            row["coder"],
            f"{row['bits']}",
            f"{row['steps']:.1f}",
            f"{row['before_ns']:.0f}",
            f"{row['after_ns']:.0f}",
            f"{row['numba_ns']:.0f}",
            f"{row['before_ns'] / row['steps']:.0f}",
            f"{row['after_ns'] / row['steps']:.0f}",
            f"{row['before_ns'] / row['after_ns']:.1f}",
            f"{row['after_ns'] / row['numba_ns']:.1f}",
        ]
        for row in details("node_cost")["rows"]
    ]
    head = ["coder", "KL (bits)", "steps", "before (ns per sample)", "after", "Numba"]
    head += ["before (ns per step)", "after", "times faster", "after / Numba"]
    return table(head, rows)


def vector_bias() -> str:
    """Slope of coded vectors on their mean, and the bits above the divergence."""
    held = details("vector_bias")["rows"]
    extra = sorted({row["extra_bits"] for row in held})[::2]
    rows = []
    for setting in dict.fromkeys((row["d"], row["kl_bits"], row["method"]) for row in held):
        at = {
            row["extra_bits"]: row
            for row in held
            if (row["d"], row["kl_bits"], row["method"]) == setting
        }
        d, kl, method = setting
        rows.append([f"{d}", f"{kl:.0f}", method])
        for bits in extra:
            slope, error = at[bits]["slope"], at[bits]["slope_error"]
            rows[-1].append(f"{slope:.2f} ± {error:.2f}, {at[bits]['overhead_bits']:+.0f}")
    head = [f"{bits} extra bits" for bits in extra]
    return table(["coordinates", "KL (bits)", "method", *head], sorted(rows, key=_by_size))


def _by_size(row: list[str]) -> tuple[int, int, str]:
    return int(row[0]), int(row[1]), row[2]


def vector_dependence() -> str:
    """What coded vectors have beside their slope, each with its standard error."""
    names = {
        "mean_square": "mean square (1)",
        "variance_along_mean": "variance along the mean (1)",
        "log_ratio_over_kl": "log-ratio / KL (1)",
        "between_blocks": "between blocks (0)",
        "between_calls": "between calls (0)",
    }
    rows = [
        [f"{row['d']}", f"{row['kl_bits']:.0f}", row["method"]]
        + [f"{row[name]:.3f} ± {row[f'{name}_error']:.3f}" for name in names]
        for row in details("vector_bias")["rows"]
        if row["extra_bits"] == 4
    ]
    head = ["coordinates", "KL (bits)", "method", *names.values()]
    return table(head, sorted(rows, key=_by_size))


def vector_schedules() -> str:
    """Seconds, bits and memory of steps of diffusion models."""
    rows = []
    for row in details("vector_schedules")["rows"]:
        kept = (
            f"{row['encode_with_table_s']:.1f} + {row['table_s']:.1f}" if "table_s" in row else ""
        )
        rows.append(
            [
                row["part"],
                f"{row['method']}, {row['extra_bits']}",
                f"{row['kl_bits']:.0f}",
                f"{row['bits']:.0f}",
                f"{row['slope']:.2f}",
                f"{row['encode_s']:.1f}",
                kept,
                f"{row['decode_s']:.3f}",
                f"{row['peak_gib']:.1f}",
                f"{row['rival_s']:.0f}" if "rival_s" in row else "",
            ]
        )
    head = ["", "method, extra bits", "KL (bits)", "bits", "slope", "encode (s)"]
    head += ["with table + table (s)", "decode (s)", "memory (GiB)", "NumPy loop (s)"]
    return table(head, rows)


TABLES: dict[str, tuple[Callable[[], str], str | None]] = {
    "cifar10": (cifar10, "cifar10"),
    "coding_gap": (coding_gap, "coding_gap"),
    "ablation": (ablation, "ablation"),
    "kodak": (kodak, "kodak"),
    "kodak_bd_rates": (kodak_bd_rates, None),
    "kodak_times": (kodak_times, None),
    "transform_gap": (transform_gap, "transform_gap-photo-high"),
    "samplers": (samplers, "samplers"),
    "node_cost": (node_cost, "node_cost"),
    "vector_bias": (vector_bias, "vector_bias"),
    "vector_dependence": (vector_dependence, None),
    "vector_schedules": (vector_schedules, "vector_schedules"),
}
"""Each table, and the results file that says how it was measured, once for every file."""


def main(folder: Path) -> None:
    """Writes every table with a line about its source."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, source) in TABLES.items():
        about = f"{description(source)}\n\n" if source else ""
        (folder / f"{name}.md").write_text(f"{about}{make()}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(**vars(parser.parse_args()))
