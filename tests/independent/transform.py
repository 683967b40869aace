"""Images of a transform: their streams, and their pixels."""

import math
from typing import NamedTuple

import numpy as np

from independent.container import File, Prior
from independent.entropy import RangeDecoder, cumulative, read_indices
from independent.pixels import corner_product, image
from independent.shared import Shared, threefry


class Transform(NamedTuple):
    """What a stream holds; dictionaries have an entry a level."""

    numbers: dict[int, np.ndarray]  # [rows, columns, latents]
    classes: np.ndarray  # [rows, columns]
    factors: dict[int, int]
    indices: dict[int, list[int]]
    blocks: dict[int, list[np.ndarray]]  # latents of every block, counted cell by cell
    latents: dict[int, np.ndarray]  # [rows, columns, latents]


def decode_transform(file: File, prior: Prior) -> Transform:
    about, arrays, decoder, shared = (
        prior.about,
        prior.arrays,
        RangeDecoder(file.stream),
        Shared(file, prior),
    )
    budget, class_level, levels = about["budget"], about["class_level"], about["network"]["levels"]
    top = [-(-side // cell) for side, cell in zip(file.shape, prior.patch, strict=True)]
    cells = [tuple(side << (levels - 1 - level) for side in top) for level in range(levels)]
    upper, lower = range(levels - 1, class_level, -1), range(class_level, -1, -1)
    numbers = {
        level: read_numbers(decoder, cells[level], arrays[f"numbers.{level}"]) for level in upper
    }
    classes = read_classes(decoder, cells[class_level], arrays["frequencies"])
    factors = {level: decoder.read_uniform(256) + 1 for level in lower}
    blocks = {}
    for level in lower:
        side = 1 << (class_level - level)
        expected = arrays[f"expected.{level}"][classes.repeat(side, 0).repeat(side, 1)]
        blocks[level] = allocate(expected, factors[level], shared.stream_key(4, level), budget)
    rest = iter(read_indices(decoder, sum(map(len, blocks.values())), budget, 0))
    indices = {level: [next(rest) for _ in blocks[level]] for level in lower}
    latents = {level: numbers[level] * arrays[f"step.{level}"] for level in upper}
    for level in lower:
        tail, scale = arrays[f"tail.{level}"].astype(float), arrays[f"scale.{level}"]
        v = np.zeros(math.prod(cells[level]) * len(scale))
        length = 16 if len(blocks[level]) > 512 else 8
        for number, members in enumerate(blocks[level]):
            chain, place = divmod(number, length)
            before = indices[level][number - 1] if place else 0
            v[members] = shared.sample(
                indices[level][number], before, (level << 24) + chain, place, len(members)
            )
        latents[level] = scale * np.sinh(tail * v.reshape(*cells[level], -1)) / tail
    return Transform(numbers, classes, factors, indices, blocks, latents)


def read_numbers(
    decoder: RangeDecoder, cells: tuple[int, ...], frequencies: np.ndarray
) -> np.ndarray:
    tables = [cumulative(row) for row in frequencies]
    found = [[decoder.read(table) - 255 for _ in range(math.prod(cells))] for table in tables]
    return np.array(found).T.reshape(*cells, -1)


def read_classes(
    decoder: RangeDecoder, cells: tuple[int, ...], frequencies: np.ndarray
) -> np.ndarray:
    tables, classes = [cumulative(row) for row in frequencies], np.zeros(cells, int)
    for row, column in np.ndindex(*cells):
        seen = [classes[row, column - 1]] * (column > 0) + [classes[row - 1, column]] * (row > 0)
        context = seen[0] + seen[-1] if seen else frequencies.shape[1] - 1
        classes[row, column] = decoder.read(tables[context])
    return classes


def allocate(expected: np.ndarray, factor: int, key, budget: int) -> list[np.ndarray]:
    """The latents of every block of a level, counted cell by cell."""
    flat = expected.astype(int).ravel()
    coded = np.flatnonzero(flat)
    order = coded[np.argsort(threefry(key, 0, np.arange(len(coded)))[0], kind="stable")]
    units = ((factor * flat[order] + 16) // 32).clip(1, 2560)
    total = int(units.sum())
    if not total:
        return []
    n = max(1, (total + 128 * budget) // (256 * budget))
    number = (np.cumsum(units) - (units + 1) // 2) * n // total
    return [order[number == block] for block in range(n)]


def transform_pixels(file: File, prior: Prior, latents: dict[int, np.ndarray]) -> np.ndarray:
    network = prior.about["network"]
    arrays = {name: array.astype(float) for name, array in prior.arrays.items()}
    top, stride = network["levels"] - 1, network["stride"]
    z = {level: np.pad(values, ((1, 1), (1, 1), (0, 0))) for level, values in latents.items()}
    own = f"params['levels'][{top}]"
    y, context = np.exp(arrays[f"{own}['log_gain']"]) * z[top], np.zeros((*z[top].shape[:2], 0))
    for level in range(top - 1, -1, -1):
        above, own = own, f"params['levels'][{level}]"
        first, second, head = (arrays[f"{own}['kernels'][{i}]"] for i in range(3))
        biases = [arrays[f"{own}['biases'][{i}]"] for i in range(3)]
        relative = y * np.exp(arrays[f"{own}['upper_gain']"] - arrays[f"{above}['log_gain']"])
        x = gelu(corner_product(np.concatenate([relative, context], -1), first, 2) + biases[0])
        context = gelu(x @ second + biases[1])
        mean, gain = np.split(context @ head + biases[2], 2, -1)
        log_gain = arrays[f"{own}['log_gain']"]
        mean = mean * np.exp(log_gain)
        mean[..., :3] += corner_product(y[..., :12], arrays[f"{above}['synthesis']"], 2)
        y = mean + np.exp(log_gain + 6 * np.tanh(gain / 6)) * z[level]
    height, width = (side * stride for side in latents[0].shape[:2])
    values = corner_product(y, arrays[f"{own}['synthesis']"], stride)
    values = cut(values, stride // 2, height, width) + arrays["params['synthesis_bias']"]
    x = np.concatenate([y * np.exp(-arrays[f"{own}['log_gain']"]), context], -1)
    return image(file, values + correction(x, arrays, stride // 2, height, width))


def correction(
    x: np.ndarray, arrays: dict[str, np.ndarray], factor: int, height: int, width: int
) -> np.ndarray:
    kernels = [arrays[f"params['correction'][{i}]"] for i in range(4)]
    biases = [arrays[f"params['correction_biases'][{i}]"] for i in range(4)]
    x = corner_product(gelu(x @ kernels[0] + biases[0]), kernels[1], factor)
    x = gelu(cut(x, factor // 2 - 1, height // 2 + 2, width // 2 + 2) + biases[1])
    x = corner_product(gelu(x @ kernels[2] + biases[2]), kernels[3], 2)
    return cut(x, 1, height, width) + biases[3]


def cut(x: np.ndarray, start: int, height: int, width: int) -> np.ndarray:
    return x[start : start + height, start : start + width]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
