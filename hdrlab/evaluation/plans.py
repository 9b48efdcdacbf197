"""Plans: the chain of trainings behind a paper, at several scales, and what the paper says of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError, safe_load  # type: ignore[import-untyped]  # comes with omegaconf

from hdrlab.config.choices import CONF
from hdrlab.config.registry.stages import STAGES
from hdrlab.config.secrets import secret_values
from hdrlab.errors import ConfigError

PLANS = CONF.parent / "experiments"
_DAMAGE = (
    OmegaConfBaseException, YAMLError, OSError, LookupError, TypeError, AttributeError, ValueError,
    RecursionError,
)  # fmt: skip
"""What reading a file that is no plan raises."""

_MOST_VALUES = 10_000
"""In a plan, those that are repeated by reference (``*name``) counted every time."""

_MOST_LEVELS = 100


@dataclass(frozen=True)
class Input:
    """A file or folder that a plan needs and the user has to get.

    Attributes:
        what: What it is and where it comes from.
        page: The page that says more.
    """

    what: str
    page: str


@dataclass(frozen=True)
class Step:
    """One training.

    Attributes:
        stage: The stage.
        train: Arguments that choose and set it.
        data: Arguments that choose its data, for scoring too.
        score: Further arguments for scoring.
        cost: Relative to the other steps of its scale.
    """

    stage: str
    train: tuple[str, ...]
    data: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    cost: float = 1.0


@dataclass(frozen=True)
class Scale:
    """A size at which a plan can be carried out.

    Attributes:
        note: What it stands for.
        comparable: Whether scores may be compared with the claimed ones.
        inputs: Names of the inputs it needs.
        common: Arguments for all its trainings.
        steps: The trainings in their order.
    """

    note: str
    comparable: bool
    inputs: tuple[str, ...]
    common: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Claim:
    """A published result.

    Attributes:
        what: The metric and its unit.
        data: What it was measured on.
        claimed: Its value; ``positive`` for a gain that should be one; None where nothing is known.
        sure: How sure the value is.
        measured: ``STAGE/METRIC`` of the scores; None where it cannot be measured here.
        spread: Standard deviation over images, where given.
        tolerance: Difference up to which a value counts as reproduced; None where none is set.
    """

    what: str
    data: str
    claimed: float | str | None
    sure: str
    measured: str | None
    spread: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Plan:
    """A plan as its file holds it."""

    title: str
    paper: str
    inputs: Mapping[str, Input]
    scales: Mapping[str, Scale]
    claims: tuple[Claim, ...]
    remarks: tuple[str, ...]


def plan_file(name: str) -> Path:
    """Return the file of a plan: of the project's own by its name, of others by the path."""
    return Path(name) if name.endswith((".yaml", ".yml")) else PLANS / f"{name}.yaml"


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: It is missing, or not what a plan holds.
    """
    if not path.is_file():
        own = ", ".join(sorted(file.stem for file in PLANS.glob("*.yaml")))
        raise ConfigError([f"plan={path}: no such file; the project's own plans are {own}"])
    try:
        text = path.read_text(encoding="utf-8")
        _require_shallow(text)
        written: Any = safe_load(text)
        _require_few(written)
        values: Any = OmegaConf.to_container(OmegaConf.create(written))
        if problems := [f"{path}: {problem}" for problem in secret_values(values)]:
            raise ConfigError(problems)
        return Plan(
            values["title"],
            values["paper"],
            {name: Input(**one) for name, one in values["inputs"].items()},
            {name: _scale(one) for name, one in values["scales"].items()},
            tuple(Claim(**one) for one in values["claims"]),
            tuple(values.get("remarks") or ()),
        )
    except ConfigError:
        raise
    except _DAMAGE as error:
        reason = "".join(str(error).splitlines()[:1])
        raise ConfigError([f"{path}: not a plan ({type(error).__name__}: {reason})"]) from error


def _require_few(values: Any) -> None:
    """Refuse references to references, by which a few lines stand for any number of values."""
    waiting = [values]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    raise ValueError(f"stands for more than {_MOST_VALUES} values")


def _require_shallow(text: str) -> None:
    """Refuse deep nesting, over which YAML's reader takes time by the square."""
    if max(accumulate((sign in "[{") - (sign in "]}") for sign in text), default=0) > _MOST_LEVELS:
        raise ValueError(f"is nested more than {_MOST_LEVELS} levels deep")


def _scale(values: Mapping[str, Any]) -> Scale:
    if unknown := [one["stage"] for one in values["steps"] if one["stage"] not in STAGES]:
        raise ValueError(f"no such stage: {', '.join(map(str, unknown))}")  # folders are named by it
    steps = tuple(
        Step(
            one["stage"],
            tuple(one["train"]),
            tuple(one.get("data", ())),
            tuple(one.get("score", ())),
            float(one.get("cost", 1)),
        )
        for one in values["steps"]
    )
    return Scale(
        values["note"], values["comparable"], tuple(values["inputs"]), tuple(values["common"]), steps
    )


def require_inputs(plan: Plan, scale: Scale, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the absolute paths of the inputs a scale needs.

    Raises:
        ConfigError: With everything that is missing: what to get, which page says how, how to name it.
    """
    problems = []
    for name in scale.inputs:
        path = given.get(name)
        message = f"{plan.inputs[name].what} (see {plan.inputs[name].page})"
        if path is None:
            problems.append(f"inputs.{name}: not given; {message}; then inputs.{name}=PATH")
        elif not Path(path).exists():
            problems.append(f"inputs.{name}={path}: no such file or folder; {message}")
    if problems:
        raise ConfigError(problems)
    return {name: str(Path(given[name] or "").absolute()) for name in scale.inputs}


def fill(arguments: Sequence[str], inputs: Mapping[str, str]) -> list[str]:
    """Put the inputs' paths for their names in braces, and quote what holds one as Hydra reads it."""
    filled = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if (put := value.format_map(inputs)) != value:
            put = "'" + put.replace("'", r"\'") + "'"
        filled.append(f"{key}{equals}{put}")
    return filled
