"""``recjax compress``."""

import math
import sys
import time
from pathlib import Path

from tyro.conf import Positional

from recjax.commands.shared import (
    UsageError,
    check_distinct,
    check_skip_existing,
    check_written,
    each_file,
    is_stdin,
    is_stdout,
    naming,
    progress_bar,
    read_input,
    write_output,
)
from recjax.modalities import Signal, modality_of_name, registry
from recjax.modalities.files import list_signals, load, signal_of


def compress(
    source: Positional[Path],
    out: Positional[Path],
    *,
    prior: str | None = None,
    quality: str | None = None,
    bpp: float | None = None,
    kbps: float | None = None,
    psnr: float | None = None,
    effort: int = 5,
    seed: int | None = None,
    check: bool = False,
    force: bool = False,
    skip_existing: bool = False,
) -> None:
    """Compress a file, or every file of a folder, to .rec files.

    At most one of --quality, --bpp, --kbps and --psnr; the last three search, which takes up to ten
    times as long.

    Args:
        source: a PNG, JPEG or WebP image of at most 4096x4096, or a WAV, FLAC, OGG or MP3 sound, a
            folder of them, or - for standard input.
        out: one file in, one .rec file out; a folder in, a folder out; - for standard output.
        prior: name or path of a prior, instead of --quality.
        quality: low, medium, high or best, or its number, 1 to 4; by default high.
        bpp: bits of the file per pixel or sample, at most; the largest file found that is not
            larger, within 2 %.
        kbps: thousands of bits of the file per second of sound, at most; as --bpp.
        psnr: PSNR of the decoded signal in dB, at least; the smallest file found that reaches it.
        effort: 1 (fast) to 9 (slow, better).
        seed: another seed of the encoder; the decoder does not need it.
        check: decode the file again and print its quality.
        force: replace OUT if it exists.
        skip_existing: leave out the files of a folder that have a result.
    """
    check_skip_existing(source, skip_existing=skip_existing, force=force)
    check_effort(effort)
    given = {"--quality": quality, "--bpp": bpp, "--kbps": kbps, "--psnr": psnr}
    targets = [name for name, value in given.items() if value is not None]
    if len(targets) > 1:
        raise ValueError(f"a file has one target: give {targets[0]} or {targets[1]}, not both")
    if quality is not None and prior is not None:
        raise ValueError("--quality is the choice of a prior: give --quality or --prior, not both")
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be in 0..{2**32 - 1}, got {seed}")
    _check_quality(quality)
    for name, value in (("--bpp", bpp), ("--kbps", kbps), ("--psnr", psnr)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value:g}")
    loaded = None
    if prior is not None:
        from recjax.codec import load_prior

        loaded = load_prior(prior)

    def work(path: Path, result: Path) -> None:
        check_distinct(path, result)
        _check_suffix(result)
        check_written(result, force=force)
        signal = _read(path)
        modality = modality_of_name(signal.modality)

        import jax

        from recjax.codec import encode

        start = time.perf_counter()
        is_steady = bpp is None and kbps is None and psnr is None  # a search may end after any try
        with naming(path), progress_bar("compress", is_steady=is_steady) as progress:
            encoding = encode(
                signal,
                loaded,
                quality=quality,
                bpp=bpp,
                kbps=kbps,
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
            f"{score}, {seconds:.1f} s",
            file=sys.stderr if is_stdout(result) else sys.stdout,
        )

    if source.is_dir():
        each_file(
            list_signals(source),
            out,
            lambda path, stem: work(path, Path(f"{stem}.rec")),
            existing=[".rec"] if skip_existing else [],
        )
    else:
        work(source, out)


def check_effort(effort: int) -> None:
    """Raises ValueError unless ``effort`` is in 1 .. 9."""
    if not 1 <= effort <= 9:
        raise ValueError(f"--effort must be in 1..9, got {effort}")


def _check_quality(quality: str | None) -> None:
    """Raises ValueError unless a modality has the quality."""
    refusals = []
    for modality in registry.MODALITIES:
        try:
            modality.prior_of_quality(quality)
            return
        except ValueError as error:
            refusals.append(str(error))
    raise ValueError(f"--quality: {'; '.join(refusals)}")


def _check_suffix(out: Path) -> None:
    """Raises UsageError if programs would take ``out`` for a file of another format."""
    if any(out.suffix.lower() in modality.suffixes for modality in registry.MODALITIES):
        raise UsageError(
            f"output {out} would be no {out.suffix} file: name it {out.with_suffix('.rec')}"
        )


def _read(path: Path) -> Signal:
    if is_stdin(path):
        return signal_of(read_input(path, "a file"), "standard input")
    return load(path)
