"""Checks a composed configuration: every key by itself, then the rules across keys.

All problems are collected before anything is reported, so that a user mends them in one go.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hdrlab.config.registry import Registry
from hdrlab.config.registry.stages import DATA, reads_tones
from hdrlab.config.registry.tables import (
    ENDS,
    EXPANSIONS,
    LEARNED,
    LOSSES,
    METHODS,
    NETS_METHOD,
    OPERATORS,
    SCORES,
    expansion_of,
)
from hdrlab.config.schema.commands import (
    GAIN_MAP_SIZES,
    EvaluateConfig,
    ImportConfig,
    PhotographConfig,
    PrepareConfig,
    ReconstructConfig,
    TonemapConfig,
    TrainConfig,
    is_clip,
)
from hdrlab.config.schema.data import DataConfig, FolderConfig
from hdrlab.config.schema.section import (
    Config,
    Section,
    amended,
    build,
    keys_of,
    missing_files,
    parameter_keys,
    schema_of,
    variants,
)
from hdrlab.config.schema.stage import StageConfig
from hdrlab.config.schema.trainer import object_problems
from hdrlab.errors import ConfigError, install

FOLDERS = {"photographs": "LDR_in", "references": "HDR_gt", "hdr": "hdr", "sdr": "sdr"}
"""What data.root of data=folder may hold, by the key that it stands for."""

HALF_NEEDS_GPU = "trainer.precision=16: float16 needs a GPU; take bf16, which a CPU can do, or 32"
SYNC_NEEDS_GPU = "trainer.sync_batchnorm=true: needs GPUs; torch has it for no CPU"


def check(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Check a composed configuration and return it as an object.

    Args:
        cls: Schema class of the whole configuration.
        values: Its plain resolved values.

    Raises:
        ConfigError: With every problem found.
    """
    if cls is TrainConfig:
        _guard_training(values)
    problems: list[str] = []
    config = build(cls, values, problems)
    if isinstance(config, EvaluateConfig) and _sound(problems, "data"):
        config = amended(config, data=_inside_root(config.data, problems))
    if isinstance(config, TrainConfig) and _sound(problems, "stage", "data.name", "paths", "trainer.name"):
        config = amended(config, stage=_with_vgg16(config))
    for one in fields(config):
        section = getattr(config, one.name)
        if isinstance(section, Section) and _sound(problems, one.name):
            problems += section.rules()
    for needed, rule in RULES.get(cls, {}).items():
        if _sound(problems, *needed.split()):
            problems += rule(config)
    if problems:
        raise ConfigError(problems)
    return config


def _sound(problems: Iterable[str], *names: str) -> bool:
    """Say whether no problem so far concerns these keys; rules judge values of the right kind only."""
    return not any(problem.startswith(names) for problem in problems)


def find_key(declared: type[Section], values: Mapping[str, Any], dotted: str) -> str | None:
    """Return what is wrong with a dotted key, or None if the schema knows it.

    Args:
        declared: Schema class of the whole configuration.
        values: The configuration as composed so far; tells which stage, data set and logger are chosen.
        dotted: The key, for example ``stage.loss.tv``.
    """
    cls: type[Section] | None = declared
    base, inside, walked = declared, values, ""
    for part in dotted.split("."):
        known = keys_of(cls) if cls else {}
        if part not in known:
            inner = dotted[len(walked + part) :]
            refusal = cls.refusal(part, is_section=bool(inner)) if cls else ""
            if refusal != "":
                return refusal and f"{dotted}: {refusal}"
            names = [name for name in known if name != (cls and cls.OPEN)]
            close = difflib.get_close_matches(part, names, n=1, cutoff=0.6)
            if close:
                return f"{dotted}: no such key; did you mean {walked}{close[0]}{inner}?"
            owners = [name for name, schema in variants(base).items() if part in keys_of(schema)]
            if owners and walked:
                return f"{dotted}: a key of {' or '.join(walked[:-1] + '=' + name for name in owners)} only"
            return f"{dotted}: no such key; {walked[:-1] or 'the configuration'} has {', '.join(known)}"
        if known[part].kind is dict:
            return None  # its names are the user's
        inside = inside.get(part) or {} if isinstance(inside, Mapping) else {}
        if section := known[part].section:
            base, cls = section, schema_of(section, inside)
        else:
            cls = None
        walked += part + "."
    return None


# --------------------------------------------------------------------------------------------------- training


