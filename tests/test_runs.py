from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training import Lab

from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.errors import CheckpointError, RunError
from hdrlab.runs import main
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.run_folder import Run, open_run
from hdrlab.training.run_hash import label, run_hash
from hdrlab.training.run_list import list_runs, read_run


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


# ------------------------------------------------------------------------------------------- names of folders


def test_the_folder_s_name_says_what_differs_from_the_defaults() -> None:
    from hdrlab.train import COMMAND

    def named(*words: str) -> str:
        return label(COMMAND.compose(["stage=hal", *words]))

    assert named() == ""
    assert not any(label(COMMAND.compose([f"stage={stage}"])) for stage in STAGES)
    assert named("stage.lr=3e-4", "seed=5") == "seed5_lr0.0003"
    assert named("stage.loss.perceptual=0", "stage.max_steps=7", "logger=none") == "perceptual0"
    assert named("preset=tf2", "trainer=smoke").startswith("tf2_smoke")
    many = [
        "stage.lr=1",
        "stage.width=0.5",
        "stage.weight_decay=0.125",
        "stage.loss.tv=0.25",
        "stage.patch=32",
    ]
    assert len(named(*many)) <= 40


def test_a_run_of_an_older_name_is_found_again(lab: Lab) -> None:
    config = lab.config("deq")
    first = opened(config)
    first.release()
    older = first.folder.with_name(f"{run_hash(config, 'data', {})}-1")
    first.folder.rename(older)
    assert opened(config).folder == older


# ------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two runs of deq that differ in the rate, and one of lin that has not begun."""
    lab = Lab(prepared, tmp_path_factory.mktemp("trained"))
    lab.train("deq", "stage.lr=1e-3", "trainer.val_every=1")
    lab.train("deq", "stage.lr=2e-4", "stage.max_steps=2", "trainer.val_every=1")
    opened(lab.config("lin", "stage.max_steps=7")).release()
    return lab


@pytest.fixture
def runs(trained: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Carry out a command line on these runs; return what it prints."""

    def carry_out(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["runs", *words, f"paths.runs={trained.runs}"])
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return carry_out


def test_the_list_tells_steps_made_scores_time_and_what_differs(trained: Lab, runs: Any) -> None:
    told = json.loads(runs("--json"))
    first, second, third = told["runs"]
    assert [one["stage"] for one in (first, second, third)] == ["deq", "deq", "lin"]
    assert (first["steps"], second["steps"], third["steps"]) == (3, 2, None)
    assert third["planned"] == 7
    assert third["state"] == "no checkpoint yet"
    assert first["state"] == "finished"
    assert first["otherwise"] == ""
    assert second["otherwise"] == "stage.lr=0.0002  stage.max_steps=2"
    assert first["seconds"] > 0
    losses = {
        step: row["val/loss"] for step, row in read_metrics(Path(first["folder"]) / "metrics.csv").items()
    }
    assert first["best_step"] == min(losses, key=lambda step: losses[step])
    assert first["best"]["loss"] == min(losses.values())
    assert first["headline"] == "psnr_c"
    assert [one["checkpoint"] for one in told["published"]] == ["hdr_synth/deq"]
    said = runs()
    assert "psnr_c" in said
    assert "stage.lr=0.0002" in said
    assert "0 of 7" in said
    assert "hdr_synth/deq" in said


def test_a_comparison_shows_differing_keys_scores_and_one_plot(
    trained: Lab, runs: Any, tmp_path: Path
) -> None:
    plot = tmp_path / "plot.png"
    said = runs("compare", "lr0.001", "lr0.0002", f"output={plot}")
    assert "stage.lr" in said
    assert "stage.width" not in said
    assert said.count(" *") >= 2
    assert plot.read_bytes().startswith(b"\x89PNG")
    told = json.loads(runs("compare", "lr0.001", "lr0.0002", f"output={plot}", "--json"))
    assert told["differing"]["stage.lr"] == [0.001, 0.0002]


def test_one_run_is_shown_with_its_configuration(trained: Lab, runs: Any) -> None:
    said = runs("show", "lin")
    assert "stage.max_steps" in said
    assert "no checkpoint yet" in said
    assert json.loads(runs("show", "lr0.001", "--json"))["config"]["stage.lr"] == 0.001


@pytest.mark.parametrize("words", [[], ["--json"], ["show", "lin"], ["show", "lin", "--json"]])
def test_a_reader_that_has_seen_enough_ends_it_quietly(
    trained: Lab, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["runs", *words, f"paths.runs={trained.runs}"])
    with open(writer, "w", encoding="utf-8") as unread, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", unread)
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 1
    assert capsys.readouterr().err == ""


def test_the_page_holds_every_run_and_runs_no_script_but_its_own(
    trained: Lab, runs: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    runs("report", f"output={page}")
    text = page.read_text(encoding="utf-8")
    for run in list_runs(trained.runs):
        assert run.folder.name in text
    assert text.count("<svg") == 3
    assert "script-src 'sha256-" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["compare", "lr0.001"], "two runs or more"),
        (["compare", "lr0.001", "lin"], "different stages"),
        (["show", "nothing"], "no such run"),
        (["show", "deq"], "any of 2 runs"),
        (["remove", "lin"], "yes=true"),
        (["--yes", "--no"], "unrecognized"),
        (["shwo"], "no such folder|one folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    runs: Any,
    words: list[str],
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        runs(*words)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert any(one in said for one in wrong.split("|")), said


def test_a_run_is_removed_after_a_question_and_not_while_it_trains(
    trained: Lab, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = opened(trained.config("lin", "seed=9"))
    with pytest.raises(SystemExit):
        runs("remove", "seed9", "yes=true")
    assert doomed.folder.is_dir()
    doomed.release()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert "nothing removed" in runs("remove", "seed9")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    runs("remove", "seed9")
    assert not doomed.folder.exists()


def test_time_counts_all_tries(lab: Lab) -> None:
    run = lab.train("deq", "stage.max_steps=1")
    before = read_run(run)
    (run / "time.json").write_text(json.dumps({"started": "2020-02-02T10:00:00+00:00", "seconds": 1000.0}))
    lab.train("deq", "stage.max_steps=2")
    after = read_run(run)
    assert before.seconds < 1000 < after.seconds
    assert after.started.year == 2020


def test_a_damaged_run_is_listed_as_such(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab.runs / "deq" / "12345678-1"
    folder.mkdir(parents=True)
    for name in ("config.yaml", "time.json", "checkpoints.json", "hash.txt", "metrics.csv"):
        (folder / name).write_bytes(b"\xff{[\0")
    run = read_run(folder)
    assert run.state == "config.yaml is damaged"
    assert math.isnan(run.seconds)
    assert run.steps is None
    assert run.best_step is None


@pytest.mark.parametrize(("words", "code"), [(["nowhere"], 2), (["--help"], 0), (["a", "b"], 2)])
def test_the_list_answers_wrong_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
