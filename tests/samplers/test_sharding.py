"""Batches on several devices and in several processes: equal codes, sharded as the inputs, and nobody waits.

Also a script, because devices are counted when JAX starts: ``python test_sharding.py devices OUT.json NAMES`` writes what
became of each coder on eight devices, ``python test_sharding.py process OUT.json RANK PORT`` is one of two processes.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from samplers.test_contract import CODERS, NORMAL, lane

import recjax
from recjax import Status, parallel
from recjax.parallel import batches

ROOT = Path(__file__).parents[2]
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
EVEN, UNEVEN = 496, 500


def same(codes, expected):
    pairs = zip(*map(jax.tree.leaves, (codes, expected)), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def collectives(program):
    return [name for name in COLLECTIVES if name in program.compile().as_text()]


def program_of(coder, *examples):
    """The program of a batch's shares."""
    if isinstance(coder, recjax.PoissonPrivate):  # the search has both keys in one array
        examples = (jnp.tile(jax.random.key_data(examples[0]), 2), *examples[1:])
    layout, _ = batches._layout_of(examples, 8)
    placed = batches._put(examples, NamedSharding(layout.mesh, layout.spec))
    return batches._run_shares.lower(
        batches._Bound(type(coder).search_lanes, coder), layout, placed, ()
    )


def of_vectors(meshes):
    """Facts of a batch of vectors, one key or a key each."""
    coder, n, wide = recjax.VectorCoder(block_bits=6, extra_bits=2), 13, recjax.Normal(0.0, 1.0)
    mean = jnp.linspace(-0.4, 0.4, n * 90, dtype=jnp.float32).reshape(n, 90)
    targets, keys = recjax.Normal(mean, jnp.ones((n, 90))), jax.random.split(jax.random.key(5), n)
    seen = {}
    for kind, key in (("one key", keys[0]), ("keys", keys)):
        home = jax.device_put((key, targets), jax.devices()[0])
        alone = coder.encode_batch(*home, wide, kl_bits=7)
        seen[kind] = same(coder.encode_batch(key, targets, wide, kl_bits=7), alone)
        for name, mesh in meshes.items():
            sharding = NamedSharding(mesh, PartitionSpec("example"))
            here = jax.device_put(lane(targets, slice(8)), sharding)
            its = jax.device_put(key[:8], sharding) if kind == "keys" else key
            codes = coder.encode_batch(its, here, wide, kl_bits=7)
            seen[f"{kind}, {name}"] = same(codes, lane(alone, slice(8)))
    return seen


def on_devices(path, *names):
    """Facts by coder, as JSON: each must be true."""
    meshes = {
        "auto": Mesh(np.array(jax.devices()), ("example",)),
        "explicit": jax.make_mesh((8,), ("example",)),
        "two axes": jax.make_mesh((4, 2), ("example", "other")),
    }
    facts = {"VectorCoder": of_vectors(meshes)}
    for entry in (entry for entry in CODERS if str(entry) in names):
        proposal, coder, seen = NORMAL.proposal(entry), entry.coder, {}
        examples = NORMAL.keys()[:UNEVEN], lane(NORMAL.targets(entry), slice(UNEVEN))
        alone = coder.encode_batch(*jax.device_put(examples, jax.devices()[0]), proposal)
        seen["uneven"] = same(coder.encode_batch(*examples, proposal), alone)
        expected = lane(alone, slice(EVEN))
        for kind, mesh in meshes.items():
            sharding = NamedSharding(mesh, PartitionSpec("example"))
            keys, targets = jax.device_put(lane(examples, slice(EVEN)), sharding)
            codes = coder.encode_batch(keys, targets, proposal)
            proposals = jax.tree.map(lambda x: jnp.broadcast_to(x, (EVEN, *x.shape)), proposal)
            seen[f"{kind}, alone"] = not collectives(program_of(coder, keys, targets, proposals))
            seen[kind] = same(codes, expected)
            seen[f"{kind}, sharded"] = all(
                leaf.sharding.is_equivalent_to(sharding, leaf.ndim) and leaf.sharding.mesh == mesh
                for leaf in jax.tree.leaves(codes)
            )
            if kind != "explicit":
                continue
            # plain vmap over the axes of an Explicit mesh
            encode = jax.jit(jax.vmap(coder.encode, (0, 0, None)))
            decode = jax.jit(jax.vmap(coder.decode, (0, 0, None)))
            seen["vmap"] = same(encode(keys, targets, proposal), expected)
            seen["alone"] = not collectives(encode.lower(keys, targets, proposal))
            seen["decode"] = same(decode(keys, codes.index, proposal), expected.sample)
            bits = jax.vmap(lambda k, i: coder.codelength(k, i, proposal, rate_bits=3.0))  # noqa: B023
            seen["codelength"] = bits(keys, codes.index).shape == (EVEN,)
        replicated = jax.device_put(examples, NamedSharding(meshes["auto"], PartitionSpec()))
        codes = coder.encode_batch(*replicated, proposal)
        seen["replicated"] = same(codes, alone) and codes.status.sharding.is_fully_replicated
        facts[str(entry)] = seen
    Path(path).write_text(json.dumps(facts))


