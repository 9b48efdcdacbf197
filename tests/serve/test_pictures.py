"""A picture's way: in, through the queue, what is shown of it, what is taken away, gone."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from serving import Client, Serve, jpeg

from hdrlab.errors import ImageError
from hdrlab.io import read_hdr
from hdrlab.io.ultrahdr import has_gain_map
from hdrlab.serve.app import Settings, create_app
from hdrlab.serve.developing import Developer
from hdrlab.serve.pictures import Pictures
from hdrlab.tonemapping import OPERATORS, missing


def file_of(client: Client, state: dict[str, Any], name: str) -> Any:
    answer = client.get(f"/api/pictures/{state['key']}/files/{name}")
    assert answer.status_code == 200, answer.text
    return answer


def saved(tmp_path: Path, answer: Any, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(answer.content)
    return path


def test_a_photograph_becomes_light(client: Client, photograph: bytes, tmp_path: Path) -> None:
    state = client.developed(photograph, "my%20holiday%20%C3%A9.jpg")
    facts = state["facts"]
    assert state["name"] == "my holiday é.jpg"
    assert state["size"] == [96, 64]
    assert facts["photograph"]
    assert facts["clipped"] == pytest.approx(np.pi * (0.2 * 64) ** 2 / (96 * 64), rel=0.2)
    assert facts["curve"][0] == pytest.approx(0, abs=0.05)
    assert facts["curve"][-1] == pytest.approx(1, abs=0.01)
    assert set(state["files"]) == {"hdr.exr", "ultrahdr.jpg"}

    exr = file_of(client, state, "hdr.exr")
    assert "my%20holiday%20%C3%A9.exr" in exr.headers["Content-Disposition"]
    light = read_hdr(saved(tmp_path, exr, "a.exr"))
    assert light.shape == (64, 96, 3)
    assert light.pixels.max() > 1.05  # brighter than where the photograph clips
    assert has_gain_map(saved(tmp_path, file_of(client, state, "ultrahdr.jpg"), "a.jpg"))


def test_the_viewer_gets_the_light_as_codes(client: Client, photograph: bytes, tmp_path: Path) -> None:
    state = client.developed(photograph)
    facts, answer = state["facts"], file_of(client, state, "light.bin")
    assert answer.headers["Content-Encoding"] == "gzip"
    codes = np.frombuffer(answer.content, "<u2").reshape(facts["height"], facts["width"], 3)
    light = facts["floor"] * (np.exp2(codes / facts["codes"] * facts["span"]) - 1)
    hdr = read_hdr(saved(tmp_path, file_of(client, state, "hdr.exr"), "a.exr")).pixels
    bright = hdr > facts["floor"]
    assert np.abs(np.log2(light[bright] / hdr[bright])).max() < 0.01


def test_what_is_clipped_and_what_was_restored_are_shown(client: Client, photograph: bytes) -> None:
    state = client.developed(photograph)
    for name in ("clipped.png", "alpha.png"):
        mask = np.asarray(PillowImage.open(io.BytesIO(file_of(client, state, name).content)))
        assert mask.shape == (64, 96)
        assert mask[32, 67] == 255
        assert mask[32, 10] == 0


def test_an_hdr_file_is_shown_as_it_is(client: Client, scene: bytes, tmp_path: Path) -> None:
    state = client.developed(scene, "scene.exr")
    assert not state["facts"]["photograph"]
    assert state["facts"]["curve"] is None
    assert state["facts"]["range"] == pytest.approx(14, abs=0.3)
    light = read_hdr(saved(tmp_path, file_of(client, state, "hdr.exr"), "a.exr")).pixels
    given = read_hdr(saved(tmp_path, type("", (), {"content": scene}), "b.exr")).pixels
    np.testing.assert_array_equal(light, given)
    assert has_gain_map(saved(tmp_path, file_of(client, state, "ultrahdr.jpg"), "a.jpg"))
    assert client.get(f"/api/pictures/{state['key']}/files/photograph.jpg").status_code == 404


def test_the_result_of_one_picture_can_be_given_back(client: Client, photograph: bytes) -> None:
    """Ultra HDR in: its own gain map counts, and no net sees it."""
    first = client.developed(photograph)
    state = client.developed(file_of(client, first, "ultrahdr.jpg").content, "b.jpg")
    assert state["facts"]["photograph"]
    assert not state["facts"]["mask"]
    assert state["facts"]["range"] == pytest.approx(first["facts"]["range"], abs=1.5)


# ------------------------------------------------------------------------------------------- renderings


def test_every_operator_is_offered_with_its_settings(client: Client) -> None:
    offered = {
        one["name"]: {s["name"] for s in one["sliders"]} for one in client.get("/api").json()["operators"]
    }
    assert set(offered) == {"iqatm", *(name for name in OPERATORS if not missing(name))}
    assert {"exposure", "contrast", "saturation", "gamma"} == offered["iqatm"]
    assert {"key", "white"} < offered["reinhard"]
    assert {"bias", "key"} < offered["drago"]
    sliders = [s for one in client.get("/api").json()["operators"] for s in one["sliders"]]
    for slider in sliders:
        assert slider["help"]
        assert slider["default"] is None or slider["low"] <= slider["default"] <= slider["high"], slider


@pytest.mark.slow
def test_every_operator_shows_a_preview(client: Client, scene: bytes) -> None:
    state = client.developed(scene, "scene.exr")
    for operator in client.get("/api").json()["operators"]:
        asked = client.get(f"/api/pictures/{state['key']}/shown/{operator['name']}")
        assert asked.status_code == 200, (operator, asked.text)
        assert PillowImage.open(io.BytesIO(asked.content)).size == (96, 64)


def mean(answer: Any) -> float:
    return float(np.asarray(PillowImage.open(io.BytesIO(answer.content))).mean())


@pytest.mark.parametrize("operator", ["reinhard", "iqatm"])
def test_settings_change_what_is_shown(client: Client, scene: bytes, operator: str) -> None:
    state = client.developed(scene, "scene.exr")
    address = f"/api/pictures/{state['key']}/shown/{operator}"
    plain = mean(client.get(address))
    assert mean(client.get(address, params={"exposure": 1})) > plain + 5
    assert mean(client.get(address, params={"exposure": -1})) < plain - 5
    assert mean(client.get(address)) == plain


@pytest.mark.parametrize(
    ("operator", "settings", "said"),
    [
        ("reinhard", {"bias": "1"}, "reinhard has no 'bias'; it has key, white, exposure"),
        ("reinhard", {"key": "-1"}, "key=-1: must be a number above 0"),
        ("reinhard", {"key": "nan"}, "must be a number"),
        ("reinhard", {"exposure": "inf"}, "must be a number"),
        ("reinhard", {"exposure": "1e9"}, "must be a number"),
        ("reinhard", {"exposure": "__import__('os')"}, "must be a number"),
        ("reinhard_local", {"num_scales": "8"}, "has no 'num_scales'"),
        ("rheinhard", {}, "there is none of this name"),
    ],
)
def test_settings_out_of_their_limits_are_refused(
    client: Client, scene: bytes, operator: str, settings: dict[str, str], said: str
) -> None:
    state = client.developed(scene, "scene.exr")
    asked = client.get(f"/api/pictures/{state['key']}/shown/{operator}", params=settings)
    assert asked.status_code == 400
    assert said in asked.json()["error"]


@pytest.mark.parametrize(
    ("format", "ending"), [("png", "_drago.png"), ("jpeg", "_drago.jpg"), ("ultrahdr", "_drago_ultrahdr.jpg")]
)
def test_a_rendering_is_taken_away_in_full_size(
    client: Client, photograph: bytes, tmp_path: Path, format: str, ending: str
) -> None:
    state = client.developed(photograph)
    address = f"/api/pictures/{state['key']}/shown/drago"
    begun = client.post(address, params={"format": format, "bias": 0.7})
    assert begun.status_code == 202
    name = begun.json()["name"]
    done = client.until(state["key"], lambda one: one["renderings"][name] != "waiting")
    assert done["renderings"][name] == "ready"
    answer = file_of(client, state, name)
    assert answer.headers["Content-Disposition"].endswith(f"a{ending}")
    path = saved(tmp_path, answer, f"a{ending}")
    assert PillowImage.open(path).size == (96, 64)
    assert has_gain_map(path) == (format == "ultrahdr")


def test_a_format_that_is_none_is_refused(client: Client, photograph: bytes) -> None:
    state = client.developed(photograph)
    asked = client.post(f"/api/pictures/{state['key']}/shown/drago", params={"format": "exe"})
    assert asked.status_code == 400
    assert "png | jpeg | ultrahdr" in asked.json()["error"]


# ----------------------------------------------------------------------------------------------- limits


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "a.jpg"),
        (b"<html><script>alert(1)</script>", "a.jpg"),
        (b"%PDF-1.7", "a.png"),
        (b"#!/bin/sh\nrm -rf /", "a.exr"),
        (b"\xff\xd8\xff" + b"\0" * 50, "a.jpg"),
        (gzip.compress(b"x", mtime=0), "a.hdr"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"),
        (png_that_declares(60000, 60000), "bomb.png"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_content(client: Client, content: bytes, name: str) -> None:
    before = client.kept
    sent = client.give(content, name)
    assert sent.status_code == 415, sent.text
    assert sent.json()["error"]
    assert str(client.folder) not in sent.text
    assert client.kept == before


def test_a_picture_that_is_damaged_further_on_fails_with_its_reason(client: Client) -> None:
    whole = jpeg(256, 256)
    sent = client.give(whole[: len(whole) // 2])
    state = client.until(sent.json()["key"], lambda one: one["state"] in ("failed", "ready"))
    assert state["state"] == "failed"
    assert "truncated" in state["reason"].lower()
    assert str(client.folder) not in state["reason"]
    assert client.get(f"/api/pictures/{state['key']}/shown/reinhard").status_code == 409


def test_too_large_a_file_is_refused_before_and_while_it_arrives(serve: Serve) -> None:
    client = serve(file_mb=0.01)

    def parts() -> Any:
        for _ in range(20):
            yield b"\xff" * 1000

    for content in (b"x" * 20000, parts()):
        sent = client.give(content)  # type: ignore[arg-type]
        assert sent.status_code == 413
        assert "0.01 MB" in sent.json()["error"]
    assert client.kept == []


def test_what_breaks_off_on_its_way_is_not_kept(client: Client, photograph: bytes) -> None:
    before = client.kept

    def parts() -> Any:
        yield photograph[:100]
        raise ConnectionError("the line broke")

    with pytest.raises(ConnectionError):
        client.give(parts())  # type: ignore[arg-type]
    assert client.kept == before


def test_too_many_pixels_are_refused_by_the_header(serve: Serve) -> None:
    client = serve(megapixels=0.005)
    sent = client.give(jpeg(96, 64))
    assert sent.status_code == 415
    assert "96 × 64" in sent.json()["error"]
    assert client.give(jpeg(80, 60)).status_code == 201


def test_only_so_many_pictures_are_kept(serve: Serve, photograph: bytes) -> None:
    client = serve(pictures=2)
    keys = [client.give(photograph).json()["key"] for _ in range(2)]
    refused = client.give(photograph)
    assert refused.status_code == 503
    assert "2 pictures are kept already" in refused.json()["error"]
    assert client.delete(f"/api/pictures/{keys[0]}").status_code == 204
    assert client.give(photograph).status_code == 201


def test_names_of_files_lead_nowhere(client: Client, photograph: bytes) -> None:
    for given, kept in {
        "..%2F..%2Fetc%2Fpasswd": "passwd",
        "C%3A%5Cphotos%5Ca.jpg": "a.jpg",
        "a%00%0Ab.jpg": "ab.jpg",
        "": "picture",
        "x" * 5000: "x" * 120,
    }.items():
        state = client.give(photograph, given).json()
        assert state["name"] == kept
        client.delete(f"/api/pictures/{state['key']}")
    for path in ("/page/..%2Fapp.py", "/page/app.py", "/api/pictures/..%2F..%2F/files/a"):
        assert client.get(path).status_code == 404


# ------------------------------------------------------------------------------------------------ queue


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Work goes on when it is set; until then tiles are finished one after the other."""
    event = threading.Event()

    def open_slowly(self: Developer, picture: Any, advance: Callable[[int, int], None]) -> None:
        picture.state = "working"
        tiles = 0
        while not event.wait(0.01):
            tiles = min(tiles + 1, 50)
            advance(tiles, 100)
        raise ImageError(None, "is only a test")

    monkeypatch.setattr(Developer, "open", open_slowly)
    return event


