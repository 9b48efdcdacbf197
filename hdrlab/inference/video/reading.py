"""Clips and sequences of numbered frames, read frame by frame from any place on.

A frame is a tensor [1, 3, H, W], float32, upright: of SDR, display-encoded Rec. 709 in [0, 1], as nets take
it; of HDR, linear Rec. 709, 1 = diffuse white, below 0 where colours lie outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdrlab.errors import ImageError, RunError, install
from hdrlab.inference.video.colour import RGB_MATRIX, Tags, display_samples, light_of, supported, to_rgb
from hdrlab.inference.video.sources import ClipSource
from hdrlab.inference.video.timecode import TimeCode
from hdrlab.io import read_hdr, read_photograph, samples_in_unit
from hdrlab.io.image import DEFAULT_MAX_PIXELS
from hdrlab.io.oiio import TIME_CODE
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DEFAULT_RATE = Fraction(24)
_REPACKED = {"nv12": "yuv420p", "nv21": "yuv420p", "p010le": "yuv420p10le", "p012le": "yuv420p12le",
             "p016le": "yuv420p16le", "nv16": "yuv422p", "p210le": "yuv422p10le", "yuyv422": "yuv422p",
             "uyvy422": "yuv422p", "yuva420p": "yuv420p"}  # fmt: skip
"""Formats with the same samples in another order."""

_OWN_LENGTH = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")
"""What Matroska's tag ``DURATION`` says of a stream."""

