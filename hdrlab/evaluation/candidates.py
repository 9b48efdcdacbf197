"""What the files of ``checkpoint=`` are: a single stage, or nets that make one or several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdrlab.errors import CheckpointError, EvaluationError, WeightsError
from hdrlab.nets import SYSTEMS
from hdrlab.pipeline.singlehdr import REQUIRED
from hdrlab.weights.net_file import SUFFIXES, read_header
from hdrlab.weights.pretrained import TONE

Kind = Literal["stage", "reconstruct", "tonemap"]


@dataclass(frozen=True)
class Candidate:
    """Nets that make one method together.

    Attributes:
        name: For tables.
        files: What to open.
        headers: What the files say of themselves, by their paths.
    """

    name: str
    files: tuple[str, ...]
    headers: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class _Given:
    path: Path
    stage: str | None
    nets: frozenset[str]
    headers: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What a table calls it: the stage, else the file or folder, or the weights it is a part of."""
        return self.stage or (self.path.parent if self.path.name == TONE else self.path).stem


def sort_candidates(checkpoint: Sequence[str]) -> tuple[Kind, list[Candidate]]:
    """Say what is to be evaluated, and group files into methods.

    A file or folder that holds a whole system is a method; all others together are one.

    Args:
        checkpoint: Checkpoints of trainings, files of `hdrlab.import_weights`, or folders of these.

    Returns:
        ``stage`` for the checkpoint of one stage that is no whole system, ``reconstruct`` or ``tonemap``; and
        the methods.

    Raises:
        EvaluationError: Nets of both systems are given.
        CheckpointError: A file cannot be read.
        WeightsError: Likewise.
    """
    given = [_look(Path(one)) for one in checkpoint]
    tone = frozenset(SYSTEMS["IQATM"])
    of_tone = [one for one in given if one.nets & tone]
    if of_tone and len(of_tone) < len(given):
        other = next(one.path for one in given if one not in of_tone)
        message = f"{of_tone[0].path} tone-maps and {other} reconstructs: compare them one by one"
        raise EvaluationError(f"checkpoint: {message}")
    whole = tone if of_tone else frozenset(REQUIRED)
    if len(given) == 1 and given[0].stage and not whole <= given[0].nets:
        return "stage", [Candidate(given[0].stage, tuple(checkpoint), given[0].headers)]
    groups = [[one] for one in given if whole <= one.nets]
    if parts := [one for one in given if not whole <= one.nets]:
        groups.append(parts)
    names = _names([group[0].name if len(group) == 1 else "chain" for group in groups])
    return ("tonemap" if of_tone else "reconstruct"), [
        Candidate(
            name,
            tuple(str(one.path) for one in group),
            {key: value for one in group for key, value in one.headers.items()},
        )
        for name, group in zip(names, groups, strict=True)
    ]


def _look(path: Path) -> _Given:
    if not path.is_dir():
        return _look_at_file(path)
    inside = [_look_at_file(file) for file in sorted(path.iterdir()) if file.suffix in SUFFIXES]
    if not inside:
        raise EvaluationError(f"checkpoint={path}: holds no nets ({', '.join(SUFFIXES)})")
    headers = {key: value for one in inside for key, value in one.headers.items()}
    return _Given(path, None, frozenset().union(*(one.nets for one in inside)), headers)


def _look_at_file(file: Path) -> _Given:
    try:
        header = read_header(file)
    except WeightsError as reason:
        return _look_at_checkpoint(file, reason)
    return _Given(file, None, frozenset((header["net"],)), {str(file): header})


def _look_at_checkpoint(file: Path, no_net_file: WeightsError) -> _Given:
    """Read a file that is none of one net.

    Raises:
        CheckpointError: It is no checkpoint either.
    """
    from hdrlab.training.checkpoints import read_checkpoint  # brings Lightning, which nothing else here needs

    try:
        header = read_checkpoint(file)["hdrlab"]
    except CheckpointError as error:
        raise error from no_net_file
    described = header["nets"].values()
    nets = frozenset(str(one.get("net")) for one in described if isinstance(one, dict))
    return _Given(file, header["stage"], nets, {str(file): header})


def _names(wanted: Sequence[str]) -> list[str]:
    """Number names that are wanted several times."""
    made: list[str] = []
    for name in wanted:
        number = sum(one == name or one.startswith(f"{name}-") for one in made)
        made.append(f"{name}-{number + 1}" if number else name)
    return made
