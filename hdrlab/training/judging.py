"""What a sweep judges its trainings by."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from hdrlab.config.cli import output_dir
from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.section import nearest
from hdrlab.errors import PluginError, RunError
from hdrlab.stages import stage_class
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.processes import SWEEP


def at_best(folder: Path, name: str) -> float:
    """Return a metric of a run at the validation with the lowest ``val/loss``, that of ``best.ckpt``.

    Args:
        folder: The run folder.
        name: The metric, for example ``val/psnr_c``.

    Raises:
        RunError: The run has no such metric.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        raise RunError(f"{path}: is missing, so the run cannot be judged; choose another logger")
    rows = read_metrics(path)
    judged = [scores for scores in rows.values() if {"val/loss", name} <= scores.keys()]
    if not judged:
        names = dict.fromkeys(one for scores in rows.values() for one in scores if one.startswith("val/"))
        raise RunError(f"objective={name}: {folder} has {', '.join(names) or 'no metric at all'}")
    return min(judged, key=lambda scores: scores["val/loss"])[name]


def judge(config: TrainConfig) -> float | None:
    """Return the metric that a sweep judges a finished training by; None where none asks and none is kept.

    Raises:
        RunError: The sweep asks for a metric that the training does not have.
    """
    if config.logger.name == "none" and SWEEP not in os.environ:
        return None
    folder = output_dir()
    assert folder is not None
    try:
        return at_best(folder, config.objective)
    except RunError as error:
        if SWEEP in os.environ:
            raise
        print(f"warning: {error}", file=sys.stderr, flush=True)  # the training itself is done
        return None


def judging_rules(values: Mapping[str, Any], overrides: Sequence[Override]) -> Iterator[str]:
    """Say what a sweep could not judge its jobs by, and which metric no training has.

    Args:
        values: The configuration, but for single keys of the command line.
        overrides: The command line.
    """
    given = {one.key_or_group: one.value() for one in overrides if not one.is_sweep_override()}
    objective = str(given.get("objective", values.get("objective", "val/loss")))
    swept = [one.key_or_group for one in overrides if one.is_sweep_override()]
    weights = [key for key in swept if key.startswith("stage.loss.")]
    if weights and objective == "val/loss":
        yield (
            f"{', '.join(weights)}: changes what val/loss means; judge by a metric, for example "
            "objective=val/psnr_pu21"
        )
    if swept and (values.get("logger") or {}).get("name") in (None, "none"):
        yield "logger=none: a sweep judges by what is logged; choose another"
    if objective != "val/loss" and "${" not in objective:
        kind, _, name = objective.partition("/")
        try:
            known = _metrics(values)
        except PluginError as error:
            yield from error.problems
        else:
            if kind != "val" or name not in known:
                yield f"objective={objective}: must be val/loss or val/METRIC{nearest(name, known)}"


def _metrics(values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the metrics that validations log, a plug-in's stage its own, too."""
    from hdrlab.metrics.names import METRICS  # brings torch: only where a metric is named

    stage = str((values.get("stage") or {}).get("name"))
    return {**METRICS, **(stage_class(stage).METRICS if STAGES.origin(stage) else {})}
