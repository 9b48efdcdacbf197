"""Pairs of photographs and HDR images on disk, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab.io import write_image

Floats = NDArray[np.float32]


def scene(seed: int, height: int = 48, width: int = 64) -> Floats:
    """An image [H, W, 3] with a smooth part, texture and a lamp."""
    draws = np.random.default_rng(seed)
    ramp = np.linspace(0.05, 1, height * width).reshape(height, width, 1)
    image = (ramp * draws.uniform(0.2, 1, 3) + draws.random((height, width, 3)) / 8).astype(np.float32)
    image[4:8, 4:8] = 30
    return image


def photograph(hdr: np.ndarray) -> np.ndarray:
    """The JPEG values of a plain camera whose clipping point is 1."""
    return np.rint(255 * np.clip(hdr, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def write_pair(root: Path, ldr: str, hdr: str, seed: int, *, height: int = 96, width: int = 128) -> None:
    image = scene(seed, height, width)
    for file, values in ((ldr, photograph(image)), (hdr, image)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / file, values)


def write_folders(root: Path, *stems: str, **size: int) -> None:
    for seed, stem in enumerate(stems):
        write_pair(root, f"LDR_in/{stem}.jpg", f"HDR_gt/{stem}.hdr", seed, **size)


def turn_by_exif(path: Path, orientation: int) -> None:
    with PillowImage.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path, exif=exif, quality=95)


def write_stack(root: Path, name: str, seed: int, exposures: tuple[float, ...], reference: int = 1) -> None:
    """A stack whose HDR image is scaled to one of its exposures."""
    folder, hdr = root / name, scene(seed, 96, 128)
    folder.mkdir(parents=True)
    lines = ["file,exposure_time_s,relative_exposure"]
    for number, exposure in enumerate(exposures):
        values = photograph(hdr * exposure / exposures[reference])
        write_image(folder / f"exp_{number:02d}.jpg", values)
        lines.append(f"exp_{number:02d}.jpg,{exposure / 60},{exposure}")
    (folder / "times.csv").write_text("\n".join(lines))
    (folder / "ldr.jpg").write_bytes((folder / f"exp_{reference:02d}.jpg").read_bytes())
    write_image(folder / "hdr.hdr", hdr)
