"""The site is built without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import ROOT, pages

pytestmark = pytest.mark.slow
LOADED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
}


class Loaded(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = re.findall(r"url\(['\"]?([^'\")]+)", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "link" and dict(attrs).get("rel") in ("canonical", "author", "next", "prev"):
            return
        self.addresses += [value or "" for name, value in attrs if (tag, name) in LOADED]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-n", "-W", "--keep-going", "-q", "-c", str(ROOT / "docs"), "-d", str(folder / "doctrees")]
    line = [sys.executable, "-m", "sphinx", *options, "-b", "html", str(ROOT), str(folder / "html")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def test_every_page_is_there(site: Path) -> None:
    missing = [
        path for path in pages()
        if path.name != "README.md" and not (site / path.relative_to(ROOT)).with_suffix(".html").is_file()
    ]  # fmt: skip
    assert not missing


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    elsewhere = {
        f"{path.relative_to(site)}: {address}"
        for path in [*site.rglob("*.html"), *site.rglob("*.css")]
        for address in Loaded(path.read_text(encoding="utf-8")).addresses
        if re.match(r"(https?:)?//", address)
    }
    assert not elsewhere


def test_what_is_made_from_tables_is_there(site: Path) -> None:
    commands = (site / "docs" / "reference" / "commands.html").read_text(encoding="utf-8")
    for key in ("operator", "num_shards", "trainer.max_steps", "toolbox.hdrvdp3"):
        assert f">{key}<" in commands
    stages = (site / "docs" / "reference" / "stages.html").read_text(encoding="utf-8")
    assert ">stage.loss.perceptual<" in stages
    api = (site / "docs" / "reference" / "api" / "hdrlab.html").read_text(encoding="utf-8")
    assert 'id="hdrlab.Reconstructor.__call__"' in api
    assert "<math" in (site / "docs" / "reference" / "metrics.html").read_text(encoding="utf-8")
