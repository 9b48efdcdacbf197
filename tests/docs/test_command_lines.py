"""Every command line that the documentation shows passes the check that comes before any work."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from pages import ROOT, command_lines, pages

from hdrlab.__main__ import COMMANDS, INSIDE
from hdrlab.config.cli import Command, find_command
from hdrlab.config.composer import open_composer
from hdrlab.config.options import expand_home, parse_options
from hdrlab.config.overrides import check_overrides
from hdrlab.config.paths import literal_paths
from hdrlab.config.positionals import with_keys
from hdrlab.errors import ConfigError

LINES = {
    line: path.relative_to(ROOT).as_posix()
    for path in reversed(pages())
    for line in command_lines(path)
    if "plugins=" not in line  # modules that the reader of that page has just written
} | {
    f"hdrlab {name} {example.partition('  ')[0]}": f"{name} --help"
    for name in COMMANDS
    if name not in INSIDE
    and isinstance(command := getattr(import_module(f"hdrlab.{name}"), "COMMAND", None), Command)
    for example in command.examples
}

ABSENT = re.compile(r"no such (file|folder)|holds no hdrvdp|not found; install")
"""What the reader has, and this machine has not."""


SHELLS = re.compile(r"[()\[\]{}*?<>|&;!]")
"""What shells take for themselves where it is not quoted."""


def check(line: str) -> None:
    """Check a command line as `Command.main` does before anything starts."""
    program, *arguments = shlex.split(line)
    if program == "python":
        name = arguments.pop(1).removeprefix("hdrlab.")
        arguments.pop(0)
    else:
        name = arguments.pop(0)
    if name in ("--version", "--help", "completion"):
        return
    assert name.replace("-", "_") in COMMANDS, f"no command {name}"
    try:
        command = find_command(name.replace("-", "_"))
    except AttributeError:  # it reads its arguments itself
        return
    if not isinstance(command, Command):
        return
    options = parse_options([expand_home(one) for one in arguments])
    if options.hydra_help:
        return
    if options.help:
        assert options.overrides == ["all"] or command._help(options)
        return
    options.overrides = literal_paths(with_keys(command, options.overrides), sweeping=options.multirun)
    with open_composer(options) as composer:
        check_overrides(command, options, composer)


def test_there_are_command_lines() -> None:
    assert len(LINES) > 60


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{LINES[line]}: {line[:60]}")
def test_it_is_a_command_line(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HDRLAB_VGG16", "vgg16.pth")
    assert not SHELLS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", line)), "a shell needs quotes here"
    try:
        check(line)
    except ConfigError as error:
        if wrong := [one for one in error.problems if not ABSENT.search(one)]:
            pytest.fail(f"{LINES[line]}: {line}\n" + "\n".join(wrong))