def _guard_training(values: Mapping[str, Any]) -> None:
    """Refuse choices that do not go together before their keys are blamed for it.

    Raises:
        ConfigError: An experiment of another stage, or data that are no training's.
    """
    stage, data, pinned = (values.get(name) or {} for name in ("stage", "data", "experiment"))
    if pinned and stage and pinned.get("stage") != stage.get("name"):
        raise ConfigError(
            f"experiment={pinned.get('name')} is made for stage={pinned.get('stage')}, "
            f"not for stage={stage.get('name')}"
        )
    if data.get("name") in DATA and not DATA[data["name"]].batch_keys:
        raise ConfigError(
            f"data={data['name']}: for hdrlab.evaluate only; to train on pairs use data=hdr_real, "
            "for tone mapping data=tmo_pairs, with data.root=FOLDER"
        )


def _stage_rules(config: TrainConfig) -> Iterator[str]:
    stage, data = config.stage, config.data
    if missing := set(stage.batch_keys) - set(data.batch_keys):
        yield f"stage={stage.name} needs {', '.join(sorted(missing))}, which data={data.name} has not"
    side = getattr(data, "short_side", None)
    if side is not None and not reads_tones(stage.batch_keys) and stage.patch > side:
        yield f"stage.patch={stage.patch}: must be at most data.short_side={side}"
    for name in stage.loss.added.keys() - LOSSES.keys():
        yield f"stage.loss.{name}: no such term; name the plug-in that has it, plugins=[MODULE]"
    if config.preset == "tf2" and reads_tones(stage.batch_keys):
        yield f"preset=tf2: SingleHDR's only; stage={stage.name} has default and official"


def _with_vgg16(config: TrainConfig) -> StageConfig:
    """Put the VGG-16 that ``auto`` stands for in its place; a rule says why where that cannot be done."""
    stage = config.stage
    if stage.vgg16 != "auto" or [*_vgg16_rules(config)]:
        return stage
    weights = stage.find_vgg16(config.paths.vgg16, rehearsal=_is_rehearsal(config))
    perceptual = amended(getattr(stage, "perceptual"), weights=weights)  # noqa: B009 - it has one, or no VGG-16
    return amended(stage, perceptual=perceptual)


def _vgg16_rules(config: TrainConfig) -> Iterator[str]:
    if config.stage.vgg16 == "auto":
        yield from missing_files({"paths.vgg16": config.paths.vgg16})
        try:
            config.stage.find_vgg16(config.paths.vgg16, rehearsal=_is_rehearsal(config))
        except ConfigError as error:
            yield from error.problems


def _scheduler_rules(config: TrainConfig) -> Iterator[str]:
    if config.scheduler is not None:
        yield from object_problems("scheduler", config.scheduler)
        if config.stage.schedule != "constant":
            yield f"scheduler: stage.schedule={config.stage.schedule} is one already; leave one of them out"


def _is_rehearsal(config: TrainConfig) -> bool:
    return config.data.name == "tiny" or config.trainer.name == "smoke"


def _run_rules(config: TrainConfig) -> Iterator[str]:
    if config.resume not in ("auto", "never"):
        yield from missing_files({"resume": config.resume})
    trainer, batch_size = config.trainer, config.stage.batch_size
    if trainer.accelerator == "cpu" and trainer.precision == "16":
        yield HALF_NEEDS_GPU
    if trainer.accelerator == "cpu" and trainer.sync_batchnorm:
        yield SYNC_NEEDS_GPU
    if trainer.compile and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl"))):
        yield "trainer.compile=true: torch needs a C++ compiler for it; install g++ or clang++, or set CXX"
    ranks = trainer.devices * trainer.num_nodes
    parts = trainer.accumulate_grad_batches
    if batch_size % (ranks * parts):
        devices = f"the {ranks} devices" if ranks > 1 else "1 device"
        times = f" × trainer.accumulate_grad_batches={parts}" if parts > 1 else ""
        yield f"stage.batch_size={batch_size}: must be a multiple of {devices}{times}"
    if getattr(config.data, "jpeg_quality", None) == "positional" and batch_size == 1:
        yield "data.jpeg_quality=positional: needs stage.batch_size of at least 2"
    if config.logger.name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        yield f"logger=tensorboard: the package is missing; {install('tensorboard')}"


# ------------------------------------------------------------------------------------------------- evaluation


def _inside_root(data: DataConfig, problems: list[str]) -> DataConfig:
    """Of data=folder, name the folders inside ``data.root`` by their keys."""
    if not isinstance(data, FolderConfig) or data.root is None:
        return data
    if named := [name for name in FOLDERS if getattr(data, name)]:
        problems.append(f"data.root and data.{named[0]}: give the one or the other")
        return data
    root = Path(data.root)
    inside = {name: str(root / folder) for name, folder in FOLDERS.items() if (root / folder).is_dir()}
    if root.is_dir() and not ({"photographs", "references"} <= inside.keys() or "hdr" in inside):
        problems.append(
            f"data.root={root}: holds neither LDR_in with HDR_gt nor hdr; or name the folders: "
            "data.photographs=FOLDER data.references=FOLDER, or data.hdr=FOLDER"
        )
    return amended(data, **inside)


