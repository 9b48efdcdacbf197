"""Turns a composed configuration into the schema's classes, and finds everything that is wrong with it.

All problems are collected before anything is reported, so that a user mends them in one go.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
import os
import re
import shutil
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hdrlab.config.schema import (
    CLASSICAL_OPERATORS,
    EXPANSIONS,
    DataConfig,
    EvaluateConfig,
    FolderConfig,
    HdrRealConfig,
    HdrSynthConfig,
    ImportConfig,
    LoggerConfig,
    PhotographConfig,
    PrepareConfig,
    ReconstructConfig,
    ReproduceConfig,
    StageConfig,
    SynthConfig,
    TmoPairsConfig,
    TonemapConfig,
    ToneStageConfig,
    TrainConfig,
    WandbConfig,
)
from hdrlab.config.stages import DATA, STAGES, reads_tones

Config = TypeVar("Config")

LEAST_TONE_PATCH = {"tmo_bottom": 96, "tmo_high": 192, "tmo_ft": 192}
"""A window of 11 pixels must fit into the bottom layer, an eighth as large, or into the fifth scale."""
OnFiles = TypeVar("OnFiles", ReconstructConfig, TonemapConfig)

LOGGERS: dict[str, type[LoggerConfig]] = {
    "csv": LoggerConfig,
    "none": LoggerConfig,
    "tensorboard": LoggerConfig,
    "wandb": WandbConfig,
}

METRIC_PACKAGES = {"cvvdp": ("pycvvdp", "cvvdp"), "flip": ("flip_evaluator", "flip-evaluator")}
"""Module of each metric of another package, and its name in the package index."""

TOOLBOX_FILES = {"hdrvdp2": "hdrvdp.m", "hdrvdp3": "hdrvdp3.m"}
"""By metric, the file of the user's toolbox that computes it."""


HALF_NEEDS_GPU = "trainer.precision=16: float16 needs a GPU; take bf16, which a CPU can do, or 32"
SYNC_NEEDS_GPU = "trainer.sync_batchnorm=true: needs GPUs; torch has it for no CPU"


class ConfigError(ValueError):
    """A configuration that cannot be used; ``problems`` holds one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def nearest(word: str, words: Iterable[str]) -> str:
    """Name the most similar legal word as ``"; did you mean X?"``, or nothing where none is similar."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


# ----------------------------------------------------------------------------------- schema of a choice


def schema_of(declared: type, values: Any) -> type:
    """Return the class that describes a group's section: the chosen stage's, data set's or logger's own."""
    name = str(values.get("name")) if isinstance(values, Mapping) else ""
    if declared is StageConfig and name in STAGES:
        return STAGES[name].schema
    if declared is DataConfig and name in DATA:
        return DATA[name].schema
    if declared is LoggerConfig and name in LOGGERS:
        return LOGGERS[name]
    return declared


def _choices_of(walked: str) -> Mapping[str, type]:
    rows: dict[str, Mapping[str, type]] = {
        "stage.": {name: row.schema for name, row in STAGES.items()},
        "data.": {name: row.schema for name, row in DATA.items()},
        "logger.": LOGGERS,
    }
    return rows.get(walked, {})


def _names(schema: type) -> set[str]:
    assert is_dataclass(schema)
    return {described.name for described in fields(schema)}


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Split ``X | None`` into X and whether None is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [m for m in get_args(annotation) if m is not type(None)]
        return members[0], True
    return annotation, False


