from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from training import Lab

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.errors import CheckpointError, RunError
from hdrlab.runs import main
from hdrlab.training.run_folder import Run, open_run
from hdrlab.training.run_hash import run_hash


def opened(config: TrainConfig) -> Run:
    return open_run(config, "data", {})


@pytest.mark.parametrize(
    "word",
    [
        "stage.max_steps=9",
        "logger=none",
        "data.workers=1",
        "callbacks.panels=2",
        "trainer.val_every=1",
        "trainer.log_every_n_steps=3",
        "paths.runs=elsewhere",
        "resume=never",
    ],
)
def test_what_does_not_change_a_step_keeps_the_run(lab: Lab, word: str) -> None:
    assert run_hash(lab.config("deq"), "data", {}) == run_hash(lab.config("deq", word), "data", {})


@pytest.mark.parametrize(
    "word", ["seed=1", "stage.lr=1", "trainer.precision=64", "data.noise=none", "preset=tf2", "trainer=smoke"]
)
def test_what_changes_a_step_makes_another_run(lab: Lab, word: str) -> None:
    config = lab.config("deq")
    assert run_hash(config, "data", {}) != run_hash(lab.config("deq", word), "data", {})


def test_a_file_counts_by_its_content(lab: Lab, tmp_path: Path) -> None:
    hashes = set()
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
        config = lab.config("hal", f"stage.perceptual.weights={tmp_path / name}", "stage.loss.perceptual=1")
        hashes.add(run_hash(config, "data", {"stage.perceptual.weights": "digest"}))
    assert len(hashes) == 1
    random = lab.config("hal", "stage.perceptual.weights=random", "stage.loss.perceptual=1")
    assert run_hash(random, "data", {}) not in hashes


def test_data_and_input_files_are_part_of_what_a_run_is(lab: Lab) -> None:
    config = lab.config("deq")
    names = {run_hash(config, data, inputs) for data in "ab" for inputs in ({}, {"stage.init": "c"})}
    assert len(names) == 4


def test_numbers_count_up_and_the_newest_is_continued(lab: Lab) -> None:
    config = lab.config("deq")
    first = opened(config)
    assert first.folder.name.endswith("-1")
    assert first.resume_from is None
    second = opened(replace(config, resume="never"))
    assert second.folder.name.endswith("-2")
    second.release()
    (second.folder / "last.ckpt").touch()
    again = opened(config)
    assert again.folder == second.folder
    assert again.resume_from == second.folder / "last.ckpt"
    assert opened(replace(config, resume="never")).folder.name.endswith("-3")


def test_the_tenth_run_comes_after_the_ninth(lab: Lab) -> None:
    config = replace(lab.config("deq"), resume="never")
    assert [opened(config).folder.name.rpartition("-")[2] for _ in range(11)][-2:] == ["10", "11"]
    assert opened(replace(config, resume="auto")).folder.name.endswith("-11")


def test_a_folder_that_cannot_be_made_is_said(lab: Lab) -> None:
    lab.runs.mkdir(parents=True, exist_ok=True)
    (lab.runs / "deq").touch()
    with pytest.raises(
        RunError, match=r"^/.*: cannot be made \(.+\); name another place by paths\.runs=FOLDER"
    ):
        opened(lab.config("deq"))


def test_a_named_checkpoint_is_gone_on_from(lab: Lab, tmp_path: Path) -> None:
    kept = tmp_path / "kept.ckpt"
    kept.touch()
    assert opened(lab.config("deq", f"resume={kept}")).resume_from == kept


def test_nothing_starts_anew_over_a_lost_checkpoint(lab: Lab) -> None:
    config = lab.config("deq")
    first = opened(config)
    first.release()
    (first.folder / "best.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"last\.ckpt: is gone.*resume=never"):
        opened(config)
    assert opened(replace(config, resume="never")).resume_from is None


def test_the_list_names_runs_and_slots(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = lab.train("deq", "stage.max_steps=2")
    opened(lab.config("deq", "seed=5", "stage.max_steps=7"))
    monkeypatch.setattr(sys, "argv", ["runs", f"paths.runs={lab.runs}"])
    capsys.readouterr()
    main()
    said = capsys.readouterr().out
    assert f"deq/{done.name}" in said
    rows = {line.split("│")[1].strip(): line for line in said.splitlines() if "│" in line}
    assert rows[f"deq/{done.name}"].split("│")[3].strip() == "2"
    assert "finished" in rows[f"deq/{done.name}"]
    assert any("no checkpoint yet" in row and row.split("│")[3].strip() == "7" for row in rows.values())
    assert "no checkpoint yet" in said
    assert "hdr_synth/deq" in said


@pytest.mark.parametrize(("words", "code"), [(["nowhere"], 2), (["--help"], 0), (["a", "b"], 2)])
def test_the_list_answers_wrong_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
