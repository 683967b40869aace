"""The sine activation, as a polynomial with its derivative from the same argument.

XLA's exact sine spends 8 ns an element on a CPU, which is most of a SIREN's training step.
Measuring the argument in turns makes the range reduction exact, and ten fused operations then
suffice.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Odd minimax polynomial of sin(2 pi r) on [-1/2, 1/2].
_COEFFICIENTS = (6.28318282, -41.3414214, 81.5961839, -76.5801005, 41.2053949, -12.2712624)
_TWO_PI = 6.283185307179586


def _sine(turns):
    r = turns - jnp.floor(turns + 0.5)
    square = r * r
    value = jnp.full_like(r, _COEFFICIENTS[-1])
    for coefficient in _COEFFICIENTS[-2::-1]:
        value = value * square + coefficient
    return r * value


@jax.custom_vjp
def sine_turns(turns: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin(2 pi turns), once differentiable, with an absolute error below 4e-6 for ``|turns| < 8``.

    >>> float(sine_turns(jax.numpy.float32(0.25)).round(5))
    1.0
    """
    return _sine(turns)


def _forward(turns):
    return _sine(turns), turns


def _backward(turns, cotangent):
    return (cotangent * _TWO_PI * _sine(turns + 0.25),)


sine_turns.defvjp(_forward, _backward)
