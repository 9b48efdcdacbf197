"""Tiny clips, made by a real encoder that loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Planes = Sequence[NDArray[Any]]


def write_clip(
    path: Path,
    frames: Iterable[Planes],
    *,
    pix_fmt: str = "yuv420p",
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
    rate: Fraction = Fraction(25),
    times: Sequence[int] | None = None,
    lasts: int | None = None,
    rotation: int = 0,
    sound: bool = False,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    encoder: str = "libx264",
) -> Path:
    """Write planes of codes; tags are primaries, transfer, matrix and range (1 limited, 2 full).

    Times are in milliseconds, and so is how long the last frame lasts.
    """
    frames = [[np.asarray(plane) for plane in planes] for planes in frames]
    height, width = frames[0][0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = dict(options or {"qp": "0", "preset": "ultrafast"})
        context = stream.codec_context
        context.time_base = 1 / rate if times is None else Fraction(1, 1000)
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if rotation:
            stream.set_display_rotation(rotation)
        container.metadata.update(metadata or {})
        voice = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number, planes in enumerate(frames):
            frame = av.VideoFrame(width, height, pix_fmt)
            frame.color_range, frame.colorspace = tags[3], tags[2]
            for plane, values in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
                rows[:, : plane.width] = values
                plane.update(rows)
            frame.pts, frame.time_base = times[number] if times else number, context.time_base
            container.mux(stream.encode(frame))
        for packet in stream.encode(None):
            if lasts and times and packet.pts == times[-1]:
                packet.duration = lasts
            container.mux(packet)
        if voice is not None:
            for start in range(0, 48000, 1024):
                wave = np.sin(np.arange(start, start + 1024) / 20, dtype=np.float32)[None]
                sounding = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                sounding.rate, sounding.pts = 48000, start
                container.mux(voice.encode(sounding))
            container.mux(voice.encode(None))
    return path


def lamp(size: tuple[int, int], number: int, *, hue: float = 0.0, noise: float = 1.5) -> Planes:
    """Y', Cb and Cr of a frame: a clipped lamp before a ramp, and noise of its own."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    glow = 500 * np.exp(-30 * ((x - 0.55) ** 2 + (y - 0.35) ** 2))
    rng = np.random.default_rng(number)
    luma = 40 + 90 * x + 40 * hue * y + glow + rng.normal(0, noise, size)
    chroma = np.full((height // 2, width // 2), 128.0)
    planes = luma, chroma + 30 * hue, chroma - 12
    return [plane.clip(16, 235).round().astype(np.uint8) for plane in planes]


def decoded(path: Path) -> list[tuple[int, list[NDArray[Any]]]]:
    """Times and planes of a clip, as PyAV reads them."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
            planes = [
                np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].copy()
                for plane in frame.planes
            ]
            found.append((frame.pts, planes))
    return found
