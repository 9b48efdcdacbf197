"""What names a run: how it differs from the defaults, and a digest of all that changes what it computes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

import yaml  # type: ignore[import-untyped]

from hdrlab.config.choices import CONF
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.section import Section, own_keys

# Keys that change how long, where or how visibly a run computes, but not what a step computes.
_FREE_KEYS = {
    "stage": {"max_steps", "epochs", "init"},  # what a run starts from counts by its content
    "data": {
        "root",
        "manifest",
        "lists",
        "workers",
        "val_images",
        "val_crop",
        "skip_bad",
        "pairing",
        "make_sdr",
        "unlabelled",
    },
    "trainer": {
        *("max_steps", "max_time", "accelerator", "devices", "num_nodes", "timeout", "compile", "val_every"),
        *("save_every", "log_every_n_steps", "val_images", "bad_steps", "bad_samples"),
    },
    "callbacks": {"progress", "panels"},
}
_FREE_SECTIONS = {"logger", "paths", "resume", "publish", "objective", "experiment"}
_LABEL_LENGTH = 40
_DULL = ("patch", "batch_size")


def counts(key: str) -> bool:
    """Say whether a key of a stored configuration, such as ``stage.lr``, changes what a training computes."""
    section, _, name = key.partition(".")
    return section not in _FREE_SECTIONS and name.partition(".")[0] not in _FREE_KEYS.get(section, ())


def label(config: TrainConfig) -> str:
    """Say in a few words how a run differs from its stage's defaults, for the name of its folder.

    Returns:
        Such as ``lr0.001_width0.25``, at most 40 characters; empty for a run of defaults alone.
    """
    words = [config.data.name] if config.data.name != "tiny" else []
    words += [config.preset] if config.preset != "default" else []
    words += [config.trainer.name] if config.trainer.name != "fit" else []
    words += [f"seed{config.seed}"] if config.seed != own_keys(TrainConfig)["seed"].default else []
    short = CONF / "short_run" / config.data.name / f"{config.stage.name}.yaml"
    usual = yaml.safe_load(short.read_text(encoding="utf-8")) if short.is_file() else {}
    words += _words(config.stage, _FREE_KEYS["stage"] | {"name"}, usual)
    words += _words(config.data, _FREE_KEYS["data"] | {"name"})
    words += _words(config.trainer, _FREE_KEYS["trainer"] | {"name"})
    words.sort(key=lambda word: word.startswith(_DULL))  # the sort keeps the order of the rest
    told = ""
    for word in words:
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")
        if len(told) + len(plain) < _LABEL_LENGTH:
            told += f"_{plain}" if told else plain
    return told


def _words(section: Section, free: Collection[str], defaults: Mapping[str, Any] = {}) -> Iterator[str]:
    """Yield a word for each key that is not as by default, its own or one of these."""
    for name, declared in own_keys(type(section)).items():
        value, usual = getattr(section, name), defaults.get(name, declared.default)
        if name in free or declared.path or declared.free:
            continue
        if isinstance(value, Section):
            inner = usual if isinstance(usual, Mapping) else vars(usual) if type(usual) is type(value) else {}
            yield from _words(value, (), inner)
        elif value != usual and not declared.is_required:
            if isinstance(value, bool):
                yield name if value else f"no-{name}"
            elif isinstance(value, (int, float)):
                yield f"{name}{value:g}"
            else:
                yield f"{name}-{value}"


def run_hash(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits of everything that changes what a training computes.

    Args:
        config: The configuration.
        fingerprint: Digest of the data.
        inputs: Digests of the files it starts from, by key.
    """
    text = json.dumps([what_counts(config), fingerprint, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def what_counts(config: TrainConfig) -> dict[str, Any]:
    """Return the part of a configuration that changes what a training computes, as plain values."""
    kept: dict[str, Any] = {}
    values = asdict(config)
    if values["stage"]["loss"]["more"] is None:
        del values["stage"]["loss"]["more"]  # which came later, as a section in a section
    for name, section in values.items():
        if name in _FREE_SECTIONS | _as_ever(config):
            continue
        free = _FREE_KEYS.get(name, set()) | _as_ever(getattr(config, name))
        counted = {k: section[k] for k in section if k not in free} if free else section
        if name == "trainer":
            lightnings = counted.pop("arguments", None) or {}
            if own := {k: v for k, v in lightnings.items() if k not in free}:
                counted["arguments"] = own
        if counted or not free:
            kept[name] = counted
    for key in config.input_files():  # they count by their content, wherever they lie
        *sections, last = key.split(".")
        reduce(lambda values, name: values[name], sections, kept)[last] = "file"
    return kept


def _as_ever(section: Any) -> set[str]:
    """Name the keys that came later and say what was done before: the run of an older version is found."""
    keys = own_keys(type(section)).values() if isinstance(section, Section) else ()
    return {one.name for one in keys if one.later and getattr(section, one.name) == one.default}
