"""The YAML files and the schema describe the same keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf

from hdrlab.config.check import LOGGERS, without_none
from hdrlab.config.command import Command
from hdrlab.config.folder import CONF, choices
from hdrlab.config.stages import DATA, STAGES
from hdrlab.evaluate import COMMAND as EVALUATE
from hdrlab.prepare import COMMAND as PREPARE
from hdrlab.train import COMMAND as TRAIN


@pytest.fixture(autouse=True)
def vgg16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "vgg16.npy"
    weights.touch()
    monkeypatch.setenv("HDRLAB_VGG16", str(weights))


def needed(name: str, tmp_path: Path) -> list[str]:
    """What a user must say besides a choice."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(values, dict)
    chosen = {
        data for group in values.get("defaults", []) if isinstance(group, dict) for data in group.values()
    } | {name.split("/")[1]}
    return [f"data.root={tmp_path}"] if chosen & (set(DATA) - {"tiny"}) else []


@pytest.mark.parametrize(
    "word",
    [
        f"{group.name}={name}"
        for group in sorted(CONF.iterdir())
        if group.is_dir()
        for name in choices(group.name)
    ],
)
def test_every_choice_composes_and_passes(word: str, tmp_path: Path) -> None:
    group, _, name = word.partition("=")
    keys = set(DATA[name if group == "data" else "tiny"].batch_keys)
    stage = next((stage for stage, row in STAGES.items() if keys >= set(row.batch_keys)), None)
    if stage is None:
        pytest.skip(f"no stage reads {word}")
    more = [] if group in ("stage", "experiment") else [f"stage={stage}"]
    config = TRAIN.compose([*more, word, *needed(f"{group}/{name}", tmp_path)])
    named = {"trainer=ddp": "fit"}.get(word, name)  # the same training: it goes on with any number of devices
    assert getattr(config, group).name == named if group != "callbacks" else config.callbacks.panels == 4


def test_the_tables_are_the_choices() -> None:
    assert set(STAGES) == set(choices("stage"))
    assert set(DATA) == set(choices("data"))
    assert set(LOGGERS) == set(choices("logger"))


def keys(schema: type, values: Any, where: str = "") -> Iterator[str]:
    """Yield what a section lacks or has too much, against its schema."""
    assert is_dataclass(schema)
    hints = get_type_hints(schema)
    declared = {described.name for described in fields(schema)}
    yield from (f"{where}{name}" for name in declared ^ set(values))
    for name in declared & set(values):
        kind, optional = without_none(hints[name])
        if is_dataclass(kind) and isinstance(kind, type) and not (optional and values[name] is None):
            yield from keys(kind, values[name], f"{where}{name}.")


@pytest.mark.parametrize(
    ("file", "schema"),
    [(f"stage/{name}", row.schema) for name, row in STAGES.items()]
    + [(f"data/{name}", row.schema) for name, row in DATA.items()]
    + [(f"logger/{name}", schema) for name, schema in LOGGERS.items()],
)
def test_every_key_stands_in_its_file(file: str, schema: type) -> None:
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{file}.yaml"), resolve=False)
    assert not list(keys(schema, values))


@pytest.mark.parametrize(
    ("command", "words"),
    [(TRAIN, ["stage=deq"]), (EVALUATE, ["checkpoint={file}"]), (PREPARE, ["source={folder}", "root=x"])],
)
def test_the_commands_compose_with_their_choice_alone(
    command: Command,
    words: list[str],
    tmp_path: Path,  # type: ignore[type-arg]
) -> None:
    words = [word.format(file=tmp_path / "vgg16.npy", folder=tmp_path) for word in words]
    assert is_dataclass(command.compose(words))


@pytest.mark.parametrize("name", choices("experiment"))
def test_an_experiment_is_pinned_to_its_stage(name: str, tmp_path: Path) -> None:
    config = TRAIN.compose([f"experiment={name}", *needed(f"experiment/{name}", tmp_path)])
    assert config.experiment is not None
    assert config.experiment.name == name
    assert config.experiment.stage == config.stage.name


def test_the_paper_experiments_train_as_the_paper(tmp_path: Path) -> None:
    for stage in ("deq", "lin", "hal"):
        config = TRAIN.compose([f"experiment=paper_{stage}", f"data.root={tmp_path}"])
        told = config.stage
        assert (told.batch_size, told.patch, told.max_steps, told.lr, told.width) == (
            8,
            256,
            500_000,
            1e-4,
            1,
        )
        assert config.data.exposures == 600
        assert config.trainer.max_steps == 500_000


def test_smoke_is_not_beaten_by_a_stage() -> None:
    config = TRAIN.compose(["stage=deq", "trainer=smoke", "stage.max_steps=77"])
    assert config.trainer.max_steps == 2
    assert config.trainer.val_pictures == 2
