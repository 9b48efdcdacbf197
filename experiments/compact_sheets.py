"""Draws the compact nets beside what they must beat: `python experiments/compact_sheets.py FOLDER PHOTO …`.

For each photograph a JPEG: the photograph as sRGB, by the average response, by Kovaleski's expansion and by
the nets, in three exposures. All four show the same median of what is not clipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hdrlab import Reconstructor
from hdrlab.evaluation.methods import linearised
from hdrlab.inference.contact_sheet import exposures_side_by_side
from hdrlab.ops.resize import resize
from hdrlab.ops.response import average_inverse
from hdrlab.tonemapping.inverse import expand_classically

WIDTH = 240


def main(output: Path, photographs: list[Path]) -> None:
    """Draw the sheets."""
    output.mkdir(parents=True, exist_ok=True)
    reconstructor = Reconstructor.load()
    for path in photographs:
        photo = np.asarray(Image.open(path).convert("RGB"))
        average = average_inverse(torch.empty(1, 1024))[0].numpy()
        images = {
            "photograph": expand_classically("srgb", photo),
            "average": linearised(photo, average),
            "Kovaleski": expand_classically("kovaleski", photo),
            "compact": reconstructor(photo),
        }
        height = round(photo.shape[0] * WIDTH / photo.shape[1])
        kept = photo.max(axis=2) < 250
        medians = {name: np.median(image.mean(axis=2)[kept]) for name, image in images.items()}
        shown = {
            name: resize(image, height, WIDTH) * np.float32(medians["photograph"] / medians[name])
            for name, image in images.items()
        }
        sheet = exposures_side_by_side(shown, (0, -2, -4))
        Image.fromarray(sheet).save(output / f"{path.stem}.jpg", quality=80, optimize=True)
        print(output / f"{path.stem}.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]])
