from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import call
from training import Lab

from hdrlab.datasets.pairing import list_pairs
from hdrlab.io import read_image
from hdrlab.synthesize import COMMAND


def photograph(lab: Lab, *words: str) -> int:
    data = [word for word in lab.data() if not word.startswith("data.val_images")]
    return call(COMMAND, [*data, f"paths.data={lab.work / 'data'}", *words])


def test_photographs_and_scenes_make_pairs_on_one_scale(lab: Lab, tmp_path: Path) -> None:
    output = tmp_path / "taken"
    assert photograph(lab, f"output={output}", "images=3") == 0
    pairs, bad = list_pairs(output)
    assert len(pairs) == 3
    assert not bad
    with (output / "photographs.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["file"]: float(row["clipped_share"]) for row in csv.DictReader(stream)}
    clipped, unclipped = [], []
    for pair in pairs:
        jpeg, scene = read_image(output / pair.file), read_image(output / pair.hdr)
        assert jpeg.pixels.dtype == np.uint8
        assert scene.domain == "linear"
        above = scene.pixels.max(axis=2) >= 1
        assert above.mean() == pytest.approx(rows[Path(pair.file).stem], abs=0.01)
        white = jpeg.pixels.max(axis=2) >= 250
        clipped.append(white[above])
        unclipped.append(white[~above])
    assert np.concatenate(clipped).mean() > 0.5  # JPEG smooths what is as fine as this
    assert np.concatenate(unclipped).mean() < 0.2


def test_only_scenes_can_be_photographed(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main([f"output={tmp_path / 'x'}", "data=hdr_real", f"data.root={tmp_path}"])
    assert left.value.code == 2
    assert "no scenes to photograph; use data=tiny or data=hdr_synth" in capsys.readouterr().err
