from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hdrlab.batch_files import Advance, BatchError, Job, Manifest, plan_jobs, run_batch
from hdrlab.io import ImageError

Make = Callable[..., None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b 1's%.png", "sub/a.jpg", "sub/ü.jpg", ".hidden.jpg", ".thumbs/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def targets(jobs: list[Job], output: Path) -> list[str]:
    return [job.target.relative_to(output).as_posix() for job in jobs]


def test_a_folder_is_mirrored_without_what_is_hidden_or_below_the_output(photos: Path) -> None:
    output = photos / "sub" / "out"
    output.mkdir()
    (output / "a_preview.png").write_bytes(b"x")
    jobs = plan_jobs([str(photos)], output)
    assert targets(jobs, output) == ["a", "b 1's%", "sub/a", "sub/ü"]
    assert [job.name for job in jobs] == ["a.jpg", "b 1's%.png", "sub/a.jpg", "sub/ü.jpg"]


def test_files_patterns_and_relative_paths(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "sub")
    output = Path("../out")
    there = photos / "out"
    assert targets(plan_jobs(["../a.jpg", "ü.jpg"], output), there) == ["a", "ü"]
    assert targets(plan_jobs(["../**/*.jpg"], output), there) == ["a", "sub/a", "sub/ü"]
    (photos / "[1].jpg").write_bytes(b"x")
    assert targets(plan_jobs(["../[1].jpg"], output), there) == ["[1]"]


def test_names_that_differ_in_their_suffix_keep_it(photos: Path, tmp_path: Path) -> None:
    for name in ("a.png", "A.tif"):
        (photos / name).write_bytes(b"x")
    output = tmp_path / "out"
    assert targets(plan_jobs([str(photos)], output), output) == [
        "A_tif",
        "a_jpg",
        "a_png",
        "b 1's%",
        "sub/a",
        "sub/ü",
    ]


def test_two_pictures_for_one_place_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"a\.jpg and .*sub/a\.jpg would both be written to .*a_jpg\.\*"):
        plan_jobs([str(photos / "a.jpg"), str(photos / "sub" / "a.jpg")], tmp_path / "out")


def test_long_names_leave_room_for_an_ending(tmp_path: Path) -> None:
    names = [f"{'ü' * 122}{end}.jpg" for end in "ab"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    jobs = plan_jobs([str(tmp_path)], tmp_path / "out")
    assert len({job.target for job in jobs}) == 2
    assert all(len(job.target.name.encode()) < 220 for job in jobs)


def test_all_inputs_that_give_nothing_are_said(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BatchError) as caught:
        plan_jobs(["missing.jpg", str(tmp_path / "empty"), "*.nothing"], tmp_path / "out")
    assert len(caught.value.problems) == 3
    assert caught.value.problems[0] == "input=missing.jpg: no such file or folder"


def test_outputs_never_lie_beside_their_photographs(photos: Path) -> None:
    for given in (photos, photos / "a.jpg"):
        with pytest.raises(BatchError, match="holds the photographs themselves"):
            plan_jobs([str(given)], photos)
    assert targets(plan_jobs([str(photos / "sub")], photos), photos) == ["a", "ü"]


@pytest.fixture
def batch(
    photos: Path, tmp_path: Path
) -> tuple[list[Job], Path, list[str], Callable[[Job, Advance], list[Path]]]:
    output = tmp_path / "out"
    output.mkdir()
    worked: list[str] = []

    def work(job: Job, advance: Advance) -> list[Path]:
        worked.append(job.name)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        file = job.target.with_name(job.target.name + ".exr")
        file.write_bytes(b"made")
        advance(1, 1)
        return [file]

    return plan_jobs([str(photos)], output), output / "done.jsonl", worked, work


def test_only_what_changed_is_done_again(
    batch: tuple[list[Job], Path, list[str], Callable[..., list[Path]]],
) -> None:
    jobs, path, worked, work = batch
    assert run_batch(jobs, Manifest(path, "s"), work).done == 4
    worked.clear()
    outcome = run_batch(jobs, Manifest(path, "s"), work)
    assert (outcome.done, outcome.kept, worked) == (0, 4, [])
    jobs[0].source.write_bytes(b"another photograph")
    jobs[1].target.with_name(jobs[1].target.name + ".exr").unlink()
    assert run_batch(jobs, Manifest(path, "s"), work).kept == 2
    assert worked == [jobs[0].name, jobs[1].name]
    assert run_batch(jobs, Manifest(path, "other settings"), work).kept == 0
    assert run_batch(jobs, Manifest(path, "other settings", fresh=True), work).kept == 0
    assert run_batch(jobs, Manifest(path, "other settings"), work).kept == 4


def test_a_kill_costs_one_picture_at_most(
    batch: tuple[list[Job], Path, list[str], Callable[..., list[Path]]],
) -> None:
    jobs, path, worked, work = batch

    def killed(job: Job, advance: Advance) -> list[Path]:
        if len(worked) == 2:
            raise KeyboardInterrupt
        return work(job, advance)

    with pytest.raises(KeyboardInterrupt):
        run_batch(jobs, Manifest(path, "s"), killed)
    with path.open("a") as stream:
        stream.write('{"target": "b')  # a line that the kill cut off
    assert run_batch(jobs, Manifest(path, "s"), work).kept == 2
    assert run_batch(jobs, Manifest(path, "s"), work).kept == 4


def test_a_failure_stops_nothing_and_is_told_in_the_end(
    batch: tuple[list[Job], Path, list[str], Callable[..., list[Path]]], capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, path, _, work = batch

    def failing(job: Job, advance: Advance) -> list[Path]:
        if job is jobs[1]:
            raise ImageError(job.source, "is truncated")
        if job is jobs[2]:
            raise MemoryError
        return work(job, advance)

    outcome = run_batch(jobs, Manifest(path, "s"), failing)
    assert outcome.report(path.parent) == 1
    said = capsys.readouterr()
    assert "error: b 1's%.png: is truncated\nerror: sub/a.jpg: memory ran out\n" in said.err
    assert said.out == f"2 written to {path.parent}, 2 failed\n"
    assert run_batch(jobs, Manifest(path, "s"), work).report(path.parent) == 0
    assert capsys.readouterr().out == f"2 written to {path.parent}, 2 there already\n"
