"""The bias of coded vectors, and what their indices cost, against the candidates to spare.

Targets are N(m, 1) over N(0, 1) in every coordinate, with a mean m of random signs. An exact sample
x has the slope 1 on its mean, the mean square 1 around it, a log-ratio of mean KL, the variance 1
along the mean, and no correlation between the blocks of a call or between calls.

    python -m experiments.vector_bias
"""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import recjax
from experiments.outputs import save
from recjax.blocks import vector_layout
from recjax.results.files import Axis, Curve, Panel, Results
from recjax.samplers._search.vectors import plan_for


@dataclasses.dataclass(frozen=True)
class Args:
    """What the experiment can be told.

    Attributes:
        block_bits: log2 of the largest number of candidates of a block.
        extra_bits: bits of candidates to spare.
        methods: methods of the coder.
        sizes: numbers of coordinates.
        kl_bits: divergences.
        calls: vectors for each setting, half of them with each of two keys.
        out: folder of results.
    """

    block_bits: int = 16
    extra_bits: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    methods: tuple[Literal["ordered", "trellis"], ...] = ("ordered", "trellis")
    sizes: tuple[int, ...] = (1, 7, 1000, 16_384)
    kl_bits: tuple[float, ...] = (5.0, 50.0, 700.0)
    calls: int = 60
    out: Annotated[Path, tyro.conf.arg(name="out")] = Path("experiments/results")


def measure(coder: recjax.VectorCoder, d: int, kl: float, calls: int) -> dict | None:
    """Statistics of samples with their standard errors; None for too few coordinates."""
    size = math.sqrt(2 * math.log(2) * kl / d)
    mean = size * np.random.default_rng(0).choice(np.float32([-1, 1]), d)
    target = recjax.Normal(jnp.asarray(mean), jnp.ones(d))
    wide = recjax.Normal(jnp.zeros(d), jnp.ones(d))
    rows, noises, blocks = [], [], []
    for number in range(2):
        key, table = jax.random.key(number), None
        for call in range(calls // 2):
            code = coder.encode(key, target, wide, kl_bits=kl, call=call, table=table)
            if code.status == recjax.Status.TOO_FEW_DIMENSIONS:
                return None
            if table is None and call == 0:
                table = coder.table(key, min(-(-d // code.index.size), 4096))
            x = np.asarray(code.sample, np.float64)
            noise = (x - mean) * np.sign(mean)
            noises.append(noise)
            blocks.append(_along_mean(coder, key, call, kl, noise))
            log_ratio = (x @ mean - mean @ mean / 2) / math.log(2)
            bits = coder.codelength(key, code.index, wide, kl_bits=kl)
            rows.append(
                [
                    x @ mean / (mean @ mean),
                    np.mean(noise**2),
                    log_ratio / kl,
                    float(bits) - kl,
                    float(np.mean(code.effective_samples)),
                ]
            )
    rows, noises = np.array(rows), np.array(noises)
    names = (
        "slope",
        "mean_square",
        "log_ratio_over_kl",
        "overhead_bits",
        "effective_samples",
    )
    errors = rows.std(0, ddof=1) / math.sqrt(len(rows))
    values = {name: float(x) for name, x in zip(names, rows.mean(0), strict=True)}
    values |= {f"{name}_error": float(x) for name, x in zip(names, errors, strict=True)}
    along = noises.sum(1) / math.sqrt(d)
    variance = along.var(ddof=1)
    # mean product of two different blocks of a call, less the square of their mean
    blocks = np.array(blocks) - np.mean(blocks)
    n = blocks.shape[1]
    pairs = (blocks.sum(1) ** 2 - (blocks**2).sum(1)) / max(n * (n - 1), 1)
    centred = noises - noises.mean()  # bias moves all coordinates alike
    # neighbouring calls with one key; the calls of the other key follow in the list
    between = (centred[:-1] * centred[1:]).mean(1)
    return {
        "blocks": code.index.size,
        **values,
        "variance_along_mean": float(variance),
        "variance_along_mean_error": float(variance * math.sqrt(2 / (len(rows) - 1))),
        "between_blocks": float(pairs.mean()),
        "between_blocks_error": float(pairs.std(ddof=1) / math.sqrt(len(pairs))),
        "between_calls": float(between.mean()),
        "between_calls_error": float(between.std(ddof=1) / math.sqrt(len(between))),
    }


def _along_mean(coder, key, call, kl, noise) -> np.ndarray:
    """The noise along the mean in every block of a call, of variance 1 in exact samples."""
    layout = plan_for(coder, kl, noise.shape).layout
    words = vector_layout.call_key(key, call)
    block, _ = vector_layout.places(words, layout, jnp.arange(noise.size, dtype=jnp.uint32))
    sizes = np.bincount(block, minlength=layout.blocks)
    used = sizes > 0
    return np.bincount(block, noise, layout.blocks)[used] / np.sqrt(sizes[used])


def to_results(rows: list[dict], args: Args) -> Results:
    """Slopes against the candidates to spare, as a results file."""
    curves = []
    for setting in dict.fromkeys((row["method"], row["d"], row["kl_bits"]) for row in rows):
        method, d, kl = setting
        of_pair = [row for row in rows if (row["method"], row["d"], row["kl_bits"]) == setting]
        x, y, errors = ([row[k] for row in of_pair] for k in ("extra_bits", "slope", "slope_error"))
        curves.append(Curve.with_errors(f"{method}, {d} coordinates, {kl:.0f} bits", x, y, errors))
    panel = Panel(
        "Bias of coded vectors",
        Axis("extra bits"),
        Axis("slope of the sample on the mean"),
        tuple(curves),
    )
    description = f"N(m, 1) over N(0, 1) by `VectorCoder(block_bits={args.block_bits})`, {args.calls} vectors each"
    source = "python -m experiments.vector_bias"
    return Results("vector_bias", description, source, (panel,), {"rows": rows})


def main(args: Args) -> None:
    rows = []
    settings = itertools.product(args.methods, args.sizes, args.kl_bits, args.extra_bits)
    for method, d, kl, extra_bits in settings:
        coder = recjax.VectorCoder(block_bits=args.block_bits, extra_bits=extra_bits, method=method)
        result = measure(coder, d, kl, args.calls)
        about = f"{method}, {d} coordinates, {kl:.0f} bits, {extra_bits} extra"
        if result is None:
            print(f"{about}: too few", flush=True)
            continue
        rows.append({"method": method, "d": d, "kl_bits": kl, "extra_bits": extra_bits, **result})
        print(
            about,
            "{blocks} blocks, slope {slope:.3f} +- {slope_error:.3f}, square {mean_square:.3f}, "
            "log-ratio / KL {log_ratio_over_kl:.2f}, overhead {overhead_bits:.1f} bits, variance "
            "along the mean {variance_along_mean:.2f} +- {variance_along_mean_error:.2f}, between "
            "blocks {between_blocks:.3f} +- {between_blocks_error:.3f}, between calls "
            "{between_calls:.4f} +- {between_calls_error:.4f}".format(**result),
            flush=True,
        )
    save(to_results(rows, args), args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
