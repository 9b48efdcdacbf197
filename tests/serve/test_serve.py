"""``hdrlab serve`` as a command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hdrlab.serve import COMMAND

ROOT = Path(__file__).resolve().parents[2]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        COMMAND.main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_a_port_that_is_taken_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(capsys, f"port={port}")
    assert said == f"error: port={port}: taken by another program; port=0 takes a free one\n"


def test_an_address_that_is_not_this_machine_s_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "host=192.0.2.1 port=0: cannot listen there" in refused(capsys, "host=192.0.2.1", "port=0")


def test_limits_must_be_limits(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "file_mb=0", "pictures=0", "port=70000", "megapixel=3")
    assert "file_mb: got 0.0, must be a number above 0" in said
    assert "pictures: got 0" in said
    assert "port: got 70000" in said
    assert "did you mean megapixels?" in said


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdrlab.serve.find_spec", lambda name: None)
    said = refused(capsys, "port=0")
    assert "hdrlab serve needs an extra: pip install" in said


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Any]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    line = [sys.executable, "-m", "hdrlab", "serve", "port=0"]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("ending", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_it_answers_at_the_address_it_names_and_leaves_nothing(
    running: Any, tmp_path: Path, ending: signal.Signals
) -> None:
    line = running.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert address, running.stderr.read()
    with urllib.request.urlopen(address[0]) as answer:
        assert b"Drop photographs here" in answer.read()
    assert [*tmp_path.glob("hdrlab-serve-*")]
    running.send_signal(ending)
    assert running.wait(20) == (0 if ending == signal.SIGINT else -signal.SIGTERM)
    assert running.stderr.read() == ""
    assert not [*tmp_path.glob("hdrlab-serve-*")]
