from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

from hdrlab.errors import ImageError, RunError
from hdrlab.inference.batch import Advance, Manifest, Outcome, run_batch
from hdrlab.inference.jobs import Job, Plan
from hdrlab.inference.jobs import plan_jobs as plan
from hdrlab.io import write_image
from hdrlab.io.atomic import write_bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b 1's%.png", "sub/a.jpg", "sub/ü.jpg", ".hidden.jpg", ".thumbs/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def outputs(target: Path) -> list[Path]:
    return [target.with_name(target.name + ending) for ending in (".exr", "_preview.jpg")]


def plan_jobs(inputs: list[str], output: Path) -> list[Job]:
    return plan(inputs, output, outputs).jobs


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


def test_two_images_for_one_place_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.jpg and .*sub/a\.jpg would both be written to .*a_jpg\.exr"):
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
    with pytest.raises(RunError) as caught:
        plan_jobs(["missing.jpg", str(tmp_path / "empty"), "*.nothing"], tmp_path / "out")
    assert len(caught.value.problems) == 3
    assert caught.value.problems[0] == "input=missing.jpg: no such file or folder"


def test_outputs_never_lie_beside_their_photographs(photos: Path) -> None:
    for given in (photos, photos / "a.jpg"):
        with pytest.raises(RunError, match="holds the images themselves"):
            plan_jobs([str(given)], photos)
    assert targets(plan_jobs([str(photos / "sub")], photos), photos) == ["a", "ü"]


def test_what_lies_in_folders_beside_images_is_counted(photos: Path, tmp_path: Path) -> None:
    others = (
        *("a.AAE", "b.xmp", "c.jpg.xmp", "d.MOV", "Thumbs.db", "desktop.ini", "notes.txt", "._a.jpg"),
        *("__MACOSX/._a.jpg", "__MACOSX/sub/a.jpg", "sub/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"),
        *("a.jpg_original", "e.THM", "nothing", "Lightroom Previews.lrdata/0/a.jpg"),
    )
    for name in others:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"x")
    (photos / "IMG_1").write_bytes(b"\xff\xd8\xff\xe0 a JPEG by its first bytes")
    found = plan([str(photos)], tmp_path / "out", outputs)
    assert [job.name for job in found.jobs] == ["IMG_1", "a.jpg", "b 1's%.png", "sub/a.jpg", "sub/ü.jpg"]
    assert found.passed_over.total() == len(others) + 1  # with .hidden.jpg
    assert found.passed_over["no images (.xmp)"] == 2
    assert found.passed_over["no images (__macosx)"] == 2
    named = plan([str(photos / "a.AAE"), str(photos / "._a.jpg")], tmp_path / "out", outputs)
    assert len(named.jobs) == 2  # what is named is meant
    assert [job.name for job in plan([f"{photos}/*"], tmp_path / "out", outputs).jobs] == [
        "IMG_1",
        "a.jpg",
        "b 1's%.png",
    ]


def test_earlier_results_in_folders_are_passed_over(photos: Path, tmp_path: Path) -> None:
    lines = [
        '{"target": "sub/c", "files": ["sub/a.jpg"]}',
        "damaged",
        '{"target": "x", "files": {"a.jpg": [1, "x"]}}',
    ]
    (photos / "reconstruct.jsonl").write_text("\n".join(lines))

    def found(given: Path, output: Path) -> Plan:
        return plan([str(given)], output, lambda target: [target], journals=("reconstruct.jsonl",))

    everything = {job.name for job in plan([str(photos)], tmp_path / "out", lambda target: [target]).jobs}
    below = found(photos, tmp_path / "out")
    assert {job.name for job in below.jobs} == everything - {"a.jpg", "sub/a.jpg"}
    assert below.passed_over["made by hdrlab"] == len(everything & {"a.jpg", "sub/a.jpg"}) > 0
    assert len(found(photos / "a.jpg", tmp_path / "out").jobs) == 1  # named by the user


def test_a_folder_of_companions_only_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.AAE").write_bytes(b"x")
    with pytest.raises(RunError, match="no image among these files"):
        plan([str(tmp_path)], tmp_path / "out", outputs)