def find_key(declared: type, values: Mapping[str, Any], dotted: str) -> str | None:
    """Return what is wrong with a dotted key, or None if the schema knows it.

    Args:
        declared: Schema class of the whole configuration.
        values: The configuration as composed so far; tells which stage, data set and logger are chosen.
        dotted: The key, for example ``stage.loss.tv``.
    """
    cls, inside, walked = declared, values, ""
    for part in dotted.split("."):
        known = {f.name: f for f in fields(cls)} if is_dataclass(cls) else {}
        if part not in known:
            close = difflib.get_close_matches(part, list(known), n=1, cutoff=0.6)
            if close:
                rest = dotted[len(walked + part) :]
                return f"{dotted}: no such key; did you mean {walked}{close[0]}{rest}?"
            owners = [name for name, schema in _choices_of(walked).items() if part in _names(schema)]
            if owners:
                return f"{dotted}: a key of {' or '.join(walked[:-1] + '=' + name for name in owners)} only"
            return f"{dotted}: no such key; {walked[:-1] or 'the configuration'} has {', '.join(known)}"
        cls, _ = without_none(get_type_hints(cls)[part])
        if get_origin(cls) is dict:
            return None  # its names are the user's
        inside = inside.get(part) or {} if isinstance(inside, Mapping) else {}
        cls = schema_of(cls, inside)
        walked += part + "."
    return None


# --------------------------------------------------------------------------------------- types and limits


@dataclass(frozen=True)
class _Limits:
    choices: tuple[str, ...] | None
    above: float | None
    least: float | None
    most: float | None
    multiple: int | None

    def __str__(self) -> str:
        said = [
            ("above {}", self.above),
            ("at least {}", self.least),
            ("at most {}", self.most),
            ("a multiple of {}", self.multiple),
        ]
        return ", ".join(text.format(number) for text, number in said if number is not None)

    def admit(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        if not isinstance(value, (int, float)):
            return True
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.multiple is None or value % self.multiple == 0)
            and math.isfinite(value)
        )


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word or path"}


def _wanted(kind: type, limits: _Limits, optional: bool) -> str:
    text = " | ".join(limits.choices) if limits.choices else _WORDS[kind]
    return text + (f" {limits}" if str(limits) else "") + (", or null" if optional else "")


def _scalar(kind: type, value: Any, limits: _Limits, optional: bool, where: str, problems: list[str]) -> Any:
    if value is None and optional:
        return None
    if kind is str and limits.choices and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # trainer.precision=32 reads as a number
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or not limits.admit(value):
        hint = nearest(str(value), limits.choices) if limits.choices else ""
        shown = "not set" if value is None else f"got {value!r}"
        problems.append(f"{where}: {shown}, must be {_wanted(kind, limits, optional)}{hint}")
    return value


def _words(kind: Any, value: Any, limits: _Limits, optional: bool, where: str, problems: list[str]) -> Any:
    """Judge a list of words; one alone needs no brackets."""
    if value is None and optional:
        return None
    if value == []:
        problems.append(f"{where}: empty, must be one or more of {_wanted(str, limits, optional)}")
    listed = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_scalar(str, one, limits, False, where, problems) for one in listed)


def _named(kind: Any, value: Any, limits: _Limits, optional: bool, where: str, problems: list[str]) -> Any:
    """Judge words under names of the user's own."""
    if value is None and optional:
        return None
    if not isinstance(value, Mapping):
        problems.append(f"{where}: got {value!r}, must be names with values, for example {where}.theirs=PATH")
        return value
    return {
        str(name): _scalar(str, one, limits, False, f"{where}.{name}", problems)
        for name, one in value.items()
    }


