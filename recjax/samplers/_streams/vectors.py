"""Code of the indices of vectors: call after call, those of its blocks."""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax.bits.number_models import NumberModel
from recjax.samplers.codelength import model_bits
from recjax.samplers.index_code import IndexCode, checked_batch


@dataclasses.dataclass(frozen=True, eq=False)
class VectorsCode(IndexCode):
    """Code of the indices of many calls: a list with those of each call's blocks.

    Args:
        blocks: number of blocks of each call.
        models: model of the indices of each call.
        layouts: numbers that tell the layout of each call from others, under the checksum.
        dtype: dtype of the lengths.
    """

    blocks: tuple[int, ...]
    models: tuple[NumberModel, ...]
    layouts: tuple[tuple[int, ...], ...]
    dtype: Any

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        lengths = [
            jnp.sum(model_bits(model, jnp.asarray(numbers), self.dtype))
            for model, numbers in zip(self.models, index, strict=True)
        ]
        return sum(lengths, start=jnp.zeros((), self.dtype))

    def settings(self, keys: Any) -> tuple[int, ...]:
        calls = [
            (blocks, *model.settings, *layout)
            for blocks, model, layout in zip(self.blocks, self.models, self.layouts, strict=True)
        ]
        return (len(calls), *itertools.chain(*calls))

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        if not isinstance(index, list | tuple) or len(index) != len(self.blocks):
            raise ValueError(
                f"index must be a list of as many entries as kl_bits, {len(self.blocks)}: "
                f"the index of each call, such as [code.index]"
            )
        for numbers, blocks in zip(index, self.blocks, strict=True):
            if np.shape(numbers) != (blocks,):
                raise ValueError(
                    f"index: with this kl_bits a call has {blocks} indices, "
                    f"got shape {np.shape(numbers)}"
                )
        for model, blocks, numbers in zip(self.models, self.blocks, index, strict=True):
            model.put(encoder, checked_batch(numbers, blocks, (1 << model.settings[0]) - 1))

    def take(self, decoder: Any, keys: Any) -> list[UInt32[np.ndarray, "blocks"]]:
        return [
            model.take(decoder, blocks).astype(np.uint32)
            for model, blocks in zip(self.models, self.blocks, strict=True)
        ]