def _task_rules(config: EvaluateConfig) -> Iterator[str]:
    data = config.data
    if config.task and data.tasks and config.task not in data.tasks:
        yield f"task={config.task}: data={data.name} is for task={data.tasks[0]}"
    if not data.batch_keys and len(data.tasks) == 2 and not config.task:
        yield "data: photographs and images for tone mapping; set task=reconstruct or task=tonemap"
    for name, folder in (config.results or {}).items():
        if not re.fullmatch(r"[\w.+-]+", name):
            yield f"results.{name}: a name of letters, digits and _ . + - is needed"
        if name in (*METHODS, *OPERATORS, "oracle", "sdr"):
            yield f"results.{name}: a method of hdrlab is called so; choose another name"
        if not os.path.isdir(folder):
            yield f"results.{name}={folder}: no such folder"


def _metric_rules(config: EvaluateConfig) -> Iterator[str]:
    of_matlab = []
    having = SCORES.parameters()
    for word in config.parameters or {}:
        if word in having and not {*having[word]} & {*(config.metrics or ())}:
            yield f"{word}: of the metric {' and '.join(having[word])}, which metrics does not name"
    for name in config.metrics or ():
        row = SCORES.get(name)
        if row and row.package and importlib.util.find_spec(row.package[0]) is None:
            yield f"metrics={name}: the package is missing; pip install {row.package[1]}, or leave it out"
        if row and row.toolbox:
            of_matlab.append(name)
            yield from _toolbox_rules(name, row.toolbox, getattr(config.toolbox, name))
    if of_matlab and find_matlab(config.toolbox.program) is None:
        wanted = config.toolbox.program or "octave, octave-cli or matlab"
        yield (
            f"metrics={','.join(of_matlab)}: HDR-VDP needs GNU Octave or MATLAB, and {wanted} is not found; "
            "install one, name it by toolbox.program=PATH, or leave the metric out"
        )


def _toolbox_rules(name: str, file: str, folder: str | None) -> Iterator[str]:
    if folder is None:
        yield f"metrics={name}: needs toolbox.{name}=FOLDER, your copy of the toolbox, which holds {file}"
    elif not os.path.isfile(os.path.join(folder, file)):
        yield f"toolbox.{name}={folder}: holds no {file}; give the folder of the toolbox that does"


def find_matlab(program: str | None) -> str | None:
    """Find Octave or MATLAB: the one that is named, or the first that is installed."""
    names = (program,) if program else ("octave", "octave-cli", "matlab")
    return next(filter(None, map(shutil.which, names)), None)


# ------------------------------------------------------------------------------------------ files and folders


def _checkpoint_rules(config: Any) -> Iterator[str]:
    for one in config.checkpoint or ():
        if not os.path.exists(one):
            yield f"checkpoint={one}: no such file or folder"


def _root_rules(config: Any) -> Iterator[str]:
    if config.data.root_holds and config.data.root is None:
        yield f"data.root: not set; the folder of {config.data.root_holds}, prepared or not"


def _scene_rules(config: PhotographConfig) -> Iterator[str]:
    if config.data.needs_pairs:
        yield f"data={config.data.name}: no scenes to photograph; use data=tiny or data=hdr_synth"
    else:
        yield from _root_rules(config)


def _output_rules(config: Any) -> Iterator[str]:
    if config.output is not None and os.path.isfile(config.output):
        yield f"output={config.output}: is a file; give a folder"


def _memory_rules(config: Any) -> Iterator[str]:
    if not memory_bytes(config.memory):
        yield f"memory={config.memory}: must be a number with MB or GB, for example 2GB"


def memory_bytes(text: str) -> float:
    """Return the bytes of ``2GB`` or ``512MB``, or 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MG])i?B", text, re.IGNORECASE)
    return float(found[1]) * {"M": 1e6, "G": 1e9}[found[2].upper()] if found else 0.0


def _source_rules(config: PrepareConfig) -> Iterator[str]:
    if config.data.root_holds is None:
        yield f"data={config.data.name}: nothing to prepare; use data=hdr_synth, hdr_real or tmo_pairs"
    if not os.path.isdir(config.source):
        yield f"source={config.source}: no such folder"
    if Path(config.root).resolve() == Path(config.source).resolve():
        yield "root: must be another folder than source, which stays as it is"


def _import_rules(config: ImportConfig) -> Iterator[str]:
    if not any(os.path.exists(config.source + end) for end in ("", ".index")):
        yield f"source={config.source}: no such file, folder or checkpoint (.index)"


def _shard_rules(config: Any) -> Iterator[str]:
    if config.shard >= config.num_shards:
        yield f"shard={config.shard}: must be below num_shards={config.num_shards}; the first is 0"


_OF_NETS = ("weights", "checkpoint", "slots", "stages", "refine", "layers", "procedure")
"""Keys that choose what nets make; those that say how they compute may stand in anybody's configuration."""


