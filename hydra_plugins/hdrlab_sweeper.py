"""A Hydra sweeper that lets Optuna choose: ``hydra/sweeper=tpe``.

Hydra's own plug-in wants an Optuna below 3. This one asks and tells, keeps the study in a file, and goes on
with it when the same command is given again.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.hdrlab_report import _is_higher_better, folder_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial as Trial

DIGITS = 4
"""Significant digits of a number drawn from an interval, so that people can read and repeat it."""


@dataclass
class TPEConf:
    """Settings of the sweeper; names as in Hydra's Optuna plug-in.

    Attributes:
        n_trials: Jobs in all.
        n_jobs: How many are chosen at a time, for a launcher that runs several.
        n_startup_trials: Jobs drawn at random before it chooses.
        seed: Seed of its choices.
        params: What is varied, beside what the command line says.
    """

    _target_: str = "hydra_plugins.hdrlab_sweeper.TPESweeper"
    n_trials: int = 20
    n_jobs: int = 1
    n_startup_trials: int = 5
    seed: int = 0
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="tpe", node=TPEConf, provider="hdrlab")


@dataclass
class TPESweeper(Sweeper):
    """Tree-structured Parzen estimator; see `TPEConf`."""

    n_trials: int
    n_jobs: int
    n_startup_trials: int
    seed: int
    params: Mapping[str, Any]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.whole: DictConfig = config
        self.jobs: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Choose values and launch jobs with them until there were enough."""
        parsed = OverridesParser.create().parse_overrides([*_as_overrides(self.params), *arguments])
        given = {one.key_or_group: one for one in parsed}  # the command line wins
        fixed = [str(one.input_line) for one in given.values() if not one.is_sweep_override()]
        axes = {key: one for key, one in given.items() if one.is_sweep_override()}
        folder = folder_of(self.whole)
        folder.mkdir(parents=True, exist_ok=True)
        study = open_study(str(folder / "optuna.log"), folder.name, higher=self._higher())
        while batch := self._choose(study, axes):
            overrides = [
                [*fixed, *(_as_override(axes[key], trial.params[key]) for key in axes)] for trial in batch
            ]
            returned = self.jobs.launch(overrides, initial_job_idx=batch[0].number)
            for trial, one in zip(batch, returned, strict=True):
                tell(study, trial, one.return_value)

    def _higher(self) -> bool:
        objective = str(OmegaConf.select(self.whole, "objective", default="loss"))
        return not objective.endswith("loss") and _is_higher_better(objective)

    def _choose(
        self, study: "optuna.Study", axes: Mapping[str, Override]
    ) -> "list[optuna.trial.FrozenTrial]":
        """Return the next jobs: first those that a call which was killed has begun."""
        from optuna.trial import TrialState

        space = {key: distribution(one, self._is_whole(key)) for key, one in axes.items()}
        begun: list[Trial] = study.get_trials(states=[TrialState.RUNNING])
        size = min(self.n_jobs, self.n_trials - len(study.trials) + len(begun))
        while len(begun) < size:
            begun.append(ask(study, space, self.n_startup_trials, self.seed))
        return begun[: max(size, 0)]

    def _is_whole(self, key: str) -> bool:
        value = OmegaConf.select(self.whole, key)
        return isinstance(value, int) and not isinstance(value, bool)


def open_study(file: str, name: str, *, higher: bool) -> "optuna.Study":
    """Open the study that is kept in a file, or begin one."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(file)),
        study_name=name,
        direction="maximize" if higher else "minimize",
        load_if_exists=True,
    )


def ask(
    study: "optuna.Study", space: Mapping[str, Any], startup: int, seed: int
) -> "optuna.trial.FrozenTrial":
    """Choose the values of a job.

    Each has a seed of its own: the choice follows from the jobs before alone, with or without interruptions.
    """
    import numpy as np
    import optuna

    number = len(study.trials)
    drawn_by = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    # Of few jobs a quarter are good ones: with Optuna's tenth, eight were no better than random ones.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # gamma goes with Optuna 6
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=startup, seed=drawn_by, gamma=lambda known: math.ceil(known / 4)
        )
    study.ask(dict(space))
    return study.trials[number]


def tell(study: "optuna.Study", trial: "Trial", value: float | None) -> None:
    """Note the result of a job; without one it ranks behind all others, so that the next keep away."""
    from optuna.trial import TrialState

    if value is None or not math.isfinite(value):
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, float(value))


def distribution(one: Override, whole: bool) -> Any:
    """Return what an override says of a key in Optuna's terms."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = one.value()
    if not isinstance(value, IntervalSweep):
        return CategoricalDistribution(tuple(map(str, one.sweep_string_iterator())))
    log, low, high = "log" in value.tags, float(value.start or 0), float(value.end or 0)
    if whole:
        return IntDistribution(math.ceil(low), math.floor(high), log=log)
    return FloatDistribution(low, high, log=log)


def _as_override(one: Override, value: str | float) -> str:
    """Write a drawn value, rounded but inside its interval."""
    interval: Any = one.value()
    if isinstance(value, float) and isinstance(interval, IntervalSweep):
        low, high = float(interval.start or 0), float(interval.end or 0)
        value = min(max(float(f"{value:.{DIGITS}g}"), low), high)
        return f"{one.get_key_element()}={value:.15g}"
    return f"{one.get_key_element()}={value}"


def _as_overrides(params: Mapping[str, Any]) -> Sequence[str]:
    return [f"{key}={value}" for key, value in params.items()]
