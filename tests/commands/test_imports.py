"""What every verb imports: no more than it needs, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recjax

ROOT = Path(recjax.__file__).parents[1]
GOLDEN = ROOT / "tests" / "codec" / "golden"
PRIOR_OF = {"colour": "waves", "hierarchy": "hierarchy", "pyramid": "pyramid"}
OTHER_WING = {"colour": "transform", "hierarchy": "transform", "pyramid": "siren"}
TRAINERS = {"optax", "flax", "orbax", "recjax.codec.training"}


def modules_of(folder, *argv):
    """Names of all modules after a command."""
    script = f"""
import json, sys
from recjax import cli
assert cli.main({list(map(str, argv))!r}) == 0
open("modules", "w").write(json.dumps(sorted(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return set(json.loads((folder / "modules").read_text()))


def inside(modules, packages):
    """Modules of the packages."""
    return {name for name in modules for other in packages if f"{name}.".startswith(f"{other}.")}


def test_help_needs_nothing(tmp_path):
    modules = modules_of(tmp_path, "--help")
    assert not inside(modules, {"jax", "numpy", "tyro", "recjax.codec", "recjax.modalities"})


@pytest.mark.parametrize("name", PRIOR_OF)
def test_info_needs_no_jax(tmp_path, name):
    prior = GOLDEN / f"{PRIOR_OF[name]}.safetensors"
    modules = modules_of(tmp_path, "info", GOLDEN / f"{name}.rec", "--prior", prior)
    assert not inside(modules, {"jax", "flax", "optax", "PIL", "matplotlib"})


def test_priors_needs_no_jax(tmp_path):
    modules = modules_of(tmp_path, "priors")
    assert not inside(modules, {"jax", "flax", "optax", "PIL", "matplotlib"})


@pytest.mark.parametrize("name", PRIOR_OF)
def test_decompress_needs_no_trainer_and_one_wing(tmp_path, name):
    prior = GOLDEN / f"{PRIOR_OF[name]}.safetensors"
    modules = modules_of(
        tmp_path, "decompress", GOLDEN / f"{name}.rec", "out.png", "--prior", prior
    )
    assert "jax" in modules and not inside(modules, TRAINERS)
    other = f"recjax.codec.{OTHER_WING[name]}"
    assert inside(modules, {other}) <= {other}
    assert not [name for name in modules if name.startswith("recjax.") and "training" in name]
    assert "recjax.codec.compression" not in modules
