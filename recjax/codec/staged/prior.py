"""Priors of staged coefficients: the network of contexts, and the distributions that it chooses."""

import dataclasses
import functools
import os
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int16, Int32

from recjax.bits.zipf import PRECISION
from recjax.codec.prior import Prior, check_tensor, write_prior
from recjax.codec.staged.contexts import SCALES, SHAPES, Layers
from recjax.codec.staged.lattice import SMALLEST, STAGES
from recjax.codec.staged.symbols import ESCAPE, INTERVALS

LEAST = 1 << 8
"""The smallest frequency, of 2^24: no coefficient is free, and no file is far smaller than its
signal."""
MOST_HIDDEN = 512
CENTRES = 3
"""Magnitudes 1, 2, and from 3 on have reconstruction points of their own."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StagedPrior(Prior):
    """A trained network of contexts.

    Attributes:
        hidden: hidden units of a layer.
        weights: weights of every stage by name, see `recjax.codec.staged.contexts.Layers`.
        frequencies: frequencies of the symbols in every distribution, which sum to 2^24.
        tails: frequencies of the intervals of large magnitudes, per scale.
        shrinkage: by how much a magnitude of 1, of 2, and from 3 on is reconstructed nearer to 0,
            per scale.
    """

    kind = "staged"
    rate_is_free = True
    price_range = (1e-9, 1e4)

    hidden: int
    weights: tuple[dict[str, Int16[np.ndarray, "..."] | Int32[np.ndarray, "..."]], ...]
    frequencies: Int32[np.ndarray, "distributions symbols"]
    tails: Int32[np.ndarray, "scales intervals"]
    shrinkage: Float32[np.ndarray, "scales centres"]

    @property
    def patch(self) -> tuple[int, ...]:
        """Bins of the smallest cells."""
        return (SMALLEST,)

    @property
    def channels(self) -> None:
        """None: channels are coded one by one, so that any number will do."""
        return None

    @property
    def summary(self) -> dict[str, Any]:
        """Kind, stages and hidden units."""
        return {"kind": self.kind, "stages": len(STAGES), "hidden": self.hidden}

    @functools.cached_property
    def layers(self) -> tuple[Layers, ...]:
        """Weights of every stage."""
        return tuple(
            Layers(**{name: array.astype(np.float64) for name, array in stage.items()})
            for stage in self.weights
        )

    @functools.cached_property
    def bits(self) -> Float[np.ndarray, "distributions symbols"]:
        """Length of every symbol in every distribution; the sign and the place are left out."""
        return PRECISION - np.log2(self.frequencies)

    def reconstructed(
        self,
        magnitude: Int[np.ndarray, "channels frames bins"],
        scale: Int[np.ndarray, "channels frames bins"],
    ) -> Float32[np.ndarray, "channels frames bins"]:
        """Magnitudes as they are reconstructed, in steps, from distributions of these scales."""
        centre = np.clip(magnitude, 1, CENTRES) - 1
        nearer = magnitude - self.shrinkage[scale, centre]
        return np.where(magnitude > 0, nearer, 0).astype(np.float32)


def shapes_of(hidden: int) -> list[dict[str, tuple[int, ...]]]:
    """Shapes of the weights of every stage."""
    return [
        {
            "first": (stage.inputs, hidden),
            "bins": (SMALLEST // 4, hidden),
            "second": (hidden, hidden),
            "offset": (hidden,),
            "last": (hidden, 2),
            "centre": (2,),
        }
        for stage in STAGES
    ]


def dtype_of(name: str) -> Any:
    """Type of the weights of a name in files: sums of two scales need 32 bits."""
    return np.int32 if name in ("bins", "offset", "centre") else np.int16


def save(prior: StagedPrior, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a prior file atomically. Its digest and name, which follow from the file, are not
    used.

    Raises:
        ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    tensors = {
        f"{name}.{i}": array
        for i, stage in enumerate(prior.weights)
        for name, array in stage.items()
    }
    tensors |= {
        "frequencies": prior.frequencies,
        "tails": prior.tails,
        "shrinkage": prior.shrinkage,
    }
    header = {
        "kind": prior.kind,
        "hidden": prior.hidden,
        "beta": prior.beta,
        "budget": prior.budget,
        "metadata": prior.metadata,
    }
    write_prior(path, header, tensors, modality=prior.modality, params={}, force=force)


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> StagedPrior:
    """The prior in a file; see `recjax.codec.kinds.Kind`.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    hidden = header["hidden"]
    if not (type(hidden) is int and 1 <= hidden <= MOST_HIDDEN):
        raise ValueError(f"hidden {hidden} is out of range")
    weights = []
    for i, shapes in enumerate(shapes_of(hidden)):
        weights.append({name: tensors[f"{name}.{i}"] for name in shapes})
        for name, shape in shapes.items():
            check_tensor(weights[i][name], f"{name}.{i}", dtype_of(name), shape)
    for name, shape in (
        ("frequencies", (SCALES * SHAPES, ESCAPE + 1)),
        ("tails", (SCALES, INTERVALS)),
    ):
        check_tensor(tensors[name], name, np.int32, shape)
        sums = tensors[name].astype(np.int64).sum(1)
        if (tensors[name] < LEAST).any() or (sums != 1 << PRECISION).any():
            raise ValueError(f"{name} do not add up")
    check_tensor(tensors["shrinkage"], "shrinkage", np.float32, (SCALES, CENTRES))
    if (np.abs(tensors["shrinkage"]) > 1).any():
        raise ValueError("a reconstruction point is out of range")
    return StagedPrior(
        **common,
        hidden=hidden,
        weights=tuple(weights),
        frequencies=tensors["frequencies"],
        tails=tensors["tails"],
        shrinkage=tensors["shrinkage"],
    )
