from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call
from omegaconf import OmegaConf
from training import Lab, slow

from hdrlab import reproduce
from hdrlab.config.registry.stages import STAGES
from hdrlab.errors import ConfigError
from hdrlab.evaluation import claims
from hdrlab.evaluation.plans import PLANS, Claim, Scale, Step, fill, read_plan
from hdrlab.train import COMMAND as TRAIN

ROOT = Path(__file__).resolve().parents[1]
OWN = sorted(PLANS.glob("*.yaml"))
SCALE = Scale("", True, (), (), ())


def run(*words: str) -> int:
    return call(reproduce.COMMAND, words)


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_a_plan_is_one_chain_whose_claims_name_its_stages(file: Path) -> None:
    plan = read_plan(file)
    assert set(plan.scales) == {"paper", "tiny"}
    chains = {tuple(step.stage for step in scale.steps) for scale in plan.scales.values()}
    assert len(chains) == 1
    (chain,) = chains
    assert set(chain) <= set(STAGES)
    for claim in plan.claims:
        assert claim.measured is None or claim.measured.split("/")[0] in chain
        assert claim.sure
    for scale in plan.scales.values():
        assert set(scale.inputs) <= set(plan.inputs)
    assert all((ROOT / said.page).is_file() for said in plan.inputs.values())


@pytest.mark.slow
@pytest.mark.parametrize("scale", [slow("paper"), "tiny"])
@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_every_training_of_a_plan_composes(file: Path, scale: str, tmp_path: Path) -> None:
    plan = read_plan(file)
    folders = {"hdr_synth", "hdr_real", "tmo_pairs"}
    paths = {name: tmp_path / f"{name} it's" for name in plan.scales[scale].inputs}
    for name, path in paths.items():
        path.mkdir() if name in folders else path.touch()
        if name in folders:
            (path / "manifest.csv").write_text("file,split\n")
    words = [f'inputs.{name}="{path}"' for name, path in paths.items()]
    config = reproduce.COMMAND.compose([f"plan={file.stem}", f"scale={scale}", *words])
    task = reproduce.make_task(config, file)
    for step, job in zip(plan.scales[scale].steps, task.jobs, strict=True):
        trained = TRAIN.compose(job.arguments)
        assert trained.stage.name == step.stage
        assert Path(trained.paths.runs).is_relative_to(Path("runs/reproduce"))
        if scale == "paper":
            assert trained.experiment is not None
            kind = "compact" if file.stem == "compact" else "paper"
            assert trained.experiment.name == f"{kind}_{step.stage}"
            assert trained.data.root == str(paths[trained.data.name])  # type: ignore[attr-defined]


def test_all_that_is_missing_is_listed_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HDRLAB_VGG16", raising=False)
    places = (f"paths.runs={tmp_path / 'runs'}", "inputs.invemor=nowhere.txt")
    assert run("plan=[singlehdr,iqatm]", "scale=paper", *places) == 2
    said = capsys.readouterr().err
    for name in ("hdr_synth", "train_list", "test_list", "hdr_real", "dorf", "places365", "tmo_pairs"):
        assert f"inputs.{name}: not given" in said
    assert said.count("inputs.vgg16: not given") == 1
    assert "inputs.invemor=nowhere.txt: no such file" in said
    assert "data/tmo_pairs.md" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("plan=singelhdr", "own plans are compact, iqatm, singlehdr"),
        ("scale=huge", "scale=huge: must be paper | tiny"),
        ("inputs.hdrsynth=x", "did you mean inputs.hdr_synth"),
    ],
)
def test_wrong_words_name_the_right_ones(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*([word] if word.startswith("plan") else ["plan=singlehdr", word])) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["title: [", "title: a plan", "- a list", ""])
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not a plan"):
        read_plan(file)


