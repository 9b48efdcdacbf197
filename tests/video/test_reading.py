from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from moving import lamp, write_clip

from hdrlab.errors import ImageError, RunError
from hdrlab.inference.video.reading import VideoClip, open_clip
from hdrlab.inference.video.sources import ClipSource, clip_sources
from hdrlab.io import write_image
from hdrlab.ops.colour_spaces import pq_encode

SIZE = (48, 64)


def grey(*levels: int, dtype: type = np.uint8, middle: int = 128) -> list[list[np.ndarray]]:
    chroma = np.full((SIZE[0] // 2, SIZE[1] // 2), middle, dtype)
    return [[np.full(SIZE, level, dtype), chroma, chroma] for level in levels]


def times_of(clip: VideoClip) -> list[int]:
    return [time for time, _ in clip.times()]


def test_frames_are_what_their_tags_say(tmp_path: Path) -> None:
    limited = VideoClip(write_clip(tmp_path / "a.mp4", grey(235, 16)))
    full = VideoClip(write_clip(tmp_path / "b.mp4", grey(255, 0), pix_fmt="yuvj420p", tags=(1, 1, 1, 2)))
    for clip in (limited, full):
        white, black = clip.frames(times_of(clip), 0, 2)
        assert white.allclose(torch.ones_like(white), atol=1e-6)
        assert black.allclose(torch.zeros_like(black), atol=1e-6)


def test_frames_can_be_read_from_any_place(tmp_path: Path) -> None:
    options = {"qp": "0", "preset": "fast", "g": "4", "bf": "2"}
    clip = VideoClip(write_clip(tmp_path / "a.mkv", [lamp(SIZE, i) for i in range(11)], options=options))
    times = times_of(clip)
    whole = list(clip.frames(times, 0, 11))
    assert len(whole) == 11
    for start in range(11):
        assert torch.equal(next(clip.frames(times, start, start + 1)), whole[start])


def test_times_of_frames_are_the_files_own(tmp_path: Path) -> None:
    uneven = [0, 40, 95, 100, 250]
    clip = VideoClip(write_clip(tmp_path / "a.mkv", grey(20, 30, 40, 50, 60), times=uneven))
    assert [round(time * clip.about.time_base * 1000) for time in times_of(clip)] == uneven


def test_frames_stand_upright(tmp_path: Path) -> None:
    frame = lamp(SIZE, 0, noise=0)
    plain = VideoClip(write_clip(tmp_path / "a.mp4", [frame]))
    turned = VideoClip(write_clip(tmp_path / "b.mp4", [frame], rotation=90))
    assert (turned.about.width, turned.about.height) == (48, 64)
    one, other = (next(clip.frames(times_of(clip), 0, 1)) for clip in (plain, turned))
    assert torch.equal(torch.rot90(one, 1, (2, 3)), other)


def test_a_clip_that_is_hdr_is_light(tmp_path: Path) -> None:
    code = round(64 + 876 * float(pq_encode(np.array(203.0))))
    path = write_clip(
        tmp_path / "a.mkv", grey(code, dtype=np.uint16, middle=512), pix_fmt="yuv420p10le", tags=(9, 16, 9, 1)
    )
    clip = VideoClip(path)
    assert clip.about.hdr == "PQ"
    assert any("HDR already" in note for note in clip.about.notes)
    (light,) = clip.frames(times_of(clip), 0, 1)
    assert light.allclose(torch.ones_like(light), rtol=0.01)


def test_what_a_stream_does_not_say_is_told(tmp_path: Path) -> None:
    clip = VideoClip(write_clip(tmp_path / "a.mp4", grey(100), tags=(2, 2, 2, 0)))
    assert "taken as BT.601" in clip.about.notes[0]


@pytest.mark.parametrize(
    ("name", "sound", "told"),
    [("a.mkv", False, "about 20"), ("a.mkv", True, "about 20"), ("a.avi", True, "21"), ("a.mp4", True, "20")],
)  # FFmpeg's AVI counts one too many
def test_a_clip_that_breaks_off_is_read_up_to_there(
    tmp_path: Path, name: str, sound: bool, told: str
) -> None:
    encoder = "mpeg4" if name == "a.avi" else "libx264"
    path = write_clip(tmp_path / name, [lamp(SIZE, i) for i in range(20)], sound=sound, encoder=encoder)
    content = path.read_bytes()
    there, index = len(content) * 2 // 3, content.rfind(b"moov") - 4
    # An MP4 without its index is none: only its frames are lost.
    path.write_bytes(content[:there] + (bytes(index - there) + content[index:] if index > 0 else b""))
    clip = VideoClip(path)
    times = times_of(clip)
    assert 3 < len(times) < 18
    assert len(list(clip.frames(times, 0, len(times)))) == len(times)
    assert (
        clip.breaks_off(times) == f"breaks off: {len(times)} frames could be read, its file speaks of {told}"
    )


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi", "a.ts"])
@pytest.mark.parametrize("sound", [False, True])
def test_whole_clips_do_not_break_off(tmp_path: Path, name: str, sound: bool) -> None:
    encoder = "mpeg4" if name == "a.avi" else "libx264"
    path = write_clip(tmp_path / name, grey(*range(20, 28)), sound=sound, encoder=encoder)
    content = path.read_bytes()
    for tag in (b"DURATION", b"ANYTHING"):  # without it Matroska tells the length of the longest stream
        path.write_bytes(content.replace(b"DURATION", tag))
        clip = VideoClip(path)
        assert len(times_of(clip)) == 8
        assert clip.breaks_off(times_of(clip)) is None


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("times", [[0], [0, 40, 80, 500, 520, 2000, 2100], [400, 440, 480, 520, 560]])
def test_frames_that_are_held_are_none_that_are_missing(tmp_path: Path, name: str, times: list[int]) -> None:
    clip = VideoClip(write_clip(tmp_path / name, grey(*range(20, 20 + len(times))), times=times, lasts=3000))
    assert len(times_of(clip)) == len(times)
    assert clip.breaks_off(times_of(clip)) is None


@pytest.mark.parametrize("content", [b"", b"no clip at all" * 100])
def test_what_is_no_clip_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="cannot be read as a clip") as error:
        VideoClip(path)
    assert "\n" not in str(error.value)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RunError, match="clips need an extra: pip install"):
        VideoClip(tmp_path / "a.mp4")


