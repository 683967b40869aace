"""The programs that time is spent in: those of every coder, and of the codec at the shapes of a photograph.

    python -m experiments.hot_programs

counts the equations of their loop steps, to which the tests compare those of later versions. `experiments.tpu`
compiles them for an accelerator.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np

import recjax
from recjax.blocks.trellis import TrellisCoder
from recjax.blocks.viterbi import best_chains
from recjax.codec import load_prior
from recjax.codec.siren import batch as siren_batch
from recjax.codec.siren.encoding import make_job, prior_start
from recjax.codec.siren.fit import advance, initial_fit
from recjax.codec.transform import decoding as transform_decoding
from recjax.modalities import Grid
from recjax.samplers.global_coder import GlobalCoder
from recjax.samplers.tree_coder import TreeCoder


class Program(NamedTuple):
    """A function to be compiled.

    Attributes:
        function: a pure function.
        arguments: arrays, or their shapes.
    """

    function: Callable
    arguments: tuple

    def trace(self) -> Any:
        """The function's `jax.stages.Traced`."""
        return jax.jit(self.function).trace(*self.arguments)


class Case(NamedTuple):
    """A coder, and an example for it."""

    coder: Any
    target: Any
    proposal: Any


_NORMALS = recjax.Normal(0.5, 0.25), recjax.Normal(0.0, 1.0)
_UNIFORMS = recjax.Uniform(2.1, 2.6), recjax.Uniform(0.0, 4.0)
_INPUTS = recjax.Normal(jnp.array([-1.0, 0.0, 1.0]), jnp.full(3, 0.5))
_CHANNEL = recjax.Channel([1, 2, 1], _INPUTS, recjax.Normal(0.0, 1.0))
_VECTORS = recjax.Normal(jnp.full(1000, 0.1), 1.0), recjax.Normal(jnp.zeros(1000), 1.0)

CODERS = {
    "RejectionSampler": Case(recjax.RejectionSampler(), *_NORMALS),
    "AStar": Case(recjax.AStar(), *_NORMALS),
    "GPRS": Case(recjax.GPRS(), *_NORMALS),
    "GreedyRejectionSampler": Case(recjax.GreedyRejectionSampler(), *_NORMALS),
    "ParallelGPRS": Case(recjax.ParallelGPRS(n_processes=4), *_NORMALS),
    "PoissonPrivate": Case(recjax.PoissonPrivate(), *_NORMALS),
    "SpacePartitionedAStar": Case(recjax.SpacePartitionedAStar(bits=(2,)), *_NORMALS),
    "SpacePartitionedGPRS": Case(recjax.SpacePartitionedGPRS(bits=(1,)), *_NORMALS),
    "MinimalRandomCoder": Case(recjax.MinimalRandomCoder(budget_bits=8), *_NORMALS),
    "BudgetedAStar": Case(recjax.BudgetedAStar(budget_bits=8), *_NORMALS),
    "OrderedRandomCoder": Case(recjax.OrderedRandomCoder(budget_bits=8), *_NORMALS),
    "BranchAndBoundGPRS": Case(recjax.BranchAndBoundGPRS(), *_NORMALS),
    "BranchAndBoundGPRS-dyadic": Case(recjax.BranchAndBoundGPRS(split="dyadic"), *_NORMALS),
    "GreedyRejectionCoder": Case(recjax.GreedyRejectionCoder(), *_NORMALS),
    "GreedyRejectionCoder-dyadic": Case(recjax.GreedyRejectionCoder(split="dyadic"), *_NORMALS),
    "AStarCoder": Case(recjax.AStarCoder(), *_NORMALS),
    "AStarCoder-dyadic": Case(recjax.AStarCoder(split="dyadic"), *_NORMALS),
    "HybridCoder": Case(recjax.HybridCoder(cell_bits=2), *_UNIFORMS),
    "DitheredQuantizer": Case(recjax.DitheredQuantizer(step=0.5), *_UNIFORMS),
    "RingToss": Case(recjax.RingToss(), recjax.Normal(1.0, 0.5), _CHANNEL),
    "VectorCoder": Case(recjax.VectorCoder(block_bits=12), *_VECTORS),
    "VectorCoder-trellis": Case(recjax.VectorCoder(block_bits=12, method="trellis"), *_VECTORS),
}
TABLE = Path(__file__).parent / "results" / "step_equations.json"
_KL_BITS = 8.0
_BATCH = 256
_LANES = 4096


def coder_programs(name: str) -> dict[str, Program]:
    """The programs of a coder: encode, decode, codelength, and those of encode_batch.

    Args:
        name: one of `CODERS`.
    """
    coder, target, proposal = CODERS[name]
    vector = isinstance(coder, recjax.VectorCoder)
    options = {"kl_bits": _KL_BITS} if vector else {}
    private = isinstance(coder, recjax.PoissonPrivate)

    def encode(key, target, proposal):
        more = {"private_key": jax.random.fold_in(key, 1)} if private else options
        return coder.encode(key, target, proposal, **more)

    def decode(key, index, proposal):
        return coder.decode(key, index, proposal, **options)

    def codelength(key, index, proposal):
        rate = options if vector else {"rate_bits": 3.0}
        return coder.codelength(key, index, proposal, **rate)

    key = jax.random.key(0)
    index = jax.eval_shape(encode, key, target, proposal).index
    programs = {
        "encode": Program(encode, (key, target, proposal)),
        "decode": Program(decode, (key, index, proposal)),
        "codelength": Program(codelength, (key, index, proposal)),
    }
    keys = jax.random.split(key, _BATCH)
    targets, proposals = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (_BATCH, *x.shape)), (target, proposal)
    )
    if isinstance(coder, TreeCoder | GlobalCoder) and not private:
        programs["batch"] = Program(coder.search_lanes, (keys, targets, proposals))
    elif vector:

        def encode_batch(key, targets, proposal):
            return coder.encode_batch(key, targets, proposal, **options)

        few = jax.tree.map(lambda x: x[:4], targets)
        programs["batch"] = Program(encode_batch, (key, few, proposal))
    else:
        programs["batch"] = Program(jax.vmap(encode), (keys, targets, proposals))
    return programs


