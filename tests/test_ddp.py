"""Several processes on one training: the same samples, the same steps, and an end when one of them ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training import Lab, checkpoint, numbers

from hdrlab.train import COMMAND

ALONE = [sys.executable, "-m", "hdrlab.train"]
TWO = ["trainer=ddp", "trainer.devices=2"]
SCRIPT = Path(__file__).with_name("frozen_norm.py")


def words_of(lab: Lab, stage: str, *more: str, steps: int = 4) -> list[str]:
    steady = [
        f"stage.max_steps={steps}",
        "trainer.log_every_n_steps=1",
        "stage.batch_size=4",
        "trainer.val_every=2",
    ]
    return lab.words(stage, *steady, *more)


def begin(words: list[str], program: list[str] = ALONE, **environment: str) -> subprocess.Popen[str]:
    here = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM", "MASTER", "PYTEST_XDIST"))
    }
    return subprocess.Popen(
        [*program, *words],
        env={**here, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str]:
    try:
        said, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def ran(words: list[str], program: list[str] = ALONE, **environment: str) -> str:
    code, said = finish(begin(words, program, **environment))
    assert code == 0, said
    return said


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in listed.read_text().split()] if listed.exists() else []


def until(happened: Iterator[bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not next(happened):
        assert process.poll() is None, finish(process)[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_in(lab: Lab, stage: str) -> Path:
    (run,) = (lab.runs / stage).iterdir()
    return run


def largest_difference(one: Path, other: Path) -> float:
    a, b = (checkpoint(run / "last.ckpt")["state_dict"] for run in (one, other))
    return max(float((a[name] - b[name]).abs().max()) for name in a if a[name].is_floating_point())


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_take_over_from_each_other(lab: Lab) -> None:
    exact = "trainer.precision=64"
    whole = Lab(lab.prepared, lab.work / "whole").train(
        "deq", *words_of(Lab(lab.prepared, lab.work / "whole"), "deq", exact, steps=6)
    )
    lab.train("deq", *words_of(lab, "deq", exact, steps=2))
    said = ran(words_of(lab, "deq", exact, *TWO, steps=4))
    run = run_in(lab, "deq")
    assert f"resuming {run / 'last.ckpt'}" in said
    assert said.count("resuming") == 1
    lab.train("deq", *words_of(lab, "deq", exact, steps=6))
    assert run == run_in(lab, "deq")
    assert largest_difference(run, whole) < 1e-12
    for (step, name, value), expected in zip(numbers(run, "train/"), numbers(whole, "train/"), strict=True):
        assert (step, name) == expected[:2]
        assert value == pytest.approx(expected[2], rel=1e-6)


@pytest.mark.slow
def test_fifty_steps_of_two_processes_in_float64_equal_those_of_one(lab: Lab) -> None:
    other = Lab(lab.prepared, lab.work / "two")
    words = ["trainer.precision=64", "trainer.val_every=50"]
    ran(words_of(lab, "deq", *words, steps=50))
    ran(words_of(other, "deq", *words, *TWO, steps=50))
    assert largest_difference(run_in(lab, "deq"), run_in(other, "deq")) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["deq", "lin", "hal"])
def test_the_first_loss_is_that_of_one_process(lab: Lab, stage: str) -> None:
    program = [sys.executable, str(SCRIPT)]
    other = Lab(lab.prepared, lab.work / "two")
    ran(words_of(lab, stage, steps=1), program)
    ran(words_of(other, stage, *TWO, steps=1), program)
    one, two = (numbers(run_in(place, stage), "train/loss")[0][2] for place in (lab, other))
    assert two == pytest.approx(one, abs=1e-5)
    assert one > 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["joint", "real_finetune", "tmo_bottom", "tmo_high", "tmo_ft"])
def test_every_stage_trains_in_two_processes(lab: Lab, stage: str) -> None:
    ran(words_of(lab, stage, *TWO, steps=2))
    assert checkpoint(run_in(lab, stage) / "last.ckpt")["global_step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_first_process_stops_both_at_one_step(lab: Lab, number: int) -> None:
    words = words_of(lab, "deq", *TWO, "trainer.precision=64", steps=300)
    process = begin(words)
    until((bool(list(lab.runs.glob("deq/*/last.ckpt"))) for _ in iter(int, 1)), process)
    process.send_signal(number)
    code, said = finish(process)
    assert code == 75, said
    stopped = checkpoint(run_in(lab, "deq") / "last.ckpt")["global_step"]
    assert stopped < 300
    said = ran([*words, f"stage.max_steps={stopped + 1}"])
    assert "resuming" in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_dies_or_hangs_ends_the_training(lab: Lab, number: int) -> None:
    process = begin(words_of(lab, "deq", *TWO, "trainer.timeout=30", steps=100_000))
    until((bool(list(lab.runs.glob("deq/*/last.ckpt"))) for _ in iter(int, 1)), process)
    (other,) = children(process.pid)
    os.kill(other, number)
    begun = time.monotonic()
    code, said = finish(process, 150)
    assert code in (1, 75), said
    assert time.monotonic() - begun < 90
    assert not Path(f"/proc/{other}").exists()
    assert "Traceback" not in said.splitlines()[-1]


@pytest.mark.slow
def test_the_death_of_the_first_process_ends_the_others(lab: Lab) -> None:
    words = words_of(lab, "deq", *TWO, "trainer.timeout=30", steps=100_000)
    process = begin(words)
    until((bool(list(lab.runs.glob("deq/*/last.ckpt"))) for _ in iter(int, 1)), process)
    (other,) = children(process.pid)
    process.kill()
    process.wait()
    begun = time.monotonic()
    while Path(f"/proc/{other}").exists() and time.monotonic() - begun < 90:
        time.sleep(0.1)
    alive = Path(f"/proc/{other}").exists()
    finish(process)
    assert not alive
    stopped = checkpoint(run_in(lab, "deq") / "last.ckpt")["global_step"]
    assert "resuming" in ran([*words, f"stage.max_steps={stopped + 1}"])


@pytest.mark.slow
def test_torchrun_starts_again_where_a_killed_process_left(lab: Lab) -> None:
    words = words_of(lab, "deq", *TWO, "trainer.precision=64", "trainer.save_every=1", steps=100)
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=2"]
    process = begin(["-m", "hdrlab.train", *words], [*program, "--standalone"])
    until((bool(list(lab.runs.glob("deq/*/previous.ckpt"))) for _ in iter(int, 1)), process)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    code, said = finish(process)
    assert code == 0, said
    assert "a new run" in said
    assert "resuming" in said
    whole = Lab(lab.prepared, lab.work / "whole").train(
        "deq", *words_of(Lab(lab.prepared, lab.work / "whole"), "deq", "trainer.precision=64", steps=100)
    )
    assert largest_difference(run_in(lab, "deq"), whole) < 1e-12


@pytest.mark.slow
def test_srun_starts_all_processes_of_one_run(lab: Lab) -> None:
    words = words_of(lab, "deq", *TWO, "resume=never", steps=2)
    job = {
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_JOB_ID": free_port(),
        "SLURM_NNODES": "1",
    }
    job |= {"SLURM_JOB_NAME": "hdr", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost"}
    tasks = [begin(words, **job, SLURM_PROCID=str(n), SLURM_LOCALID=str(n)) for n in (1, 0)]
    for code, said in map(finish, tasks):
        assert code == 0, said
    assert checkpoint(run_in(lab, "deq") / "last.ckpt")["global_step"] == 2


def test_several_machines_need_somebody_who_starts_them(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main(words_of(lab, "deq", "trainer.num_nodes=2"))
    assert left.value.code == 2
    assert "trainer.num_nodes=2: start one process a device with torchrun or srun" in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("parts", [1, 2])
def test_every_step_has_the_same_samples_whatever_the_number_of_processes(ranks: int, parts: int) -> None:
    from hdrlab.datasets.sampler import CounterSampler

    loaders = [list(CounterSampler(8, 3, 1, rank, ranks, parts)) for rank in range(ranks)]
    for step in (1, 2):
        first = (step - 1) * 8 // ranks
        drawn = [k for one in loaders for k in one[first : first + 8 // ranks]]
        assert sorted(drawn) == list(range(8 * step, 8 * step + 8))


def test_the_steps_gradient_is_the_mean_over_all_samples() -> None:
    """Losses divide by the batch, masked samples included, so the mean of equal shares is the whole's."""
    from hdrlab.losses.reduction import masked_mean

    values, mask = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    shares = torch.stack([masked_mean(v, m) for v, m in zip(values.split(2), mask.split(2), strict=True)])
    assert shares.mean() == masked_mean(values, mask)
