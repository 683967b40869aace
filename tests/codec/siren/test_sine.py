"""The polynomial sine against NumPy's in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.siren.sine import sine_turns

GRID = np.linspace(-7.999, 7.999, 400_001).astype(np.float32)


@pytest.mark.parametrize("x64", [False, True])
def test_value_within_the_stated_error(x64):
    with jax.enable_x64(x64):
        turns = GRID.astype(np.float64) if x64 else GRID
        value = sine_turns(jnp.asarray(turns))
        assert value.dtype == turns.dtype
        assert np.abs(np.asarray(value) - np.sin(2 * np.pi * turns.astype(np.float64))).max() < 4e-6


def test_gradient_is_the_cosine():
    slope = jax.grad(lambda x: jnp.sum(sine_turns(x)))(jnp.asarray(GRID))
    expected = 2 * np.pi * np.cos(2 * np.pi * GRID.astype(np.float64))
    # turns + 1/4 is rounded: half a unit in the last place of 8 turns, times the slope's slope
    assert np.abs(np.asarray(slope) - expected).max() < 2 * np.pi * (4e-6 + 2 * np.pi * 2.0**-22)


def test_agrees_with_the_library_sine():
    turns = jnp.asarray(GRID[::100])
    reference = jax.vmap(jax.value_and_grad(lambda x: jnp.sin(2 * jnp.pi * x)))(turns)
    ours = jax.vmap(jax.value_and_grad(sine_turns))(turns)
    np.testing.assert_allclose(ours[0], reference[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours[1], reference[1], rtol=0, atol=6e-5)


def test_whole_turns_are_exact_zeros_and_halves_have_the_sign_of_neither_side():
    assert np.all(np.asarray(sine_turns(jnp.arange(-8.0, 9.0))) == 0)
    assert np.abs(np.asarray(sine_turns(jnp.arange(-7.5, 8.0)))).max() < 4e-6


def test_keeps_the_shape_and_passes_nan_on():
    value = sine_turns(jnp.array([[0.25, jnp.nan], [jnp.inf, -0.25]]))
    assert value.shape == (2, 2)
    assert np.isnan(np.asarray(value)).tolist() == [[False, True], [True, False]]