# ------------------------------------------------------------------------------------------------- sequences


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for number in (8, 9, 10):
        write_image(tmp_path / f"shot.{number}.png", np.full((6, 8, 3), 20 * number, np.uint8))
    return tmp_path


@pytest.mark.parametrize("pattern", ["shot.%d.png", "shot.##.png", "shot.%04d.png"])
def test_patterns_are_sequences_by_number(frames: Path, pattern: str) -> None:
    ((source,), others) = clip_sources([str(frames / pattern)], sequence=False)
    assert [file.name for file in source.files] == ["shot.8.png", "shot.9.png", "shot.10.png"]
    assert (source.stem, others) == ("shot", [])
    clip = open_clip(source, 12.5)
    assert clip.about.rate == Fraction(25, 2)
    levels = [round(float(frame[0, 0, 0, 0]) * 255) for frame in clip.frames([0, 1, 2], 0, 3)]
    assert levels == [160, 180, 200]


def test_a_folder_is_a_sequence_where_it_is_said_to_be(frames: Path) -> None:
    assert clip_sources([str(frames)], sequence=False) == ([], [str(frames)])
    ((source,), _) = clip_sources([str(frames)], sequence=True)
    assert (len(source.files), source.missing) == (3, 0)
    (frames / "shot.9.png").unlink()
    ((source,), _) = clip_sources([str(frames)], sequence=True)
    assert "numbers of 1 frames are missing" in open_clip(source).about.notes[-1]


def test_several_sequences_in_a_folder_are_told(frames: Path) -> None:
    write_image(frames / "other.1.png", np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(RunError, match=r"several sequences.*other.####.png, shot.####.png"):
        clip_sources([str(frames)], sequence=True)


def test_a_frame_of_another_size_is_told(frames: Path) -> None:
    write_image(frames / "shot.11.png", np.zeros((7, 8, 3), np.uint8))
    ((source,), _) = clip_sources([str(frames / "shot.#.png")], sequence=False)
    with pytest.raises(ImageError, match="8 × 7, the first frame 8 × 6"):
        list(open_clip(source).frames([0, 1, 2, 3], 0, 4))


def test_clips_are_known_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.MOV").write_bytes(b"")
    clips, others = clip_sources([str(tmp_path / "a.MOV"), str(tmp_path / "b.jpg")], sequence=False)
    assert clips == [ClipSource(tmp_path / "a.MOV", "a")]
    assert others == [str(tmp_path / "b.jpg")]
