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


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "pictures.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_chain_is_compared_with_other_methods(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab.work / "out"
    chain = lab.starts("joint")
    parts = [lab.starts(stage) for stage in ("deq", "lin", "hal")]
    both = f"checkpoint=[{','.join(map(str, [chain, *parts]))}]"
    words = ["methods=[huo]", "pictures=2", "split=all", "report_pictures=1", f"output={folder}"]
    assert score(lab, chain, both, *words) == 0
    said = capsys.readouterr().out
    rows = rows_of(folder)
    assert [row["method"] for row in rows] == ["joint", "chain", "srgb", "huo", "oracle"] * 2
    assert {row["failed"] for row in rows} == {"False"}
    # Whole pictures: the linearised truth is the better one, on the scale of the reference too.
    true, plain = (
        [float(row["psnr_pu21_display"]) for row in rows if row["method"] == name]
        for name in ("oracle", "srgb")
    )
    assert sum(true) > sum(plain)
    stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert all(gate["passed"] for gate in stored["gates"])
    assert stored["config"]["methods"] == ["huo"]
    assert stored["data_fingerprint"] == checkpoint(chain)["hdrlab"]["data"]["fingerprint"]
    assert stored["checkpoints"]["joint"][str(chain)]["preset"] == "default"
    assert set(stored["differences"]["chain"]) == {"joint", "srgb", "huo", "oracle"}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "n = " in text
    assert "not significant" in text
    assert "joint" in said
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_learned_operator_is_compared_with_classical_ones(lab: Lab) -> None:
    words = lab.data("tmo_ft")
    folder = lab.work / "out"
    with pytest.raises(SystemExit) as left:
        COMMAND.main(
            [
                *(f"checkpoint={lab.starts('tmo_ft')}", *words[:2], "operators=[log]", "report=false"),
                *("pictures=1", f"output={folder}", f"paths.data={lab.work / 'data'}", "accelerator=cpu"),
            ]
        )
    assert left.value.code == 0
    rows = rows_of(folder)
    assert [row["method"] for row in rows] == ["tmo_ft", "gamma", "log", "sdr"]
    assert float(rows[-1]["ssim_sdr"]) == pytest.approx(1, abs=1e-5)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["data=tmo_pairs", "data.root={tones}"], "reconstruct photographs, which data=tmo_pairs has not"),
        (["metrics=cvvdp"], "metrics=cvvdp: the package is missing; pip install cvvdp"),
        (["methods=[magic]"], "methods: got 'magic', must be srgb | landis"),
        (["data=hdr_real", "data.root={empty}"], "no "),
        (["memory=much"], "memory=much: must be a number with MB or GB"),
    ],
)
def test_wrong_use_is_told_before_anything_is_computed(
    lab: Lab,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    problem: str,
) -> None:
    import hdrlab.comparison.contest as contest

    monkeypatch.setattr(contest, "compare", lambda *given: pytest.fail("computes already"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    (tmp_path / "empty").mkdir()
    own = [word.format(tones=lab.prepared / "tones", empty=tmp_path / "empty") for word in words]
    with pytest.raises(SystemExit) as left:
        COMMAND.main([f"checkpoint={lab.starts('joint')}", *own, f"paths.data={tmp_path}", "accelerator=cpu"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert problem in said
    assert "Traceback" not in said


def test_nets_that_make_no_chain_are_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    both = f"checkpoint=[{lab.starts('deq')},{lab.starts('lin')}]"
    assert score(lab, lab.starts("deq"), both) == 2
    assert "holds no hallucination net" in capsys.readouterr().err
