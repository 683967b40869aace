"""Benchmark of the block coder: time to code a block of 25 weights at 16 bits.

Contestants are the block coder, the best NumPy code with a shared table, and NumPy code that draws
new candidates for every block. Each searches 2^16 candidates of 25 coordinates for each block of a
batch: a product of 2^16 x 51 features with 51 coefficients per block, and an argmax. Bare products
of several shapes, in JAX and in NumPy, show how fast the machine multiplies matrices. All run in
turn, several times; medians over the turns are reported.
"""

import concurrent.futures
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from recjax.bench.report import check_arguments, write_report
from recjax.bench.timing import Contestant, core_count, interleaved, timed
from recjax.blocks.ordered_random import BlockCoder
from recjax.results.files import Axis, Curve, Panel, Results

BUDGET, WIDTH, BLOCKS = 16, 25, 1024
CANDIDATES, COLUMNS = 2**BUDGET, 2 * WIDTH + 1
_FLOP = 2 * CANDIDATES * COLUMNS  # floating-point operations of the product per block


def main(
    json_path: str | Path | None = None, seconds: float = 30.0, force: bool = False
) -> Results:
    """Measures, prints a table and returns the results.

    Args:
        json_path: file that the results are written to, if any.
        seconds: duration of the measurements; setting up takes about 10 seconds more.
        force: replace `json_path` if it exists.

    Raises:
        ValueError: the file cannot be written, or `seconds` is not positive.
    """
    check_arguments(json_path, seconds, force)
    cores = core_count()
    problem = _problem()
    coder, compile_seconds = _recjax(*problem)
    shared = {
        f"NumPy, shared table, {name}": run for name, run in _numpy_shared(*problem, cores).items()
    }
    # a short trial: only the two fastest NumPy variants take part in the turns
    pace = {name: min(timed(run) for _ in range(2)) / work for name, (run, work) in shared.items()}
    best = sorted(pace, key=pace.__getitem__)[:2]
    blocks = {
        f"recjax BlockCoder.encode, {BLOCKS} blocks": coder,
        **{name: shared[name] for name in best},
        "NumPy, fresh candidates (SFC64)": _numpy_fresh(*problem),
    }
    times = interleaved(blocks | (products := _products()), seconds)
    rate = {name: products[name][1] / times[name] for name in products}
    fastest = max(rate, key=rate.__getitem__)
    rows = []
    for name, (_, work) in blocks.items():
        per_block = times[name] / work
        row = {
            "contestant": name,
            "microseconds_a_block": 1e6 * per_block,
            "gflops": _FLOP / per_block / 1e9,
        }
        row["of_the_fastest_product"] = row["gflops"] * 1e9 / rate[fastest]
        row["of_the_largest_square_product"] = row["gflops"] * 1e9 / rate["JAX 2048 x 2048 x 2048"]
        rows.append(row)
    description = (
        f"blocks of {WIDTH} weights, 2^{BUDGET} candidates, {cores} core{'s' * (cores > 1)}, "
        f"{jax.default_backend()}, jax {jax.__version__}, numpy {np.__version__}"
    )
    details = {
        "blocks": rows,
        "products_gflops": {name: value / 1e9 for name, value in rate.items()},
        "compile_seconds": compile_seconds,
        "speedup_over_best_numpy": min(row["microseconds_a_block"] for row in rows[1:3])
        / rows[0]["microseconds_a_block"],
    }
    axes = Axis("time (microseconds a block)", "log"), Axis("speed (GFLOP/s)", "log")
    curves = [
        Curve(row["contestant"], (row["microseconds_a_block"],), (row["gflops"],)) for row in rows
    ]
    panels = (Panel("coding of blocks", *axes, tuple(curves)),)
    report = Results("bench blocks", description, "recjax bench blocks", panels, details)
    _print(report, fastest)
    write_report(report, json_path, force)
    return report


def _print(report: Results, fastest: str) -> None:
    results = report.details
    print(report.description)
    print(
        f"\n{'':<52}{'us/block':>10}{'GFLOP/s':>9}{'of fastest':>11}{'of square':>10}{'ratio':>8}"
    )
    first = results["blocks"][0]["microseconds_a_block"]
    for row in results["blocks"]:
        print(
            f"{row['contestant']:<52}{row['microseconds_a_block']:>10.1f}{row['gflops']:>9.1f}"
            f"{row['of_the_fastest_product']:>11.0%}{row['of_the_largest_square_product']:>10.0%}"
            f"{row['microseconds_a_block'] / first:>8.2f}"
        )
    print(f"\n{'bare float32 products':<62}{'GFLOP/s':>9}")
    for name, value in results["products_gflops"].items():
        print(f"{name:<62}{value:>9.1f}{'  (fastest)' if name == fastest else ''}")
    print(
        f"\ncompiled in {results['compile_seconds']:.1f} s; "
        f"the time of recjax is that from posteriors to samples"
    )