def in_processes(path, rank, port):
    """One of two processes with two devices each; the facts of this process, as JSON."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(rank))
    facts = {"devices": len(jax.devices()) == 4}
    proposal = recjax.Normal(0.3, 1.7)
    n = 256
    loc, scale = np.random.default_rng(0).uniform([[-1.0], [0.15]], [[1.0], [1.1]], (2, n))
    keys = jax.random.split(jax.random.key(1), n)
    for kind, mesh in (
        ("auto", Mesh(np.array(jax.devices()), ("example",))),
        ("explicit", jax.make_mesh((4,), ("example",))),
    ):
        sharding = NamedSharding(mesh, PartitionSpec("example"))

        def spread(values, sharding=sharding):
            values = np.asarray(values)
            return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i])

        words = spread(jax.random.key_data(keys))
        targets = recjax.Normal(spread(loc.astype(np.float32)), spread(scale.astype(np.float32)))
        for coder in (recjax.AStar(), recjax.BranchAndBoundGPRS()):
            alone = coder.encode_batch(keys, recjax.Normal(loc, scale), proposal)
            codes = coder.encode_batch(words, targets, proposal)
            name = f"{kind} {type(coder).__name__}"
            facts[f"{name}, sharded"] = codes.status.sharding.is_equivalent_to(sharding, 1)
            facts[name] = all(
                np.array_equal(shard.data, np.asarray(whole)[shard.index])
                for leaf, whole in zip(jax.tree.leaves(codes), jax.tree.leaves(alone), strict=True)
                for shard in leaf.addressable_shards
            )
        # values that another process has are not checked here: a status, as for traced ones
        bad = recjax.Normal(
            targets.loc, spread(np.where(np.arange(n) == 200, np.nan, 0.5).astype(np.float32))
        )
        status = recjax.AStar().encode_batch(words, bad, proposal).status
        facts[f"{kind} invalid"] = all(
            np.array_equal(shard.data == Status.INVALID, np.arange(n)[shard.index] == 200)
            for shard in status.addressable_shards
        )
    Path(path).write_text(json.dumps(facts))


def start(*arguments, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "JAX_PLATFORMS": "cpu",
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )  # fmt: skip


def facts_of(process, path):
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["AStar"], id="global"),
        pytest.param(["GreedyRejectionCoderdyadic"], id="path", marks=pytest.mark.slow),
        pytest.param([str(entry) for entry in CODERS], id="all", marks=pytest.mark.slow),
    ],
)
def test_eight_devices(tmp_path, names):
    path = tmp_path / "facts.json"
    flags = "--xla_force_host_platform_device_count=8"
    facts = facts_of(start("devices", path, *names, XLA_FLAGS=flags), path)
    assert facts.keys() == {"VectorCoder", *names}
    assert not {
        (name, key) for name, seen in facts.items() for key, good in seen.items() if not good
    }


@pytest.mark.slow
def test_two_processes_with_two_devices_each(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [tmp_path / f"{rank}.json" for rank in range(2)]
    processes = [start("process", path, rank, port) for rank, path in enumerate(paths)]
    for process, path in zip(processes, paths, strict=True):
        facts = facts_of(process, path)
        assert facts and all(facts.values()), facts


def test_a_mesh_of_one_device():
    coder, proposal = recjax.RejectionSampler(), recjax.Normal(0.0, 1.0)
    keys, targets = jax.random.split(jax.random.key(0), 8), recjax.Normal(jnp.zeros(8), 0.7)
    expected = coder.encode_batch(keys, targets, proposal)
    mesh = jax.make_mesh((1,), ("example",), devices=jax.devices()[:1])
    sharding = NamedSharding(mesh, PartitionSpec("example"))
    codes = coder.encode_batch(*jax.device_put((keys, targets), sharding), proposal)
    assert same(codes, expected) and codes.index.sharding == sharding


def test_shares_have_few_sizes():
    assert {parallel.few_sizes(n, 64) for n in range(1, 400)} == {64, 96, 128, 192, 256, 384, 512}
    assert all(n <= parallel.few_sizes(n, 1) < max(1.5 * n, 2) for n in range(1, 400))


def test_cores_are_those_that_this_process_may_use():
    assert parallel.cores() == len(os.sched_getaffinity(0))


def test_on_a_single_device_everything_is_checked():
    targets = recjax.Normal(jnp.zeros(3), jnp.ones(3))
    spoiled = jax.tree.map(lambda x: x.at[1].set(jnp.nan), targets)
    with pytest.raises(ValueError, match="target"):
        recjax.AStar().encode_batch(
            jax.random.split(jax.random.key(0), 3), spoiled, recjax.Normal(0.0, 2.0)
        )


if __name__ == "__main__":
    {"devices": on_devices, "process": in_processes}[sys.argv[1]](*sys.argv[2:])
