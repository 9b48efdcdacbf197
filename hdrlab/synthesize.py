"""Photographs of HDR scenes, as files: ``python -m hdrlab.synthesize output=… data=…``.

What chains are compared on, for eyes and for other programs: every photograph as PNG, its scene as EXR.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrlab.config.cli import Command
from hdrlab.config.registry.stages import SYNTH_KEYS
from hdrlab.config.schema.commands import PhotographConfig

if TYPE_CHECKING:
    from hdrlab.evaluation.photographs import Photograph


def photograph(config: PhotographConfig) -> int:
    """Write the photographs of a split with their scenes, in the layout of data=hdr_real."""
    from hdrlab.datasets.build import open_curves, open_data
    from hdrlab.datasets.progress import reading

    with reading(f"data={config.data.name}") as progress:
        cache = Path(config.paths.data) / "cache"
        index = open_data(config.data, cache, SYNTH_KEYS, progress, splits=(config.split,))
    curves = open_curves(config.data)

    from hdrlab.evaluation.photographs import Photographs
    from hdrlab.io.csv_files import write_rows

    taken = Photographs(config.data, index, curves, config.split, config.images)
    output = Path(config.output)
    rows: list[dict[str, Any]] = []
    with reading(str(output)) as progress:
        for number in range(len(taken)):
            photo = taken[number]
            _write(output, photo)
            clipped = float((photo.reference.max(axis=2) >= 1).mean())
            rows.append({"file": photo.name, "scene": photo.scene, "clipped_share": f"{clipped:.4f}"})
            progress(number + 1, len(taken), photo.name)
    write_rows(rows, output / "photographs.csv")
    print(f"{len(rows)} photographs in {output / 'LDR_in'}, their scenes in {output / 'HDR_gt'}")
    return 0


def _write(output: Path, photo: Photograph) -> None:
    from hdrlab.io import write_image

    folders = {kind: output / kind for kind in ("LDR_in", "HDR_gt")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    # The values come out of a JPEG: PNG keeps them as they are.
    write_image(folders["LDR_in"] / f"{photo.name}.png", photo.ldr)
    write_image(folders["HDR_gt"] / f"{photo.name}.exr", photo.reference)


COMMAND = Command(
    "synthesize",
    PhotographConfig,
    photograph,
    ("photographs data=hdr_synth data.root=~/hdr images=10",),
    ("output",),
    positional=("output",),
    data=lambda data: not data.needs_pairs,
)

if __name__ == "__main__":
    COMMAND.main()
