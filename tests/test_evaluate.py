from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import call
from training import Lab, checkpoint, slow

from hdrlab.evaluate import COMMAND
from hdrlab.io import read_image


def score(lab: Lab, file: Path, *words: str) -> int:
    ours = [word for word in lab.data() if not word.startswith("data.val_images")]
    return compared(f"checkpoint={file}", *ours, f"paths.data={lab.work / 'data'}", *words)


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
    run = lab.trained(stage)
    capsys.readouterr()
    assert score(lab, run / "best.ckpt") == 0
    folder = run / "scores_hdr_synth_test"
    with (folder / "images.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert 0 < len(rows) <= 6  # two photographs an image, but for those mostly black or white
    assert {row["scene"] for row in rows} <= {"scene 6", "scene 7", "scene 8"}
    stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    said = capsys.readouterr().out
    for better, worse in pairs:
        gain = stored["scores"][f"{better} − {worse}"]
        values = [float(row[better]) - float(row[worse]) for row in rows]
        assert gain["mean"] == pytest.approx(sum(values) / len(values), rel=1e-6)
        assert gain["num"] == len(rows)
        assert worse in said
    assert stored["data_fingerprint"] == checkpoint(run / "best.ckpt")["hdrlab"]["data"]["fingerprint"]
    assert stored["config"]["split"] == "test"


def test_scores_go_where_they_are_asked_to(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("deq")
    assert score(lab, run / "last.ckpt", f"output={tmp_path / 'here'}", "split=val") == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"images.csv", "summary.json"}
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
    with (folder / "images.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_chain_is_compared_with_other_methods(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab.work / "out"
    chain = lab.starts("joint")
    parts = [lab.starts(stage) for stage in ("deq", "lin", "hal")]
    both = f"checkpoint=[{','.join(map(str, [chain, *parts]))}]"
    words = ["methods=[huo]", "images=2", "split=all", "report_images=1", f"output={folder}"]
    assert score(lab, chain, both, *words) == 0
    said = capsys.readouterr().out
    rows = rows_of(folder)
    assert [row["method"] for row in rows] == ["joint", "chain", "srgb", "average", "huo", "oracle"] * 2
    assert {row["failed"] for row in rows} == {"False"}
    # Whole images: the linearised truth is the better one, on the scale of the reference too.
    true, plain = (
        [float(row["psnr_pu21_display"]) for row in rows if row["method"] == name]
        for name in ("oracle", "srgb")
    )
    assert sum(true) > sum(plain)
    stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert stored["config"]["methods"] == ["huo"]
    assert stored["data_fingerprint"] == checkpoint(chain)["hdrlab"]["data"]["fingerprint"]
    assert stored["checkpoints"]["joint"][str(chain)]["preset"] == "default"
    assert set(stored["differences"]["chain"]) == {"joint", "srgb", "average", "huo", "oracle"}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "n = " in text
    assert "not significant" in text
    assert "![Means and intervals](scores.png)" in text
    assert read_image(folder / "scores.png").pixels.shape[1] > 1000  # three panels side by side
    assert "joint" in said
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_learned_operator_is_compared_with_classical_ones(lab: Lab) -> None:
    words = lab.data("tmo_ft")
    folder = lab.work / "out"
    given = [f"checkpoint={lab.starts('tmo_ft')}", *words[:2], "operators=[log]", "report=false"]
    assert compared(*given, "images=1", f"output={folder}", f"paths.data={lab.work / 'data'}") == 0
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
    import hdrlab.evaluation.benchmark as contest

    monkeypatch.setattr(contest, "run", lambda *given: pytest.fail("computes already"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    (tmp_path / "empty").mkdir()
    own = [word.format(tones=lab.prepared / "tones", empty=tmp_path / "empty") for word in words]
    assert compared(f"checkpoint={lab.starts('joint')}", *own, f"paths.data={tmp_path}") == 2
    said = capsys.readouterr().err
    assert problem in said
    assert "Traceback" not in said


def test_nets_that_make_no_chain_are_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    both = f"checkpoint=[{lab.starts('deq')},{lab.starts('lin')}]"
    assert score(lab, lab.starts("deq"), both) == 2
    assert "no hallucination net among them" in capsys.readouterr().err


def compared(*words: str) -> int:
    return call(COMMAND, [*words, "accelerator=cpu"])


@pytest.fixture
def photographs(lab: Lab, tmp_path: Path) -> Path:
    """Photographs of the test scenes as files, with their scenes."""
    from hdrlab.synthesize import COMMAND as PHOTOGRAPH

    folder = tmp_path / "photographs"
    words = [*lab.data(), f"output={folder}", f"paths.data={lab.work / 'data'}", "images=4"]
    assert call(PHOTOGRAPH, words) == 0
    return folder


@pytest.mark.slow
def test_another_programs_results_of_photographs_are_compared(
    lab: Lab, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    scenes = sorted((photographs / "HDR_gt").iterdir())
    for file in scenes[1:]:  # a perfect program, which fails once
        (theirs / file.name).write_bytes(file.read_bytes())
    words = [*lab.data(), "images=4", f"paths.data={lab.work / 'data'}", f"paths.runs={lab.runs}"]
    assert compared(*words, f"results.theirs={theirs}", "methods=[srgb]", "report_images=1") == 0
    caught = capsys.readouterr()
    assert "test split of hdr_synth: 4 images by srgb, average, theirs, oracle" in caught.out
    assert f"results.theirs: 1 of 4 missing: {scenes[0].stem}" in caught.err
    assert f"failures, scored as black: theirs 1 of 4: {scenes[0].stem} (no file of this name)" in caught.out
    folder = lab.runs / "comparisons" / "hdr_synth_test"
    rows = {row["image"]: row for row in rows_of(folder) if row["method"] == "theirs"}
    assert set(rows) == {file.stem for file in scenes}
    assert float(rows[scenes[0].stem]["psnr_pu21_wide"]) < 10
    assert all(float(rows[file.stem]["psnr_pu21_wide"]) > 60 for file in scenes[1:])
    stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert "theirs 1 of 4" in stored["failures"][0]
    assert set(stored["differences"]["theirs"]) == {"srgb", "average", "oracle"}
    assert "another program" in (folder / "report.html").read_text(encoding="utf-8")


def test_pairs_in_a_folder_are_compared_without_an_index(
    lab: Lab, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from hdrlab.io import write_image

    masks = tmp_path / "masks"
    masks.mkdir()
    for file in (photographs / "LDR_in").iterdir():
        mask = np.zeros((64, 64, 1), np.uint8)
        mask[20:40] = 255
        write_image(masks / file.name, mask)
    words = ["data=folder", f"data.root={photographs}", f"data.scenes={photographs / 'photographs.csv'}"]
    words += [f"data.masks={masks}", f"paths.data={lab.work / 'none'}", f"paths.runs={lab.runs}"]
    assert (
        compared(*words, f"checkpoint={lab.starts('joint')}", "methods=[srgb]", f"output={tmp_path}/o") == 0
    )
    assert not (lab.work / "none").exists()
    rows = rows_of(tmp_path / "o")
    assert [row["method"] for row in rows] == ["joint", "srgb", "average"] * 4
    assert {row["scene"] for row in rows} == {"scene 6", "scene 7", "scene 8"}
    assert all(float(row["psnr_pu21_display@mask"]) > 0 for row in rows)
    said = (tmp_path / "o" / "report.md").read_text(encoding="utf-8")
    assert f"scenes: of {photographs / 'photographs.csv'}" in said
    (photographs / "LDR_in" / "more.png").write_bytes(b"")
    capsys.readouterr()
    assert compared(*words, "methods=[huo]") == 2
    assert "more.png: no reference of this name" in capsys.readouterr().err


@pytest.mark.slow
def test_real_pairs_are_compared(lab: Lab, photographs: Path, tmp_path: Path) -> None:
    words = ["data=hdr_real", f"data.root={photographs}", "split=all", f"paths.data={tmp_path / 'data'}"]
    chain = lab.starts("real_finetune")
    theirs = f"results={{theirs: {photographs / 'HDR_gt'}}}"
    words += ["metrics=[all]", "methods=[srgb]", f"output={tmp_path}/o"]
    assert compared(*words, f"checkpoint={chain}", theirs) == 0
    rows = rows_of(tmp_path / "o")
    assert {"psnr_y_pu21_wide_corrected@ramp", "harmed", "rmse_log10_c@rest"} <= rows[0].keys()
    assert [row["method"] for row in rows[:4]] == ["real_finetune", "srgb", "average", "theirs"]
    assert {row["image"] for row in rows} == {file.stem for file in (photographs / "LDR_in").iterdir()}
    assert {row["failed"] for row in rows} == {"False"}


def test_operators_and_results_are_compared_without_a_checkpoint(lab: Lab, tmp_path: Path) -> None:
    import numpy as np
    from training import formula

    from hdrlab.io import read_image, write_image
    from hdrlab.tonemapping import tone_map_classically

    for name in ("hdr", "theirs"):
        (tmp_path / name).mkdir()
    hdr = formula(1, 192)
    write_image(tmp_path / "hdr" / "a.exr", hdr)
    mapped = tone_map_classically("reinhard", read_image(tmp_path / "hdr" / "a.exr").pixels)
    write_image(tmp_path / "theirs" / "a.png", np.rint(255 * mapped).astype(np.uint8))
    operators = "operators=[log,reinhard]"
    words = ["data=folder", f"data.hdr={tmp_path / 'hdr'}", operators, "report_images=1"]
    words += [f"results.theirs={tmp_path / 'theirs'}", f"paths.runs={lab.runs}"]
    model = tmp_path / "model.npz"
    np.savez(model, mu_prisparam=np.ones(36), cov_prisparam=np.eye(36))
    assert compared(*words, f"niqe={model}") == 0
    folder = lab.runs / "comparisons" / "folder_hdr"
    rows = rows_of(folder)
    assert [row["method"] for row in rows] == ["gamma", "log", "reinhard", "theirs"]
    assert all(float(row["niqe"]) > 0 for row in rows)
    # A file has lost what 8 bits cannot hold; the same operator's own result must not win by that.
    own, theirs = ({k: v for k, v in row.items() if k != "method"} for row in rows[2:])
    assert own == theirs
    assert f"by {model}" in (folder / "report.md").read_text(encoding="utf-8")
    model.write_bytes(b"none")
    assert compared(*words, f"niqe={model}") == 2
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["methods=[srgb]", "data=folder", "data.root={photographs}"], "nothing to compare srgb with"),
        (
            ["checkpoint={deq}", "task=reconstruct"],
            "a single stage is scored by itself; leave results and task",
        ),
        (["checkpoint={joint}", "task=tonemap"], "task=tonemap: the checkpoint is for task=reconstruct"),
        (
            ["checkpoint={joint}", "data=folder", "data.hdr={photographs}"],
            "these nets reconstruct photographs",
        ),
        (
            ["data=hdr_real", "data.root={photographs}", "task=tonemap"],
            "data=hdr_real is for task=reconstruct",
        ),
        slow(  # for the nets
            ["checkpoint={tmo_ft}", "data=hdr_real", "data.root={photographs}"],
            "these nets tone-map whole HDR images",
        ),
        (
            ["checkpoint={tmo_high}", "data=hdr_real", "data.root={photographs}"],
            "which needs high, labelled, sdr_high; data=hdr_real has not; use data=tiny or data=tmo_pairs",
        ),
        (["checkpoint={deq}", "data=folder", "data.root={photographs}"], "of the stage deq, which needs"),
        (["data=tiny", "task=tonemap", "metrics=flip"], "metrics=flip: they compare HDR images"),
        (["data=tiny", "niqe={photographs}/photographs.csv"], "niqe: judges SDR images"),
        (
            [
                "checkpoint={joint}",
                "data=folder",
                "data.root={photographs}",
                "results.joint={photographs}/HDR_gt",
            ],
            "results.joint: a checkpoint is called so",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_in_one_line(
    lab: Lab,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    problem: str,
) -> None:
    import hdrlab.evaluation.benchmark as contest

    monkeypatch.setattr(contest, "run", lambda *given: pytest.fail("computes already"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: object())
    nets = {
        name: lab.starts(name)
        for name in ("deq", "joint", "tmo_ft", "tmo_high")
        if f"{{{name}}}" in str(words)
    }
    told = [word.format(photographs=photographs, **nets) for word in words]
    capsys.readouterr()
    assert compared(*told, f"paths.data={tmp_path / 'data'}", f"paths.runs={lab.runs}") == 2
    said = capsys.readouterr().err
    assert problem in said
    assert sum(line.startswith("error:") for line in said.splitlines()) == 1


def test_splits_without_anything_to_score_are_told(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training import SIDE, Formulas

    from hdrlab.datasets.index import build_index
    from hdrlab.datasets.splits import Listed

    folder = tmp_path / "small"
    listed = [Listed(str(number), split, f"{number}") for number, split in enumerate(("train", "val"))]
    build_index(listed, Formulas(folder), folder, short_side=SIDE, resize_filter="area", workers=1)
    words = ["data=hdr_synth", f"data.root={folder}", "data.short_side=64", f"paths.data={tmp_path}"]
    for more in ([f"checkpoint={lab.starts('deq')}"], []):
        assert compared(*words, *more) == 2
        assert "no usable image in the split test" in capsys.readouterr().err


def test_photographs_that_are_all_black_or_white_are_told(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from hdrlab.datasets.hdr_synth import SynthValidation

    taken = SynthValidation.__getitem__

    def black(photographs: SynthValidation, number: int) -> dict[str, torch.Tensor]:
        return {**taken(photographs, number), "mask": torch.zeros(1, 1, 1)}

    monkeypatch.setattr(SynthValidation, "__getitem__", black)
    assert score(lab, lab.starts("deq"), "split=val") == 2
    assert "all 4 photographs of the split val are mostly black or white" in capsys.readouterr().err
    # A comparison goes on: it leaves nothing out where nothing would be left.
    output = f"output={lab.work / 'out'}"
    assert compared(*lab.data(), f"paths.data={lab.work}", "methods=[srgb,huo]", "images=1", output) == 0
    assert "images: 1, all mostly black or white" in (lab.work / "out" / "report.md").read_text("utf-8")
