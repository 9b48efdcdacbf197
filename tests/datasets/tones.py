"""HDR images with SDR images on disk, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from photographs import scene

from hdrlab.config.schema.data import TmoPairsConfig
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.io import write_image

TONE = ToneConfig(
    domain="gamma", pyramid="bilateral", sigma_color=75.0, fuse_middle=False, sdr_range="minmax"
)


def config(root: Path, **changes: Any) -> TmoPairsConfig:
    said = TmoPairsConfig(
        name="tmo_pairs",
        val_crop=None,
        val_images=4,
        workers=0,
        root=str(root),
        manifest=None,
        make_sdr=False,
        unlabelled=None,
        skip_bad=False,
    )
    return replace(said, **changes)


def shown(hdr: np.ndarray) -> np.ndarray:
    """A plain tone curve in 8 bits, which uses not all of their range."""
    return np.rint(240 * (hdr / (hdr + 1)) ** (1 / 2.2) + 10).astype(np.uint8)


def write_tone(root: Path, hdr: str, sdr: str | None, seed: int, height: int = 48, width: int = 64) -> None:
    image = scene(seed, height, width)
    for file, values in ((hdr, image), (sdr, shown(image))):
        if file is not None:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            write_image(root / file, values)


def write_tones(root: Path, *stems: str, **size: int) -> None:
    for seed, stem in enumerate(stems):
        write_tone(root, f"hdr/{stem}.hdr", f"sdr/{stem}.png", seed, **size)
