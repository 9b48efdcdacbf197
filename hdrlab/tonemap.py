"""HDR images in, SDR images out: ``python -m hdrlab.tonemap input=… output=… operator=…``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hdrlab.config.cli import Command
from hdrlab.config.registry.tables import LEARNED
from hdrlab.config.schema.commands import TonemapConfig
from hdrlab.errors import ImageError, OperatorError, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hdrlab.inference.batch import Advance, Work
    from hdrlab.inference.files import Images
    from hdrlab.inference.jobs import Job
    from hdrlab.inference.tone_mapper import ToneMapper
    from hdrlab.inference.video.clips import Recipe
    from hdrlab.inference.video.sources import ClipSource
    from hdrlab.io import Image

BESIDE = ("_preview.jpg", "_sheet.png", "_curve.csv", ".jsonl")
"""Ends of the names of what hdrlab.reconstruct writes beside its HDR images: passed over in folders."""


def tonemap(config: TonemapConfig) -> int:
    """Tone-map every image that is not done yet; those that fail are listed in the end."""
    from hdrlab.inference.files import make_files

    return make_files(config, "sdr", COMMAND.journal, partial(_images, config), partial(_clips, config))


def _images(config: TonemapConfig) -> Images:
    """Say what HDR images become."""
    from hdrlab.inference.files import Images
    from hdrlab.inference.sdr_files import output_files, write_sdr
    from hdrlab.io import read_hdr
    from hdrlab.io.metadata import ROUND, is_round, read_metadata
    from hdrlab.io.ultrahdr import SHRINK

    formats = config.format or ("png",)
    if "video" in formats:
        raise RunError(["format=video: only clips become video; sequence=true makes a clip of frames"])

    def opened() -> tuple[Sequence[Any], Work]:
        mappers = _open_mappers(config)
        captions = {one.name: f"{one.name}: {one.caption}" for one in mappers} if config.sheet else None

        def work(job: Job, advance: Advance) -> list[str]:
            photo = read_metadata(job.source)
            wide = config.colorspace != "rec709"
            hdr = read_hdr(job.source, sanitize=config.sanitize, layer=config.layer, keep_outside=wide)
            panorama = is_round(photo, hdr.shape, config.panorama)
            write_sdr(
                job.outputs,
                _show(hdr, mappers, advance, panorama=panorama),
                formats,
                source=hdr,
                quality=config.quality,
                captions=captions,
                colorspace=config.colorspace,
                photo=photo.kept(config.metadata),
                shrink=SHRINK[config.gain_map],
                channels=int(config.channels),
            )
            return [*photo.notes, *([ROUND] if panorama else []), *_remarks(hdr)]

        settings = ["".join(one.fingerprint for one in mappers), config.operators, formats, config.quality]
        settings += [config.sheet, config.sanitize, config.colorspace, config.layer, config.metadata]
        settings += [config.settings, config.gain_map, config.channels, config.panorama]
        return settings, work

    files = partial(output_files, operators=config.operators, formats=formats, sheet=config.sheet)
    return Images(files=files, open=opened, beside=BESIDE)


def _clips(config: TonemapConfig, clips: Sequence[ClipSource]) -> Recipe:
    """Say what clips become."""
    from hdrlab.inference.video.recipes import clip_formats, tonemap_recipe

    if len(config.operators) > 1:
        raise RunError(["operator: one for a clip; take one after the other"])
    formats = clip_formats("format", config.format, clips, video="video", frames="png")
    return tonemap_recipe(config, formats, _open_mappers(config)[0])


def _open_mappers(config: TonemapConfig) -> list[ToneMapper]:
    """Make the operators ready; what is missing is reported before any net is loaded."""
    from hdrlab.inference.tone_mapper import ToneMapper
    from hdrlab.tonemapping import missing

    classical = [name for name in config.operators if name != LEARNED]
    if problems := [reason for reason in map(missing, classical) if reason]:
        raise OperatorError(problems)
    return [
        ToneMapper.load(
            name,
            config.checkpoint or config.slots or config.weights if name == LEARNED else None,
            procedure=config.procedure,
            normalize=config.normalize,
            device=config.device,
            precision=config.precision,
            runs=config.paths.runs,
            settings=config.settings_of(name),
            compress=config.colorspace == "rec709",  # a wider space gets the colours beyond sRGB themselves
        )
        for name in config.operators
    ]


def _show(
    hdr: Image, mappers: Sequence[ToneMapper], advance: Advance, *, panorama: bool
) -> dict[str, NDArray[np.float32]]:
    """Tone-map an image with every operator."""
    shown = {}
    for number, mapper in enumerate(mappers, 1):
        try:
            shown[mapper.name] = mapper(hdr, panorama=panorama)
        except OperatorError as error:
            raise ImageError(hdr.path, f"{mapper.name}: {error}") from error
        advance(number, len(mappers))
    return shown


def _remarks(hdr: Image) -> list[str]:
    """Say what a user should know of an image that was tone-mapped all the same."""
    notes = [*hdr.notes] if hdr.pixels.any() else [*hdr.notes, "holds no light, so it comes out black"]
    if (negative := hdr.metadata["negative"]) and hdr.outside is None:
        notes.append(f"{negative} of {hdr.pixels.size} values are below 0 and were taken as 0")
    return notes


COMMAND = Command(
    "tonemap",
    TonemapConfig,
    tonemap,
    (
        "scene.exr                    # writes sdr/scene.png beside it",
        "~/hdr ~/sdr 'operator=[reinhard,drago,durand]' sheet=true",
        "hdr/frame.####.exr sdr format=video video.codec=h264",
        "scene.exr operator=iqatm checkpoint=weights/iqatm format=ultrahdr",
    ),
    ("input",),
    positional=("input", "output"),
    formats=(
        "format",
        {".png": "png", ".jpg": "jpeg", ".tif": "tiff", ".avif": "avif", ".mp4": "video"},
    ),
    first=(
        "input",
        "output",
        "operator",
        "exposure",
        "contrast",
        "saturation",
        "gamma",
        "format",
        "quality",
        "colorspace",
        "sheet",
        "metadata",
        "overwrite",
    ),
)

if __name__ == "__main__":
    COMMAND.main()
