"""Paths on command lines are taken as they are."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hdrlab.config.paths import existing, literal_paths, quote

NAMES = (
    *("IMG_0001 (1).jpg", "photo[1].jpg", "epoch=3.jpg", "a,b.jpg", "50%.jpg", "#1.jpg", "it's.jpg"),
    *('say "x".jpg', "{a}.jpg", "a;b.jpg", "a:b.jpg", "日本語.jpg", "Ünïcode.jpg", "😀.jpg", "a$b&c.jpg"),
    *("\udcff\udcfe.jpg", "a\\b.jpg", "a\\'.jpg", "~.jpg", "[a,b].jpg", "null.jpg", "'quoted'", "'half.jpg"),
    *("a\nb.jpg", "[]", "${a}.jpg", "-m", "1", "true", "a -> b.jpg", "*?.jpg", "tail\\", "choice(a,b)"),
    "x" * 255,
)


def parsed(argument: str) -> object:
    """What the configuration holds in the end."""
    override = OverridesParser.create().parse_override(argument)
    assert not override.is_sweep_override()
    value = override.value()
    return OmegaConf.to_container(OmegaConf.create({"value": value}), resolve=True)["value"]  # type: ignore[index,call-overload]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_exists_is_found_by_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    for given_name in (name, f"{tmp_path}/{name}"):
        (argument,) = literal_paths([f"input={given_name}"], sweeping=False)
        assert parsed(argument) == given_name
    (argument,) = literal_paths([f"++data.root={name}"], sweeping=False)
    assert argument.startswith("++data.root='")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("[]", "${a}.jpg", "'quoted'")])
def test_so_is_one_that_is_yet_to_be_made(name: str) -> None:
    assert parsed(literal_paths([f"output={name}"], sweeping=False)[0]) == name


@given(st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_quoting_keeps_every_text(text: str) -> None:
    if text != "???":
        assert parsed(f"input={quote(text, literally=True)}") == text


def test_lists_quotes_and_other_keys_are_hydras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a (1).jpg").write_bytes(b"x")
    cases: dict[str, object] = {
        "input=[a.jpg,b (2).jpg, photo[1].jpg]": ["a.jpg", "b (2).jpg", "photo[1].jpg"],
        "input=['a,b.jpg',\"c d\",x'y]": ["a,b.jpg", "c d", "x'y"],
        "input='a (1).jpg'": "a (1).jpg",
        'input="b c.jpg"': "b c.jpg",
        "input=null": None,
        "input=[]": [],
        "checkpoint=[~/nets,/x/y]": ["~/nets", "/x/y"],
    }
    for argument, wanted in cases.items():
        assert parsed(literal_paths([argument], sweeping=False)[0]) == wanted, argument
    untouched = [
        "stage.lr=1e-3,1e-4",
        "-m",
        "formats=[exr,hdr]",
        "--help",
        "a (1).jpg",
        "stage=hal",
        "output=",
    ]
    assert literal_paths(untouched, sweeping=False) == untouched


def test_a_sweep_over_paths_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert literal_paths(["data.root=a b,c"], sweeping=True) == ["data.root='a b','c'"]
    assert literal_paths(["data.root=choice(a,b)"], sweeping=True) == ["data.root=choice(a,b)"]
    (tmp_path / "a b,c").mkdir()
    assert literal_paths(["data.root=a b,c"], sweeping=True) == ["data.root='a b,c'"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_either_form_of_a_letter_finds_the_other(forms: tuple[str, str], tmp_path: Path) -> None:
    stored, typed = (normalize(form, "Bücher/é/fünf.jpg") for form in forms)
    (tmp_path / stored).parent.mkdir(parents=True)
    (tmp_path / stored).write_bytes(b"x")
    assert existing(str(tmp_path / typed)) == str(tmp_path / stored)
    assert parsed(literal_paths([f"input={tmp_path / typed}"], sweeping=False)[0]) == str(tmp_path / stored)
    assert existing(str(tmp_path / "ü")) == str(tmp_path / "ü")
