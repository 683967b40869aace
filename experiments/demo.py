"""A real photograph to a .rec file and back, by the functions of the command line; results under demo/."""

import argparse
import io
import shutil
import time
from pathlib import Path

from matplotlib import cbook
from PIL import Image, ImageDraw

from recjax.atomic import write_atomic
from recjax.cache import enable_compilation_cache
from recjax.commands.compress import compress
from recjax.commands.decompress import decompress
from recjax.commands.info import info
from recjax.modalities import load
from recjax.modalities.image.pixels import psnr
from recjax.modalities.image.rivals import best_at_size

CAPTION = 24


def main(folder: Path, effort: int, quality: str) -> None:
    start = time.perf_counter()
    folder.mkdir(exist_ok=True)
    photo, rec, decoded = folder / "photo.jpg", folder / "photo.rec", folder / "decoded.png"
    shutil.copyfile(
        cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), photo
    )  # ships inside matplotlib

    print(f"recjax compress {photo} {rec} --effort {effort} --quality {quality}", flush=True)
    compress(photo, rec, effort=effort, quality=quality, force=True)
    print(f"\nrecjax info {rec}", flush=True)
    info(rec)
    print(f"\nrecjax decompress {rec} {decoded}", flush=True)
    decompressing = time.perf_counter()
    decompress(rec, decoded, force=True)
    print(f"{decoded}: {time.perf_counter() - decompressing:.1f} s")

    original, ours = load(photo).values, load(decoded).values
    columns = [
        (original, "original"),
        (ours, f"recjax, {rec.stat().st_size} bytes, {psnr(ours, original):.2f} dB"),
    ]
    rival = best_at_size(original, "jpeg", rec.stat().st_size)
    if rival:
        picture = Image.open(io.BytesIO(rival.data)).convert("RGB")
        columns.append((picture, f"JPEG, {len(rival.data)} bytes, {rival.psnr:.2f} dB"))
    side_by_side = folder / "side_by_side.png"
    write_atomic(side_by_side, _joined(columns), force=True)
    print(f"\n{side_by_side}: " + " | ".join(label for _, label in columns))
    print(f"{time.perf_counter() - start:.0f} s in all")


def _joined(columns) -> bytes:
    """The pictures beside each other as a PNG, a caption over each."""
    pictures = [
        picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        for picture, _ in columns
    ]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * len(pictures), height + CAPTION), "white")
    for column, (picture, (_, label)) in enumerate(zip(pictures, columns)):
        ImageDraw.Draw(sheet).text((column * width + 8, 6), label, fill="black")
        sheet.paste(picture, (column * width, CAPTION))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--quality", choices=["low", "high"], default="high")
    enable_compilation_cache()
    main(**vars(parser.parse_args()))
