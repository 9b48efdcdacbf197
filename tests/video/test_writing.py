from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from moving import decoded, lamp, write_clip
from torch import Tensor

from hdrlab.errors import ImageError
from hdrlab.inference.video.colour import to_planes
from hdrlab.inference.video.hdr10 import LightLevel, in_hevc
from hdrlab.inference.video.reading import Description
from hdrlab.inference.video.writing import KINDS, Coding, SegmentWriter, join

ABOUT = Description(
    path=Path("a.mp4"), width=96, height=64, rate=Fraction(25), time_base=Fraction(1, 12800),
    metadata={"title": "A lamp", "location": "+48.1+011.5/"},
)  # fmt: skip
STEP = 512


def frame(number: int) -> Tensor:
    y, x = np.mgrid[0:64, 0:96] / 96
    rgb = np.stack([x, y, (x + y + number / 10) % 1]).astype(np.float32)
    return torch.from_numpy(0.05 + 0.7 * rgb)[None]


def segments(folder: Path, kind: str, coding: Coding, lengths: tuple[int, ...] = (4, 3)) -> list[Path]:
    number, files = 0, []
    for length in lengths:
        files.append(folder / f"{number}.{kind}.mp4")
        writer = SegmentWriter(files[-1], kind, coding, ABOUT, (96, 64))
        for _ in range(length):
            writer.add(frame(number), number * STEP)
            number += 1
        writer.close()
    return files