def build(cls: type[Config], values: Mapping[str, Any], problems: list[str], where: str = "") -> Config:
    """Make an object of a schema class from plain values, appending to ``problems`` what does not fit.

    Args:
        cls: Schema class.
        values: Plain resolved values, as from ``OmegaConf.to_container``.
        problems: List to append to, one line a problem.
        where: Dotted prefix of the section, for the messages.
    """
    assert is_dataclass(cls)
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for name in values:
        if name not in known:
            problems.append(f"{where}{name}: no such key{nearest(str(name), known)}")
    made: dict[str, Any] = {}
    for name, described in known.items():
        kind, optional = without_none(hints[name])
        value = values.get(name, described.metadata.get("absent"))
        if isinstance(kind, type) and is_dataclass(kind):
            if isinstance(value, Mapping):
                made[name] = build(schema_of(kind, value), value, problems, f"{where}{name}.")
            elif value is None and optional:
                made[name] = None
            else:
                inner = ", ".join(f"{where}{name}.{f.name}" for f in fields(kind))
                problems.append(f"{where}{name}: got {value!r}, but is a section; set {inner}")
        else:
            meta = described.metadata
            limits = _Limits(*(meta[limit.name] for limit in fields(_Limits)))
            judges: Mapping[Any, Any] = {tuple: _words, dict: _named}
            judge = judges.get(get_origin(kind), _scalar)
            made[name] = judge(kind, value, limits, optional, where + name, problems)
    return cls(**{name: made.get(name) for name in known})


# ------------------------------------------------------------------------------------------ cross-field rules


def check_train(values: Mapping[str, Any]) -> TrainConfig:
    """Check a composed training configuration and return it as an object.

    Args:
        values: Plain resolved values of the whole configuration.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(TrainConfig, values, problems)
    if _sound(problems, "experiment"):
        _check_pin(config)
    if _sound(problems, "data") and not DATA[config.data.name].batch_keys:
        said = (
            "for hdrlab.evaluate only; to train on pairs use data=hdr_real, for tone mapping data=tmo_pairs"
        )
        raise ConfigError([f"data={config.data.name}: {said}, with data.root=FOLDER"])
    if _sound(problems, "data"):
        problems += _data_rules(config.data)
    if _sound(problems, "stage", "data.name", "paths"):
        problems += _stage_rules(config)
    if _sound(problems, "stage.batch_size", "trainer", "logger", "data.jpeg_quality", "resume"):
        problems += _run_rules(config)
    if problems:
        raise ConfigError(problems)
    return config


def check_prepare(values: Mapping[str, Any]) -> PrepareConfig:
    """Check a composed ``prepare`` configuration and return it as an object.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(PrepareConfig, values, problems)
    if _sound(problems, "source") and not os.path.isdir(config.source):
        problems.append(f"source={config.source}: no such folder")
    if _sound(problems, "source", "root") and Path(config.root).resolve() == Path(config.source).resolve():
        problems.append("root: must be another folder than source, which stays as it is")
    if not isinstance(config.data, (HdrSynthConfig, HdrRealConfig, TmoPairsConfig)):
        said = f"data={config.data.name}: nothing to prepare; use data=hdr_synth, hdr_real or tmo_pairs"
        problems.append(said)
    elif _sound(problems, "data"):
        problems += _source_rules(config.data)
    if problems:
        raise ConfigError(problems)
    return config


