"""The import arrows of the package, read from the source: they point down only. Its manners as a library."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import recjax
from recjax import Coder
from recjax.distributions.base import Distribution

ROOT = Path(recjax.__file__).parent
BASE = {"errors", "atomic", "cache", "randomness", "words"}

HOME = recjax._modules()
"""The module of every public name; "recjax" for a package."""

PUBLIC = [name for name, module in HOME.items() if module != "recjax"]
PACKAGES = sorted(HOME.keys() - set(PUBLIC))

# part -> the parts it may import (and itself)
ARROWS = {
    "errors": set(),
    "atomic": set(),
    "cache": set(),
    "results": {"atomic"},
    "words": set(),
    "randomness": {"words"},
    "distributions": {"randomness", "words"},
    "limits": {"distributions"},
    "bits": {"errors"},
    "blocks": {"randomness", "words"},
    "samplers": BASE - {"atomic", "cache"}
    | {"distributions", "limits", "bits", "blocks", "parallel"},
    "testing": {"distributions", "limits", "samplers"},
    "modalities": {"errors", "atomic"},
    "parallel": set(),
    "codec": BASE | {"distributions", "samplers", "blocks", "bits", "modalities", "parallel"},
    "bench": BASE
    | {"distributions", "limits", "samplers", "blocks", "bits", "codec", "modalities", "results"},
    "commands": BASE | {"bits", "modalities", "codec", "bench", "results"},
    "cli": {"cache", "commands", "errors"},
    "__main__": {"cli"},
}

# third-party package -> the only parts that may import it
CONFINED = {
    "flax": {"codec"},
    "optax": {"codec"},
    "orbax": {"codec"},
    "safetensors": {"codec"},
    "constriction": {"bits"},
    "PIL": {"modalities", "commands"},
    "soundfile": {"modalities"},
    "tyro": {"cli", "commands"},
    "rich": {"cli", "commands"},
    "matplotlib": {"results"},
    "scipy": {"results"},
}
EVERYWHERE = {"jax", "jaxlib", "numpy", "jaxtyping", "chex", "recjax", *sys.stdlib_module_names}

SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """Dotted names of everything that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} uses a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path):
    part = part_of(path)
    assert part in ARROWS, f"say in ARROWS what recjax/{part} may import"
    for name in imported(path):
        root, *rest = name.split(".")
        if root == "recjax" and rest:
            target = rest[0]
            # from recjax import GPRS: the public name stands for the part it lives in
            target = HOME[target].split(".")[1] if target in PUBLIC else target
            allowed = (
                ARROWS[part] | {part} | ({"__version__"} if part in ("cli", "codec") else set())
            )
            assert target in allowed, f"recjax/{part} imports {name}"
        elif root in CONFINED:
            assert part in CONFINED[root], f"recjax/{part} imports {root}"
        else:
            assert root in EVERYWHERE, f"recjax/{part} imports {name}"


WINGS = ("siren", "transform")
FRONT = {"compression", "encoding", "decoding", "prior_files", "kinds"}
FRONT |= {"rate_control", "targets", "multiplier_search"}
TRAINERS = {
    # flax and optax: training, and the optimiser of the fit of a SIREN
    "siren/fit.py",
    "siren/training_state.py",
    "transform/family.py",
    "transform/network_module.py",
}


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_knows_neither_the_other_nor_the_front_doors(wing):
    for path in sorted((ROOT / "codec" / wing).rglob("*.py")):
        for name in imported(path):
            root, *rest = name.split(".")
            if name.startswith("recjax.codec."):
                assert rest[1] not in {*WINGS, *FRONT} - {wing}, f"{path.name} imports {name}"
            if root in ("flax", "optax"):
                assert f"{wing}/{path.name}" in TRAINERS, f"{path.name} imports {name}"


def test_the_arrows_have_no_cycle():
    done = set()
    while len(done) < len(ARROWS):
        ready = {part for part, below in ARROWS.items() if part not in done and below <= done}
        assert ready, f"a cycle among {set(ARROWS) - done}"
        done |= ready


def test_the_stub_lists_public_names():
    """Each as ``import name as name``, which type checkers take for public; in order, and once."""
    tree = ast.parse((ROOT / "__init__.pyi").read_text())
    names = [
        alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert all(alias.asname == alias.name for alias in names)
    assert len({alias.name for alias in names}) == len(names) == len(dir(recjax)) - 1


def test_public_names_resolve():
    for name in PUBLIC:
        assert getattr(recjax, name).__doc__, name
        assert getattr(recjax, name) is getattr(importlib.import_module(HOME[name]), name)
    for name in PACKAGES:
        assert getattr(recjax, name) is importlib.import_module(f"recjax.{name}")
    with pytest.raises(AttributeError):
        _ = recjax.no_such_name


CONTRACT = {"__init__"} | {
    name
    for base in (Coder, Distribution, recjax.Pair)
    for name in vars(base)
    if not name.startswith("_")
}
"""Methods that users call; those beyond are hooks of the searches inside."""


@pytest.mark.parametrize("name", PUBLIC)
def test_what_users_call_is_typed(name):
    value = getattr(recjax, name)
    methods = {
        method: inspect.getattr_static(value, method) for method in dir(value) if method in CONTRACT
    }
    for function in [value, *methods.values()]:
        if inspect.isfunction(function) and function.__module__.startswith("recjax"):
            signature = inspect.signature(function)
            annotations = [parameter.annotation for parameter in signature.parameters.values()]
            untyped = [
                a
                for a in [*annotations, signature.return_annotation]
                if a is inspect.Signature.empty
            ]
            assert len(untyped) == ("self" in signature.parameters), function


def test_classes_that_users_make_are_not_subclassed():
    """Coders are abstract or final."""

    def below(cls):
        return [sub for child in cls.__subclasses__() for sub in (child, *below(child))]

    package = {getattr(recjax, name) for name in PUBLIC} | set(below(Coder))
    coders = [cls for cls in package if isinstance(cls, type) and issubclass(cls, Coder)]
    for cls in coders:
        if cls.__module__.startswith("recjax."):
            bases = [base for base in cls.__mro__[1:] if issubclass(base, Coder)]
            assert all(inspect.isabstract(base) for base in bases), cls


def test_importing_is_light_and_leaves_the_settings_alone():
    """Of a program that has made its own; devices are still free to be chosen afterwards."""
    script = """
import sys
import recjax, recjax.cli, recjax.commands.compress
heavy = {"jax", "flax", "matplotlib", "rich"} & set(sys.modules)
assert not heavy, heavy
import os
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "bfloat16")
before, environment = dict(jax.config.values), dict(os.environ)
for name in dir(recjax):
    getattr(recjax, name)
assert "matplotlib" not in sys.modules
assert dict(jax.config.values) == before
assert dict(os.environ) == environment
jax.config.update("jax_num_cpu_devices", 2)  # an error once devices are in use
assert len(jax.devices("cpu")) == 2
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
