"""Audio: WAV, FLAC, OGG and MP3 files, 1 to 8 channels, of any sample rate."""

from recjax.modalities.audio.augment import amplified, turned_over
from recjax.modalities.audio.files import read, sniff, write
from recjax.modalities.audio.meta import MOST_CHANNELS, unpack
from recjax.modalities.audio.samples import (
    MAX_SAMPLES,
    check,
    describe,
    from_grid,
    psnr,
    si_sdr,
    to_grid,
)
from recjax.modalities.modality import Modality, Score

PRICES = {"low": 8.0, "medium": 2.0, "high": 0.5, "best": 0.06}
"""Lagrange multipliers of the qualities, relative to the one of the prior's training."""

AUDIO = Modality(
    name="audio",
    code=1,
    axes=("time",),
    channels=frozenset(range(1, MOST_CHANNELS + 1)),
    unit="sample",
    max_side=MAX_SAMPLES,
    max_cells=MAX_SAMPLES,
    score=Score("PSNR", "dB", psnr),
    more_scores=(Score("SI-SDR", "dB", si_sdr),),
    qualities=dict.fromkeys(PRICES, "speech"),
    prices=PRICES,
    default_quality="high",
    check=check,
    to_grid=to_grid,
    from_grid=from_grid,
    formats="WAV, FLAC, OGG or MP3 sound",
    sniff=sniff,
    read=read,
    write=write,
    suffixes=(".wav", ".flac"),
    read_suffixes=(".ogg", ".mp3"),
    max_bytes=1 << 32,
    describe=describe,
    cells_per_second=lambda meta: unpack(meta).sample_rate,
    symmetry=turned_over,
    augment=amplified,
    segment=1 << 20,
)