def a_plan(lab: Lab, steps: int = 3) -> Path:
    """A plan of two trainings of a second each."""
    data = lab.data()
    common = [word for word in lab.words("deq") if not word.startswith(("stage=", "paths.", *data))]
    common += [f"stage.max_steps={steps}", "trainer.val_every=1"]
    trainings = [{"stage": name, "train": [f"stage={name}"], "data": data} for name in ("deq", "lin")]
    for one in trainings:
        one["data"] = [word for word in data if not word.startswith("data.val_images")]
    scale = {"note": "quick", "comparable": True, "inputs": [], "common": common, "steps": trainings}
    claim = {"what": "PSNR | of C", "data": "waves", "claimed": 30, "tolerance": 1, "sure": "made up"}
    plan = {
        "title": "Two <trainings>",
        "paper": "none",
        "inputs": {},
        "scales": {"tiny": scale},
        "claims": [{**claim, "measured": "deq/psnr_c"}, {**claim, "what": "HDR-VDP-2", "measured": None}],
    }
    file = lab.work / "two.yaml"
    OmegaConf.save(OmegaConf.create(plan), file)
    return file


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands called, carried out in this process, which has torch already."""
    from hdrlab.evaluate import COMMAND as EVALUATE

    made: list[str] = []

    def noted(module: str, words: tuple[str, ...], lock: int) -> None:
        made.append(module)
        command: Any = TRAIN if module == "train" else EVALUATE
        assert call(command, words) == 0

    monkeypatch.setattr(reproduce, "_call", noted)
    return made


def words_of(lab: Lab, file: Path) -> tuple[str, ...]:
    return (f"plan={file}", f"paths.runs={lab.runs}", f"paths.data={lab.work / 'data'}")


@pytest.mark.slow
def test_a_plan_is_carried_out_once_and_reported(
    lab: Lab, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = words_of(lab, a_plan(lab)), lab.runs / "reproduce" / "two-tiny"
    assert run(*words) == 0
    assert calls == ["train", "train", "evaluate", "evaluate"]
    assert "min for this and the rest" in capsys.readouterr().out
    assert not (lab.runs / "slots").exists()
    assert (folder / "runs" / "slots" / "hdr_synth" / "lin.ckpt").is_file()
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    figure = json.loads((folder / "scores" / "deq" / "summary.json").read_text())["scores"]["psnr_c"]
    assert "| PSNR \\| of C | waves | 30 | made up | " + f"{figure['mean']:.2f}" in text
    assert "| HDR-VDP-2 | waves | 30 | made up | not measured here | open |" in text
    assert "Two &lt;trainings&gt;" in page
    assert "<trainings>" not in page

    before = (folder / "journal.json").read_text()
    calls.clear()
    assert run(*words) == 0
    assert calls == ["train", "train"]  # which say that they are finished
    assert capsys.readouterr().out.count("finished at step 3") == 2
    assert (folder / "journal.json").read_text() == before
    assert (folder / "report.md").read_text() == text


@pytest.mark.slow
def test_a_new_result_is_scored_anew(lab: Lab, calls: list[str]) -> None:
    assert run(*words_of(lab, a_plan(lab))) == 0
    calls.clear()
    assert run(*words_of(lab, a_plan(lab, steps=4))) == 0
    assert calls[:2] == ["train", "train"]
    assert "evaluate" in calls[2:]


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(2000):
        if what() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert what()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed call leaves its training to the lock")
def test_a_killed_call_ends_its_training_and_the_next_one_goes_on(
    lab: Lab, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of(lab, a_plan(lab, steps=10_000))
    runs = lab.runs / "reproduce" / "two-tiny" / "runs" / "deq"
    line = [sys.executable, "-m", "hdrlab.reproduce", *words]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: any(runs.glob("*/last.ckpt")), process)
        assert run(*words) == 2
        assert "another call is at work" in capsys.readouterr().err
        process.kill()
    (folder,) = runs.iterdir()
    seen = (folder / "metrics.csv").stat().st_size
    assert run(*words_of(lab, a_plan(lab, steps=1))) == 0  # so the lock is free: the training is dead too
    assert f"{folder}: resuming" in capsys.readouterr().out
    assert (folder / "metrics.csv").stat().st_size <= seen + 1000


def test_a_failed_training_stops_the_plan(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce.sys, "executable", "/bin/false")
    assert run(*words_of(lab, a_plan(lab))) == 2
    assert "ended with 1; mend that, and the same command goes on here" in capsys.readouterr().err


def test_the_time_left_follows_from_what_is_finished(tmp_path: Path) -> None:
    costs = {"deq": 1.0, "lin": 2.0, "hal": 3.0}
    jobs = [reproduce.Job(Step(n, (), cost=cost), (), (), tmp_path) for n, cost in costs.items()]
    journal = reproduce.Journal(tmp_path / "journal.json")
    assert reproduce.time_left(jobs, 0, journal) == ""
    journal.done["deq"], journal.seconds["deq"] = "words", 120.0
    assert reproduce.time_left(jobs, 1, journal) == ": about 10 min for this and the rest"


@pytest.mark.parametrize(
    ("claimed", "mean", "said"),
    [
        (30.0, 30.4, "off by +0.40: reproduced"),
        (30.0, 28.0, "off by -2.00: not reproduced"),
        ("positive", 1.0, "yes"),
        ("positive", 0.1, "not significant"),
        ("positive", -1.0, "no"),
        (None, 1.0, "not to be compared"),
    ],
)
def test_verdicts(claimed: float | str | None, mean: float, said: str) -> None:
    claim = Claim("", "", claimed, "", "deq/psnr_c", tolerance=0.5)
    assert claims.verdict(claim, SCALE, {"mean": mean, "low": mean - 0.5, "high": mean + 0.5}) == said
    assert claims.verdict(claim, SCALE, None) == "open"


def test_paths_are_quoted_for_the_command_line() -> None:
    assert fill(["data.root={a}", "x=1"], {"a": "/it's here"}) == ["data.root='/it\\'s here'", "x=1"]


def test_a_comparison_gives_figures_and_gains() -> None:
    def score(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 1, "high": mean + 1, "num": 3, "scenes": 2}

    columns = [("psnr", True), ("psnr@rest", True), ("error", False)]
    difference = {"mean": 2.0, "low": 1.0, "high": 4.0}
    summary = {
        "methods": [{"name": "srgb", "kind": "baseline"}, {"name": "net", "kind": "trained"}],
        "columns": [{"name": name, "higher_is_better": better} for name, better in columns],
        "scores": {m: {name: score(n) for name, _ in columns} for m, n in (("srgb", 1), ("net", 3))},
        "differences": {"net": {"srgb": {name: difference for name, _ in columns}}},
    }
    found = claims.scores_of(summary)
    assert found.keys() == {
        *("psnr", "error", "psnr_srgb", "error_srgb", "psnr gain over srgb", "error gain over srgb")
    }
    assert found["psnr"]["mean"] == 3
    gain = found["error gain over srgb"]
    assert (gain["mean"], gain["low"], gain["high"], gain["num"]) == (-2, -4, -1, 3)
    claim = Claim("", "", "positive", "", "net/error gain over srgb")
    assert claims.verdict(claim, SCALE, gain) == "no"