_PLANAR = re.compile(r"(?:yuvj?4(?:44|40|22|20|11|10)p|gray)(?:\d+le)?")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a clip before its frames are read.

    Attributes:
        path: Its file, or the folder or first file of a sequence.
        width: Of the upright frames.
        height: Likewise.
        rate: Frames a second, on average.
        time_base: Unit of the frames' times in seconds.
        hdr: ``PQ`` or ``HLG``, or ``linear`` for frames of light; None: it is SDR.
        aspect: Width of a pixel by its height.
        timecode: Of the first frame.
        metadata: Title, date and the like, as its container has them.
        notes: What a user should know.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    hdr: str | None = None
    aspect: Fraction = Fraction(1)
    timecode: TimeCode = field(default_factory=lambda: TimeCode(0, 24))
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Clip(Protocol):
    """Frames in time: what is known of them, and the files that hold them."""

    about: Description

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold them."""
        ...

    def times(self) -> Iterator[tuple[int, Callable[[], Tensor]]]:
        """Yield the time of every frame that can be read, and what gives it as RGB in [0, 1], to be compared.

        Raises:
            ImageError: Nothing can be read.
        """
        ...

    def breaks_off(self, times: Sequence[int]) -> str | None:
        """Say so where the files tell of clearly more frames than those with these times, which `times` gave.

        Raises:
            ImageError: Nothing can be read any more.
        """
        ...

    def frames(self, times: Sequence[int], start: int, stop: int) -> Iterator[Tensor]:
        """Yield frames ``start`` to ``stop`` of those with these times, which ``times`` gave.

        Raises:
            ImageError: One cannot be read.
        """
        ...


def open_clip(source: ClipSource, rate: float | None = None) -> Clip:
    """Open what `clip_sources` found.

    Args:
        source: A clip or a sequence.
        rate: Frames a second of a sequence that does not say.

    Raises:
        ImageError: It cannot be read, in one line.
        RunError: The package that reads clips is missing.
    """
    if source.files:
        return Sequence_(source, rate)
    return VideoClip(source.path)


# -------------------------------------------------------------------------------------------------- sequences


class Sequence_:
    """Numbered images of one size: photographs, or light.

    Args:
        source: From `clip_sources`.
        rate: Frames a second, where the frames do not say.

    Raises:
        ImageError: The first frame cannot be read.
    """

    def __init__(self, source: ClipSource, rate: float | None = None) -> None:
        self.files = source.files
        first, self._scale = None, 1.0
        try:
            first = read_hdr(self.files[0])
        except ImageError as error:
            first = read_photograph(self.files[0]) if "SDR image" in error.reason else None
            if first is None:
                raise
        self._is_light = first.domain == "linear"
        entries = first.metadata
        if self._is_light and "hdr" in entries:
            self._scale = 1 / DIFFUSE_WHITE
        elif self._is_light and "whiteLuminance" in entries:
            self._scale = float(entries["whiteLuminance"]) / DIFFUSE_WHITE
        said = entries.get("FramesPerSecond", entries.get("framesPerSecond"))
        fps = Fraction(rate).limit_denominator(1001) if rate else _fraction(said) or DEFAULT_RATE
        height, width = first.pixels.shape[:2]
        self.about = Description(
            path=source.path,
            width=width,
            height=height,
            rate=fps,
            time_base=1 / fps,
            hdr="linear" if self._is_light else None,
            timecode=_timecode_of(entries, fps),
            notes=(
                *([] if rate or said else [f"says no frame rate: taken as {fps}; video.fps= sets it"]),
                *([f"numbers of {source.missing} frames are missing: passed over"] if source.missing else []),
            ),
        )

    def times(self) -> Iterator[tuple[int, Callable[[], Tensor]]]:
        """As `Clip` says."""
        for number, file in enumerate(self.files):

            def seen(file: Path = file) -> Tensor:
                frame = self._read(file)
                return (frame / (frame + 0.5)).clamp(0, 1) ** 0.5 if self._is_light else frame

            yield number, seen

    def breaks_off(self, times: Sequence[int]) -> str | None:
        """As `Clip` says: each frame is a file, and one that cannot be read an error."""
        return None

    def frames(self, times: Sequence[int], start: int, stop: int) -> Iterator[Tensor]:
        """As `Clip` says."""
        for number in times[start:stop]:
            yield self._read(self.files[number])

    def _read(self, file: Path) -> Tensor:
        image = read_hdr(file, keep_outside=True) if self._is_light else read_photograph(file)
        if image.pixels.shape[:2] != (self.about.height, self.about.width):
            size = f"{image.pixels.shape[1]} × {image.pixels.shape[0]}"
            raise ImageError(file, f"is {size}, the first frame {self.about.width} × {self.about.height}")
        if not self._is_light:
            if image.domain == "linear":
                raise ImageError(file, "is HDR already, the first frame is not")
            return _tensor(samples_in_unit(image))
        light = image.pixels if image.outside is None else image.pixels + image.outside
        return _tensor(light * np.float32(self._scale))


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None].contiguous()


def _fraction(value: Any) -> Fraction | None:
    try:
        rate = Fraction(*value) if isinstance(value, (tuple, list)) else Fraction(str(value))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return rate if 0 < rate <= 1000 else None


def _timecode_of(entries: Any, rate: Fraction) -> TimeCode:
    found = entries.get(TIME_CODE)
    return TimeCode.unpacked(int(found[0]), rate) if found else TimeCode.parse(None, rate)


# ------------------------------------------------------------------------------------------------------ clips


class VideoClip:
    """The first video stream of a file, by PyAV.

    Args:
        path: The file.
        max_pixels: Of a frame.

    Raises:
        ImageError: It holds no video that can be read.
        RunError: PyAV is missing.
    """

    def __init__(self, path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.path, self.files, self._max_pixels = path, (path,), max_pixels
        with self._opened() as (_, stream):
            frame = next(iter(self._decoded(stream)), None)
            if frame is None:
                raise ImageError(path, "holds no frame that can be decoded")
            upright = _upright(frame)
            tags, guess = _tags_of(frame, stream).completed(upright[1])
            self._tags = tags
            if problem := supported(tags):
                raise ImageError(path, problem)
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            container = stream.container
            metadata = dict(container.metadata)
            start = stream.metadata.get("timecode") or metadata.get("timecode")
            start = start or next(
                (s.metadata["timecode"] for s in container.streams if "timecode" in s.metadata), None
            )
            aspect = stream.sample_aspect_ratio or Fraction(1)
            notes = [guess] if guess else []
            if frame.interlaced_frame:
                notes.append("is interlaced: both fields of a frame are taken as one image")
            if tags.hdr:
                notes.append(f"is HDR already ({tags.hdr}): converted as it is, without nets")
            self.about = Description(
                path=path,
                width=upright[0],
                height=upright[1],
                rate=Fraction(rate),
                time_base=Fraction(stream.time_base or 1 / rate),
                hdr=tags.hdr,
                aspect=1 / aspect if _turns(frame) % 2 else aspect,
                timecode=TimeCode.parse(start, Fraction(rate)),
                metadata=metadata,
                notes=tuple(notes),
            )

    def times(self) -> Iterator[tuple[int, Callable[[], Tensor]]]:
        """As `Clip` says; small frames are not converted exactly."""
        last: int | None = None
        with self._opened() as (_, stream):
            for number, frame in enumerate(self._decoded(stream)):
                time = number if frame.pts is None else frame.pts
                if last is not None and time <= last:
                    continue
                last = time
                yield time, partial(_small, frame)

    def breaks_off(self, times: Sequence[int]) -> str | None:
        """As `Clip` says: 2 frames and 2 % are not clearly more.

        The file has to tell of both a longer time and more frames: where frames are held, dropped or doubled
        one of the two still fits.
        """
        unit, number = self.about.time_base, len(times)
        with self._opened() as (container, stream):
            length, all_streams = _told_length(container, stream)
            told = stream.frames or (length - unit * times[0]) * self.about.rate
            step = unit * (times[-1] - times[0]) / (number - 1) if number > 1 else 1 / self.about.rate
            slack = max(2 * step, length / 50)
            held = unit * max((after - before for before, after in pairwise(times)), default=0)
            start = unit * min(times[0], 0)
            end = unit * times[-1] + step

            def is_short() -> bool:
                return length - (end - start) > max(slack, held) and told - number > max(2, told / 50)

            if not is_short():
                return None
            shown, others = _ends(container, stream, times[-1], all_streams=all_streams)
            end = max(end, shown)
            if not is_short() or others - end > slack:
                return None  # the last frame is held, or it is the sound that is longer
            about = "" if stream.frames else "about "
        return f"breaks off: {number} frames could be read, its file speaks of {about}{round(told)}"

    def frames(self, times: Sequence[int], start: int, stop: int) -> Iterator[Tensor]:
        """As `Clip` says."""
        wanted = list(times[start:stop])
        for seeking in (True, False):
            with self._opened() as (container, stream):
                if seeking and start:
                    container.seek(times[start], stream=stream)
                for number, frame in enumerate(self._decoded(stream)):
                    if not wanted:
                        return
                    time = frame.pts
                    if time is None:
                        if seeking and start:
                            break  # without times no place can be looked for
                        time = number
                    if seeking and time > wanted[0]:
                        break  # it looked in the wrong place
                    if time == wanted[0]:
                        wanted.pop(0)
                        yield self._rgb(frame)
            if not wanted:
                return
        raise ImageError(self.path, f"frame {stop - len(wanted)} could be read once, and cannot any more")

    def _rgb(self, frame: VideoFrame) -> Tensor:
        """Decode a frame's samples and bring them to what `Clip` promises, at the first one's size."""
        size = self.about.width, self.about.height
        if _upright(frame) != size:
            frame = frame.reformat(*(size[::-1] if _turns(frame) % 2 else size))
        name = frame.format.name
        if frame.format.is_rgb or self._tags.matrix == RGB_MATRIX:
            rgb = _tensor(frame.to_ndarray(format="rgb48le").astype(np.float32) / 65535)
        else:
            if not _PLANAR.fullmatch(name):
                frame = frame.reformat(format=_REPACKED.get(name, "yuv444p16le"))
            bits = frame.format.components[0].bits
            rgb = to_rgb([_codes(plane, bits) for plane in frame.planes], bits, self._tags)
        if turns := _turns(frame):
            rgb = torch.rot90(rgb, turns, (2, 3)).contiguous()
        return light_of(rgb, self._tags) if self._tags.hdr else display_samples(rgb, self._tags)

    def _opened(self) -> _Opened:
        return _Opened(self.path, self._max_pixels)

    def _decoded(self, stream: Any) -> Iterator[VideoFrame]:
        """Yield what can be decoded: without damaged packets, up to where a file breaks off."""
        import av

        packets = stream.container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                packet = None
            try:
                yield from stream.decode(packet)
            except av.FFmpegError:
                if packet is None:
                    return
            if packet is None or packet.size == 0:
                return


def _told_length(container: Any, stream: Any) -> tuple[Fraction, bool]:
    """Return the seconds that a container's header gives the video, and whether those are of all streams.

    0 where it says nothing: FFmpeg then guesses from the size of the file, or reads its end.
    """
    unit, name = Fraction(stream.time_base or 0), container.format.name
    if "avi" in name:
        return stream.frames * unit, False  # what FFmpeg calls its duration is that of what is there
    if "mxf" in name or ("mov" in name and stream.frames):
        return (stream.duration or 0) * unit, False
    if "matroska" not in name or not container.duration:
        return Fraction(0), False
    length = Fraction(container.duration, 1_000_000)
    if tag := _OWN_LENGTH.match(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(Fraction, tag.groups())
        return min(length, 3600 * hours + 60 * minutes + seconds), False
    return (Fraction(0) if stream.duration else length), True  # Matroska has none of streams: it is guessed


def _ends(container: Any, stream: Any, last: int, *, all_streams: bool) -> tuple[Fraction, Fraction]:
    """Return the seconds at which the frame of time ``last`` ends, and other streams do; 0: not known."""
    shown = others = Fraction(0)
    with suppress(require_av().FFmpegError, ValueError):
        for packet in container.demux() if all_streams else container.demux(stream):
            if packet.pts is None:
                continue
            end = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base or 0)
            if packet.stream is not stream:
                others = max(others, end)
            elif packet.pts == last:
                shown = end
    return shown, others


class _Opened:
    """A file's container and its first video stream, as a context."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        self._path, self._max_pixels = path, max_pixels

    def __enter__(self) -> tuple[Any, Any]:
        av = require_av()
        try:
            self._container = av.open(str(self._path))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ImageError(
                self._path, f"cannot be read as a clip: {getattr(error, 'strerror', error)}"
            ) from error
        streams = [one for one in self._container.streams.video if one.codec_context and not _is_picture(one)]
        if not streams:
            self._container.close()
            raise ImageError(self._path, "holds no video stream that can be decoded")
        streams[0].thread_type = "AUTO"
        streams[0].codec_context.options = {"max_pixels": str(self._max_pixels)}
        return self._container, streams[0]

    def __exit__(self, *_: object) -> None:
        self._container.close()