def _form_rules(config: ReconstructConfig) -> Iterator[str]:
    if config.layers and "exr" not in (config.formats or ("exr",)):
        yield "layers=true: only EXR holds layers; add exr to formats"
    end = expansion_of(config.method)
    yield from _parameter_rules(EXPANSIONS, (end,) if end else (), config.settings, config.method)
    if config.method != NETS_METHOD:
        yield from (
            f"{name}: method={config.method} has no nets; leave it out, or take method=nets"
            for name in _OF_NETS
            if getattr(config, name) != getattr(ReconstructConfig, name)
        )
    if config.stages == "deq_lin" and config.refine:
        yield "refine=true: nothing to refine with stages=deq_lin; use stages=all"
    sizes = [word for word in config.gain_map if word in GAIN_MAP_SIZES]
    if max(len(sizes), len(config.gain_map) - len(sizes)) > 1:
        words = ",".join(config.gain_map)
        yield f"gain_map=[{words}]: at most one of use and ignore, and one of {', '.join(GAIN_MAP_SIZES)}"


def _parameter_rules(
    table: Registry[Any], names: Sequence[str], settings: Mapping[str, Any], called: str
) -> Iterator[str]:
    """Say which settings are for none of the parts chosen, or are not what one of them takes."""
    parameters = table.parameters()
    keys = parameter_keys(parameters)
    for name, value in settings.items():
        having = parameters[name]
        if not having.keys() & {*names}:
            more = [end for end in ENDS if table is EXPANSIONS and ENDS[end] in having]
            yield f"{name}: {called} cannot use it; it is for {', '.join([*having, *more])}"
        for part in names:
            if part in having and keys[name].limits.admit(value) and not having[part].limits.admit(value):
                yield f"{name}: got {value!r}, must be {having[part].limits} for {part}"


def _operator_rules(config: TonemapConfig) -> Iterator[str]:
    names = config.operators
    yield from (f"operator={one}: named twice" for one in sorted({n for n in names if names.count(n) > 1}))
    yield from _parameter_rules(OPERATORS, names, config.parameters or {}, " and ".join(names))
    formats = config.format or ()
    alike = [one for one in (("png", "png16"), ("jpeg", "jpg")) if {*one} <= {*formats}]
    yield from (f"format: {' and '.join(one)} would have one name; take one of them" for one in alike)
    if len({*formats}) < len(formats):
        yield f"format=[{','.join(formats)}]: names one twice"
    if "avif" in formats and importlib.util.find_spec("imagecodecs") is None:
        yield f"format=avif needs an extra: {install('codecs')}"
    if config.checkpoint and LEARNED not in names:
        yield "checkpoint: only iqatm has nets; add it to operator, or leave the checkpoint out"
    if config.sheet and len(names) < 2 and not (config.sequence or any(map(is_clip, config.input))):
        yield "sheet=true: nothing to compare; give several operators, for example [iqatm,drago]"


Rule = Callable[[Any], Iterator[str]]
RULES: Mapping[type, Mapping[str, Rule]] = {
    TrainConfig: {
        "data": _root_rules,
        "stage data.name data.short_side": _stage_rules,
        "stage data.name paths trainer.name": _vgg16_rules,
        "stage.batch_size trainer logger data.jpeg_quality resume": _run_rules,
        "scheduler stage.schedule": _scheduler_rules,
    },
    PrepareConfig: {"source root": _source_rules},
    EvaluateConfig: {
        "data": _root_rules,
        "checkpoint": _checkpoint_rules,
        "data task results checkpoint metrics niqe": _task_rules,
        "memory": _memory_rules,
        "output": _output_rules,
        "metrics toolbox": _metric_rules,
        "niqe": lambda config: missing_files({"niqe": config.niqe}),
    },
    PhotographConfig: {"data": _scene_rules, "output": _output_rules},
    ImportConfig: {
        "source": _import_rules,
        "output": _output_rules,
        "basis": lambda config: missing_files({"basis": config.basis}),
    },
    ReconstructConfig: {
        "checkpoint": _checkpoint_rules,
        "output": _output_rules,
        "method layers formats stages refine gain_map weights checkpoint slots parameters": _form_rules,
        "shard num_shards": _shard_rules,
        "memory": _memory_rules,
    },
    TonemapConfig: {
        "checkpoint": _checkpoint_rules,
        "output": _output_rules,
        "operator format exposure contrast saturation gamma parameters": _operator_rules,
        "shard num_shards": _shard_rules,
    },
}
"""By configuration, its rules across keys, each with the keys that must be sound before it can judge."""
