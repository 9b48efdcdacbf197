"""Saves that end before each change of the folder, by a kill or a full disk, once and twice in a row."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from hdrlab.errors import TrainingError
from hdrlab.training.checkpoint_callback import Checkpoints
from hdrlab.training.checkpoint_list import BEST, LAST, check_listed, find_last
from hdrlab.training.checkpoints import CheckpointFiles

CHANGES = ("open", "replace", "link", "unlink")


class Killed(BaseException):
    """The process's end, as far as the file system can tell."""


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(params=[Killed, full], ids=["killed", "full"])
def stop_before(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int | None], None]:
    """Let the n-th change of the file system from now on, and all after it, not happen; None: all happen."""
    left: list[int | None] = [None]

    def guarded(name: str) -> None:
        plain = getattr(os, name)

        def change(*args: Any, **more: Any) -> Any:
            changes = name != "open" or bool(args[1] & os.O_CREAT)
            if left[0] is not None and changes:
                if left[0] == 0:
                    raise request.param()
                left[0] -= 1
            return plain(*args, **more)

        monkeypatch.setattr(os, name, change)

    for name in CHANGES:
        guarded(name)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return lambda number: left.__setitem__(0, number)


def save(folder: Path, step: int, *, best: bool) -> None:
    CheckpointFiles()._save({"global_step": step, "weight": torch.tensor(step)}, folder / LAST, best=best)


def test_a_callback_may_load_and_remove_what_it_has_just_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(self: CheckpointFiles, *args: Any, **keys: Any) -> None:
        time.sleep(0.1)
        plain(self, *args, **keys)

    plain = CheckpointFiles._save
    monkeypatch.setattr(CheckpointFiles, "_save", late)
    files = CheckpointFiles()
    files.save_checkpoint({"global_step": 7}, tmp_path / "own.ckpt")
    assert files.load_checkpoint(tmp_path / "own.ckpt")["global_step"] == 7
    files.save_checkpoint({"global_step": 8}, tmp_path / "own.ckpt")
    files.remove_checkpoint(tmp_path / "own.ckpt")
    files.finish()
    assert not [*tmp_path.iterdir()]


def test_a_callback_does_not_write_over_a_runs_own_checkpoints(tmp_path: Path) -> None:
    save(tmp_path, 3, best=False)
    files = CheckpointFiles()
    files.save_checkpoint({"global_step": 4}, tmp_path / LAST)
    files.finish()
    assert "is the run's own; give the callback another dirpath" in str(files.take_error())
    assert newest(tmp_path) == 3


def newest(folder: Path) -> int:
    found, _ = find_last(folder)
    assert found is not None
    return int(torch.load(found, weights_only=True)["global_step"])


@pytest.mark.parametrize("best", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_two_faults_lose_the_run(
    tmp_path: Path, stop_before: Callable[[int | None], None], best: bool
) -> None:
    folders = (tmp_path / str(number) for number in count())

    def stopped(folder: Path, number: int, step: int) -> bool:
        """Save, and say whether that was stopped before its n-th change."""
        stop_before(number)
        try:
            save(folder, step, best=best)
        except (Killed, OSError):
            return True
        finally:
            stop_before(None)
        return False

    def begin() -> Path:
        """A run with two saves behind it."""
        folder = next(folders)
        folder.mkdir()
        save(folder, 1, best=True)
        save(folder, 2, best=False)
        return folder

    firsts = next(number for number in count() if not stopped(begin(), number, 3))
    assert firsts > 5
    for at_first in range(firsts):
        for at_second in count():
            folder = begin()
            assert stopped(folder, at_first, 3)
            reached = newest(folder)
            assert reached in (2, 3)
            if not stopped(folder, at_second, reached + 1):
                break
            assert newest(folder) in (reached, reached + 1)
        assert newest(folder) == reached + 1
        check_listed(folder / LAST)
        if best:
            check_listed(folder / BEST)


def test_a_validation_that_scored_no_image_is_not_called_a_divergence(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, cast("Any", None), cast("Any", None))
    with pytest.raises(TrainingError, match=r"no validation has found an image .*limit_val_batches"):
        kept.check_result()
