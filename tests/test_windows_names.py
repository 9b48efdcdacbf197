"""What Windows has not is used in one place alone, and names of files are such as it takes.

None of this runs on Windows; the workflow does.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdrlab.config.paths import literal_paths
from hdrlab.config.positionals import with_keys
from hdrlab.io import atomic, locks
from hdrlab.reconstruct import COMMAND

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted([*(ROOT / "hdrlab").rglob("*.py"), *(ROOT / "hydra_plugins").glob("*.py")])
POSIX_MODULES = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "syslog"}
POSIX_NAMES = {
    "os": {"fork", "getuid", "geteuid", "pread", "killpg", "setsid", "O_NOFOLLOW", "O_NONBLOCK", "mkfifo"},
    "signal": {"SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP", "alarm", "pause", "setitimer"},
}  # fmt: skip
GUARDED = {
    "hdrlab/io/locks.py",  # the one place
    "hdrlab/datasets/loading.py",  # behind hasattr(signal, "SIGUSR1")
    "hdrlab/training/processes.py",  # behind os.name and sys.platform
}
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")


def uses(path: Path) -> Iterator[str]:
    """Name what a file uses that POSIX systems alone have."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            yield node.module
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in POSIX_NAMES.get(node.value.id, ())
        ):
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.slow
def test_posix_is_used_in_guarded_places_alone() -> None:
    found = {path.relative_to(ROOT).as_posix(): [*uses(path)] for path in CODE}
    assert {name for name, used in found.items() if used} <= GUARDED, found


def test_text_files_have_a_named_encoding() -> None:
    """The default of Windows is not UTF-8."""
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        for call in re.finditer(r"\.(read_text|write_text)\(([^()]|\([^()]*\))*\)", text):
            line = text.count("\n", 0, call.start()) + 1
            assert re.search(r"encoding=|\"utf-8\"", call[0]), f"{path}:{line}: {call[0]}"


def test_files_of_the_repository_have_legal_names() -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git")
    names = listed.splitlines()
    for name in names:
        for part in name.split("/"):
            assert not re.search(r'[<>:"\\|?*]', part), name
            assert not RESERVED.match(part), name
            assert not part.endswith((".", " ")), name
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("path", [r"C:\photos\a b.jpg", r"\\server\share\x.jpg", r"D:\new\tags\r.jpg"])
def test_its_paths_come_through_the_command_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = literal_paths(with_keys(COMMAND, [path]), sweeping=False)
    assert COMMAND.compose(overrides).input == (path,)


def test_a_file_is_closed_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open file can neither be renamed nor removed there."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc")
    monkeypatch.setattr(locks, "OPEN_FILES_MOVE", False)
    replace, checked = os.replace, []

    def careful(source: Path, target: Path) -> None:
        handles = [os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")]
        checked.append(source)
        assert str(Path(source).resolve()) not in handles
        replace(source, target)

    monkeypatch.setattr(os, "replace", careful)
    atomic.write_text(tmp_path / "a.txt", "whole\n")
    assert (tmp_path / "a.txt").read_bytes() == b"whole\n"
    assert len(checked) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_two_processes_do_not_hold_one_lock(tmp_path: Path) -> None:
    file = tmp_path / "held"
    asks = (
        "import os, sys; from hdrlab.io import locks\n"
        "handle = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: locks.lock(handle, int(sys.argv[2]))\n"
        "except BlockingIOError: print('held')\n"
        "else: print('free')"
    )

    def ask(place: int) -> str:
        line = [sys.executable, "-c", asks, str(file), str(place)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(line, capture_output=True, text=True, check=True, env=env).stdout.strip()

    with file.open("wb+") as stream:
        locks.lock(stream.fileno(), 12345)
        assert (ask(12345), ask(12346)) == ("held", "free")
        locks.unlock(stream.fileno(), 12345)
        assert ask(12345) == "free"
