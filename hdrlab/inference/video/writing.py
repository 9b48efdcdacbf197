"""Frames out: video in segments that are joined without encoding again, and EXR files with time code."""

from __future__ import annotations

import heapq
import io
import os
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from hdrlab.errors import ImageError
from hdrlab.inference.video import hdr10
from hdrlab.inference.video.colour import HDR10, HLG, SDR, Tags, to_planes
from hdrlab.inference.video.hdr10 import LightLevel
from hdrlab.inference.video.reading import Description, require_av
from hdrlab.io.atomic import replacing

CONTAINERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
"""Endings of containers, and what FFmpeg calls them."""

LEAST_SIDE = 64
"""Pixels. Below, x265 writes beyond its memory."""

_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
PRESETS = {"hevc": _PRESETS, "h264": _PRESETS, "av1": tuple(map(str, range(14)))}
"""Words for how much time encoders take, from the quickest on; of AV1 from the slowest."""

KINDS: Mapping[str, Tags] = {"hdr10": HDR10, "hlg": HLG, "video": SDR}
"""Formats of video, and how their colours are coded."""


@dataclass(frozen=True)
class Coding:
    """How frames are compressed.

    Attributes:
        codec: ``hevc``, ``av1`` or ``h264``.
        crf: The rate factor: less is better and larger, 0 loses nothing; None: one at which losses are hardly
            seen.
        preset: How much time is taken, by the encoder's own name; None: medium.
    """

    codec: str = "hevc"
    crf: int | None = None
    preset: str | None = None

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return {"hevc": "libx265", "av1": "libsvtav1", "h264": "libx264"}[self.codec]

    @property
    def bits(self) -> int:
        """Of the codes."""
        return 8 if self.codec == "h264" else 10

    @property
    def options(self) -> dict[str, str]:
        """What the encoder is told."""
        crf = {"hevc": 16, "av1": 24, "h264": 16}[self.codec] if self.crf is None else self.crf
        lossless = crf == 0
        match self.codec:
            case "hevc":
                # Key frames that nothing before refers to, and no time stamp or settings in the stream:
                # segments of one clip have the same header.
                own = "log-level=none:open-gop=0:info=0" + (":lossless=1" if lossless else "")
                return {"preset": self.preset or "medium", "crf": str(crf), "x265-params": own}
            case "av1":
                params = {"svtav1-params": "lossless=1"} if lossless else {"crf": str(crf)}
                return {"preset": self.preset or "6", **params}
            case _:
                return {"preset": self.preset or "medium", **({"qp": "0"} if lossless else {"crf": str(crf)})}


def check_size(
    about: Description, size: tuple[int, int], coding: Coding, instead: str = "write frames instead"
) -> None:
    """Refuse frames that an encoder cannot take.

    Args:
        about: The clip.
        size: Width and height of its frames in pixels.
        coding: How they are to be compressed.
        instead: What to do.

    Raises:
        ImageError: They are too small.
    """
    if coding.codec != "h264" and min(size) < LEAST_SIDE:
        small = f"frames of {size[0]} × {size[1]} are too small for {coding.codec}"
        least = f"which takes {LEAST_SIDE} × {LEAST_SIDE} pixels and more"
        raise ImageError(about.path, f"{small}, {least}: {instead}")


