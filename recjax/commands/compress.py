"""``recjax compress``."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from recjax.commands.shared import (
    check_distinct,
    check_written,
    each_file,
    is_stdin,
    is_stdout,
    naming,
    progress_bar,
    read_input,
    write_output,
)
from recjax.modalities import Signal, modality_of_name
from recjax.modalities.files import list_signals, load, signal_of

if TYPE_CHECKING:
    from recjax.codec import Prior


def compress(
    source: Positional[Path],
    out: Positional[Path],
    *,
    prior: str | None = None,
    quality: str | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    effort: int = 5,
    seed: int | None = None,
    check: bool = False,
    force: bool = False,
) -> None:
    """Compress a file, or every file of a folder, to .rec files.

    At most one of --quality, --bpp and --psnr.

    Args:
        source: a PNG, JPEG or WebP image of at most 4096x4096, a folder of them, or - for standard
            input.
        out: the .rec file to write, a folder for those of a folder, or - for standard output.
        prior: name or path of a prior, instead of --quality.
        quality: low, medium, high or best, or its number from 1; by default high.
        bpp: bits of the file per pixel, at most; the largest file that is not larger.
        psnr: PSNR of the decoded image in dB, at least; the smallest file that reaches it.
        effort: 1 (fast) to 9 (slow, better).
        seed: another seed of the encoder; the decoder does not need it.
        check: decode the file again and print its quality.
        force: replace OUT if it exists.
    """
    check_effort(effort)
    given = {"--quality": quality, "--bpp": bpp, "--psnr": psnr}
    targets = [name for name, value in given.items() if value is not None]
    if len(targets) > 1:
        raise ValueError(f"a file has one target: give {targets[0]} or {targets[1]}, not both")
    if quality is not None and prior is not None:
        raise ValueError("--quality is the choice of a prior: give --quality or --prior, not both")
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be in 0..{2**32 - 1}, got {seed}")
    loaded: list[Prior] = []

    def work(path: Path, result: Path) -> None:
        check_written(result, force=force)
        check_distinct(path, result)
        signal = _read(path)
        modality = modality_of_name(signal.modality)
        if quality is not None:
            modality.prior_of_quality(quality)  # an error before JAX is imported

        import jax

        from recjax.codec import encode, load_prior

        if prior is not None and not loaded:
            loaded.append(load_prior(prior))
        start = time.perf_counter()
        with naming(path), progress_bar("compress") as progress:
            encoding = encode(
                signal,
                loaded[0] if loaded else None,
                quality=quality,
                bpp=bpp,
                psnr=psnr,
                effort=effort,
                key=None if seed is None else jax.random.key(seed),
                progress=progress,
            )
        seconds = time.perf_counter() - start
        score = ""
        if check or psnr is not None:
            score = f", {encoding.score:.2f} {modality.score.unit} {modality.score.name}"
        write_output(result, encoding.blob, force=force)
        print(
            f"{result}: {len(encoding.blob)} bytes, {encoding.rate:.3f} bits per {modality.unit}"
            f"{score}; KL {sum(encoding.kl_bits.values()):.0f}, index {encoding.index_bits:.0f}, "
            f"header {encoding.header_bits:.0f} bits; {seconds:.1f} s",
            file=sys.stderr if is_stdout(result) else sys.stdout,
        )

    if source.is_dir():
        each_file(list_signals(source), out, lambda path, stem: work(path, Path(f"{stem}.rec")))
    else:
        work(source, out)


def check_effort(effort: int) -> None:
    """Raises ValueError unless ``effort`` is in 1 .. 9."""
    if not 1 <= effort <= 9:
        raise ValueError(f"--effort must be in 1..9, got {effort}")


def _read(path: Path) -> Signal:
    if is_stdin(path):
        return signal_of(read_input(path, "a file"), "standard input")
    return load(path)