def check_evaluate(values: Mapping[str, Any]) -> EvaluateConfig:
    """Check a composed ``evaluate`` configuration and return it as an object.

    Of data=folder, ``root`` is turned into the folders that it holds.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(EvaluateConfig, values, problems)
    if _sound(problems, "checkpoint"):
        problems += [
            f"checkpoint={one}: no such file or folder"
            for one in config.checkpoint or ()
            if not os.path.exists(one)
        ]
    if _sound(problems, "data"):
        if isinstance(config.data, FolderConfig):
            config = replace(config, data=_inside_root(config.data, problems))
        problems += _data_rules(config.data)
    if _sound(problems, "data", "task", "results", "checkpoint", "metrics", "niqe"):
        problems += _task_rules(config)
    if _sound(problems, "memory") and not memory_bytes(config.memory):
        problems.append(f"memory={config.memory}: must be a number with MB or GB, for example 2GB")
    if _sound(problems, "output") and config.output is not None and Path(config.output).is_file():
        problems.append(f"output={config.output}: is a file; give a folder")
    if _sound(problems, "metrics", "toolbox"):
        problems += _metric_rules(config)
    if _sound(problems, "niqe"):
        problems += _file_rules(("niqe", config.niqe))
    if problems:
        raise ConfigError(problems)
    return config


FOLDERS = {"photographs": "LDR_in", "references": "HDR_gt", "hdr": "hdr", "sdr": "sdr"}
"""What data.root of data=folder may hold, by the key that it stands for."""


def _inside_root(data: FolderConfig, problems: list[str]) -> FolderConfig:
    """Name the folders inside ``data.root`` by their keys."""
    if data.root is None:
        return data
    if named := [name for name in FOLDERS if getattr(data, name)]:
        problems.append(f"data.root and data.{named[0]}: give the one or the other")
        return data
    root = Path(data.root)
    inside: dict[str, Any] = {
        key: str(root / name) for key, name in FOLDERS.items() if (root / name).is_dir()
    }
    if root.is_dir() and not ({"photographs", "references"} <= inside.keys() or "hdr" in inside):
        said = "holds neither LDR_in with HDR_gt nor hdr; or name the folders: data.photographs=FOLDER"
        problems.append(f"data.root={root}: {said} data.references=FOLDER, or data.hdr=FOLDER")
    return replace(data, **inside)


def tasks_of(data: DataConfig) -> tuple[str, ...]:
    """Say what can be compared on a data set, the usual first: reconstruct, tonemap."""
    if isinstance(data, FolderConfig):
        return ("reconstruct",) * bool(data.photographs) + ("tonemap",) * bool(data.hdr)
    keys = DATA[data.name].batch_keys
    return ("reconstruct",) * ("jpeg" in keys) + ("tonemap",) * ("sdr" in keys)


def _task_rules(config: EvaluateConfig) -> Iterable[str]:
    data, able = config.data, tasks_of(config.data)
    if config.task and able and config.task not in able:
        yield f"task={config.task}: data={data.name} is for task={able[0]}"
    if isinstance(data, FolderConfig) and len(able) == 2 and not config.task:
        yield "data: photographs and pictures for tone mapping; set task=reconstruct or task=tonemap"
    for name, folder in (config.results or {}).items():
        if not re.fullmatch(r"[\w.+-]+", name):
            yield f"results.{name}: a name of letters, digits and _ . + - is needed"
        if name in (*EXPANSIONS, *CLASSICAL_OPERATORS, "oracle", "sdr"):
            yield f"results.{name}: a method of hdrlab is called so; choose another name"
        if not os.path.isdir(folder):
            yield f"results.{name}={folder}: no such folder"


def _metric_rules(config: EvaluateConfig) -> Iterable[str]:
    names = config.metrics or ()
    for name in names:
        if name in METRIC_PACKAGES:
            module, package = METRIC_PACKAGES[name]
            if importlib.util.find_spec(module) is None:
                yield f"metrics={name}: the package is missing; pip install {package}, or leave it out"
        else:
            yield from _toolbox_rules(name, getattr(config.toolbox, name))
    if set(names) - METRIC_PACKAGES.keys() and find_matlab(config.toolbox.program) is None:
        wanted = config.toolbox.program or "octave, octave-cli or matlab"
        yield (
            f"metrics={','.join(names)}: HDR-VDP needs GNU Octave or MATLAB, and {wanted} is not found; "
            "install one, name it by toolbox.program=PATH, or leave the metric out"
        )


def _toolbox_rules(name: str, folder: str | None) -> Iterable[str]:
    file = TOOLBOX_FILES[name]
    if folder is None:
        yield f"metrics={name}: needs toolbox.{name}=FOLDER, your copy of the toolbox, which holds {file}"
    elif not os.path.isfile(os.path.join(folder, file)):
        yield f"toolbox.{name}={folder}: holds no {file}; give the folder of the toolbox that does"


def find_matlab(program: str | None) -> str | None:
    """Find Octave or MATLAB: the one that is named, or the first that is installed."""
    names = (program,) if program else ("octave", "octave-cli", "matlab")
    return next(filter(None, map(shutil.which, names)), None)


def check_reproduce(values: Mapping[str, Any]) -> ReproduceConfig:
    """Check a composed ``reproduce`` configuration and return it as an object.

    What the plan asks for is judged when it is read.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(ReproduceConfig, values, problems)
    if problems:
        raise ConfigError(problems)
    return config