def _problem():
    """mu and sigma of `BLOCKS` blocks of about 16 bits, and the features of NumPy's candidates."""
    rng = np.random.Generator(np.random.SFC64(0))
    mu = 0.68 * rng.standard_normal((BLOCKS, WIDTH), np.float32)
    sigma = (0.5 + 0.5 * rng.random((BLOCKS, WIDTH))).astype(np.float32)
    z = rng.standard_normal((CANDIDATES, WIDTH), np.float32)
    noise = -np.log(
        np.cumsum(rng.standard_exponential(CANDIDATES) * CANDIDATES / np.arange(CANDIDATES, 0, -1))
    )
    return mu, sigma, np.concatenate([z * z, z, noise.astype(np.float32)[:, None]], axis=1)


def _coefficients(mu, sigma):
    """Coefficients of the features for NumPy, [blocks, columns]."""
    precision = 1 / (sigma * sigma)
    return np.concatenate([0.5 - 0.5 * precision, mu * precision, np.ones_like(mu[:, :1])], axis=1)


def _recjax(mu, sigma, _) -> tuple[Contestant, float]:
    coder, key = BlockCoder(budget=BUDGET), jax.random.key(0)
    table = coder.table(key, WIDTH).block_until_ready()
    ids = jnp.stack([jnp.zeros(BLOCKS, jnp.uint32), jnp.arange(BLOCKS, dtype=jnp.uint32)], axis=1)
    args = table, key, ids, jnp.asarray(mu), jnp.asarray(sigma), jnp.full(BLOCKS, WIDTH, jnp.int32)

    def run():
        return jax.block_until_ready(coder.encode(*args))

    # the first run compiles, the second does not
    return (run, BLOCKS), timed(run) - timed(run)


def _numpy_shared(mu, sigma, features, cores: int) -> dict[str, Contestant]:
    """Variants that are fast on some machine: sizes of batches and of tiles in cache, threads."""
    coefficients = _coefficients(mu, sigma)
    columns = np.ascontiguousarray(features.T)

    def contestant(batch, tile, threads):
        tiles = [
            np.ascontiguousarray(columns[:, start : start + tile])
            for start in range(0, CANDIDATES, tile)
        ]
        shares = np.array_split(coefficients[:batch], threads)
        outs = [np.empty((len(share), tile), np.float32) for share in shares]

        def search(share, out):
            best, index = np.full(len(share), -np.inf, np.float32), np.zeros(len(share), np.int64)
            rows = np.arange(len(share))
            for t, candidates in enumerate(tiles):
                np.matmul(share, candidates, out=out)
                where = out.argmax(axis=1)
                score = out[rows, where]
                better = score > best
                best[better], index[better] = score[better], t * tile + where[better]
            return index

        if threads == 1:
            return lambda: search(shares[0], outs[0]), batch
        pool = concurrent.futures.ThreadPoolExecutor(threads)
        return lambda: list(pool.map(search, shares, outs)), batch

    shapes = [
        (32, CANDIDATES),
        (96, CANDIDATES),
        (96, 2048),
        (256, 512),
        (256, 1024),
        (256, 2048),
        (512, 1024),
    ]
    return {
        f"{batch} blocks x {tile} candidates"
        + (f", {threads} threads" if threads > 1 else ""): contestant(batch, tile, threads)
        for batch, tile in shapes
        for threads in sorted({1, cores})
    }


def _numpy_fresh(mu, sigma, _) -> Contestant:
    """The method of codecs that draw new candidates for every block."""
    rng = np.random.Generator(np.random.SFC64(0))
    coefficients = _coefficients(mu, sigma)[0]

    def run():
        z = rng.standard_normal((CANDIDATES, WIDTH), np.float32)
        gaps = rng.standard_exponential(CANDIDATES, np.float32) * (
            CANDIDATES / np.arange(CANDIDATES, 0, -1)
        )
        score = (
            (z * z) @ coefficients[:WIDTH] + z @ coefficients[WIDTH:-1] - np.log(np.cumsum(gaps))
        )
        return score.argmax()

    return run, 1


def _products() -> dict[str, Contestant]:
    """Bare products in JAX and in NumPy: of square matrices, and of shapes for the block coder.

    The latter have a larger result for the same number of operations.
    """
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST))
    rng = np.random.Generator(np.random.SFC64(1))
    found = {}
    shapes = [(size,) * 3 for size in (512, 1024, 2048)]
    shapes += [(2048, COLUMNS, 1024), (4096, COLUMNS, 512), (8192, COLUMNS, 128)]
    for rows, inner, columns in shapes:
        a = rng.standard_normal((rows, inner), np.float32)
        b = rng.standard_normal((inner, columns), np.float32)
        x, y = jnp.asarray(a), jnp.asarray(b)
        # small products are repeated: a run should take longer than the clock's resolution
        repeats = max(1, 2**28 // (rows * inner * columns))
        work, name = 2.0 * rows * inner * columns * repeats, f"{rows} x {inner} x {columns}"
        out = np.empty((rows, columns), np.float32)
        found[f"JAX {name}"] = (
            lambda x=x, y=y, n=repeats: [multiply(x, y).block_until_ready() for _ in range(n)],
            work,
        )
        found[f"NumPy {name}"] = (
            lambda a=a, b=b, o=out, n=repeats: [np.matmul(a, b, out=o) for _ in range(n)],
            work,
        )
    return found
