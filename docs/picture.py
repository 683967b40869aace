"""The picture of the first page: a photograph, recjax, and JPEG of at most as many bytes.

``python docs/picture.py`` compresses the photograph of ``make demo`` and writes a crop of each, with
its bytes and PSNR, to ``docs/_static/demo.png``.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib import cbook
from PIL import Image, ImageDraw, ImageFont

import recjax
from recjax.modalities.image.pixels import psnr
from recjax.modalities.image.rivals import best_at_size

OUT = Path(__file__).parent / "_static" / "demo.png"
CROP = (128, 40, 384, 296)
CAPTION = 28


def main() -> None:
    photo = recjax.load(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    blob = recjax.compress(photo, "photo-medium")
    decoded = recjax.decompress(blob)
    rival = best_at_size(photo.values, "jpeg", len(blob))
    jpeg = np.array(Image.open(io.BytesIO(rival.data)).convert("RGB"))
    columns = {
        f"original, {photo.values.nbytes:,} bytes": photo.values,
        f"recjax, {len(blob):,} bytes, {psnr(decoded.values, photo.values):.1f} dB": decoded.values,
        f"JPEG, {len(rival.data):,} bytes, {rival.psnr:.1f} dB": jpeg,
    }
    width, height = CROP[2] - CROP[0], CROP[3] - CROP[1]
    sheet = Image.new("RGB", (width * len(columns), height + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, values) in enumerate(columns.items()):
        draw.text((i * width + 8, 7), caption, fill="black", font=ImageFont.load_default(14))
        sheet.paste(Image.fromarray(values).crop(CROP), (i * width, CAPTION))
    sheet.save(OUT, optimize=True)
    print(f"{OUT}: {' | '.join(columns)}")


if __name__ == "__main__":
    main()