def check_photograph(values: Mapping[str, Any]) -> PhotographConfig:
    """Check a composed ``photograph`` configuration and return it as an object.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(PhotographConfig, values, problems)
    if not isinstance(config.data, SynthConfig):
        problems.append(f"data={config.data.name}: no scenes to photograph; use data=tiny or data=hdr_synth")
    elif _sound(problems, "data"):
        problems += _data_rules(config.data)
    if _sound(problems, "output") and os.path.isfile(config.output):
        problems.append(f"output={config.output}: is a file; give a folder")
    if problems:
        raise ConfigError(problems)
    return config


def _sound(problems: Iterable[str], *keys: str) -> bool:
    """Say whether no problem so far concerns these keys; rules judge values of the right kind only."""
    return not any(problem.startswith(keys) for problem in problems)


def _check_pin(config: TrainConfig) -> None:
    """Refuse an experiment of another stage before its keys are blamed for not being this stage's."""
    pinned, stage = config.experiment, getattr(config.stage, "name", None)
    if pinned and stage and pinned.stage != stage:
        said = f"experiment={pinned.name} is made for stage={pinned.stage}, not for stage={stage}"
        raise ConfigError([said])


def _stage_rules(config: TrainConfig) -> Iterable[str]:
    stage, row = config.stage, STAGES[config.stage.name]
    missing = set(row.batch_keys) - set(DATA[config.data.name].batch_keys)
    if missing:
        yield f"stage={stage.name} needs {', '.join(sorted(missing))}, which data={config.data.name} has not"
    if isinstance(config.data, SynthConfig) and not reads_tones(row.batch_keys):
        side = config.data.short_side
        if stage.patch > side:
            yield f"stage.patch={stage.patch}: must be at most data.short_side={side}"
    weights = getattr(stage, "loss", None)
    if weights is not None and not any(getattr(weights, f.name) for f in fields(weights)):
        yield "stage.loss: every weight is 0, so nothing would be learnt"
    named = asdict(getattr(stage, "init"))  # noqa: B009 - every stage's schema has its own
    yield from _file_rules(*((f"stage.init.{name}", path) for name, path in named.items()))
    yield from _file_rules(("stage.encoder_weights", getattr(stage, "encoder_weights", None)))
    if isinstance(stage, ToneStageConfig):
        yield from _tone_rules(stage, config.preset)
    basis = getattr(stage, "basis", "builtin")
    yield from _file_rules(("stage.basis", None if basis == "builtin" else basis))
    if (source := perceptual_weights(stage)) is not None:
        yield from _perceptual_rules(config, source)


def _tone_rules(stage: ToneStageConfig, preset: str) -> Iterable[str]:
    if preset == "tf2":
        yield f"preset=tf2: SingleHDR's only; stage={stage.name} has default and official"
    least = LEAST_TONE_PATCH[stage.name]
    if stage.patch < least:
        yield f"stage.patch={stage.patch}: the terms that compare structure need at least {least}"


def perceptual_weights(stage: StageConfig) -> str | None:
    """Return which VGG-16 a stage's perceptual loss is told to use, or None where it has none."""
    section, loss = getattr(stage, "perceptual", None), getattr(stage, "loss", None)
    return section.weights if section is not None and getattr(loss, "perceptual", None) else None


