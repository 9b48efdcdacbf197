"""One name for all commands: arguments without keys, help, completion, and what works on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image as PillowImage

from hdrlab import __version__
from hdrlab.__main__ import COMMANDS, INSIDE, main
from hdrlab.config.cli import find_command
from hdrlab.config.completion import candidates, script
from hdrlab.config.options import parse_options
from hdrlab.config.positionals import with_keys
from hdrlab.errors import ConfigError, install
from hdrlab.inference import doctor
from hdrlab.inference.doctor import EXTRAS
from hdrlab.inference.jobs import folder_beside

ROOT = Path(__file__).resolve().parents[2]
RECONSTRUCT = find_command("reconstruct")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def hdrlab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Carries out a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["hdrlab", *line.split()])
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, *capsys.readouterr())

    return run


# -------------------------------------------------------------------------------------- arguments alone


def test_files_and_a_folder_to_write_need_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b, [1].jpg", "c=d.jpg"):
        Path(name).touch()
    assert with_keys(RECONSTRUCT, ["a.jpg", "preview=false"]) == ["input=['a.jpg']", "preview=false"]
    names = ["a.jpg", "b, [1].jpg", "c=d.jpg"]
    everything = "input=['a.jpg','b, [1].jpg','c=d.jpg']"
    assert with_keys(RECONSTRUCT, names) == [everything]
    assert with_keys(RECONSTRUCT, [*names, "hdr"]) == [everything, "output='hdr'"]
    assert with_keys(RECONSTRUCT, ["*.jpg", "hdr"]) == ["input=['*.jpg']", "output='hdr'"]
    assert with_keys(RECONSTRUCT, ["[a.jpg, b.jpg]"]) == ["input=['a.jpg','b.jpg']"]
    assert with_keys(RECONSTRUCT, ["[a.jpg,'b.jpg']", "hdr"]) == ["input=['a.jpg','b.jpg']", "output='hdr'"]
    assert with_keys(RECONSTRUCT, ["[ab]"]) == ["input=['[ab]']"]
    assert with_keys(RECONSTRUCT, ["output=hdr", "a.jpg"]) == ["input=['a.jpg']", "output=hdr"]
    assert with_keys(RECONSTRUCT, ["~logger", "+x=1", "hydra.mode=RUN"]) == [
        "~logger",
        "+x=1",
        "hydra.mode=RUN",
    ]
    assert with_keys(RECONSTRUCT, ["a.jpg", "my a=b"]) == ["input=['a.jpg']", "output='my a=b'"]
    assert with_keys(find_command("prepare"), ["in", "out"]) == ["source='in'", "root='out'"]
    with pytest.raises(ConfigError, match=r"three: one too many; hdrlab prepare SOURCE ROOT"):
        with_keys(find_command("prepare"), ["one", "two", "three"])


def test_a_folder_that_may_be_input_or_output_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("b").mkdir()
    assert with_keys(RECONSTRUCT, ["a", "b"]) == ["input=['a']", "output='b'"]  # empty
    Path("b/x.jpg").touch()
    with pytest.raises(
        ConfigError, match=r"b: is it an input, .* output=b writes there; input=\[a,b\] reads"
    ):
        with_keys(RECONSTRUCT, ["a", "b"])
    Path("b/reconstruct.jsonl").touch()  # hdrlab wrote there before: the same line goes on
    assert with_keys(RECONSTRUCT, ["a", "b"]) == ["input=['a']", "output='b'"]
    with pytest.raises(ConfigError, match=r"b\.jpgg: no such file"):
        with_keys(RECONSTRUCT, ["a", "b.jpgg"])


def test_an_output_file_names_folder_name_and_format(
    hdrlab: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.jpg").touch()
    wanted = ["input=['a.jpg']", "output='x'", "stem='lamp'", "formats=[exr]"]
    assert with_keys(RECONSTRUCT, ["a.jpg", "x/lamp.exr"]) == wanted
    assert with_keys(RECONSTRUCT, ["a.jpg", "lamp.hdr"])[1:] == ["output='.'", "stem='lamp'", "formats=[hdr]"]
    Path("b.tif").touch()  # a photograph that is there is an input, unless hdrlab wrote it
    assert with_keys(RECONSTRUCT, ["a.jpg", "b.tif"]) == ["input=['a.jpg','b.tif']"]
    Path("reconstruct.jsonl").touch()
    assert with_keys(RECONSTRUCT, ["a.jpg", "b.tif"])[2:] == ["stem='b'", "formats=[tiff]"]
    PillowImage.effect_noise((24, 16), 90).convert("RGB").save("c.png")
    assert hdrlab("reconstruct c.png lamp.exr preview=false precision=32").code == 0
    assert hdrlab("tonemap lamp.exr shown.jpg").code == 0
    done = hdrlab("tonemap lamp.exr shown.jpg")
    assert (done.code, done.out) == (0, "0 written to ., 1 there already\n")
    assert PillowImage.open("shown.jpg").size == (24, 16)
    for line, said in (
        ("reconstruct input=[c.png,b.tif] stem=x", "2 images cannot share a name"),
        ("reconstruct c.png stem=a/b", "must be a name without folders"),
        ("tonemap lamp.exr output=. stem=lamp format=exr", "itself would be written over"),
    ):
        done = hdrlab(line)
        assert done.code == 2
        assert said in done.err


def test_without_an_output_one_lies_beside_the_input(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "[1].jpg").touch()
    assert folder_beside(str(tmp_path / "photos"), "hdr") == tmp_path / "photos_hdr"
    assert folder_beside(str(tmp_path / "photos" / "*.jpg"), "hdr") == tmp_path / "photos" / "hdr"
    assert folder_beside(str(tmp_path / "*" / "a.jpg"), "hdr") == tmp_path / "hdr"
    assert folder_beside(str(tmp_path / "[1].jpg"), "sdr") == tmp_path / "sdr"


def test_photographs_become_hdr_images_and_these_displays_again(
    hdrlab: Callable[..., Said], tmp_path: Path
) -> None:
    PillowImage.effect_noise((24, 16), 90).convert("RGB").save(tmp_path / "a.jpg")
    done = hdrlab("reconstruct a.jpg precision=32")
    assert done[:2] == (0, f"1 written to {tmp_path / 'hdr'}\n"), done.err
    done = hdrlab("tonemap hdr")
    assert done[:2] == (0, f"1 written to {tmp_path / 'hdr_sdr'}\n"), done.err
    assert PillowImage.open(tmp_path / "hdr_sdr" / "a.png").size == (24, 16)
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", "hdr", "hdr_sdr"}


# ------------------------------------------------------------------------------------- help and completion


def test_the_help_lists_every_command_and_a_slip_is_corrected(hdrlab: Callable[..., Said]) -> None:
    for line in ("", "--help"):
        asked = hdrlab(line)
        assert asked.code == 0
        assert all(f"\n  {name} " in asked.out for name in COMMANDS)
        assert max(map(len, asked.out.splitlines())) <= 110
    assert hdrlab("--version").out == f"hdrlab {__version__}\n"
    assert hdrlab("tonmap a.exr") == (2, "", "error: tonmap: no such command; did you mean tonemap?\n")
    files = {path.stem for path in (ROOT / "hdrlab").glob("*.py")} - {"__init__", "__main__", "errors"}
    folders = {path.parent.name for path in (ROOT / "hdrlab").glob("*/__main__.py")}
    assert files | folders | INSIDE.keys() == COMMANDS.keys()


def test_the_short_help_names_what_people_set_first_and_all_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--help"], ["--help", "all"]):
        with pytest.raises(SystemExit) as left:
            RECONSTRUCT.main(words)
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert "\n  formats= " in text
        assert ("\n  num_shards=" in text) == (words[-1] == "all")
        assert ("--help all" in text) == (words[-1] != "all")


def test_a_reader_that_closes_the_help_ends_it_quietly(tmp_path: Path) -> None:
    line = f"{sys.executable} -m hdrlab reconstruct --help all | head -1 | cut -c 1-4"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = subprocess.run(
        line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert (asked.stdout, asked.stderr) == ("Turn\n", "")


def test_words_are_completed() -> None:
    assert candidates("hdrlab rec", COMMANDS) == ["reconstruct"]
    assert candidates("hdrlab tonemap pre", COMMANDS) == ["precision="]
    assert candidates("hdrlab reconstruct a.jpg formats=e", COMMANDS) == ["formats=exr"]
    assert candidates("hdrlab tonemap panorama=", COMMANDS) == ["panorama=true", "panorama=false"]
    assert "stage=hal" in candidates("hdrlab train stage=", COMMANDS)
    assert candidates("hdrlab reconstruct ~/ph", COMMANDS) == []  # files, which the shell knows


def test_bash_completes(tmp_path: Path) -> None:
    (tmp_path / "hdrlab").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m hdrlab "$@"\n')
    (tmp_path / "hdrlab").chmod(0o755)
    typed = "hdrlab reconstruct formats=e"
    code = f'{script("bash")}\nCOMP_LINE="{typed}" COMP_POINT={len(typed)}\n_hdrlab\necho "${{COMPREPLY[@]}}"'
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "exr\n"  # bash takes what follows the equals sign for the word


# ----------------------------------------------------------------------------------------------- doctor


def test_the_doctor_finds_what_is_there_and_says_how_to_get_the_rest(
    hdrlab: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    asked = hdrlab("doctor")
    assert asked.code == 0, asked.out
    (compact,) = (line for line in asked.out.splitlines() if "weights=compact" in line)
    assert "sound" in compact
    assert "OpenImageIO" in asked.out
    for line in asked.out.splitlines():
        if "missing" in line and "│ operators" in line:
            assert install("operators") in line


def test_the_doctor_works_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "argv", ["doctor"])
    assert doctor.main() == 1
    assert re.search(r"PyTorch +│ broken", capsys.readouterr().out)


def test_the_doctor_knows_every_extra() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == declared.keys() - {"dev"}


def test_an_extra_is_installed_by_its_packages_names() -> None:
    assert install("raw") == "pip install 'rawpy>=0.25'"
    assert install("nothing") == "pip install 'hdrlab[nothing]'"


def test_what_is_no_option_or_shell_is_said_with_what_is(hdrlab: Callable[..., Said]) -> None:
    with pytest.raises(ConfigError, match=r"^--formats: no such option; keys are written key=value"):
        parse_options(["a.jpg", "--formats", "exr"])
    assert hdrlab("completion tcsh") == (2, "", "error: completion: name one shell: bash | zsh | fish\n")


def test_the_last_of_several_files_that_is_none_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ConfigError, match=r"out\.xyz: no such file; output="):
        with_keys(RECONSTRUCT, [str(tmp_path / "a.jpg"), "out.xyz"])


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "from hdrlab.config.cli import Command, find_command\n"
            "Command._main = stop\n"
            "find_command('reconstruct').main()",
            id="at work",
        ),
        pytest.param(
            "import runpy, sys\n"
            "from hdrlab.__main__ import main\n"
            "runpy.run_module, sys.argv = stop, ['hdrlab', 'doctor']\n"
            "main()",
            id="while it is loaded",
        ),
    ],
)
def test_an_interrupted_command_says_so_in_one_line(code: str) -> None:
    code = f"def stop(*_, **__): raise KeyboardInterrupt\n{code}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "interrupted\n")