def test_pictures_wait_for_one_worker_and_know_how_long(
    serve: Serve, photograph: bytes, gate: threading.Event
) -> None:
    client = serve()
    keys = [client.give(photograph).json()["key"] for _ in range(3)]
    working = client.until(keys[0], lambda one: one.get("share", 0) > 0.2)
    assert working["state"] == "working"
    assert working["seconds_left"] > 0
    waiting = [client.state(key) for key in keys[1:]]
    assert [(one["state"], one["ahead"]) for one in waiting if one] == [("waiting", 1), ("waiting", 2)]
    gate.set()
    for key in keys:
        assert client.until(key, lambda one: one["state"] == "failed")["reason"] == "is only a test"


def test_the_queue_is_as_long_as_it_may_be(serve: Serve, photograph: bytes, gate: threading.Event) -> None:
    client = serve(queue=2)
    assert [client.give(photograph).status_code for _ in range(3)] == [201, 201, 503]
    assert len(client.kept) == 2
    gate.set()


def test_a_deleted_picture_leaves_the_queue_and_the_disk(
    serve: Serve, photograph: bytes, gate: threading.Event
) -> None:
    client = serve()
    keys = [client.give(photograph).json()["key"] for _ in range(3)]
    client.until(keys[0], lambda one: one["state"] == "working")
    for key in keys[:2]:  # one that is worked on, one that waits
        assert client.delete(f"/api/pictures/{key}").status_code == 204
        assert client.state(key) is None
        assert client.get(f"/api/pictures/{key}/files/hdr.exr").status_code == 404
    # The worker notices with the next tile, and takes what is left.
    assert client.until(keys[2], lambda one: one["state"] == "working")["ahead"] == 0
    assert client.kept == [keys[2]]
    gate.set()


