"""The page in a browser, from disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Page, chromium, executable
from reports import METRICS, Shown, nothing, photograph, toned, written

from hdrlab.evaluation.benchmark import Method
from hdrlab.evaluation.report import page_image

READY = (
    "document.getElementById('canvas').width === 90 && document.querySelector('#layers [aria-pressed=true]')"
)
PIXELS = """(() => {
  const copy = new OffscreenCanvas(90, 60).getContext("2d", { willReadFrequently: true });
  copy.drawImage(document.getElementById("canvas"), 0, 0);
  return [...copy.getImageData(0, 0, 90, 60).data];
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    program = executable()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in HDRLAB_CHROMIUM")
    with chromium(program) as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("reports")
    written(made / "hdr.html")
    toned(made / "sdr.html")
    return made


@pytest.fixture
def page(browser: Page, folder: Path) -> Iterator[Page]:
    """The first image, open in the viewer."""
    browser.open(folder / "hdr.html")
    view(browser)
    yield browser
    assert browser.complaints() == []


def view(page: Page, row: int = 0) -> None:
    page.run(f"document.querySelectorAll('#image-table tbody tr')[{row}].click()")
    page.until(READY)


def pixels(page: Page) -> list[int]:
    found: list[int] = page.run(PIXELS)
    return found


def text(page: Page, of: str) -> str:
    found: str = page.run(f"document.querySelector({of!r}).textContent")
    return found


def pressed(page: Page) -> str:
    return text(page, "#layers [aria-pressed=true] .label")


def test_the_slider_changes_the_pixels(page: Page) -> None:
    before = pixels(page)
    page.run(
        "(() => { const s = document.getElementById('exposure'); s.value = -2;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    darker = pixels(page)
    assert text(page, "#stops") == "−2.00"
    assert sum(darker) < sum(before)
    page.key("ArrowRight")
    page.until("document.getElementById('where').textContent.startsWith('2 of 3')")
    assert text(page, "#stops") == "−2.00"  # what the user chose holds
    page.key("ArrowLeft")
    page.until("document.getElementById('where').textContent.startsWith('1 of 3')")
    page.until(READY)
    page.key("0")
    assert pixels(page) == before


def test_at_exposure_zero_the_reference_looks_like_the_photograph(page: Page) -> None:
    page.key("i")
    photograph = pixels(page)
    page.key("r")
    reference = pixels(page)
    assert np.abs(np.subtract(photograph, reference)).mean() < 4  # JPEGs of grain


def test_highlights_come_back_under_a_shorter_exposure(page: Page) -> None:
    for _ in range(16):
        page.key("-")
    in_the_disc = 4 * (30 * 90 + 63) + 2
    page.key("r")
    assert 100 < pixels(page)[in_the_disc] < 255
    page.key("2")
    assert pixels(page)[in_the_disc] == 13  # white, eight stops lower


def test_keys_choose_methods_and_images(page: Page) -> None:
    assert pressed(page) == "Net <one>"
    page.key("2")
    assert pressed(page) == "Do nothing"
    page.key("r")
    assert pressed(page) == "Reference"
    name = text(page, "#name")
    page.key("ArrowRight")
    page.until(f"document.getElementById('name').textContent !== {name!r}")
    page.key("ArrowLeft")
    page.until("document.getElementById('where').textContent.startsWith('1 of 3')")
    page.key("+")
    page.key("]")
    page.until("document.getElementById('stops').textContent === '+1.00'")


def test_keys_switch_the_views(page: Page) -> None:
    light = pixels(page)
    page.key("f")
    colour = pixels(page)
    assert "white" in text(page, "#legend")
    page.key("e")
    error = pixels(page)
    assert "too bright" in text(page, "#legend")
    assert light != colour != error != light
    page.key("r")
    assert len(set(zip(*[iter(pixels(page))] * 4, strict=True))) == 1
    page.key("e")
    assert page.run("document.getElementById('legend').hidden")


def test_the_wipe_moves(page: Page) -> None:
    page.key("1")
    left = pixels(page)
    page.key("r")
    right = pixels(page)
    page.key("1")
    page.key("w")
    assert left != right
    assert text(page, "#tag-right") == "Reference"
    assert wiped(left, right, 45) == pixels(page)
    box = page.run(
        "(b => [b.left, b.top, b.width, b.height])(document.getElementById('frame').getBoundingClientRect())"
    )
    place = box[0] + box[2] / 2, box[1] + box[3] / 2
    page.drag(*place, box[0] + box[2] * 0.7)
    assert page.run("document.getElementById('divider').getAttribute('aria-valuenow')") == "70"
    assert wiped(left, right, 63) == pixels(page)


def wiped(left: list[int], right: list[int], column: int) -> list[int]:
    """Two images of 90 columns side by side."""
    return [(left if k // 4 % 90 < column else right)[k] for k in range(len(left))]


def test_the_clipped_pixels_are_outlined(page: Page) -> None:
    page.key("c")
    shown = list(zip(*[iter(pixels(page))] * 4, strict=True))
    assert 20 < shown.count((255, 0, 200, 255)) < 200


def test_all_at_once(page: Page) -> None:
    page.key("a")
    assert page.run("document.querySelectorAll('#sheet canvas').length") == 6
    page.run("document.querySelectorAll('#sheet button')[2].click()")
    assert pressed(page) == "Do nothing"
    assert page.run("document.getElementById('sheet').hidden")


def test_a_failed_method_cannot_be_chosen(page: Page) -> None:
    view(page, 1)
    page.until("document.querySelector('[data-layer=\"method:broken\"]').disabled")
    before = pressed(page)
    page.key("3")
    assert pressed(page) == before


def test_histogram_and_curves_are_drawn(page: Page) -> None:
    assert page.run("document.querySelectorAll('#histogram path').length") == 2
    assert page.run("document.querySelectorAll('#curves path').length") == 2


def test_back_and_escape_close_the_viewer(page: Page) -> None:
    page.run("history.back()")
    page.until("!document.getElementById('viewer').open")
    view(page)
    page.key("Escape")
    page.until("!document.getElementById('viewer').open")


def test_rows_are_sorted_and_filtered(browser: Page, folder: Path) -> None:
    browser.open(folder / "hdr.html")
    names = "[...document.querySelectorAll('#image-table tbody .open')].map((b) => b.textContent)"
    browser.run("document.querySelectorAll('#image-table th.score button')[0].click()")
    assert browser.run(names)[:2] == ["image_2", "image_1"]
    browser.run("document.querySelectorAll('#image-table th.score button')[0].click()")
    assert browser.run(names)[1:] == ["image_1", "image_2"]
    browser.run(
        "(s => { s.value = 'scene 1'; s.dispatchEvent(new Event('change')); })"
        "(document.getElementById('scene'))"
    )
    assert browser.run(names) == ["image_1"]
    assert browser.complaints() == []


def test_scores_are_sorted_and_shown_by_region(browser: Page, folder: Path) -> None:
    browser.open(folder / "hdr.html")
    first = "document.querySelector('#score-table tbody .title').textContent"
    assert browser.run(first) == "Net <one>"
    browser.run("document.querySelector('#score-table th[data-name=psnr] button').click()")
    assert browser.run(first) == "True response"
    visible = (
        "[...document.querySelectorAll('#score-table thead [data-name]')].filter((c) => !c.hidden).length"
    )
    assert browser.run(visible) == 1
    browser.run("document.querySelector('#regions [data-region=clipped]').click()")
    assert browser.run("document.querySelector('#score-table th[data-name=psnr]').hidden")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(browser: Page, folder: Path, dark: bool) -> None:
    browser.open(folder / "hdr.html", width=375, height=700, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") == 375
    view(browser)
    browser.key("w")
    browser.key("e")
    assert browser.run("document.getElementById('viewer').scrollWidth") == 375
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 21, 24)") == dark
    assert browser.complaints() == []


def test_an_exposure_does_not_apply_to_tone_mapped_images(browser: Page, folder: Path) -> None:
    browser.open(folder / "sdr.html")
    view(browser)
    before = pixels(browser)
    browser.key("-")
    assert pixels(browser) == before
    browser.key("r")
    bright = pixels(browser)
    browser.key("-")
    assert sum(pixels(browser)) < sum(bright)
    assert browser.run("document.querySelector('[data-mode=error]').disabled")
    assert browser.complaints() == []


def test_a_dark_image_opens_brighter(browser: Page, tmp_path: Path) -> None:
    hdr = np.full((60, 90, 3), 2.0**-9, np.float32)
    hdr[:6] = 0.5
    made = page_image(Shown(0, "night", hdr, photograph(hdr)), {"net": hdr, "srgb": hdr}, {})
    written(tmp_path / "night.html", [made])
    browser.open(tmp_path / "night.html")
    view(browser)
    assert text(browser, "#stops") == "+5.25"
    assert np.median(np.reshape(pixels(browser), (-1, 4))[:, :3]) > 70
    assert browser.complaints() == []


@pytest.mark.slow
def test_the_page_prints_all_regions(browser: Page, folder: Path) -> None:
    browser.open(folder / "hdr.html")
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    heads = "[...document.querySelectorAll('.scores thead th')].filter((c) => c.offsetWidth).length"
    tables = browser.run("document.querySelectorAll('#paper table').length")
    assert browser.run(heads) == 2 + tables  # each with the methods' names
    assert browser.run("[...document.querySelectorAll('#paper h3')].map((h) => h.textContent)") == [
        "Whole image",
        "Clipped",
    ]
    widths = "[...document.querySelectorAll('#paper table')].map((t) => t.scrollWidth)"
    assert max(browser.run(widths)) <= browser.run("document.getElementById('paper').clientWidth")
    assert not browser.run("document.querySelector('nav').offsetWidth")
    assert browser.run("document.querySelectorAll('#image-table img').length") == 3
    browser.send("Emulation.setEmulatedMedia", media="")
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert not browser.run("document.querySelectorAll('#paper table').length")


@pytest.mark.slow
def test_a_page_of_19_images_and_7_methods_is_small_and_opens_fast(browser: Page, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    size = (341, 512)
    names = [f"m{number}" for number in range(6)]
    methods = [Method(name, name, "classical", "", nothing) for name in ("srgb", *names)]

    def textured(number: int) -> dict[str, Any]:
        y, x = np.mgrid[: size[0], : size[1]] / size[1]
        waves = sum(
            draws.normal(0, 1 / f) * np.sin(2 * np.pi * f * (x * np.cos(a) + y * np.sin(a)) + a)
            for f, a in zip(2.0 ** draws.uniform(0, 7, 40), draws.uniform(0, 7, 40), strict=True)
        )
        # Grain in every channel, as cameras have it, packs badly: the worst that real images do.
        hdr = np.exp(2 * waves[..., None] + draws.normal(0, 0.05, (*size, 3))).astype(np.float32)
        results = {m.name: hdr * np.exp(draws.normal(0, 0.02, hdr.shape)).astype(np.float32) for m in methods}
        return page_image(Shown(number, f"{number:02d}", hdr, photograph(hdr, 4.0)), results, {})

    file = tmp_path / "large.html"
    written(file, [textured(number) for number in range(19)], methods=methods, metrics=METRICS)
    assert file.stat().st_size < 12e6
    browser.open(file)  # once before: a cold disk is not the page's fault
    begun = time.monotonic()
    browser.open(file)
    opened = time.monotonic() - begun
    browser.run("document.querySelectorAll('#image-table tbody tr')[18].click()")
    browser.until("document.getElementById('canvas').width === 384")
    viewed = time.monotonic() - begun - opened
    print(f"{file.stat().st_size / 1e6:.1f} MB, opened in {opened:.2f} s, an image seen in {viewed:.2f} s")
    assert opened < 10  # measured: below 1 s
    assert viewed < 10
    assert browser.complaints() == []
