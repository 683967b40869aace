"""The folder of what recjax keeps between runs: compiled programs.

The environment variable ``RECJAX_CACHE`` names the folder; ``off`` keeps nothing. By default it is
``$XDG_CACHE_HOME/recjax`` or ``~/.cache/recjax``. Whoever has configured JAX's compilation cache,
by ``JAX_COMPILATION_CACHE_DIR`` or ``jax_compilation_cache_dir``, keeps that configuration.
"""

import contextlib
import functools
import os
from pathlib import Path

_LEAST_SECONDS = 0.02
"""Programs that compile faster are not kept."""


def programs_folder() -> Path | None:
    """The folder of compiled programs, which is made if it is missing; None if it cannot be."""
    chosen = os.environ.get("RECJAX_CACHE", "")
    if chosen.lower() == "off":
        return None
    if chosen:
        base = Path(chosen).absolute()
    else:
        cache = os.environ.get("XDG_CACHE_HOME", "")
        try:
            # the standard of XDG says that a relative path is to be ignored
            base = (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "recjax"
        except RuntimeError:  # no HOME, and a user without an entry in the list of users
            return None
    with contextlib.suppress(OSError):  # without a writable folder we only lose time
        (base / "jax").mkdir(parents=True, exist_ok=True)
        return base / "jax"
    return None


def set_environment() -> None:
    """Keeps the programs of this process; to be called before JAX is imported, and reads this."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := programs_folder()):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(_LEAST_SECONDS))


@functools.cache
def enable_compilation_cache() -> None:
    """Keeps compiled programs between runs, unless program or environment have decided already.

    `recjax.compress`, `recjax.decompress` and their relatives call it. It sets JAX's
    ``jax_compilation_cache_dir``, so that other programs of the process are kept too. The folder is
    that of the environment variable ``RECJAX_CACHE`` (``off``: nothing is kept), by default
    ``~/.cache/recjax``.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None and (folder := programs_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
