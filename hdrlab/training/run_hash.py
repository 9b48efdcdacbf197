"""What names a run: a digest of all that changes what a training computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.section import Section, keys_of

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
        *("max_steps", "accelerator", "devices", "num_nodes", "timeout", "compile", "val_every"),
        *("save_every", "log_every_n_steps", "val_images", "bad_steps", "bad_samples"),
    },
    "callbacks": {"progress", "panels"},
}
_FREE_SECTIONS = {"logger", "paths", "resume", "publish", "objective", "experiment"}


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
    for name, section in asdict(config).items():
        if name in _FREE_SECTIONS | _as_ever(config):
            continue
        free = _FREE_KEYS.get(name, set()) | _as_ever(getattr(config, name))
        counted = {k: section[k] for k in section if k not in free} if free else section
        if counted or not free:
            kept[name] = counted
    for key in config.input_files():  # they count by their content, wherever they lie
        *sections, last = key.split(".")
        reduce(lambda values, name: values[name], sections, kept)[last] = "file"
    return kept


def _as_ever(section: Any) -> set[str]:
    """Name the keys that came later and say what was done before: the run of an older version is found."""
    keys = keys_of(type(section)).values() if isinstance(section, Section) else ()
    return {one.name for one in keys if one.later and getattr(section, one.name) == one.default}
