"""The network of contexts as it learns: in real numbers, which are rounded when it is done."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax.codec.staged.contexts import (
    FEATURE_BITS,
    HIDDEN_BITS,
    LARGEST_UNIT,
    SCALES,
    SHAPES,
    WEIGHT_BITS,
)
from recjax.codec.staged.distributions import log_survival
from recjax.codec.staged.lattice import STAGES, Stage, features, rows_of_bins
from recjax.codec.staged.prior import dtype_of, shapes_of

Params = list[dict[str, Array]]
"""Parameters of every stage by name, see `recjax.codec.staged.contexts.Layers`."""

_MOST = LARGEST_UNIT / (1 << HIDDEN_BITS)


def initial(hidden: int, seed: int) -> Params:
    """Parameters before the first step."""
    rng, params = np.random.default_rng(seed), []
    for shapes in shapes_of(hidden):
        stage = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        for name, size in (("first", 1.0), ("second", 1.0), ("last", 0.5)):
            shape = shapes[name]
            stage[name] = np.float32(size * rng.normal(size=shape) / np.sqrt(shape[0]))
        stage["centre"] = np.float32([SCALES / 2 - 6, SHAPES / 2])
        params.append(jax.tree.map(jnp.asarray, stage))
    return params


def bits_per_coefficient(
    params: Params,
    magnitude: Int[Array, "n frames bins"],
    activity: Int[Array, "n frames bins"],
    loudness: Int[Array, "n"],
) -> Float[Array, ""]:
    """Mean length of the code of magnitudes and signs."""
    total = jnp.float32(0)
    for stage, weights in zip(STAGES, params, strict=True):
        place = stage.place()
        scale, shape = _outputs(weights, stage, activity, loudness)
        m = magnitude[place].astype(jnp.float32)
        total += _bits(m, scale, shape).sum()
    return total / magnitude.size


def _outputs(weights: dict[str, Array], stage: Stage, activity: Array, loudness: Array) -> Any:
    x = features(stage, activity, loudness, jnp).astype(jnp.float32) / (1 << FEATURE_BITS)
    rows = rows_of_bins(activity.shape[2])
    x = jnp.clip(x @ weights["first"] + weights["bins"][rows], 0, _MOST)
    x = jnp.clip(x @ weights["second"] + weights["offset"], 0, _MOST)
    out = x @ weights["last"] + weights["centre"]
    return jnp.clip(out[..., 0], 0, SCALES), jnp.clip(out[..., 1], 0, SHAPES)


def _bits(m: Array, scale: Array, shape: Array) -> Array:
    one = log_survival(jnp.float32(1), scale, shape, jnp)
    at = log_survival(jnp.maximum(m, 1), scale, shape, jnp)
    after = log_survival(jnp.maximum(m, 1) + 1, scale, shape, jnp)
    # differences of survivals, whose logarithms may be nearly equal
    exact = at + jnp.log(-jnp.expm1(jnp.minimum(after - at, -1e-6)))
    none = jnp.log(-jnp.expm1(jnp.minimum(one, -1e-6)))
    return jnp.where(m == 0, -none, -exact + np.log(2)) / np.log(2)


def rounded(params: Params) -> tuple[dict[str, np.ndarray], ...]:
    """The parameters as whole numbers, see `recjax.codec.staged.contexts`."""
    units = {
        "first": WEIGHT_BITS,
        "bins": WEIGHT_BITS + FEATURE_BITS,
        "second": WEIGHT_BITS,
        "offset": WEIGHT_BITS + HIDDEN_BITS,
        "last": WEIGHT_BITS,
        "centre": WEIGHT_BITS + HIDDEN_BITS,
    }
    out = []
    for stage in params:
        whole = {}
        for name, array in stage.items():
            limits = np.iinfo(dtype_of(name))
            scaled = np.round(np.asarray(array, np.float64) * (1 << units[name]))
            whole[name] = np.clip(scaled, limits.min, limits.max).astype(dtype_of(name))
        out.append(whole)
    return tuple(out)