def _perceptual_rules(config: TrainConfig, weights: str) -> Iterable[str]:
    if weights == "random":
        return
    if weights != "auto":
        yield from _file_rules(("stage.perceptual.weights", weights))
    elif config.paths.vgg16 is not None:
        yield from _file_rules(("paths.vgg16", config.paths.vgg16))
    elif config.data.name != "tiny" and config.trainer.name != "smoke":
        yield (
            "stage.perceptual.weights=auto: no VGG-16 file is configured; set paths.vgg16 (or HDRLAB_VGG16) "
            "to a torchvision .pth, vgg16.npy, vgg16_places365_weights.npy or .safetensors file, or choose "
            "stage.perceptual.weights=random or stage.loss.perceptual=0"
        )


def _data_rules(data: DataConfig) -> Iterable[str]:
    if isinstance(data, SynthConfig):
        if data.val_crop is not None and data.val_crop > data.short_side:
            yield f"data.val_crop={data.val_crop}: must be at most data.short_side={data.short_side}"
        yield from _file_rules(("data.curves", None if data.curves == "builtin" else data.curves))
    if isinstance(data, (HdrSynthConfig, HdrRealConfig, TmoPairsConfig)):
        if data.root is None:
            kind = "HDR pictures (.hdr, .exr, .tif, .pfm)" if isinstance(data, HdrSynthConfig) else "pairs"
            yield f"data.root: not set; the folder of {kind}, prepared or not"
        elif not os.path.isdir(data.root):
            yield f"data.root={data.root}: no such folder"
        yield from _source_rules(data)
    if isinstance(data, FolderConfig):
        yield from _folder_rules(data)


def _folder_rules(data: FolderConfig) -> Iterable[str]:
    for name in ("root", *FOLDERS, "masks"):
        folder = getattr(data, name)
        if folder is not None and not os.path.isdir(folder):
            yield f"data.{name}={folder}: no such folder"
    if data.root is None:
        if not (data.photographs or data.references or data.hdr):
            yield (
                "data.root: not set; a folder with LDR_in and HDR_gt, or with hdr; or name the folders: "
                "data.photographs=FOLDER data.references=FOLDER, for tone mapping data.hdr=FOLDER"
            )
        for one, other in (("photographs", "references"), ("references", "photographs"), ("sdr", "hdr")):
            if getattr(data, one) and not getattr(data, other):
                yield f"data.{one}: needs data.{other}=FOLDER beside it"
    yield from _file_rules(("data.scenes", data.scenes), ("data.keep", data.keep))


def _source_rules(data: HdrSynthConfig | HdrRealConfig | TmoPairsConfig) -> Iterable[str]:
    yield from _file_rules(("data.manifest", data.manifest))
    unlabelled = data.unlabelled if isinstance(data, TmoPairsConfig) else None
    if unlabelled is not None and not os.path.isdir(unlabelled):
        yield f"data.unlabelled={unlabelled}: no such folder"
    lists = data.lists if isinstance(data, HdrSynthConfig) else None
    if data.manifest is not None and lists is not None:
        yield "data.manifest and data.lists: give one of them, not both"
    if lists is not None:
        yield from _file_rules(("data.lists.train", lists.train), ("data.lists.test", lists.test))


def _run_rules(config: TrainConfig) -> Iterable[str]:
    if config.resume not in ("auto", "never"):
        yield from _file_rules(("resume", config.resume))
    trainer = config.trainer
    if trainer.accelerator == "cpu" and trainer.precision == "16":
        yield HALF_NEEDS_GPU
    if trainer.accelerator == "cpu" and trainer.sync_batchnorm:
        yield SYNC_NEEDS_GPU
    if trainer.compile and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl"))):
        yield "trainer.compile=true: torch needs a C++ compiler for it; install g++ or clang++, or set CXX"
    ranks = trainer.devices * trainer.num_nodes
    shares = ranks * trainer.accumulate
    if config.stage.batch_size % shares:
        devices = f"the {ranks} devices" if ranks > 1 else "1 device"
        parts = f" × trainer.accumulate={trainer.accumulate}" if shares > ranks else ""
        yield f"stage.batch_size={config.stage.batch_size}: must be a multiple of {devices}{parts}"
    positional = isinstance(config.data, SynthConfig) and config.data.jpeg_quality == "positional"
    if positional and config.stage.batch_size == 1:
        yield "data.jpeg_quality=positional: needs stage.batch_size of at least 2"
    if config.logger.name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        yield "logger=tensorboard: the package is missing; pip install 'hdrlab[tensorboard]'"


