from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from training import Lab, checkpoint

from hdrlab.evaluate import COMMAND


def score(lab: Lab, file: Path, *words: str) -> int:
    ours = [word for word in lab.data() if not word.startswith("data.val_pictures")]
    with pytest.raises(SystemExit) as left:
        COMMAND.main(
            [f"checkpoint={file}", *ours, f"paths.data={lab.work / 'data'}", "accelerator=cpu", *words]
        )
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    ("stage", "pairs"),
    [
        ("deq", [("psnr_c", "psnr_i")]),
        ("lin", [("psnr_b", "psnr_srgb"), ("curve_mse_srgb", "curve_mse")]),
        ("hal", [("psnr_pu21", "psnr_pu21_input"), ("log_l1_input", "log_l1")]),
    ],
)
def test_a_trained_stage_is_scored_beside_doing_nothing(
    lab: Lab, capsys: pytest.CaptureFixture[str], stage: str, pairs: list[tuple[str, str]]
) -> None:
    run = lab.train(stage)
    capsys.readouterr()
    assert score(lab, run / "best.ckpt") == 0
    folder = run / "scores_hdr_synth_test"
    with (folder / "pictures.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert 0 < len(rows) <= 6  # two photographs a picture, but for those mostly black or white
    assert {row["scene"] for row in rows} <= {"scene 6", "scene 7", "scene 8"}
    stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    said = capsys.readouterr().out
    for better, worse in pairs:
        gain = stored["figures"][f"{better} − {worse}"]
        values = [float(row[better]) - float(row[worse]) for row in rows]
        assert gain["mean"] == pytest.approx(sum(values) / len(values), rel=1e-6)
        assert gain["num"] == len(rows)
        assert worse in said
    assert stored["data_fingerprint"] == checkpoint(run / "best.ckpt")["hdrlab"]["data"]["fingerprint"]
    assert stored["config"]["split"] == "test"


def test_scores_go_where_they_are_asked_to(lab: Lab, tmp_path: Path) -> None:
    run = lab.train("deq")
    assert score(lab, run / "last.ckpt", f"output={tmp_path / 'here'}", "split=val") == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"pictures.csv", "summary.json"}
    assert not list(run.glob("scores*"))


def test_what_is_no_checkpoint_is_refused(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(lab, tmp_path / "missing.ckpt") == 2
    assert "missing.ckpt: no such file" in capsys.readouterr().err
    text = tmp_path / "text.ckpt"
    text.write_text("no checkpoint")
    assert score(lab, text) == 2
    assert f"error: {text}: cannot be read" in capsys.readouterr().err
