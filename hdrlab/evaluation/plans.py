"""Plans: the chain of trainings behind a paper, at several scales, and what the paper says of its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # comes with omegaconf

from hdrlab.config.folder import CONF
from hdrlab.config.stages import STAGES
from hdrlab.config.trust import value_problems

PLANS = CONF.parent / "experiments"
_DAMAGE = (OmegaConfBaseException, YAMLError, OSError, LookupError, TypeError, AttributeError, ValueError)
"""What reading a file that is no plan raises."""


class PlanError(ValueError):
    """A plan that cannot be carried out; ``problems`` holds one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


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
        train: Words of the command line that choose and set it.
        data: Words that choose its data, for scoring too.
        score: Further words for scoring.
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
        comparable: Whether figures may be compared with the claimed ones.
        inputs: Names of the inputs it needs.
        common: Words for all its trainings.
        steps: The trainings in their order.
    """

    note: str
    comparable: bool
    inputs: tuple[str, ...]
    common: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Claim:
    """What is said of a result.

    Attributes:
        what: The figure and its unit.
        data: What it was measured on.
        claimed: The figure; ``positive`` for a gain that should be one; None where nothing is known.
        sure: How sure the figure is.
        measured: ``STAGE/FIGURE`` of the scores; None where it cannot be measured here.
        spread: Standard deviation over pictures, where given.
        tolerance: Difference up to which a figure counts as reproduced; None where none is set.
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
        PlanError: It is missing, or not what a plan holds.
    """
    if not path.is_file():
        own = ", ".join(sorted(file.stem for file in PLANS.glob("*.yaml")))
        raise PlanError([f"plan={path}: no such file; the project's own plans are {own}"])
    try:
        values: Any = OmegaConf.to_container(OmegaConf.load(path))
        if problems := [f"{path}: {problem}" for problem in value_problems(values)]:
            raise PlanError(problems)
        return Plan(
            values["title"],
            values["paper"],
            {name: Input(**said) for name, said in values["inputs"].items()},
            {name: _scale(said) for name, said in values["scales"].items()},
            tuple(Claim(**said) for said in values["claims"]),
            tuple(values.get("remarks") or ()),
        )
    except PlanError:
        raise
    except _DAMAGE as error:
        reason = str(error).splitlines()[0]
        raise PlanError([f"{path}: not a plan ({type(error).__name__}: {reason})"]) from error


def _scale(said: Mapping[str, Any]) -> Scale:
    if unknown := [one["stage"] for one in said["steps"] if one["stage"] not in STAGES]:
        raise ValueError(f"no such stage: {', '.join(map(str, unknown))}")  # folders are named by it
    steps = tuple(
        Step(
            one["stage"],
            tuple(one["train"]),
            tuple(one.get("data", ())),
            tuple(one.get("score", ())),
            float(one.get("cost", 1)),
        )
        for one in said["steps"]
    )
    return Scale(said["note"], said["comparable"], tuple(said["inputs"]), tuple(said["common"]), steps)


def require_inputs(plan: Plan, scale: Scale, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the absolute paths of the inputs a scale needs.

    Raises:
        PlanError: With everything that is missing: what to get, which page says how, how to name it.
    """
    problems = []
    for name in scale.inputs:
        path = given.get(name)
        said = f"{plan.inputs[name].what} (see {plan.inputs[name].page})"
        if path is None:
            problems.append(f"inputs.{name}: not given; {said}; then inputs.{name}=PATH")
        elif not Path(path).exists():
            problems.append(f"inputs.{name}={path}: no such file or folder; {said}")
    if problems:
        raise PlanError(problems)
    return {name: str(Path(given[name] or "").absolute()) for name in scale.inputs}


def fill(words: Sequence[str], inputs: Mapping[str, str]) -> list[str]:
    """Put the inputs' paths for their names in braces, quoted as Hydra reads them."""
    quoted = {name: "'" + path.replace("'", r"\'") + "'" for name, path in inputs.items()}
    return [word.format_map(quoted) for word in words]