def _file_rules(*named: tuple[str, str | None]) -> Iterable[str]:
    for name, path in named:
        if path is not None and not os.path.isfile(path):
            yield f"{name}={path}: no such file"


def check_import(values: Mapping[str, Any]) -> ImportConfig:
    """Check a composed ``import_weights`` configuration and return it as an object.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = build(ImportConfig, values, problems)
    if _sound(problems, "source") and not any(os.path.exists(config.source + end) for end in ("", ".index")):
        problems.append(f"source={config.source}: no such file, folder or checkpoint (.index)")
    if _sound(problems, "output") and os.path.isfile(config.output):
        problems.append(f"output={config.output}: is a file; give a folder")
    if _sound(problems, "basis"):
        problems += _file_rules(("basis", config.basis))
    if problems:
        raise ConfigError(problems)
    return config


def check_reconstruct(values: Mapping[str, Any]) -> ReconstructConfig:
    """Check a composed ``reconstruct`` configuration and return it as an object, paths without tildes.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = _at_home(build(ReconstructConfig, values, problems), problems)
    if _sound(problems, "layers", "formats") and config.layers and "exr" not in config.formats:
        problems.append("layers=true: only EXR holds layers; add exr to formats")
    if _sound(problems, "stages", "refine") and config.stages == "deq_lin" and config.refine:
        problems.append("refine=true: nothing to refine with stages=deq_lin; use stages=all")
    if _sound(problems, "memory") and not memory_bytes(config.memory):
        problems.append(f"memory={config.memory}: must be a number with MB or GB, for example 2GB")
    if problems:
        raise ConfigError(problems)
    return config


def check_tonemap(values: Mapping[str, Any]) -> TonemapConfig:
    """Check a composed ``tonemap`` configuration and return it as an object, paths without tildes.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    config = _at_home(build(TonemapConfig, values, problems), problems)
    if _sound(problems, "operator"):
        twice = {one for one in config.operator if config.operator.count(one) > 1}
        problems += [f"operator={one}: named twice" for one in sorted(twice)]
        if config.checkpoint and "iqatm" not in config.operator:
            problems.append(
                "checkpoint: only iqatm has nets; add it to operator, or leave the checkpoint out"
            )
        if config.sheet and len(config.operator) < 2:
            problems.append(
                "sheet=true: nothing to compare; give several operators, for example [iqatm,drago]"
            )
    if problems:
        raise ConfigError(problems)
    return config


def _at_home(config: OnFiles, problems: list[str]) -> OnFiles:
    """Put the home folder for tildes, and judge the paths of a command that works on files."""
    if not _sound(problems, "input", "output", "checkpoint"):
        return config
    config = replace(
        config,
        input=tuple(map(_expanded, config.input)),
        output=_expanded(config.output),
        checkpoint=config.checkpoint and tuple(map(_expanded, config.checkpoint)),
    )
    problems += [
        f"checkpoint={one}: no such file or folder"
        for one in config.checkpoint or ()
        if not os.path.exists(one)
    ]
    if os.path.isfile(config.output):
        problems.append(f"output={config.output}: is a file; give a folder")
    return config


def memory_bytes(text: str) -> float:
    """Return the bytes of ``2GB`` or ``512MB``, or 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MG])i?B", text, re.IGNORECASE)
    return float(found[1]) * {"M": 1e6, "G": 1e9}[found[2].upper()] if found else 0.0


def _expanded(path: str) -> str:
    return str(Path(path).expanduser())