# --------------------------------------------------------------------------------------------- deletion


def test_pictures_are_deleted_when_nobody_asks_for_them(serve: Serve, photograph: bytes) -> None:
    client = serve(minutes=0.02)
    key = client.give(photograph).json()["key"]
    end = time.monotonic() + 30
    while client.state(key) is not None:  # asking for states keeps nothing
        assert time.monotonic() < end
        time.sleep(0.05)
    assert client.kept == []


def test_a_picture_that_is_looked_at_is_kept(serve: Serve, photograph: bytes) -> None:
    client = serve(minutes=0.05)
    key = client.give(photograph).json()["key"]
    for _ in range(20):
        time.sleep(0.2)
        assert client.get("/api/pictures", params={"key": key, "used": key}).json()["pictures"]


def test_what_nets_made_of_a_deleted_picture_is_forgotten(client: Client, scene: bytes) -> None:
    state = client.developed(scene, "scene.exr")
    client.get(f"/api/pictures/{state['key']}/shown/iqatm")
    seen = client.app.state.server.operators._seen  # type: ignore[attr-defined]
    assert any(state["key"] in key for key in seen)
    client.delete(f"/api/pictures/{state['key']}")
    assert not any(state["key"] in key for key in seen)


def test_everything_is_deleted_when_the_server_ends(photograph: bytes) -> None:
    with Client(create_app(Settings()), base_url="http://localhost:8210") as client:
        client.give(photograph)
        folder = client.folder
        assert client.kept
    assert not folder.exists()


def test_what_a_killed_server_left_is_deleted_by_the_next(
    photograph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = tmp_path / "hdrlab-serve-killed"
    (killed / "picture").mkdir(parents=True)
    (killed / ".lock").touch()
    os.utime(killed / ".lock", (0, 0))
    with Client(create_app(Settings()), base_url="http://localhost:8210") as client:
        assert not killed.exists()
        Pictures(1, 1).close()  # a second one beside it
        assert client.give(photograph).status_code == 201
    assert [*tmp_path.iterdir()] == []


def test_keys_cannot_be_guessed(client: Client, photograph: bytes) -> None:
    keys = {client.give(photograph).json()["key"] for _ in range(3)}
    assert len(keys) == 3
    assert all(len(key) >= 24 for key in keys)
    assert client.get("/api/pictures").json() == {"pictures": []}  # there is no list of all


def test_it_says_that_it_is_well(client: Client) -> None:
    assert client.get("/health").text == "ok"
