"""What a sweep varies: from words of a command line to axes, and from axes to the values of a job."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import IntervalSweep, Override

from hdrlab.config.command import elements, parse

if TYPE_CHECKING:
    import optuna

DIGITS = 4
"""Significant digits of a number drawn from an interval, so that people can read and repeat it."""
ATTEMPTS = 100
"""Draws for a job that none was before."""

Values = Mapping[str, str]
"""A job's values by their keys, as words."""


@dataclass(frozen=True)
class Axis:
    """A key that a sweep varies.

    Attributes:
        key: The key or group.
        values: The words to choose from; of an interval its ends.
        interval: Whether all between two ends is allowed.
        log: Whether an interval is even in ratios.
        whole: Whether an interval holds whole numbers only.
    """

    key: str
    values: tuple[str, ...]
    interval: bool = False
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of an interval."""
        return float(self.values[0]), float(self.values[1])

    def problems(self, method: str) -> Iterator[str]:
        """Yield what is wrong with it, whatever the key is."""
        if not self.interval:
            twice = [value for value in dict.fromkeys(self.values) if self.values.count(value) > 1]
            yield from (f"{self.key}={value}: named twice" for value in twice)
            return
        low, high = self.ends
        if method == "grid":
            yield f"{self.key}: a grid takes no interval; name values, for example range(1,9,2), or sweep=tpe"
        if low >= high:
            yield f"{self.key}: interval({low:g},{high:g}) is empty; write the lower end first"
        if self.log and low <= 0:
            yield f"{self.key}: interval({low:g},{high:g}) on a log scale must begin above 0"

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Return the axis in Optuna's terms."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if not self.interval:
            return CategoricalDistribution(self.values)
        low, high = self.ends
        if self.whole:
            return IntDistribution(int(low), int(high), log=self.log)
        return FloatDistribution(low, high, log=self.log)

    def stored(self, word: str) -> str | float | int:
        """Turn a job's word into what Optuna knows it as."""
        if not self.interval:
            return word
        return int(word) if self.whole else float(word)

    def word(self, value: str | float | int) -> str:
        """Turn a value that Optuna drew into a word, rounded but inside the interval."""
        if not self.interval or self.whole:
            return str(value)
        low, high = self.ends
        return f"{min(max(float(f'{float(value):.{DIGITS}g}'), low), high):.15g}"


def split(words: Sequence[str], space: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Tell the words that all jobs share from those that are varied.

    Args:
        words: Of the command line; where it names a key of the search space, it wins.
        space: Of the search space.

    Returns:
        The shared words, and the varied ones parsed.

    Raises:
        ConfigError: If a word is not understood.
    """
    given = [parse(word) for word in words]
    keys = {override.key_or_group for override in given}
    given += [override for override in map(parse, space) if override.key_or_group not in keys]
    shared = [str(override.input_line) for override in given if not override.is_sweep_override()]
    return shared, [override for override in given if override.is_sweep_override()]


def make_axis(override: Override, *, whole: bool) -> Axis:
    """Make the axis of a varied word.

    Args:
        override: The word.
        whole: Whether its key takes whole numbers only.
    """
    value = override.value()
    key, values = override.key_or_group, tuple(elements(override))
    if isinstance(value, IntervalSweep):
        return Axis(key, values, interval=True, log="log" in value.tags, whole=whole)
    return Axis(key, values)


def grid_size(axes: Sequence[Axis]) -> int:
    """Count the combinations."""
    return math.prod(len(axis.values) for axis in axes)


def grid(axes: Sequence[Axis]) -> list[Values]:
    """List every combination, the last key's values changing first."""
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, chosen, strict=True)) for chosen in itertools.product(*(a.values for a in axes))]


def suggest(
    axes: Sequence[Axis],
    earlier: Sequence[tuple[Values, float | None]],
    *,
    higher: bool,
    startup: int,
    seed: int,
) -> Values | None:
    """Let Optuna's tree-structured Parzen estimator choose the next job.

    It is told the jobs before each time anew and draws from a seed of its own for each job: so the choice
    follows from them alone, whether they were made in one go or with interruptions.

    Args:
        axes: What is varied.
        earlier: The values of all jobs so far with their results; None for one that failed or is not finished
            yet, which counts as a bad one: the next ones keep away from it.
        higher: Whether the higher result is the better.
        startup: Jobs drawn at random before it chooses.
        seed: Seed of the sweep.

    Returns:
        The values; None if it finds none that were not there before.
    """
    import numpy as np
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = np.random.SeedSequence((seed, len(earlier))).generate_state(ATTEMPTS)
    for attempt, drawn_by in enumerate(seeds.tolist()):
        # What is left of a small space may lie where TPE does not look any more: then by chance.
        random_until = startup if attempt < ATTEMPTS // 2 else len(earlier) + 1
        # Of few jobs a quarter are good ones: with Optuna's tenth, eight were no better than random ones.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # gamma goes with Optuna 6
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=random_until, seed=drawn_by, gamma=lambda known: math.ceil(known / 4)
            )
        study = as_study(axes, earlier, higher=higher, sampler=sampler)
        drawn = study.ask({axis.key: axis.distribution() for axis in axes}).params
        values = {axis.key: axis.word(drawn[axis.key]) for axis in axes}
        if values not in [before for before, _ in earlier]:
            return values
    return None


def as_study(
    axes: Sequence[Axis],
    earlier: Sequence[tuple[Values, float | None]],
    *,
    higher: bool,
    sampler: optuna.samplers.BaseSampler | None = None,
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
) -> optuna.Study:
    """Return jobs as a study of Optuna.

    Args:
        axes: What is varied.
        earlier: The jobs, see `suggest`.
        higher: Whether the higher result is the better.
        sampler: Chooses further ones.
        storage: Where the study is kept; in memory if None.
        name: Its name there.
    """
    import optuna

    direction = "maximize" if higher else "minimize"
    study = optuna.create_study(storage=storage, sampler=sampler, study_name=name, direction=direction)
    space = {axis.key: axis.distribution() for axis in axes}
    for values, result in earlier:
        study.add_trial(
            optuna.trial.create_trial(
                params={axis.key: axis.stored(values[axis.key]) for axis in axes},
                distributions=space,
                value=result,
                # A pruned trial without figures ranks behind all others.
                state=optuna.trial.TrialState.PRUNED if result is None else optuna.trial.TrialState.COMPLETE,
            )
        )
    return study
