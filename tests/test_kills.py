"""Trainings killed at random moments, over and over: ``make test-kills``."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from forked import start
from test_resume import assert_same_run
from training import Lab

from hdrlab.config.registry.stages import STAGES

KILLS = 40
STEPS = 10
SEED = int(os.environ.get("HDRLAB_KILL_SEED", random.SystemRandom().randrange(10**6)))


@pytest.mark.kills
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_random_kills_change_nothing(lab: Lab, capfd: pytest.CaptureFixture[str], stage: str) -> None:
    draws = random.Random(f"{SEED} {stage}")
    words = [
        *(
            f"stage.max_steps={STEPS}",
            "stage.batch_size=4",
            "trainer.val_every=4",
            "trainer.log_every_n_steps=1",
        ),
        f"trainer.accumulate_grad_batches={draws.choice((1, 2))}",
        f"trainer.save_every={draws.choice((1, 2, 3))}",
    ]
    elsewhere = Lab(lab.prepared, lab.work / "whole")
    lab.work.joinpath("whole").mkdir()
    begun = time.monotonic()
    assert start(elsewhere.words(stage, *words), lab.work / "log").wait() == 0
    length = time.monotonic() - begun
    (whole,) = (elsewhere.runs / stage).iterdir()
    kills = starts = 0
    while kills < KILLS // len(STAGES):
        killed, restarts = _run_killed(lab, stage, words, length, KILLS // len(STAGES) - kills, draws)
        kills, starts = kills + killed, starts + restarts
        assert_same_run(lab.newest(stage), whole)
    with capfd.disabled():
        print(f"\n{stage}: {kills} kills in {starts} starts, all as uninterrupted (HDRLAB_KILL_SEED={SEED})")


def _run_killed(
    lab: Lab, stage: str, words: list[str], length: float, most: int, draws: random.Random
) -> tuple[int, int]:
    """Train one run to its end, killed on the way; return the number of kills and of starts."""
    kills = starts = 0
    fresh = ["resume=never"] if (lab.runs / stage).exists() else []
    while True:
        log: Path = lab.work / "log"
        training = start(lab.words(stage, *words, f"data.workers={draws.choice((0, 2))}", *fresh), log)
        starts += 1
        if kills < most:
            time.sleep(draws.uniform(0, 0.6 * length))
            if not training.ended():
                os.killpg(training.pid, signal.SIGKILL)
        code = training.wait()
        fresh = [] if (lab.runs / stage).exists() else fresh
        if code == 0:
            return kills, starts
        assert code == -signal.SIGKILL, log.read_text()
        kills += 1