def require_av() -> Any:
    """Import PyAV.

    Raises:
        RunError: It is missing; the message says how to install it.
    """
    try:
        import av
    except ImportError as error:
        raise RunError([f"clips need an extra: {install('video')}"]) from error
    return av


def _is_picture(stream: Any) -> bool:
    """Say whether a stream is a cover."""
    return bool(stream.disposition & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def _tags_of(frame: Any, stream: Any) -> Tags:
    context = stream.codec_context

    def said(name: str) -> int:
        value = int(getattr(frame, name, 2) or 0)
        return (
            value
            if value not in (0, 2) or (name == "colorspace" and value == 0)
            else int(getattr(context, name) or 2)
        )

    is_rgb = frame.format.is_rgb
    matrix = int(frame.colorspace)
    if not is_rgb and matrix in (RGB_MATRIX, 2):
        matrix = int(context.colorspace or 2)
        matrix = 2 if matrix == RGB_MATRIX else matrix
    is_full = int(frame.color_range or 0) == 2 or frame.format.name.startswith("yuvj")
    return Tags(said("color_primaries"), said("color_trc"), RGB_MATRIX if is_rgb else matrix, is_full)


def _turns(frame: Any) -> int:
    """Return the quarters of a turn, against the clock, that bring a frame upright."""
    turns: int = round(frame.rotation / 90) % 4
    return turns


def _upright(frame: Any) -> tuple[int, int]:
    size = frame.width, frame.height
    return (size[1], size[0]) if _turns(frame) % 2 else size


def _codes(plane: Any, bits: int) -> Tensor:
    kind = np.uint8 if bits == 8 else np.dtype("<u2")
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return torch.from_numpy(rows[: plane.height, : plane.width].astype(np.float32))[None, None]


def _small(frame: Any) -> Tensor:
    width = 96
    height = max(2, round(width * frame.height / frame.width / 2) * 2)
    return _tensor(frame.reformat(width, height, "rgb24").to_ndarray().astype(np.float32) / 255)
