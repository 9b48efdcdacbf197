"""Photographs of HDR scenes, as files: ``python -m hdrlab.photograph output=… data=…``.

What the stages are scored on, for eyes and for other programs: every photograph as PNG, its scene as EXR.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from hdrlab.config.check import check_photograph
from hdrlab.config.command import Command
from hdrlab.config.menu import photograph_menu
from hdrlab.config.schema import PhotographConfig
from hdrlab.config.stages import SYNTH_KEYS

if TYPE_CHECKING:
    from torch import Tensor


def photograph(config: PhotographConfig) -> int:
    """Write the photographs of a split with their scenes, in the layout of data=hdr_real."""
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_curves, open_data

    with reading(f"data={config.data.name}") as progress:
        index = open_data(config.data, Path(config.paths.data) / "cache", SYNTH_KEYS, progress)
    curves = open_curves(config.data)

    from hdrlab.datasets.sets import validation_set

    taken = validation_set(config.data, index, curves, config.split, SYNTH_KEYS, config.pictures)
    output = Path(config.output)
    rows: list[dict[str, Any]] = []
    with reading(str(output)) as progress:
        for number in range(len(taken)):
            sample, picture = taken[number], taken.picture(number)
            name = f"{number:03d}_{PurePosixPath(picture.file).stem}"
            _write(output, name, sample)
            clipped = float((sample["lin"].amax(0) >= 1).float().mean())
            rows.append({"file": name, "scene": picture.scene, "clipped_share": f"{clipped:.4f}"})
            progress(number + 1, len(taken), name)
    with (output / "photographs.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} photographs in {output / 'LDR_in'}, their scenes in {output / 'HDR_gt'}")
    return 0


def _write(output: Path, name: str, sample: dict[str, Tensor]) -> None:
    from hdrlab.io import write_image

    folders = {kind: output / kind for kind in ("LDR_in", "HDR_gt")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    jpeg, scene = (sample[key].permute(1, 2, 0).contiguous().numpy() for key in ("jpeg", "hdr"))
    # The values come out of a JPEG: PNG keeps them as they are.
    write_image(folders["LDR_in"] / f"{name}.png", np.rint(jpeg * 255).astype(np.uint8))
    write_image(folders["HDR_gt"] / f"{name}.exr", scene)


COMMAND = Command(
    "photograph", PhotographConfig, check_photograph, photograph, photograph_menu, required=("output",)
)

if __name__ == "__main__":
    COMMAND.main()
