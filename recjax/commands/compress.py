"""``recjax compress``."""

import time
from pathlib import Path

from tyro.conf import Positional

from recjax.atomic import check_output, write_atomic
from recjax.commands.shared import Quality, check_distinct, chosen_prior, progress_bar
from recjax.modalities import load


def compress(
    image: Positional[Path],
    out: Positional[Path],
    *,
    prior: str | None = None,
    quality: Quality | None = None,
    bpp: float | None = None,
    effort: int = 5,
    seed: int | None = None,
    force: bool = False,
) -> None:
    """Compress an image to a .rec file.

    Args:
        image: PNG, JPEG or WebP, 1x1 to 4096x4096.
        out: the .rec file to write.
        prior: name or path of a prior, instead of --quality.
        quality: which of the embedded priors; by default "high".
        bpp: bits of the file for each pixel, instead of --quality: the largest file that is not larger.
        effort: 1 (fast) to 9 (slow, better).
        seed: another seed of the encoder; the decoder does not need it.
        force: replace OUT if it exists.
    """
    check_effort(effort)
    if quality is not None and (prior is not None or bpp is not None):
        raise ValueError(
            "--quality is the choice of a prior and of its rate: not with --prior or --bpp"
        )
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be in 0..{2**32 - 1}, got {seed}")
    check_output(out, force=force)
    check_distinct(image, out)
    signal = load(image)

    import jax

    from recjax.codec import encode_batch

    key = None if seed is None else jax.random.key(seed)
    start = time.perf_counter()
    if bpp is not None:
        from recjax.codec import encode_at_rate

        loaded = None if prior is None else chosen_prior(prior)
        with progress_bar("compress") as progress:
            result = encode_at_rate(signal, bpp, loaded, effort=effort, key=key, progress=progress)
    else:
        loaded = chosen_prior(prior, quality or "high")
        with progress_bar("compress") as progress:
            (result,) = encode_batch([signal], loaded, effort=effort, key=key, progress=progress)
    write_atomic(out, result.blob, force=force)
    pixels = signal.values.shape[0] * signal.values.shape[1]
    print(
        f"{out}: {len(result.blob)} bytes, {8 * len(result.blob) / pixels:.3f} bpp, {result.score:.2f} dB; "
        f"KL {sum(result.kl_bits.values()):.0f}, index {result.index_bits:.0f}, header {result.header_bits:.0f} bits; "
        f"{time.perf_counter() - start:.1f} s"
    )


def check_effort(effort: int) -> None:
    """Raises ValueError unless ``effort`` is in 1 .. 9."""
    if not 1 <= effort <= 9:
        raise ValueError(f"--effort must be in 1..9, got {effort}")