class SegmentWriter:
    """Encodes the frames of a chunk into a file of its own, which begins with a key frame.

    Args:
        path: The file.
        kind: A key of `KINDS`.
        coding: How frames are compressed.
        about: The clip: its rate, time base and the shape of its pixels.
        size: Width and height of the frames given.

    Raises:
        ImageError: The encoder refuses; it names the clip, as the file is but a part on its way.
    """

    def __init__(
        self, path: Path, kind: str, coding: Coding, about: Description, size: tuple[int, int]
    ) -> None:
        av = require_av()
        self._av, self._tags, self._bits, self._clip = av, KINDS[kind], coding.bits, about.path
        self._packets: list[Any] = []
        check_size(about, size, coding)
        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._time_base = about.time_base
        os.environ.setdefault("SVT_LOG", "1")
        try:
            self._container = av.open(str(path), "w", format="mp4")
            self._stream = self._container.add_stream(coding.encoder, rate=about.rate)
            context = self._stream.codec_context
            self._stream.width, self._stream.height = self._size
            self._stream.pix_fmt = "yuv420p" if coding.bits == 8 else "yuv420p10le"
            context.time_base = self._stream.time_base = about.time_base
            context.sample_aspect_ratio = about.aspect
            context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
            context.colorspace, context.color_range = self._tags.matrix, 1
            if coding.codec == "hevc":
                context.codec_tag = "hvc1"  # which Apple's players ask for
            self._stream.options = coding.options
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(about.path, f"{coding.encoder} cannot encode it: {reason}") from error

    def add(self, rgb: Tensor, time: int) -> list[np.ndarray]:
        """Encode R'G'B' [1, 3, H, W] as the tags have it; odd sides are continued by a pixel.

        Returns:
            The codes of Y', Cb and Cr that were handed to the encoder.
        """
        height, width = rgb.shape[-2:]
        rgb = F.pad(rgb, (0, width % 2, 0, height % 2), mode="replicate")
        frame = self._av.VideoFrame(*self._size, self._stream.pix_fmt)
        kind = np.uint8 if self._bits == 8 else np.dtype("<u2")
        codes = [one[0, 0].round().numpy().astype(kind) for one in to_planes(rgb, self._bits, self._tags)]
        for plane, values in zip(frame.planes, codes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // values.itemsize), kind)
            rows[:, : plane.width] = values
            plane.update(rows)
        frame.pts, frame.time_base = time, self._time_base
        frame.color_range, frame.colorspace = 1, self._tags.matrix
        self._encode(frame)
        return codes

    def close(self) -> None:
        """Finish the file."""
        self._encode(None)
        order = [packet.pts for packet in self._packets]
        times, delay = sorted(order), max(_delays(order), default=0)
        try:
            for number, packet in enumerate(self._packets):
                # x265's own are none that mean anything where there are fewer frames than it looks ahead.
                packet.dts = _decoded_at(number, times, delay)
                self._container.mux(packet)
            self._container.close()
        except self._av.FFmpegError as error:
            raise ImageError(self._clip, f"its video cannot be written: {error.strerror}") from error

    def abandon(self) -> None:
        """Give the file up."""
        self._container.close()

    def _encode(self, frame: Any) -> None:
        try:
            self._packets += self._stream.encode(frame)
        except self._av.FFmpegError as error:
            raise ImageError(self._clip, f"cannot be encoded: {error.strerror}") from error


def join(
    target: Path,
    segments: Sequence[Path],
    *,
    source: Path | None,
    about: Description,
    light: LightLevel | None = None,
    metadata: str = "keep",
) -> list[str]:
    """Join segments to a clip, with the sound, subtitles and metadata of its source.

    Args:
        target: The clip; its ending, a key of `CONTAINERS`, is its container.
        segments: Of `SegmentWriter`, in their order.
        source: The clip whose other streams are copied; None: there are none.
        about: That clip.
        light: For HDR10: what its static metadata say.
        metadata: ``keep``, ``strip``, or ``no_gps`` for all but the place.

    Returns:
        What could not be copied.

    Raises:
        ImageError: It cannot be written.
    """
    av = require_av()
    notes: list[str] = []
    orders = [[time for time, *_ in _packets(segment)] for segment in segments]
    times = sorted(time for order in orders for time in order)
    delay = max((late for order in orders for late in _delays(order)), default=0)
    try:
        with replacing(target) as temporary, ExitStack() as stack:
            first = segments[0].read_bytes()
            template = stack.enter_context(
                av.open(io.BytesIO(hdr10.in_mp4(first, light) if light else first))
            )
            options = {} if target.suffix == ".mkv" else {"movflags": "faststart"}
            out = stack.enter_context(
                av.open(str(temporary), "w", format=CONTAINERS[target.suffix[1:]], options=options)
            )
            stream = template.streams.video[0]
            video = out.add_stream_from_template(stream, opaque=True)
            video.time_base = stream.time_base
            is_hevc = stream.codec_context.name == "hevc"
            if is_hevc and target.suffix != ".mkv":
                video.codec_context.codec_tag = "hvc1"
            others: Iterator[tuple[float, Any]] = iter(())
            if source is not None:
                given = stack.enter_context(av.open(str(source)))
                others = _copied(given, out, notes)
            out.metadata.update(_kept(about.metadata, metadata))
            put: Callable[[bytes, LightLevel], bytes] = hdr10.in_hevc if is_hevc else hdr10.in_av1
            packets = (packet for segment in segments for packet in _packets(segment))
            pictures = _pictures(av, packets, times, delay, video, stream.time_base, light, put)
            refused = set[Any]()
            for _, packet in heapq.merge(pictures, others, key=lambda one: one[0]):
                other = None if packet.stream is video else packet.stream
                try:
                    if other not in refused:
                        out.mux(packet)
                except (av.FFmpegError, ValueError):
                    if other is None:
                        raise
                    refused.add(other)
                    notes.append(f"its {other.type} is damaged: left out from {packet.pts} on")
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(target, f"cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return notes


Coded = tuple[int, bool, bytes]
"""Time, whether it is a key frame, and content of a packet."""


def _packets(segment: Path) -> Iterator[Coded]:
    """Yield the packets of a segment as they are decoded."""
    with require_av().open(str(segment)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.pts is not None:
                yield packet.pts, packet.is_keyframe, bytes(packet)


def _delays(order: Sequence[int]) -> Iterator[int]:
    """Yield by how many frames each packet, of which the times are given, comes later than it is shown."""
    turn = {time: number for number, time in enumerate(sorted(order))}
    for number, time in enumerate(order):
        yield number - turn[time]


def _decoded_at(number: int, times: Sequence[int], delay: int) -> int:
    """Return when a packet is decoded: ``delay`` frames before it would be its turn to be shown."""
    return times[number - delay] if number >= delay else times[0] - (delay - number) * _step(times)


def _step(times: Sequence[int]) -> int:
    return times[1] - times[0] if len(times) > 1 else 1


def _pictures(
    av: Any,
    packets: Iterable[Coded],
    times: Sequence[int],
    delay: int,
    stream: Any,
    unit: Fraction,
    light: LightLevel | None,
    put: Callable[[bytes, LightLevel], bytes],
) -> Iterator[tuple[float, Any]]:
    """Yield packets with the time at which each is decoded."""
    for number, (time, is_key, content) in enumerate(packets):
        packet = av.Packet(put(content, light) if light and is_key else content)
        early = _decoded_at(number, times, delay)
        turn = bisect(times, time)
        lasts = times[turn] - time if turn < len(times) else _step(times)
        packet.pts, packet.dts, packet.duration, packet.time_base = time, early, lasts, unit
        packet.is_keyframe, packet.stream = is_key, stream
        yield float(early * unit), packet


def _copied(source: Any, out: Any, notes: list[str]) -> Iterator[tuple[float, Any]]:
    """Add a source's sound and subtitles to a container; yield their packets by time."""
    places: dict[int, Any] = {}
    for stream in source.streams:
        if stream.type not in ("audio", "subtitle"):
            continue
        name = stream.codec_context.name if stream.codec_context else "unknown"
        try:
            if out.supported_codecs and name not in {*out.supported_codecs}:
                raise ValueError(name)
            copy = out.add_stream_from_template(stream, opaque=True)
        except Exception as error:  # whatever the container says of it
            notes.append(f"its {stream.type} ({name}) does not fit into this container: left out ({error})")
            continue
        copy.time_base = stream.time_base
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        places[stream.index] = copy

    def packets() -> Iterator[tuple[float, Any]]:
        given = source.demux([source.streams[index] for index in places])
        while True:
            try:
                packet = next(given, None)
            except (require_av().FFmpegError, ValueError):
                notes.append("its sound and subtitles break off")
                return
            if packet is None:
                return
            if packet.dts is None:
                continue
            place = float(packet.dts * packet.time_base)
            packet.stream = places[packet.stream.index]
            yield place, packet

    return packets() if places else iter(())


def _kept(metadata: Mapping[str, str], which: str) -> dict[str, str]:
    """Return what of a container's metadata goes into another: not what describes the container itself."""
    own = {"major_brand", "minor_version", "compatible_brands", "encoder"}
    if which == "strip":
        return {}
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in own and not (which == "no_gps" and "location" in name.lower())
    }