def probe(path: Path, *what: str) -> dict[str, Any]:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    line = ["ffprobe", "-v", "error", "-of", "json", *what, str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
    return found


@pytest.mark.parametrize(
    ("codec", "kind"), [("hevc", "hdr10"), ("hevc", "hlg"), ("av1", "hdr10"), ("h264", "video")]
)
def test_what_is_decoded_is_within_half_a_code_of_what_was_meant(
    tmp_path: Path, codec: str, kind: str
) -> None:
    coding = Coding(codec, crf=0)
    join(tmp_path / "out.mp4", segments(tmp_path, kind, coding), source=None, about=ABOUT)
    found = decoded(tmp_path / "out.mp4")
    assert len(found) == 7
    for number, (_, planes) in enumerate(found):
        meant = to_planes(frame(number), coding.bits, KINDS[kind])
        for plane, exact in zip(planes, meant, strict=True):
            assert np.abs(plane - exact[0, 0].numpy()).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("codec", ["hevc", "av1"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_hdr10_says_what_it_is(tmp_path: Path, codec: str, container: str) -> None:
    out = tmp_path / f"out.{container}"
    light = LightLevel(1234, 256)
    join(out, segments(tmp_path, "hdr10", Coding(codec, 30)), source=None, about=ABOUT, light=light)
    (stream,) = probe(out, "-show_streams")["streams"]
    assert (stream["color_transfer"], stream["color_primaries"]) == ("smpte2084", "bt2020")
    assert (stream["color_space"], stream["color_range"], stream["pix_fmt"]) == (
        "bt2020nc",
        "tv",
        "yuv420p10le",
    )
    (first, *_) = probe(out, "-show_frames", "-read_intervals", "%+#1")["frames"]
    for said in (stream["side_data_list"], first["side_data_list"]):
        merged = {name: value for one in said for name, value in one.items()}
        assert (merged["max_content"], merged["max_average"]) == (1234, 256)
        assert Fraction(merged["max_luminance"]) == 2000
        assert float(Fraction(merged["red_x"])) == pytest.approx(0.708, abs=1e-4)


def test_every_key_frame_says_it_and_the_display_is_the_least_that_shows_all() -> None:
    unit = bytes.fromhex("2601af09")
    packet = len(unit).to_bytes(4) + unit
    with_it = in_hevc(packet, LightLevel(700, 0))
    assert with_it.endswith(packet)
    assert with_it[4:6] == bytes.fromhex("4e01")
    size = int.from_bytes(with_it[:4])
    for place in range(4, 4 + size - 3):  # nothing in it looks like the start of a unit
        assert with_it[place : place + 3] not in (b"\0\0\0", b"\0\0\1", b"\0\0\2")
    assert [LightLevel(most, 0).mastering_peak for most in (1000, 1001, 60000)] == [1000, 2000, 10000]


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_segments_are_joined_in_time(tmp_path: Path, codec: str) -> None:
    coding = Coding(codec, 30, "fast" if codec == "hevc" else None)
    join(tmp_path / "out.mp4", segments(tmp_path, "hlg", coding, (9, 1, 2, 6)), source=None, about=ABOUT)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        base = stream.time_base
        assert stream.average_rate == 25
    assert [packet.dts for packet in packets] == sorted({packet.dts for packet in packets})
    assert all(packet.dts <= packet.pts for packet in packets)
    assert sum(packet.is_keyframe for packet in packets) >= 3
    times = [time * base for time, _ in decoded(tmp_path / "out.mp4")]
    assert times == [Fraction(number, 25) for number in range(18)]


def test_sound_and_metadata_come_along(tmp_path: Path) -> None:
    frames = [lamp((64, 96), number) for number in range(7)]
    source = write_clip(tmp_path / "in.mp4", frames, sound=True, metadata=ABOUT.metadata)
    parts = segments(tmp_path, "hlg", Coding("hevc", 30))
    assert join(tmp_path / "out.mp4", parts, source=source, about=ABOUT) == []
    join(tmp_path / "bare.mp4", parts, source=source, about=ABOUT, metadata="no_gps")

    def sound(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert sound(tmp_path / "out.mp4") == sound(source)
    with av.open(str(tmp_path / "out.mp4")) as out, av.open(str(tmp_path / "bare.mp4")) as bare:
        assert out.metadata["title"] == bare.metadata["title"] == "A lamp"
        assert "location" in out.metadata
        assert "location" not in bare.metadata


def test_subtitles_come_along_or_a_note_says_why_not(tmp_path: Path) -> None:
    text = tmp_path / "in.srt"
    text.write_text("1\n00:00:00,040 --> 00:00:00,200\nA lamp is lit.\n")
    plain = write_clip(tmp_path / "plain.mkv", [lamp((64, 96), number) for number in range(7)], sound=True)
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out, av.open(str(plain)) as clip, av.open(str(text)) as subtitles:
        given = [*clip.streams, *subtitles.streams]
        copies = {stream: out.add_stream_from_template(stream, opaque=True) for stream in given}
        copies[given[-1]].metadata["language"] = "deu"
        for packet in (*clip.demux(), *subtitles.demux()):
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                out.mux(packet)
    parts = segments(tmp_path, "hlg", Coding("hevc", 30))
    assert join(tmp_path / "out.mkv", parts, source=source, about=ABOUT) == []
    with av.open(str(tmp_path / "out.mkv")) as out:
        (stream,) = out.streams.subtitles
        assert stream.language == "deu"
        assert b"A lamp is lit." in b"".join(bytes(packet) for packet in out.demux(stream))
    (note,) = join(tmp_path / "out.mp4", parts, source=source, about=ABOUT)
    assert "its subtitle (srt) does not fit" in note


def test_frames_that_an_encoder_cannot_take_are_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="48 × 32 are too small for hevc") as error:
        SegmentWriter(tmp_path / "a.mp4", "hlg", Coding("hevc"), ABOUT, (48, 32))
    assert error.value.path == ABOUT.path


def test_odd_sides_are_continued_by_a_pixel(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "a.mp4", "hlg", Coding("hevc", 0), ABOUT, (95, 65))
    writer.add(torch.rand(1, 3, 65, 95), 0)
    writer.close()
    ((_, planes),) = decoded(tmp_path / "a.mp4")
    assert planes[0].shape == (66, 96)
    assert (planes[0][65] == planes[0][64]).all()
