"""Implicit neural representations: their streams, and their pixels."""

import math
from typing import NamedTuple

import numpy as np

from independent.container import File, Prior
from independent.entropy import RangeDecoder, read_indices
from independent.pixels import corner_product, image
from independent.shared import Shared


class Inr(NamedTuple):
    """All indices in the order of the file, and the latents of every group, ``[rows, latents]``."""

    indices: list[int]
    latents: list[np.ndarray]


def patches_of(file: File, prior: Prior) -> tuple[int, int]:
    return -(-file.shape[0] // prior.patch[0]), -(-file.shape[1] // prior.patch[1])


def prefixes_of(prior: Prior) -> list[str]:
    """What the names of the arrays of every group begin with."""
    return {1: [""], 2: ["image.", ""], 3: ["image.", "region.", ""]}[prior.about.get("levels", 1)]


def parents(prefix: str, file: File, prior: Prior) -> np.ndarray:
    """For every patch the row of a group that it belongs to."""
    rows, columns = patches_of(file, prior)
    side = {"image.": max(rows, columns), "region.": prior.about.get("region", 1), "": 1}[prefix]
    y, x = np.indices((rows, columns)) // side
    return (y * -(-columns // side) + x).ravel()


def decode_inr(file: File, prior: Prior) -> Inr:
    arrays, shared = prior.arrays, Shared(file, prior)
    prefixes = prefixes_of(prior)
    rows = [int(parents(prefix, file, prior).max()) + 1 for prefix in prefixes]
    count = sum(
        n * len(arrays[prefix + "widths"]) for n, prefix in zip(rows, prefixes, strict=True)
    )
    bits = prior.about["budget"] + (file.extra_bits if file.version == 1 else 0)
    indices = read_indices(RangeDecoder(file.stream), count, bits, file.exponent)
    latents, rest, first_block, first_latent = [], iter(indices), 0, 0
    for n, prefix in zip(rows, prefixes, strict=True):
        scale, order, widths = (arrays[prefix + name] for name in ("scale", "order", "widths"))
        shifts = shared.words(4, 0, first_latent + len(scale))[first_latent:] % n
        z = np.zeros((n, len(scale)))
        for slot in range(n):
            before = 0
            for block, members in enumerate(np.split(order, np.cumsum(widths)[:-1]), first_block):
                index = next(rest)
                z[(slot + shifts[members]) % n, members] = shared.sample(
                    index, before, slot, block, len(members)
                )
                before = index
        latents.append(z)
        first_block, first_latent = first_block + len(widths), first_latent + len(scale)
    return Inr(indices, latents)


def inr_pixels(file: File, prior: Prior, latents: list[np.ndarray]) -> np.ndarray:
    arrays, network, (rows, columns) = prior.arrays, prior.about["network"], patches_of(file, prior)
    prefixes = prefixes_of(prior)
    scaled = [z * arrays[prefix + "scale"] for prefix, z in zip(prefixes, latents, strict=True)]
    n_weights = sum(network["latents"])
    weights = sum(
        z[parents(prefix, file, prior), :n_weights]
        for prefix, z in zip(prefixes, scaled, strict=True)
    )
    x = np.broadcast_to(
        arrays["params['features']"].astype(float),
        (rows * columns, *arrays["params['features']"].shape),
    )
    if network.get("encoding", {}).get("depth"):
        x = np.concatenate([x, encodings(prior, scaled[-1][:, n_weights:], rows, columns)], -1)
    ends = np.cumsum(network["latents"])[:-1]
    for i, own in enumerate(np.split(weights, ends, 1)):
        flat = (
            own @ arrays[f"params['matrices'][{i}]"].astype(float)
            + arrays[f"params['offsets'][{i}]"]
        )
        layer = flat.reshape(len(flat), -1, x.shape[-1] + 1)
        x = np.sin(2 * math.pi * x) if i else x
        x = x @ layer[:, :, 1:].swapaxes(1, 2) + layer[:, None, :, 0]
    return image(file, unpatched(x.reshape(rows, columns, *prior.patch, -1)))


def encodings(prior: Prior, latents: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """``[patches, pixels, encodings]``."""
    about = prior.about["network"]["encoding"]
    x = np.pad(
        unpatched(latents.reshape(rows, columns, *about["cells"], -1)), ((1, 1), (1, 1), (0, 0))
    )
    for i, factor in enumerate(about["factors"]):
        beyond = i + 1 < len(about["factors"])
        x = corner_product(x, prior.arrays[f"params['upsampler']['kernels'][{i}]"], factor)
        cut = factor // 2 - beyond
        x = (
            x[cut : len(x) - cut, cut : x.shape[1] - cut]
            + prior.arrays[f"params['upsampler']['biases'][{i}]"]
        )
        x = np.where(x < 0, 0.01 * x, x) if beyond else x
    height, width = prior.patch
    x = x.reshape(rows, height, columns, width, -1).swapaxes(1, 2)
    return x.reshape(rows * columns, height * width, -1)


def unpatched(x: np.ndarray) -> np.ndarray:
    """``[rows, columns, height, width, n]`` to ``[rows height, columns width, n]``."""
    rows, columns, height, width, n = x.shape
    return x.swapaxes(1, 2).reshape(rows * height, columns * width, n)
