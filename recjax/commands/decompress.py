"""``recjax decompress``."""

from pathlib import Path

from tyro.conf import Positional

from recjax.codec.container import parse
from recjax.commands.shared import (
    check_distinct,
    check_skip_existing,
    each_file,
    is_stdout,
    naming,
    read_rec,
    rec_files,
    write_output,
)
from recjax.modalities import registry
from recjax.modalities.files import check_save


def decompress(
    rec: Positional[Path],
    out: Positional[Path],
    *,
    prior: str | None = None,
    force: bool = False,
    skip_existing: bool = False,
) -> None:
    """Decompress a .rec file, or every one of a folder.

    Args:
        rec: the .rec file, a folder of them, or - for standard input.
        out: the file to write, an image as .png or .webp (without further loss) or .jpg, a sound as
            .wav or .flac; a folder for those of a folder, which become .png or .wav; or - for
            standard output, as PNG or WAV.
        prior: name or path of the prior, if it is not an embedded one.
        force: replace OUT if it exists.
        skip_existing: leave out the files of a folder that have a result.
    """
    check_skip_existing(rec, skip_existing=skip_existing, force=force)
    priors = ()
    if prior is not None:
        from recjax.codec import load_prior

        priors = (load_prior(prior),)

    def work(path: Path, result: Path) -> None:
        blob = read_rec(path)
        modality = parse(blob)[0].modality
        suffix = modality.suffixes[0]
        if rec.is_dir():
            result = Path(f"{result}{suffix}")
        if not is_stdout(result):
            suffix = check_save(result, modality, force=force).suffix.lower()
        check_distinct(path, result)

        from recjax.codec import decompress_batch

        with naming(path):
            (signal,) = decompress_batch([blob], priors=priors)
        write_output(result, modality.write(signal, suffix), force=force)

    if rec.is_dir():
        written = [modality.suffixes[0] for modality in registry.MODALITIES]
        each_file(rec_files(rec), out, work, existing=written if skip_existing else [])
    else:
        work(rec, out)
