from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from commands import call
from moving import decoded, lamp, write_clip
from PIL import Image

from hdrlab import reconstruct, tonemap
from hdrlab.errors import OperatorError
from hdrlab.inference.video import clips
from hdrlab.inference.video.steady import SteadyReconstructor
from hdrlab.io import read_hdr, write_image

SIZE = (64, 96)
LENGTHS = (5, 4)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two shots."""
    frames = [lamp(SIZE, number, hue=0.0) for number in range(LENGTHS[0])]
    frames += [[255 - plane for plane in lamp(SIZE, number, hue=1.0)] for number in range(LENGTHS[1])]
    return write_clip(tmp_path / "clip.mp4", frames, sound=True, metadata={"title": "Lamps"})


def run(command: Any, *words: object) -> int:
    return call(command.COMMAND, [*words, "device=cpu"])


def hdr(*words: object) -> int:
    return run(reconstruct, *words, "precision=32", "video.preset=ultrafast")


def frames_of(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.glob("*.exr"))]


def test_a_clip_becomes_hdr10_with_its_sound(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert hdr(clip, tmp_path / "hdr", "sheet=true") == 0
    out = tmp_path / "hdr" / "clip.mp4"
    assert [len(found) for _, found in decoded(out)] == [3] * sum(LENGTHS)
    assert {path.name for path in out.parent.iterdir()} == {
        "clip.mp4", "clip_preview.mp4", "clip_sheet.png", "clip_shots.json", "reconstruct.jsonl",
    }  # fmt: skip
    assert json.loads((tmp_path / "hdr" / "clip_shots.json").read_text())["starts"] == [0, LENGTHS[0]]
    said = capfd.readouterr().err
    assert "9 frames in 2 shots" in said
    assert "MaxCLL" in said
    assert "frames/s" in said
    sheet = Image.open(tmp_path / "hdr" / "clip_sheet.png")
    assert sheet.height > 2 * 260
    peak = max(planes[0].max() for _, planes in decoded(out))
    assert peak > 64 + 876 * 0.581 + 4  # beyond the PQ code of diffuse white
    assert len(decoded(tmp_path / "hdr" / "clip_preview.mp4")) == sum(LENGTHS)

    capfd.readouterr()
    assert hdr(clip, tmp_path / "hdr", "sheet=true") == 0
    assert "1 there already" in capfd.readouterr().out


def test_frames_know_their_time(clip: Path, tmp_path: Path) -> None:
    assert hdr(clip, tmp_path / "hdr", "formats=exr", "preview=false", "scale=median") == 0
    folder = tmp_path / "hdr" / "clip"
    assert [file.name for file in sorted(folder.iterdir())] == [f"clip.{n:06d}.exr" for n in range(1, 10)]
    source = oiio.ImageInput.open(str(folder / "clip.000009.exr"))
    said = {one.name: one.value for one in source.spec().extra_attribs}
    source.close()
    assert said["framesPerSecond"] == (25, 1)
    assert said["smpte:TimeCode"][0] == 0x08
    factors = {
        read_hdr(folder / f"clip.{n:06d}.exr").metadata["scaleFactor"] for n in range(1, 1 + LENGTHS[0])
    }
    assert len(factors) == 1


def test_a_killed_clip_goes_on_at_the_last_chunk(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("formats=[exr,hdr10]", "video.chunk=2", "video.crf=0")
    assert hdr(clip, tmp_path / "whole", *words) == 0
    make, made = SteadyReconstructor.__call__, list[int]()

    def dying(self: SteadyReconstructor, frame: Any) -> Any:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return make(self, frame)

    monkeypatch.setattr(SteadyReconstructor, "__call__", dying)
    with pytest.raises(KeyboardInterrupt):
        hdr(clip, tmp_path / "again", *words)
    assert not (tmp_path / "again" / "clip.mp4").exists()
    again = list[int]()

    def counting(self: SteadyReconstructor, frame: Any) -> Any:
        again.append(1)
        return make(self, frame)

    monkeypatch.setattr(SteadyReconstructor, "__call__", counting)
    assert hdr(clip, tmp_path / "again", *words) == 0
    assert len(again) == sum(LENGTHS) - 2  # three frames were made, the last of them in a chunk of two
    assert frames_of(tmp_path / "again" / "clip") == frames_of(tmp_path / "whole" / "clip")
    whole, resumed = (decoded(tmp_path / name / "clip.mp4") for name in ("whole", "again"))
    for (time, planes), (other_time, others) in zip(whole, resumed, strict=True):
        assert time == other_time
        assert all((one == other).all() for one, other in zip(planes, others, strict=True))


def test_processes_share_a_clip_by_its_shots(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert hdr(clip, whole, "formats=exr") == 0
    capfd.readouterr()
    assert hdr(clip, shared, "formats=exr", "shard=0", "num_shards=2") == 0
    assert "finished by other processes" in capfd.readouterr().err
    assert len(frames_of(shared / "clip")) == LENGTHS[0]
    assert hdr(clip, shared, "formats=exr", "shard=1", "num_shards=2") == 0
    assert frames_of(shared / "clip") == frames_of(whole / "clip")
    assert (shared / "clip_preview.mp4").is_file()


def test_hdr_video_becomes_sdr_video_and_frames(clip: Path, tmp_path: Path) -> None:
    assert hdr(clip, tmp_path / "hdr", "preview=false") == 0
    code = run(
        tonemap, tmp_path / "hdr" / "clip.mp4", tmp_path / "sdr", "format=[video,png]", "video.codec=h264"
    )
    assert code == 0
    found = decoded(tmp_path / "sdr" / "clip.mp4")
    assert len(found) == sum(LENGTHS)
    shown = np.asarray(Image.open(tmp_path / "sdr" / "clip" / "clip.000001.png"))
    assert shown.shape == (*SIZE, 3)
    luma = 16 + 219 * (shown / 255 @ (0.2126, 0.7152, 0.0722))
    assert np.abs(luma - found[0][1][0]).mean() < 2


def test_a_sequence_of_light_becomes_frames_and_video(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_image(tmp_path / "in" / f"a.{number}.exr", np.full((64, 80, 3), 0.2 * (number + 1), np.float32))
    assert run(tonemap, tmp_path / "in", tmp_path / "out", "sequence=true") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.0.png", "a.1.png", "a.2.png"]
    pattern = tmp_path / "in" / "a.%d.exr"
    assert run(tonemap, pattern, tmp_path / "film", "format=video", "video.fps=12") == 0
    assert len(decoded(tmp_path / "film" / "a.mp4")) == 3


def test_a_clip_in_pq_is_handed_on_as_it_is(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert hdr(clip, tmp_path / "hdr", "preview=false", "video.crf=0") == 0
    capfd.readouterr()
    assert hdr(tmp_path / "hdr" / "clip.mp4", tmp_path / "again", "preview=false", "video.crf=0") == 0
    assert "HDR already (PQ)" in capfd.readouterr().err
    first, second = (decoded(tmp_path / name / "clip.mp4") for name in ("hdr", "again"))
    for (_, planes), (_, others) in zip(first, second, strict=True):
        assert np.abs(planes[0].astype(int) - others[0]).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["formats=ultrahdr"], "formats=ultrahdr: for single images"),
        (["formats=hdr10", "video.codec=h264"], "HDR needs hevc or av1"),
        (["video.crf=60"], "at most 51 for hevc"),
        (["video.codec=av1"], "preset=ultrafast: must be 0 | 1"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(
    clip: Path, tmp_path: Path, words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert hdr(clip, tmp_path / "hdr", *words) == 2
    assert message in capfd.readouterr().err


def test_one_clip_that_cannot_be_read_does_not_stop_the_others(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing of the kind")
    assert hdr(f"input=[{broken},{clip}]", f"output={tmp_path / 'hdr'}", "formats=exr", "preview=false") == 1
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert len(told) == 1
    assert "broken.mp4: cannot be read as a clip" in told[0]
    assert len(frames_of(tmp_path / "hdr" / "clip")) == sum(LENGTHS)


@pytest.mark.parametrize("error", [OperatorError("drago gives no image"), MemoryError()])
def test_neither_does_one_that_its_operator_cannot_make(
    error: Exception, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: Any, rate: Any) -> Any:
        if source.path.name == "bad.mp4":
            raise error
        return plain(source, rate)

    plain = clips.open_clip
    monkeypatch.setattr(clips, "open_clip", failing)
    (tmp_path / "bad.mp4").write_bytes(clip.read_bytes())
    words = (f"input=[{tmp_path / 'bad.mp4'},{clip}]", "method=average", "formats=exr", "preview=false")
    assert hdr(*words, f"output={tmp_path / 'hdr'}") == 1
    assert len(frames_of(tmp_path / "hdr" / "clip")) == sum(LENGTHS)


def test_a_clip_that_breaks_off_is_made_with_a_note(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = write_clip(tmp_path / "broken.mkv", [lamp(SIZE, number) for number in range(12)])
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    words = ("method=average", "formats=exr", "preview=false")
    assert hdr(f"input=[{broken},{clip}]", f"output={tmp_path / 'hdr'}", *words) == 0
    number = len(frames_of(tmp_path / "hdr" / "broken"))
    told = [line for line in capfd.readouterr().err.splitlines() if "breaks off" in line]
    assert told == [
        f"note: broken.mkv: breaks off: {number} frames could be read, its file speaks of about 12"
    ]


def test_sdr_is_nothing_to_tone_map(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tonemap, clip, tmp_path / "sdr") == 1
    assert "nothing to tone-map" in capfd.readouterr().err
    assert [*(tmp_path / "sdr").iterdir()] == []


def test_frames_too_small_for_a_codec_are_told_with_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = write_clip(tmp_path / "small.mkv", [lamp((30, 40), number) for number in range(3)])
    assert hdr(small, tmp_path / "out", "method=average") == 1
    (told,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert told.startswith("error: small.mkv: frames of 40 × 30 are too small for hevc")
    assert told.endswith("formats=exr writes frames instead")
    assert [*(tmp_path / "out").iterdir()] == []
    assert hdr(small, tmp_path / "out", "method=average", "formats=exr") == 0
    assert len(frames_of(tmp_path / "out" / "small")) == 3


@pytest.mark.slow
def test_a_process_that_is_killed_loses_a_chunk_at_most(clip: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "hdrlab.reconstruct", str(clip), str(tmp_path / "out"), "formats=exr",
            "preview=false", "video.chunk=1", "device=cpu"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(line, env=env, stderr=subprocess.DEVNULL)
    journal = tmp_path / "out" / "reconstruct.jsonl"

    def done() -> int:
        return journal.read_text().count('"stamp"') if journal.exists() else 0

    while killed.poll() is None and done() < 4:
        pass
    killed.kill()
    killed.wait()
    before = done()
    assert 4 <= before < sum(LENGTHS)
    shared = [*line, "-m", "shard=range(2)", "num_shards=2"]  # the rest, by two processes
    assert subprocess.run(shared, env=env, check=False, cwd=tmp_path).returncode == 0
    assert len(frames_of(tmp_path / "out" / "clip")) == sum(LENGTHS)
    assert clips.CURVE_FRAMES > 1
