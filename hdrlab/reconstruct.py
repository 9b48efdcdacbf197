"""Photographs in, HDR files out: ``python -m hdrlab.reconstruct input=… output=…``."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrlab.config.cli import Command
from hdrlab.config.registry.tables import AVERAGE, NETS_METHOD
from hdrlab.config.schema.commands import VIDEO, ReconstructConfig
from hdrlab.errors import RunError, install

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hdrlab.inference.batch import Advance, Work
    from hdrlab.inference.expander import Expander
    from hdrlab.inference.files import Images
    from hdrlab.inference.hdr_files import Developed
    from hdrlab.inference.jobs import Job
    from hdrlab.inference.onnx_chain import OnnxChain
    from hdrlab.inference.reconstructor import Reconstructor
    from hdrlab.inference.video.clips import Recipe
    from hdrlab.inference.video.sources import ClipSource


def reconstruct(config: ReconstructConfig) -> int:
    """Reconstruct every photograph that is not done yet; those that fail are listed in the end."""
    from hdrlab.inference.files import make_files

    return make_files(config, "hdr", COMMAND.journal, partial(_images, config), partial(_clips, config))


def _images(config: ReconstructConfig) -> Images:
    """Say what photographs become."""
    from hdrlab.inference.files import Images
    from hdrlab.inference.hdr_files import WIDE, base_of, from_gain_map, output_files, write_outputs
    from hdrlab.io import read_photograph
    from hdrlab.io.metadata import ROUND, is_round, read_metadata
    from hdrlab.io.ultrahdr import SHRINK, has_gain_map

    formats = config.formats or ("exr",)
    if video := [name for name in formats if name in VIDEO]:
        raise RunError(
            [f"formats={','.join(video)}: only clips become video; sequence=true makes a clip of frames"]
        )
    if "avif" in formats and find_spec("imagecodecs") is None:
        raise RunError([f"formats=avif needs an extra: {install('codecs')}"])

    def files(target: Path) -> dict[str, Path]:
        beside = {"preview": config.preview, "sheet": config.sheet, "curve": config.layers}
        return output_files(target, formats, **beside)

    def opened() -> tuple[Sequence[Any], Work]:
        method = _open_graph(config) or _open_method(config)
        develop: Callable[..., Developed] = method.develop
        develop = partial(develop, layers=True) if config.layers else develop

        def work(job: Job, advance: Advance) -> Sequence[str]:
            photo = read_metadata(job.source)
            notes = list(photo.notes)
            is_ultrahdr = has_gain_map(job.source)
            if is_ultrahdr and config.uses_gain_map and not config.layers:
                developed = from_gain_map(job.source)
            else:
                wide = config.colorspace != "rec709" or not WIDE.isdisjoint(formats)
                image = read_photograph(job.source, keep_outside=wide)
                panorama = is_round(photo, image.shape, config.panorama)
                notes += [ROUND] if panorama else []
                developed = develop(image, advance, wide=wide, panorama=panorama)
                if is_ultrahdr:
                    why = "gain_map=ignore" if not config.uses_gain_map else "layers=true shows what nets do"
                    notes.append(f"is Ultra HDR; its gain map was not used ({why})")
            write_outputs(
                files(job.target),
                developed,
                config.scale,
                colorspace=config.colorspace,
                preview_size=config.preview_size,
                photo=photo.kept(config.metadata),
                base=base_of(job.source) if "ultrahdr" in formats else None,
                shrink=SHRINK[config.gain_map_size],
                channels=int(config.channels),
            )
            return [*notes, *developed.notes]

        # What changes the outputs; memory and device do not, but for rounding.
        settings = [method.fingerprint, formats, config.scale, config.colorspace, config.layers]
        settings += [config.preview, config.preview_size, config.sheet, config.metadata]
        settings += [config.uses_gain_map, config.gain_map_size, config.channels, config.panorama]
        return settings, work

    return Images(files=lambda target: [*files(target).values()], open=opened, journals=("tonemap.jsonl",))


def _clips(config: ReconstructConfig, clips: Sequence[ClipSource]) -> Recipe:
    """Say what clips become."""
    from hdrlab.inference.video.recipes import clip_formats, reconstruct_recipe

    formats = clip_formats("formats", config.formats, clips, video="hdr10", frames="exr")
    return reconstruct_recipe(config, formats, _open_method(config))


def _open_method(config: ReconstructConfig) -> Expander | Reconstructor:
    """Return what develops photographs."""
    from hdrlab.weights.pretrained import shipped

    weights = _weights(config)
    method = config.method
    if method == NETS_METHOD and not weights and not shipped():
        method = AVERAGE
        print(f"note: no weights came with this hdrlab, so method={method} is used", file=sys.stderr)
    if method != NETS_METHOD:
        from hdrlab.inference.expander import Expander

        return Expander(method, config.settings)

    from hdrlab.inference.reconstructor import Reconstructor

    return Reconstructor.load(
        weights, **_asked(config), device=config.device, backend=config.backend, runs=config.paths.runs
    )


def _open_graph(config: ReconstructConfig) -> OnnxChain | None:
    """Return what develops photographs without torch, where that is possible."""
    if config.method != NETS_METHOD or config.backend != "onnxruntime":
        return None
    from hdrlab.inference.onnx_chain import OnnxChain

    if not OnnxChain.suits(_weights(config), **_asked(config)):
        return None
    return OnnxChain(_weights(config), config.memory, config.device)


def _weights(config: ReconstructConfig) -> Any:
    return config.checkpoint or config.slots or config.weights


def _asked(config: ReconstructConfig) -> dict[str, Any]:
    names = "stages", "refine", "procedure", "memory", "precision"
    return {name: getattr(config, name) for name in names}


COMMAND = Command(
    "reconstruct",
    ReconstructConfig,
    reconstruct,
    (
        "photo.jpg                    # writes hdr/photo.exr beside it, with a preview",
        "~/photos ~/hdr 'formats=[exr,ultrahdr]' sheet=true",
        "clip.mp4                     # writes hdr/clip.mp4, HDR10, with a preview",
        "frames/shot.####.png hdr 'formats=[exr,hdr10]'",
        "night.jpg hdr method=average_kovaleski boost=6",
        "-m archive hdr 'shard=range(8)' num_shards=8 hydra/launcher=submitit_slurm",
    ),
    ("input",),
    positional=("input", "output"),
    formats=(
        "formats",
        {".exr": "exr", ".hdr": "hdr", ".tif": "tiff", ".avif": "avif", ".jxl": "jxl", ".mp4": "hdr10"},
    ),
    first=(
        "input",
        "output",
        "method",
        "formats",
        "preview",
        "sheet",
        "scale",
        "colorspace",
        "weights",
        "metadata",
        "overwrite",
    ),
)

if __name__ == "__main__":
    COMMAND.main()
