"""What the commands make of clips: HDR of SDR, and SDR of HDR."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from hdrlab.config.schema.commands import STILL_ONLY, VIDEO, ReconstructConfig, TonemapConfig, VideoConfig
from hdrlab.errors import ImageKindError, RunError, __version__
from hdrlab.inference.hdr_files import ENDINGS, SCALES, scale_factor
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.inference.sdr_files import output_files, write_sdr
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.inference.video.clips import PREVIEW_SIDE, Recipe, Save
from hdrlab.inference.video.reading import Description
from hdrlab.inference.video.sources import ClipSource
from hdrlab.inference.video.steady import (
    EachAlone,
    Maker,
    Scaled,
    SteadyReconstructor,
    SteadyToneMapper,
    developed_alone,
    frame_pixels,
    frame_tensor,
)
from hdrlab.inference.video.writing import PRESETS, Coding, check_size
from hdrlab.io import Image, write_image
from hdrlab.io.oiio import TIME_CODE
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE, REC709, SPACES, conversion, convert

if TYPE_CHECKING:
    from hdrlab.inference.expander import Expander


def reconstruct_recipe(
    config: ReconstructConfig,
    formats: Sequence[str],
    method: Reconstructor | Expander,
) -> Recipe:
    """Say how a clip becomes HDR.

    Args:
        config: Of the command.
        formats: What is written.
        method: What develops photographs.

    Raises:
        RunError: A format is none of clips.
    """
    videos = _checked("formats", formats, STILL_ONLY["reconstruct"], config.video)
    endings = [ENDINGS[name] for name in formats if name not in VIDEO]

    def unscaled(about: Description) -> tuple[Maker, Sequence[str]]:
        if about.hdr == "linear":
            raise ImageKindError(about.path, "holds linear light already; hdrlab tonemap shows it")
        if about.hdr:
            return EachAlone(lambda frame: frame), ()
        if isinstance(method, Reconstructor):
            if config.video.steady and SteadyReconstructor.serves(method):
                return SteadyReconstructor(method, float(about.rate)), ()
            note = ("these nets know no gains that can be made steady: each frame alone",)
            return developed_alone(method.develop), note if config.video.steady else ()
        return developed_alone(method.develop), ()

    def maker(about: Description) -> tuple[Maker, Sequence[str]]:
        if videos:
            instead = "formats=exr writes frames instead"
            check_size(about, (about.width, about.height), _coding(config.video), instead)
        made, notes = unscaled(about)
        factor_of = partial(scale_factor, scale="median")
        return (Scaled(made, factor_of) if config.scale == "median" and endings else made), notes

    def save(about: Description, made_by: Maker) -> Save:
        matrix = conversion(REC709, SPACES[config.colorspace])
        factor = (
            made_by.factor
            if isinstance(made_by, Scaled)
            else {"diffuse_white": DIFFUSE_WHITE}.get(config.scale, 1.0)
        )
        meaning = _scale_entries(config.scale, factor, about.hdr)

        def write(files: Sequence[Path], after: Tensor, before: Tensor, number: int) -> None:
            light = (convert(frame_pixels(after), matrix).clip(min=0) * np.float32(factor)).astype(np.float32)
            for file in files:
                time = _time_entries(about, number) if file.suffix == ".exr" else {}
                entries = {"software": f"hdrlab {__version__}", **meaning, **time}
                write_image(file, light, metadata=entries, colorspace=config.colorspace)

        return write

    return Recipe(
        maker=maker,
        fingerprint=json.dumps(
            [__version__, method.fingerprint, formats, config.scale, config.colorspace, *_common(config)]
        ),
        frame_files=lambda target: [target.with_name(target.name + ending) for ending in endings],
        save=save,
        videos=videos,
        coding=_coding(config.video),
        container=config.video.container,
        show=lambda made: made,
        preview=_previewer if config.preview else None,
        preview_side=min(config.preview_size, PREVIEW_SIDE),
        sheet=config.sheet,
        metadata=config.metadata,
        chunk=config.video.chunk,
        rate=config.video.fps,
    )


def tonemap_recipe(config: TonemapConfig, formats: Sequence[str], mapper: ToneMapper) -> Recipe:
    """Say how a clip becomes SDR.

    Args:
        config: Of the command.
        formats: What is written.
        mapper: The operator.

    Raises:
        RunError: A format is none of clips.
    """
    videos = _checked("format", formats, STILL_ONLY["tonemap"], config.video)
    if videos and config.colorspace != "rec709":
        raise RunError(
            [f"colorspace={config.colorspace}: SDR video is written in rec709; frames can be wider"]
        )
    frames = [name for name in formats if name not in VIDEO]

    def maker(about: Description) -> tuple[Maker, Sequence[str]]:
        if about.hdr is None:
            raise ImageKindError(
                about.path, "is SDR: nothing to tone-map; hdrlab reconstruct makes HDR of it first"
            )
        if videos:
            instead = "format=png writes frames instead, and video.codec=h264 takes small ones"
            check_size(about, (about.width, about.height), _coding(config.video), instead)
        if config.video.steady:
            return SteadyToneMapper(mapper, float(about.rate)), ()
        return EachAlone(lambda frame: frame_tensor(mapper.apply(frame_pixels(frame.clamp(min=0))))), ()

    def save(about: Description, made_by: Maker) -> Save:
        def write(files: Sequence[Path], after: Tensor, before: Tensor, number: int) -> None:
            light = frame_pixels(before)
            inside = light.clip(min=0)
            source = Image(inside, "linear", outside=light - inside if (light < 0).any() else None)
            write_sdr(
                files,
                {mapper.name: frame_pixels(after)},
                frames,
                source=source,
                quality=config.quality,
                colorspace=config.colorspace,
            )

        return write

    return Recipe(
        maker=maker,
        fingerprint=json.dumps(
            [
                __version__,
                mapper.name,
                mapper.fingerprint,
                formats,
                config.settings,
                config.quality,
                config.colorspace,
                *_common(config),
            ]
        ),
        frame_files=lambda target: output_files(target, [mapper.name], frames, sheet=False) if frames else [],
        save=save,
        videos=videos,
        coding=_coding(config.video),
        container=config.video.container,
        show=lambda made: srgb_decode(made),
        sheet=config.sheet,
        metadata=config.metadata,
        chunk=config.video.chunk,
        rate=config.video.fps,
    )


def clip_formats(
    key: str, given: Sequence[str] | None, sources: Sequence[ClipSource], *, video: str, frames: str
) -> Sequence[str]:
    """Return what clips become where nothing was chosen: clips video, sequences frames.

    Raises:
        RunError: There are both.
    """
    if given:
        return given
    kinds = {bool(source.files) for source in sources}
    if len(kinds) > 1:
        raise RunError([f"clips and sequences of frames in one command: say with {key}= what they become"])
    return (frames,) if kinds == {True} else (video,)


def _checked(key: str, formats: Sequence[str], stills: Sequence[str], video: VideoConfig) -> list[str]:
    """Return the formats that are video.

    Raises:
        RunError: One is for single images only, or the codec does not hold it.
    """
    if unfit := [name for name in formats if name in stills]:
        raise RunError([f"{key}={','.join(unfit)}: for single images; a clip becomes frames or video"])
    videos = [name for name in formats if name in VIDEO]
    if video.codec == "h264" and {"hdr10", "hlg"} & {*videos}:
        raise RunError(["video.codec=h264: HDR needs hevc or av1"])
    if video.codec != "av1" and (video.crf or 0) > 51:
        raise RunError([f"video.crf={video.crf}: at most 51 for {video.codec}"])
    if video.preset and video.preset not in PRESETS[video.codec]:
        words = " | ".join(PRESETS[video.codec])
        raise RunError([f"video.preset={video.preset}: must be {words}, of {video.codec}"])
    return videos


def _common(config: ReconstructConfig | TonemapConfig) -> list[Any]:
    video = config.video
    preview = [config.preview, config.preview_size] if isinstance(config, ReconstructConfig) else []
    return [*preview, config.sheet, config.metadata, video.steady, video.codec, video.crf, video.preset,
            video.container, video.fps, video.chunk]  # fmt: skip


def _coding(video: VideoConfig) -> Coding:
    return Coding(video.codec, video.crf, video.preset)


def _previewer(about: Description) -> Maker:
    return SteadyToneMapper(ToneMapper.load("reinhard"), float(about.rate))


def _time_entries(about: Description, number: int) -> dict[str, Any]:
    """What the header of a frame says of its place in time, and of the shape of its pixels."""
    return {
        "framesPerSecond": about.rate,
        TIME_CODE: about.timecode.packed(number),
        "PixelAspectRatio": float(about.aspect),
    }


def _scale_entries(scale: str, factor: float, hdr: str | None) -> dict[str, Any]:
    white = "diffuse white" if hdr else "the clip's clipping point"
    absolute = {"whiteLuminance": DIFFUSE_WHITE / factor} if hdr or scale == "diffuse_white" else {}
    return {
        "scale": scale,
        "scaleMeaning": SCALES[scale].format(white=white),
        "scaleFactor": factor,
        **absolute,
    }
