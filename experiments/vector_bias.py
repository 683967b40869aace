"""The bias of coded vectors, and what their indices cost, against the candidates to spare.

Targets are N(m, 1) over N(0, 1) in every coordinate, with a mean m of random signs. An exact sample
has the slope 1 on its mean, the mean square 1 around it, and a log-ratio of mean KL.

    python -m experiments.vector_bias
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import recjax
from experiments.outputs import save
from recjax.results.files import Axis, Curve, Panel, Results


@dataclasses.dataclass(frozen=True)
class Args:
    """What the experiment can be told.

    Attributes:
        block_bits: log2 of the largest number of candidates of a block.
        extra_bits: bits of candidates to spare.
        sizes: numbers of coordinates.
        kl_bits: divergences.
        calls: vectors for each setting, half of them with each of two keys.
        out: folder of results.
    """

    block_bits: int = 16
    extra_bits: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
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
    rows = []
    for number in range(2):
        key, table = jax.random.key(number), None
        for call in range(calls // 2):
            code = coder.encode(key, target, wide, kl_bits=kl, call=call, table=table)
            if code.status == recjax.Status.TOO_FEW_DIMENSIONS:
                return None
            if table is None and call == 0:
                table = coder.table(key, min(-(-d // code.index.size), 4096))
            x = np.asarray(code.sample, np.float64)
            log_ratio = (x @ mean - mean @ mean / 2) / math.log(2)
            bits = coder.codelength(key, code.index, wide, kl_bits=kl)
            rows.append(
                [
                    x @ mean / (mean @ mean),
                    np.mean((x - mean) ** 2),
                    log_ratio / kl,
                    float(bits) - kl,
                    float(np.mean(code.effective_samples)),
                ]
            )
    rows = np.array(rows)
    names = ("slope", "mean_square", "log_ratio_over_kl", "overhead_bits", "effective_samples")
    errors = rows.std(0, ddof=1) / math.sqrt(len(rows))
    values = {name: float(x) for name, x in zip(names, rows.mean(0), strict=True)}
    values |= {f"{name}_error": float(x) for name, x in zip(names, errors, strict=True)}
    return {"blocks": code.index.size} | values


def to_results(rows: list[dict], args: Args) -> Results:
    """Slopes against the candidates to spare, as a results file."""
    curves = []
    for d, kl in dict.fromkeys((row["d"], row["kl_bits"]) for row in rows):
        of_pair = [row for row in rows if (row["d"], row["kl_bits"]) == (d, kl)]
        x, y, errors = ([row[k] for row in of_pair] for k in ("extra_bits", "slope", "slope_error"))
        curves.append(Curve.with_errors(f"{d} coordinates, {kl:.0f} bits", x, y, errors))
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
    for d in args.sizes:
        for kl in args.kl_bits:
            for extra_bits in args.extra_bits:
                coder = recjax.VectorCoder(block_bits=args.block_bits, extra_bits=extra_bits)
                result = measure(coder, d, kl, args.calls)
                if result is None:
                    print(
                        f"{d} coordinates, {kl:.0f} bits, {extra_bits} extra: too few", flush=True
                    )
                    continue
                rows.append({"d": d, "kl_bits": kl, "extra_bits": extra_bits, **result})
                print(
                    "{d} coordinates, {kl_bits:.0f} bits, {extra_bits} extra: {blocks} blocks, slope "
                    "{slope:.3f} +- {slope_error:.3f}, square {mean_square:.3f}, log-ratio / KL "
                    "{log_ratio_over_kl:.2f}, overhead {overhead_bits:.1f} bits".format(**rows[-1]),
                    flush=True,
                )
    save(to_results(rows, args), args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