def test_of_raw_and_jpeg_one_is_taken(tmp_path: Path) -> None:
    for name in ("A.NEF", "a.jpg", "b.dng", "c.cr3", "c.HEIC", "sub/b.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    found = plan([str(tmp_path / "in")], tmp_path / "out", outputs)
    assert [job.name for job in found.jobs] == ["a.jpg", "b.dng", "c.HEIC", "sub/b.jpg"]
    assert found.passed_over == {"raw files beside the camera's own image, which was taken": 2}
    assert targets(found.jobs, tmp_path / "out") == ["a", "b", "c", "sub/b"]
    both = plan([str(tmp_path / "in" / name) for name in ("A.NEF", "a.jpg")], tmp_path / "out", outputs)
    assert len(both.jobs) == 2


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_forms_of_a_letter_name_a_file(forms: tuple[str, str], tmp_path: Path) -> None:
    stored, given = (normalize(form, "Bücher é/fünf.jpg") for form in forms)
    (tmp_path / stored).parent.mkdir()
    (tmp_path / stored).write_bytes(b"x")
    (job,) = plan_jobs([str(tmp_path / given)], tmp_path / "out")
    assert job.source == tmp_path / stored


def test_names_that_some_disks_take_for_one_are_kept_apart(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "A.jpg", normalize("NFC", "ü.png"), normalize("NFD", "ü.png")):
        (photos / name).write_bytes(b"x")
    found = plan_jobs([str(photos)], tmp_path / "out")
    folded = {normalize("NFC", str(job.target)).casefold() for job in found}
    assert len(folded) == 4


def test_a_folder_that_cannot_be_listed_is_said(photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    walk = os.walk

    def refused(root: Path, onerror: Callable[[OSError], None]) -> Any:
        onerror(PermissionError(errno.EACCES, "Permission denied", f"{root}/secret"))
        return walk(root)

    monkeypatch.setattr(os, "walk", refused)
    found = plan([str(photos)], tmp_path / "out", outputs)
    assert found.unread == {f"{photos}/secret": "cannot be listed: Permission denied"}


# ------------------------------------------------------------------------------------------- carrying out


class Batch:
    """Four photographs, and a work that writes two files for each."""

    def __init__(self, photos: Path, output: Path) -> None:
        self.photos, self.path, self.worked = photos, output / "done.jsonl", list[str]()
        output.mkdir()

    @property
    def plan(self) -> Plan:
        return plan([str(self.photos)], self.path.parent, outputs)

    def file(self, number: int, place: int = 0) -> Path:
        return self.plan.jobs[number].outputs[place]

    def work(self, job: Job, advance: Advance) -> list[str]:
        self.worked.append(job.name)
        for file in job.outputs:
            write_bytes(file, b"made")
        advance(1, 1)
        return []

    def run(self, work: Any = None, settings: str = "s", **options: bool) -> Outcome:
        self.worked.clear()
        with Manifest(self.path, settings, **options) as manifest:
            return run_batch(self.plan, manifest, work or self.work)


@pytest.fixture
def batch(photos: Path, tmp_path: Path) -> Batch:
    return Batch(photos, tmp_path / "out")


def test_only_what_changed_is_done_again(batch: Batch) -> None:
    assert batch.run().done == 4
    outcome = batch.run()
    assert (outcome.done, outcome.kept, batch.worked) == (0, 4, [])
    batch.plan.jobs[0].source.write_bytes(b"another photograph")
    batch.file(1).unlink()
    assert batch.run().kept == 2
    assert batch.worked == [job.name for job in batch.plan.jobs[:2]]
    assert batch.run(settings="other").kept == 0
    assert batch.run(settings="other", fresh=True).kept == 0
    assert batch.run(settings="other").kept == 4


@pytest.mark.parametrize("content", [b"mad", b"", b"MADE", b"made more"])
def test_a_result_that_is_not_as_it_was_written_is_made_again(content: bytes, batch: Batch) -> None:
    batch.run()
    batch.file(2, 1).write_bytes(content)
    assert batch.run().kept == 3
    assert batch.file(2, 1).read_bytes() == b"made"


def test_a_result_that_somebody_worked_on_is_replaced_only_when_asked_for(batch: Batch) -> None:
    batch.run()
    file = batch.file(2, 0)
    write_image(file, np.full((4, 6, 3), 7, np.float32))
    content = file.read_bytes()
    for settings in ("s", "other"):
        outcome = batch.run(settings=settings)
        assert outcome.failed == {
            batch.plan.jobs[2].name: f"{file}: is not as hdrlab left it: somebody may have worked on it; "
            "move it away, or overwrite=true replaces it"
        }
        assert file.read_bytes() == content
    assert batch.run(settings="other", overwrite=True).kept == 3
    assert file.read_bytes() == b"made"


def test_nothing_is_replaced_that_cannot_be_looked_at(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    batch.run()
    batch.file(2).write_bytes(b"a panorama")
    monkeypatch.setattr("hdrlab.inference.batch.read_image", full)
    assert [*batch.run().failed] == [batch.plan.jobs[2].name]
    assert batch.file(2).read_bytes() == b"a panorama"


def test_a_photograph_that_changes_during_the_work_is_done_again(batch: Batch) -> None:
    def work(job: Job, advance: Advance) -> list[str]:
        job.source.write_bytes(b"saved anew")
        return batch.work(job, advance)

    assert batch.run(work).done == 4
    assert batch.run().kept == 0


def test_a_kill_costs_one_image_at_most(batch: Batch) -> None:
    def killed(job: Job, advance: Advance) -> list[str]:
        if len(batch.worked) == 2:
            write_bytes(job.outputs[0], b"the first of two files")
            raise KeyboardInterrupt
        return batch.work(job, advance)

    with pytest.raises(KeyboardInterrupt):
        batch.run(killed)
    (batch.path.parent / ".0123456789abcdef0123456789abcdef.tmp").write_bytes(b"what a kill leaves")
    with batch.path.open("a") as stream:
        stream.write('{"target": "b')  # a line that the kill cut off
    outcome = batch.run()
    assert (outcome.kept, outcome.done, outcome.failed) == (2, 2, {})
    assert outcome.notes == [f"{batch.path}: damaged lines, which do not count: 1"]
    assert not list(batch.path.parent.glob(".*"))
    assert batch.run().kept == 4


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"{}",
        b"[]",
        b'{"target": 1, "files": []}',
        b'{"target": "a", "files": {"a": 1}}',
        b"[" * 9999,
    ],
)
def test_a_damaged_line_costs_that_line(line: bytes, batch: Batch) -> None:
    batch.run()
    first, *lines = batch.path.read_bytes().splitlines(keepends=True)
    batch.path.write_bytes(b"".join([first, line, b"\n", *lines]))
    outcome = batch.run()
    assert outcome.kept == 4
    assert len(outcome.notes) == 1


def test_a_failure_stops_nothing_and_is_told_in_the_end(
    batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(job: Job, advance: Advance) -> list[str]:
        match batch.plan.jobs.index(job):
            case 0:
                raise ImageError(job.outputs[0], "cannot be written: No space left on device")
            case 1:
                raise ImageError(job.source, "is truncated")
            case 2:
                raise MemoryError
        return [*batch.work(job, advance), "dark"]

    assert batch.run(failing).report(batch.path.parent) == 1
    said = capsys.readouterr()
    assert (
        f"note: sub/ü.jpg: dark\npassed over: 1 no images (hidden)\n"
        f"error: a.jpg: {batch.file(0)}: cannot be written: No space left on device\n"
        "error: b 1's%.png: is truncated\nerror: sub/a.jpg: memory ran out\n"
    ) in said.err
    assert said.err.count("is truncated") == 1
    assert said.out == f"1 written to {batch.path.parent}, 1 passed over, 3 failed\n"
    assert batch.run().report(batch.path.parent) == 0
    assert capsys.readouterr().out == f"3 written to {batch.path.parent}, 1 there already, 1 passed over\n"


def test_without_a_terminal_every_image_is_a_line(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    batch.run()
    batch.file(0).unlink()
    capsys.readouterr()
    batch.run()
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"1/4 a\.jpg: written in 0:00, 0:0\d left", lines[0])
    assert lines[3] == "4/4 sub/ü.jpg: there already"


def test_what_hdrlab_did_not_write_is_not_overwritten(batch: Batch) -> None:
    write_bytes(batch.file(0), b"somebody's")
    outcome = batch.run()
    assert outcome.done == 3
    assert outcome.failed == {
        "a.jpg": f"{batch.file(0)}: was there already and is not hdrlab's; move it away, or overwrite=true "
        "replaces it"
    }
    assert batch.file(0).read_bytes() == b"somebody's"
    assert batch.run(overwrite=True).done == 1
    assert batch.file(0).read_bytes() == b"made"
    batch.run(settings="other")  # what it wrote itself it may replace
    assert batch.run(settings="other").kept == 4


def test_links_and_special_files_among_the_outputs_are_refused(batch: Batch, tmp_path: Path) -> None:
    batch.run()
    (tmp_path / "precious").write_bytes(b"kept")
    batch.file(0).unlink()
    batch.file(0).symlink_to(tmp_path / "precious")
    batch.file(1).unlink()
    os.mkfifo(batch.file(1))
    sub = batch.path.parent / "sub"
    sub.rename(tmp_path / "elsewhere")
    sub.symlink_to(tmp_path / "elsewhere")
    batch.file(2, 0).unlink()
    outcome = batch.run()
    assert outcome.done == 0
    assert "a symbolic link has this name" in outcome.failed["a.jpg"]
    assert "a named pipe has this name" in outcome.failed["b 1's%.png"]
    assert outcome.failed["sub/a.jpg"].startswith(f"{sub}: is a symbolic link")
    assert "sub/ü.jpg" not in outcome.failed  # which is there already
    assert batch.run(overwrite=True).failed.keys() == {"b 1's%.png", "sub/a.jpg"}
    assert batch.file(0).read_bytes() == b"made"
    assert (tmp_path / "precious").read_bytes() == b"kept"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
@pytest.mark.timeout(20)
def test_a_manifest_that_is_no_file_is_refused(make: Callable[[Path], None], batch: Batch) -> None:
    make(batch.path)
    with pytest.raises(RunError, match=r"done\.jsonl: cannot be written: a \w+"):
        batch.run()
    assert not (batch.path.parent / "elsewhere").exists()


def test_a_disk_that_is_gone_is_not_written_beneath(batch: Batch) -> None:
    def work(job: Job, advance: Advance) -> list[str]:
        if job.name == "a.jpg":
            batch.path.parent.rename(batch.path.parent.with_name("gone"))
        return batch.work(job, advance)

    outcome = batch.run(work)
    assert outcome.done == 0
    assert outcome.failed["sub/ü.jpg"] == f"{batch.path.parent}: is gone; was its disk removed?"
    assert not batch.path.parent.exists()


SHARED = """
import sys, time
from pathlib import Path
from hdrlab.inference.batch import Manifest, run_batch
from hdrlab.inference.jobs import plan_jobs
from hdrlab.io.atomic import write_bytes
photos, manifest, slow = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
plan = plan_jobs([str(photos)], manifest.parent, lambda target: [target.with_name(target.name + ".exr")])
def work(job, advance):
    print(job.name, flush=True)
    time.sleep(slow)
    write_bytes(job.outputs[0], b"made")
    return []
with Manifest(manifest, "s") as opened:
    outcome = run_batch(plan, opened, work)
print(outcome.done, outcome.kept, outcome.failed)
"""


def shared_work(batch: Batch, slow: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SHARED, str(batch.photos), str(batch.path), str(slow)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_processes_share_a_folder(batch: Batch) -> None:
    both = [shared_work(batch, 0.4) for _ in range(2)]
    said = [process.communicate()[0].splitlines() for process in both]
    assert sorted(said[0][:-1] + said[1][:-1]) == sorted(job.name for job in batch.plan.jobs)
    counts = [[int(word) for word in lines[-1].split()[:2]] for lines in said]
    assert counts[0][0] + counts[1][0] == 4
    assert all(sum(count) == 4 for count in counts)


def test_what_a_killed_process_was_at_is_done_by_the_other(batch: Batch) -> None:
    killed = shared_work(batch, 60)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "a.jpg\n"
    other = shared_work(batch, 0)
    assert other.stdout is not None
    assert [other.stdout.readline() for _ in range(3)] == ["b 1's%.png\n", "sub/a.jpg\n", "sub/ü.jpg\n"]
    killed.kill()
    assert other.communicate()[0] == "a.jpg\n4 0 {}\n"
