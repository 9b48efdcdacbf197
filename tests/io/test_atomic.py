"""Files are written whole, checked and durable, or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdrlab.errors import ImageError
from hdrlab.io import atomic, write_image
from hdrlab.io.atomic import (
    digest,
    link,
    remove_stale,
    replacing,
    write_bytes,
    write_text,
    writing,
    writing_text,
)

LEFTOVER = ".0123456789abcdef0123456789abcdef.tmp"


def test_content_arrives_under_the_name_and_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ü\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "ü\r\n".encode()
    with writing_text(tmp_path / "b.csv") as stream:
        stream.write("x\n")
    with replacing(tmp_path / ("é" * 127)) as temporary:  # 254 bytes, as long as file systems allow
        temporary.write_text("long")
    torch_file = tmp_path / "c.pt"
    with writing(torch_file) as binary:
        torch.save({"x": torch.ones(3)}, binary)
    assert torch.load(torch_file)["x"].sum() == 3
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_former_file_and_no_other(error: Any, tmp_path: Path) -> None:
    write_text(tmp_path / "a", "former")

    def write() -> None:
        with writing(tmp_path / "a") as stream:
            stream.write(b"half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert (tmp_path / "a").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class Full:
    """A file on a full disk: takes some bytes, then refuses."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return int(self.file.write(data))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def opened(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        file = plain(self, mode, *args, **more)
        return Full(file, 1000) if mode == "wb" else file

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_said_with_the_name_that_was_asked_for(tmp_path: Path) -> None:
    for write in (
        lambda path: write_bytes(path, bytes(2000)),
        lambda path: save(path),
    ):
        with pytest.raises(OSError, match="No space left") as caught:
            write(tmp_path / "a")
        assert caught.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def save(path: Path) -> None:
    with writing(path) as stream:
        torch.save(torch.zeros(5000), stream)  # answers a full disk with a RuntimeError


def test_what_the_disk_does_not_give_back_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "digest", lambda path: "other")
    with pytest.raises(OSError, match="does not give back"):
        write_text(tmp_path / "a", "text")
    assert not list(tmp_path.iterdir())


def test_a_png_cut_short_is_not_taken_for_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrlab.io import oiio

    plain = oiio.write
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for missing in (1, 4, 12, 13, 300):

        def cut(path: Path, *args: Any, missing: int = missing) -> None:
            plain(path, *args)
            os.truncate(path, path.stat().st_size - missing)

        monkeypatch.setattr(oiio, "write", cut)
        with pytest.raises(ImageError, match=r"a\.png: cannot be written: No space left on device"):
            write_image(tmp_path / "a.png", pixels)
    assert not list(tmp_path.iterdir())


def test_links_and_special_files_are_neither_followed_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, kind in {
        "link": "a symbolic link",
        "dangling": "a symbolic link",
        "folder": "a folder",
        "pipe": "a named pipe",
    }.items():
        with pytest.raises(OSError, match=kind):
            write_text(tmp_path / name, "text")
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (tmp_path / "nothing").exists()


def test_a_second_place_is_the_same_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "text")
    write_text(tmp_path / "b", "former")
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "text"
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the middle of writing ``sub/a``."""
    (tmp_path / "sub").mkdir()
    code = (
        "import sys, time, pathlib; from hdrlab.io.atomic import writing\n"
        "with writing(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'x'); print('begun', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "sub" / "a")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.wait()


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    (tmp_path / LEFTOVER).write_text("old")
    (tmp_path / ".notes.tmp").write_text("somebody's")
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "sub" / LEFTOVER).symlink_to(tmp_path / "precious")
    remove_stale(tmp_path)
    assert not (tmp_path / LEFTOVER).exists()
    living = [path for path in (tmp_path / "sub").iterdir() if not path.is_symlink()]
    assert len(living) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    remove_stale(tmp_path)
    assert not living[0].exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.tmp", "precious", "sub"]
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_sweep_at_any_moment_takes_no_file_that_is_written(tmp_path: Path) -> None:
    """A temporary file exists for a moment before it is locked."""
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            remove_stale(tmp_path)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(40):
            write_text(tmp_path / "a", str(number))
            assert (tmp_path / "a").read_text() == str(number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
