"""Relative entropy coding in JAX: samplers, their limits, and a codec for images.

The stub ``__init__.pyi`` is the one list of public names. Each name is imported on first use, so
that ``import recjax`` costs nothing.
"""

import functools
import importlib

__version__ = "0.1.0"


def __getattr__(name: str):
    module = _modules().get(name)
    if module is None:
        raise AttributeError(f"module 'recjax' has no attribute {name!r}")
    if module == "recjax":  # the name is a package: recjax.limits
        return importlib.import_module(f"recjax.{name}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*_modules(), "__version__"])


@functools.cache
def _modules() -> dict[str, str]:
    """Maps every public name to the module that the stub imports it from."""
    import ast  # here, because it takes longer to import than recjax
    from pathlib import Path

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text())
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}
