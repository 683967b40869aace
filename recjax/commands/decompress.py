"""``recjax decompress``."""

from pathlib import Path

from tyro.conf import Positional

from recjax.commands.shared import check_distinct, naming, read_rec
from recjax.modalities.files import check_save, save
from recjax.modalities.image import IMAGE


def decompress(
    rec: Positional[Path], out: Positional[Path], *, prior: str | None = None, force: bool = False
) -> None:
    """Decompress a .rec file to an image.

    Args:
        rec: the .rec file.
        out: the image to write: .png or .webp (without further loss) or .jpg.
        prior: name or path of the prior, if it is not an embedded one.
        force: replace OUT if it exists.
    """
    check_save(out, IMAGE, force=force)
    check_distinct(rec, out)
    blob = read_rec(rec)

    from recjax.codec import decompress_batch, load_prior

    priors = () if prior is None else (load_prior(prior),)
    with naming(rec):
        (signal,) = decompress_batch([blob], priors=priors)
    save(signal, out, force=force)
