"""Compiling in less time."""

import contextlib

import jax


@contextlib.contextmanager
def quickly_compiled():
    """Leaves out XLA's costly passes, for trainings that only make a prior for other tests.

    They take half of the time of such a training, whose steps are few and small.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