def many_lanes(name: str) -> Program:
    """A coder's `encode` as accelerators run it: many searches side by side, or one long vector.

    Args:
        name: one of `CODERS`.
    """
    encode, arguments = coder_programs(name)["encode"]
    if isinstance(CODERS[name].coder, recjax.VectorCoder):
        return Program(encode, arguments)
    key, *pair = arguments
    pairs = jax.tree.map(lambda x: jnp.broadcast_to(x, (_LANES, *x.shape)), tuple(pair))
    return Program(jax.vmap(encode), (jax.random.split(key, _LANES), *pairs))


def _shape(*sizes: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, dtype)


def _chains() -> Program:
    coder, length, chains, features = TrellisCoder(budget=16, extra_bits=1), 16, 128, 256
    table = jax.eval_shape(lambda: coder.table(jax.random.key(0), features // 2))
    columns = table.shape[0] * table.shape[2]
    return Program(
        functools.partial(best_chains, coder),
        (
            table,
            _shape(length, 2, columns, chains),
            _shape(length, chains, dtype=np.int32),
            _shape(dtype=np.int32),
        ),
    )


def _blocks(coder: Any) -> Program:
    """Blocks of an implicit neural representation, each searched for at once or in its chain."""
    d, batch, chain = 24, 512, isinstance(coder, TrellisCoder)
    table = jax.eval_shape(lambda: coder.table(jax.random.key(0), d))
    window = (coder.lookahead + 1,) if chain else ()
    arguments = [
        table,
        jax.random.key(0),
        _shape(batch, *window, 2, dtype=np.uint32),
        _shape(batch, *window, d),
        _shape(batch, *window, d),
        _shape(batch, *window, dtype=np.int32),
    ]
    before = [_shape(batch, dtype=np.int32)] if chain else []
    return Program(coder.encode, (*arguments, *before))


def _siren(part: str) -> Program:
    """Gradient steps of the fit of 16 patches, or the values of their latents."""
    prior = load_prior("photo-siren-low")
    sides = [4 * prior.patch[0], 4 * prior.patch[1]]
    grid = Grid(np.zeros((*sides, prior.channels), np.float32))
    batch, job = make_job([grid], prior, jax.random.key(0))
    if part == "decode":
        points = np.arange(prior.config.n_points, dtype=np.int32)
        z = tuple(_shape(*group.source.shape) for group in batch.layout.groups)
        return Program(siren_batch._values, (prior.network, z, batch.layout.geometry, points))
    fit = jax.eval_shape(initial_fit, job.layout, prior_start(prior), jnp.float32(0))
    step = functools.partial(advance, steps=10, budget=float(prior.budget))
    return Program(step, (job, fit, (jnp.float32(1e-3), jnp.float32(1e-3))))


def _transform() -> Program:
    """Values of a tile of a photograph from its latents."""
    prior = load_prior("photo-low")
    found: list[tuple] = []

    def record(network, latents):
        found.append((network, latents))
        tile = [n * c for n, c in zip(np.array(latents[-1].shape[1:-1]) - 2, prior.config.cell)]
        return np.zeros((1, *tile, prior.config.channels), np.float32)

    cells = (4, 4)
    latents = [
        np.zeros((*prior.config.cells(level, cells), depth), np.float32)
        for level, depth in enumerate(prior.config.depths)
    ]
    decoded = transform_decoding._decoded
    transform_decoding._decoded = record
    try:
        transform_decoding.values_of(prior, latents, [n * c for n, c in zip(cells, prior.patch)])
    finally:
        transform_decoding._decoded = decoded
    return Program(decoded, found[0])


CODEC: dict[str, Callable[[], Program]] = {
    "transform-chains": _chains,
    "transform-decode": _transform,
    "siren-blocks": lambda: _blocks(TrellisCoder(budget=16, extra_bits=1)),
    "siren-fit": lambda: _siren("fit"),
    "siren-decode": lambda: _siren("decode"),
}
"""The codec's hot programs, made when they are asked for."""


def step_equations(program: Program) -> int:
    """Equations of the loop steps of a program: of the bodies of its outermost loops, all in all."""
    return sum(_in_loops(program.trace().jaxpr.jaxpr))


def _in_loops(jaxpr: Any):
    for equation in jaxpr.eqns:
        inner = jax.extend.core.jaxprs_in_params(equation.params)
        if equation.primitive.name in ("while", "scan"):
            yield sum(map(_size, inner))
        else:
            for part in inner:
                yield from _in_loops(part)


def _size(jaxpr: Any) -> int:
    """Equations of a program, each of an inner program counted as one."""
    return sum(
        max(1, sum(map(_size, jax.extend.core.jaxprs_in_params(equation.params))))
        for equation in jaxpr.eqns
    )


def main() -> None:
    """Writes the table."""
    programs = {name: coder_programs(name)["encode"] for name in CODERS}
    programs |= {name: make() for name, make in CODEC.items()}
    counts = {name: step_equations(program) for name, program in programs.items()}
    TABLE.write_text(json.dumps(counts, indent=1) + "\n")
    for name, count in counts.items():
        print(f"{name:28} {count:6}")


if __name__ == "__main__":
    main()
