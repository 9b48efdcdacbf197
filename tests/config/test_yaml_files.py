"""The YAML files and the schema describe the same keys."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hdrlab.config.choices import CONF, choices
from hdrlab.config.cli import Command
from hdrlab.config.composer import open_composer, plain_values
from hdrlab.config.options import parse_options
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.data import HdrRealConfig, HdrSynthConfig
from hdrlab.config.schema.section import Section, build, keys_of, schema_of
from hdrlab.config.schema.singlehdr import HalConfig, HalLoss, LinConfig
from hdrlab.config.schema.trainer import CallbacksConfig, LoggerConfig, TrainerConfig
from hdrlab.errors import ConfigError
from hdrlab.evaluate import COMMAND as EVALUATE
from hdrlab.import_weights import COMMAND as IMPORT
from hdrlab.prepare import COMMAND as PREPARE
from hdrlab.reconstruct import COMMAND as RECONSTRUCT
from hdrlab.reproduce import COMMAND as REPRODUCE
from hdrlab.synthesize import COMMAND as SYNTHESIZE
from hdrlab.tonemap import COMMAND as TONEMAP
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
        if group.is_dir() and group.name != "sweep"
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
    if config.experiment:  # pinned to its stage
        assert config.experiment.stage == config.stage.name


@pytest.mark.parametrize("name", choices("sweep"))
def test_every_search_space_composes_and_passes(name: str) -> None:
    assert TRAIN.compose(["stage=hal", f"sweep={name}"]).stage.name == "hal"


def test_the_tables_are_the_choices() -> None:
    assert set(STAGES) == set(choices("stage"))
    assert set(DATA) == set(choices("data"))


FILES: list[tuple[str, type[Section]]] = [
    *((f"stage/{name}", row.schema) for name, row in STAGES.items()),
    *((f"data/{name}", schema) for name, schema in DATA.items()),
    *((f"logger/{name}", schema_of(LoggerConfig, {"name": name})) for name in choices("logger")),
    ("trainer/fit", TrainerConfig),
    ("callbacks/default", CallbacksConfig),
]


@pytest.mark.parametrize(("file", "schema"), FILES)
def test_a_file_and_its_class_agree_on_keys_and_defaults(file: str, schema: type[Section]) -> None:
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{file}.yaml"))
    assert isinstance(values, dict)
    assert set(values) == set(keys_of(schema)) - {schema.OPEN}
    named = {"name": values["name"]} if "name" in values else {}
    assert build(schema, values, problems := []) == build(schema, named, problems)
    assert not problems


@pytest.mark.parametrize(
    ("command", "words", "more"),
    [
        (TRAIN, ["stage=hal", "data=hdr_synth"], {"stage": HalConfig(), "data": HdrSynthConfig()}),
        (EVALUATE, ["checkpoint=x"], {"checkpoint": ("x",)}),
        (PREPARE, ["source=a", "root=b"], {"source": "a", "root": "b"}),
        (SYNTHESIZE, ["output=a"], {"output": "a"}),
        (IMPORT, ["source=a", "output=b"], {"source": "a", "output": "b"}),
        (REPRODUCE, ["plan=a"], {"plan": ("a",)}),
        (RECONSTRUCT, ["input=a", "output=b"], {"input": ("a",), "output": "b"}),
        (TONEMAP, ["input=a", "output=b"], {"input": ("a",), "output": "b"}),
    ],
)
def test_a_command_has_the_defaults_of_its_class(
    command: Command,  # type: ignore[type-arg]
    words: list[str],
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HDRLAB_VGG16", raising=False)
    with open_composer(parse_options(words)) as composer:
        values = plain_values(composer.compose(command.name, words))
    made = build(command.schema, values, problems := [])
    assert not problems
    assert made == command.schema(**more)


def test_a_section_is_made_and_checked_in_python() -> None:
    assert HalConfig(lr=1).lr == 1.0
    assert HalConfig(loss={"tv": 0}).loss == HalLoss(tv=0.0)  # type: ignore[arg-type]
    assert HalConfig(encoder_weights=Path("a.npy")).encoder_weights == "a.npy"  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        HalConfig(lr=-1, patch=40, upsampling="resise", loss={"tvv": 1})  # type: ignore[arg-type]
    assert caught.value.problems == (
        "patch: got 40, must be a whole number at least 32, a multiple of 32",
        "lr: got -1.0, must be a number above 0",
        "loss.tvv: no such key; did you mean tv?",
        "upsampling: got 'resise', must be resize | transposed; did you mean resize?",
    )
    with pytest.raises(TypeError):
        HalConfig(rate=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="at least 32"):
        replace(HalConfig(), patch=1)


def test_sections_answer_common_questions(tmp_path: Path) -> None:
    for row in STAGES.values():
        assert row.batch_keys == row.schema.batch_keys
    assert not HdrSynthConfig().needs_pairs
    assert HdrRealConfig().needs_pairs
    assert HdrSynthConfig(curves="c.txt").input_files() == {"data.curves": "c.txt"}
    files = LinConfig(basis="b.txt").input_files() | HalConfig(encoder_weights="e.npy").input_files()
    assert files == {"stage.basis": "b.txt", "stage.encoder_weights": "e.npy"}
    config = TrainConfig(stage=HalConfig(perceptual={"weights": "v.pth"}))  # type: ignore[arg-type]
    assert config.input_files() == {"stage.perceptual.weights": "v.pth"}
    assert config.max_steps == 500_000


def test_only_rendered_scenes_make_runs_short() -> None:
    for stage in STAGES:
        short, long = (TRAIN.compose([f"stage={stage}"]), build(STAGES[stage].schema, {}, []))
        assert (short.max_steps, short.stage.batch_size) == (300, 4)
        assert long.max_steps > 90_000
    assert TRAIN.compose(["stage=lin"]).stage.bn_momentum == 0.01
    assert TRAIN.compose(["stage=tmo_ft"]).stage.loss.perceptual == 0
    assert TRAIN.compose(["stage=hal", "stage.max_steps=7"]).max_steps == 7


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
        assert config.max_steps == 500_000


def test_smoke_is_not_beaten_by_a_stage() -> None:
    config = TRAIN.compose(["stage=deq", "trainer=smoke", "stage.max_steps=77"])
    assert config.max_steps == 2
    assert config.val_images == 2
