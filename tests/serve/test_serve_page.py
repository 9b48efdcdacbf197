"""The page in a browser: what a person does with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Page, chromium, executable

from hdrlab.io import read_hdr, read_image

ROOT = Path(__file__).resolve().parents[2]
READY = "document.getElementById('canvas').width === 96 && !document.getElementById('frame').hidden"
PIXELS = """(() => {
  const canvas = document.getElementById("canvas");
  const copy = new OffscreenCanvas(96, 64).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(0, 0, 96, 64).data];
})()"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "hdrlab", "serve", "port=0", "file_mb=1", "pictures=4"]
    with subprocess.Popen(line, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    program = executable()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in HDRLAB_CHROMIUM")
    with chromium(program) as page:
        yield page


@pytest.fixture
def files(tmp_path: Path, photograph: bytes, scene: bytes) -> Path:
    (tmp_path / "lamp.jpg").write_bytes(photograph)
    (tmp_path / "scene.exr").write_bytes(scene)
    (tmp_path / "letter.jpg").write_bytes(b"Dear Sir or Madam")
    return tmp_path


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    """The page as it opens; in the end everything is deleted, and nothing was asked for elsewhere."""
    browser.open(address)
    browser.until("document.getElementById('terms').textContent")
    yield browser
    browser.run("document.getElementById('delete-all').click()")
    browser.until("!document.getElementById('welcome').hidden")
    browser.until("JSON.parse(sessionStorage.getItem('pictures') ?? '[]').length === 0")
    # What was on its way when a picture was deleted is not there any more; a full server is asked again.
    assert [one for one in browser.complaints() if not re.search(r"status of (404|503)", one)] == []


def give(page: Page, *paths: Path) -> None:
    page.choose("#files", paths)
    wait(page, READY)


def wait(page: Page, expression: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not page.run(f"Boolean({expression})"):
        assert time.monotonic() < end, f"never true: {expression}"
        time.sleep(0.05)


def pixels(page: Page) -> np.ndarray[Any, Any]:
    return np.reshape(np.array(page.run(PIXELS), np.int64), (64, 96, 4))[..., :3]


def text(page: Page, of: str) -> str:
    found: str = page.run(f"document.querySelector({of!r}).innerText")
    return found


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def slide(page: Page, name: str, value: float) -> None:
    page.run(
        f"(() => {{ const s = [...document.querySelectorAll('#sliders label')]"
        f".find((l) => l.textContent.startsWith({name!r})).querySelector('input');"
        f" s.value = {value}; s.dispatchEvent(new Event('input')); }})()"
    )


IDLE = (
    "!document.getElementById('busy').textContent"
    " && document.getElementById('summary').dataset.milliseconds > 0"
)


def test_a_photograph_is_shown_beside_its_light(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg")
    assert text(page, "#name") == "lamp.jpg"
    assert "% clipped" in text(page, "#about")
    assert text(page, "#tag-left") == "Photograph"
    assert text(page, "#tag-right") == "HDR"
    assert text(page, "#stops") == "0"
    for _ in range(4):  # two stops darker white is grey in the photograph, and not in its light
        page.key("[")
    assert page.run("document.querySelectorAll('#histogram path').length") == 2
    assert page.run("document.querySelectorAll('#curve path').length") == 1
    page.key("w")
    light = pixels(page)
    click(page, "[data-key=photograph]")
    photograph = pixels(page)
    assert photograph[32, 67].tolist() == [137, 137, 137]
    assert light[32, 67].min() > 145
    page.key("0")
    assert text(page, "#stops") == "0"
    assert pixels(page)[32, 67].tolist() == [255, 255, 255]


def test_files_can_be_dropped(page: Page, files: Path) -> None:
    data = {
        "items": [],
        "files": [str(files / "lamp.jpg"), str(files / "scene.exr")],
        "dragOperationsMask": 1,
    }
    for kind in ("dragEnter", "dragOver"):
        page.send("Input.dispatchDragEvent", type=kind, x=600, y=400, data=data)
    page.until("!document.getElementById('veil').hidden")
    page.send("Input.dispatchDragEvent", type="drop", x=600, y=400, data=data)
    wait(page, "document.querySelectorAll('#pictures li.ready').length === 2")
    assert page.run("document.getElementById('veil').hidden")


def test_the_example_needs_no_file(page: Page) -> None:
    click(page, "#example")
    wait(page, "document.getElementById('canvas').width === 800")
    assert text(page, "#name") == "rendered scene.jpg"


def test_the_wipe_the_outlines_and_the_mask(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg")
    wiped = pixels(page)
    page.key("w")
    light = pixels(page)
    assert (wiped[:, 48:] == light[:, 48:]).all()
    assert (wiped[:, :48] != light[:, :48]).any()
    page.key("w")
    box = page.run(
        "(b => [b.left, b.top, b.width, b.height])(document.getElementById('frame').getBoundingClientRect())"
    )
    page.drag(box[0] + box[2] / 2, box[1] + box[3] / 2, box[0] + box[2] * 0.25)
    assert page.run("document.getElementById('divider').getAttribute('aria-valuenow')") == "25"
    assert (pixels(page)[:, 24:] == light[:, 24:]).all()
    page.key("w")

    page.key("c")
    outlined = (pixels(page) == (255, 0, 200)).all(axis=2)
    assert 20 < outlined.sum() < 200
    page.key("c")
    page.key("m")
    tinted = pixels(page) - light
    assert tinted[32, 67, 0] > tinted[32, 67, 2]
    assert (tinted[:, :20] == 0).all()
    page.key("m")
    assert (pixels(page) == light).all()


def test_false_colours_have_a_legend(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg")
    page.key("f")
    assert "white" in text(page, "#legend")
    assert len(np.unique(pixels(page).reshape(-1, 3), axis=0)) > 10
    page.key("f")
    assert page.run("document.getElementById('legend').hidden")


def test_an_operator_is_steered(page: Page, files: Path) -> None:
    give(page, files / "scene.exr")
    wait(page, IDLE)
    assert text(page, "#settings-title") == "reinhard"  # an HDR file opens tone-mapped
    before = pixels(page)
    slide(page, "exposure", 700)
    wait(page, "document.querySelector('#sliders .changed')")
    wait(page, IDLE)
    page.until(f"JSON.stringify({PIXELS}) !== {str(before.tolist())!r}")
    wait(page, IDLE)
    time.sleep(0.3)
    assert pixels(page).mean() > before.mean() + 5
    click(page, "#defaults")
    time.sleep(0.3)
    wait(page, IDLE)
    assert (pixels(page) == before).all()
    click(page, "[data-key=drago]")
    wait(page, IDLE)
    assert "bias" in text(page, "#sliders")
    page.key(".")
    assert text(page, "#settings-title") == "durand"


def test_the_tiles_show_every_operator(page: Page, files: Path) -> None:
    give(page, files / "scene.exr")
    page.run("document.querySelectorAll('#tiles img').forEach((i) => { i.loading = 'eager'; })")
    wait(page, "[...document.querySelectorAll('#tiles img')].every((i) => i.complete && i.naturalWidth)")


def test_files_are_taken_away(page: Page, files: Path) -> None:
    folder = files / "downloads"
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    give(page, files / "lamp.jpg")
    for name in ("hdr.exr", "ultrahdr.jpg"):
        wait(page, f"document.querySelector('a[data-file=\"{name}\"]')")
        click(page, f'a[data-file="{name}"]')
    light = read_hdr(arrived(folder / "lamp.exr"))
    assert light.pixels.max() > 1.05
    assert read_hdr(arrived(folder / "lamp_ultrahdr.jpg")).pixels.max() > 1.05

    click(page, "[data-key=drago]")
    wait(page, IDLE)
    click(page, "#rendered-files [data-format=png]")
    assert read_image(arrived(folder / "lamp_drago.png")).shape == (64, 96, 3)


def arrived(path: Path) -> Path:
    end = time.monotonic() + 60
    while not path.is_file():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.05)
    return path


def test_what_is_no_picture_says_why_and_goes(page: Page, files: Path) -> None:
    page.choose("#files", [files / "letter.jpg"])
    wait(page, "document.querySelector('#pictures li.failed')")
    assert "is not a Radiance, OpenEXR" in text(page, "#progress-text")
    assert [one for one in page.complaints() if "415" not in one] == []
    page.events.clear()
    click(page, "#give-up")
    page.until("!document.getElementById('welcome').hidden")


def test_too_large_and_too_many_are_said_before_they_are_sent(page: Page, files: Path) -> None:
    (files / "large.jpg").write_bytes(b"\xff\xd8\xff" + b"0" * 1_100_000)
    page.choose("#files", [files / "large.jpg"])
    wait(page, "document.querySelector('#pictures li.failed')")
    assert "larger than the 1 MB" in text(page, "#progress-text")
    click(page, "#give-up")
    page.choose("#files", [files / "lamp.jpg"] * 6)
    page.until("document.getElementById('notice').textContent")
    assert "At most 4 pictures" in text(page, "#notice")
    assert page.run("document.querySelectorAll('#pictures li').length") == 4
    click(page, "#delete-all")  # while some are on their way: the server keeps none of them
    page.until("!document.getElementById('welcome').hidden")
    give(page, *[files / "lamp.jpg"] * 4)
    wait(page, "document.querySelectorAll('#pictures li.ready').length === 4")


def test_several_pictures_are_walked_through_and_deleted(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg", files / "scene.exr")
    wait(page, "document.querySelectorAll('#pictures li.ready').length === 2")
    page.key("ArrowRight")
    page.until("document.getElementById('name').textContent === 'scene.exr'")
    page.key("ArrowRight")
    page.until("document.getElementById('name').textContent === 'lamp.jpg'")
    key = page.run("JSON.parse(sessionStorage.pictures)[0]")
    click(page, "#delete")
    page.until("document.getElementById('name').textContent === 'scene.exr'")
    end = time.monotonic() + 30
    while page.run(f"fetch('/api/pictures?key={key}').then((a) => a.json()).then((a) => a.pictures.length)"):
        assert time.monotonic() < end, "it was not deleted"
        time.sleep(0.1)


def test_a_reload_finds_the_pictures_again(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg")
    page.run("location.reload()")
    time.sleep(0.5)
    wait(page, READY)
    assert text(page, "#name") == "lamp.jpg"


def test_the_page_cannot_send_anything_anywhere_else(page: Page) -> None:
    for attempt in (
        "fetch('https://example.org/')",
        "fetch('https://example.org/', { method: 'POST', mode: 'no-cors', body: 'a' })",
        "new Promise((yes, no) => {"
        " const i = new Image(); i.onerror = no; i.onload = yes; i.src = 'https://example.org/a.png'; })",
    ):
        assert page.run(f"{attempt}.then(() => 'sent', () => 'refused')") == "refused"
    refused = page.complaints()
    assert refused
    assert all("Content Security Policy" in one or "example.org" in one for one in refused)
    page.events.clear()


def names(page: Page) -> list[tuple[str, str]]:
    """Role and name of everything that can be used, as screen readers are told."""
    page.send("Accessibility.enable")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node.get("ignored")]
    return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen if "role" in node]


def test_everything_that_can_be_used_has_a_name(page: Page, files: Path) -> None:
    usable = {"button", "slider", "link", "checkbox", "image", "progressbar", "region", "group", "list"}

    def check() -> None:
        found = [(role, name) for role, name in names(page) if role in usable]
        assert len(found) > 2
        assert [one for one in found if not one[1].strip() and one[0] not in ("list", "image")] == []

    check()
    give(page, files / "lamp.jpg")
    click(page, "[data-key=reinhard]")
    wait(page, IDLE)
    check()
    assert any(role == "slider" and name.startswith("white") for role, name in names(page))


CONTRAST = """(() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (one) => {
    const colour = rgb(getComputedStyle(one).backgroundColor);
    return colour[3] === 0 && one.parentElement ? ground(one.parentElement) : colour;
  };
  const left_out = ":disabled, #stage, noscript, #pictures, #status, [aria-hidden=true]";
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.offsetWidth || one.closest(left_out)) continue;
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${one.tagName} ${one.id} ${one.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"""
"""Texts whose contrast with their ground is below what WCAG 2 asks of small ones."""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read_on_phone_and_desktop_by_day_and_night(
    browser: Page, address: str, files: Path, dark: bool, width: int
) -> None:
    browser.open(address, width=width, height=844, dark=dark)
    browser.until("document.getElementById('terms').textContent")
    assert browser.run(CONTRAST) == []
    assert browser.run("document.documentElement.scrollWidth") == width
    give(browser, files / "lamp.jpg")
    click(browser, "[data-key=reinhard]")
    wait(browser, IDLE)
    assert browser.run(CONTRAST) == []
    assert browser.run("document.documentElement.scrollWidth") == width
    box = browser.run(
        "(b => [b.width, b.height, b.bottom])(document.getElementById('frame').getBoundingClientRect())"
    )
    assert box[0] > 0.5 * min(width, 900)
    assert box[2] < 844  # the picture is seen without scrolling
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 21, 24)") == dark
    browser.run("document.getElementById('delete-all').click()")
    browser.until("!document.getElementById('welcome').hidden")
    assert browser.complaints() == []


def test_the_keyboard_alone_is_enough(page: Page, files: Path) -> None:
    give(page, files / "lamp.jpg")
    wait(page, "document.querySelectorAll('a[data-file]').length === 2")
    reached = set()
    for _ in range(60):
        page.send("Input.dispatchKeyEvent", type="rawKeyDown", key="Tab", windowsVirtualKeyCode=9)
        page.send("Input.dispatchKeyEvent", type="keyUp", key="Tab", windowsVirtualKeyCode=9)
        reached.add(
            page.run("(one => one.id || one.dataset.key || one.dataset.file)(document.activeElement)")
        )
    assert {
        "add",
        "delete-all",
        "divider",
        "exposure",
        "wipe",
        "clipped",
        "drago",
        "hdr.exr",
        "delete",
    } <= reached
    assert "files" not in reached
