"""Photographs in, HDR files out: ``python -m hdrlab.reconstruct input=… output=…``."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab.config.cli import Command
from hdrlab.config.registry.tables import AVERAGE, NETS_METHOD
from hdrlab.config.schema.commands import VIDEO, ReconstructConfig
from hdrlab.errors import RunError, __version__, install

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hdrlab.inference.batch import Advance
    from hdrlab.inference.expander import Expander
    from hdrlab.inference.hdr_files import Developed
    from hdrlab.inference.jobs import Job
    from hdrlab.inference.reconstructor import Reconstructor
    from hdrlab.inference.video.sources import ClipSource


def reconstruct(config: ReconstructConfig) -> int:
    """Reconstruct every photograph that is not done yet; those that fail are listed in the end."""
    from hdrlab.inference.batch import Manifest, run_batch
    from hdrlab.inference.hdr_files import WIDE, base_of, from_gain_map, output_files, write_outputs
    from hdrlab.inference.jobs import folder_beside, plan_jobs
    from hdrlab.inference.video.sources import clip_sources
    from hdrlab.io import read_photograph
    from hdrlab.io.metadata import ROUND, is_round, read_metadata
    from hdrlab.io.ultrahdr import SHRINK, has_gain_map

    output = Path(os.path.abspath(config.output)) if config.output else folder_beside(config.input[0], "hdr")
    clips, inputs = clip_sources(config.input, sequence=config.sequence)
    if clips and inputs:
        raise RunError(["input: clips and photographs in one command; take one after the other"])
    if clips:
        return _reconstruct_clips(config, clips, output)
    formats = config.formats or ("exr",)
    if video := [name for name in formats if name in VIDEO]:
        raise RunError(
            [f"formats={','.join(video)}: only clips become video; sequence=true makes a clip of frames"]
        )

    def files(target: Path) -> dict[str, Path]:
        beside = {"preview": config.preview, "sheet": config.sheet, "curve": config.layers}
        return output_files(target, formats, **beside)

    if "avif" in formats and find_spec("imagecodecs") is None:
        raise RunError([f"formats=avif needs an extra: {install('codecs')}"])
    plan = plan_jobs(
        inputs,
        output,
        lambda target: [*files(target).values()],
        journals=(COMMAND.journal, "tonemap.jsonl"),
        stem=config.stem,
    )
    plan.deal(config.shard, config.num_shards)

    method = _open_method(config)
    develop: Callable[..., Developed] = method.develop
    develop = partial(develop, layers=True) if config.layers else develop
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError([f"output={output}: cannot be made ({error.strerror or error})"]) from error

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

    settings = _settings(config, method.fingerprint)
    fresh = config.resume == "never"
    with Manifest(output / COMMAND.journal, settings, fresh=fresh, overwrite=config.overwrite) as manifest:
        outcome = run_batch(plan, manifest, work)
    return outcome.report(config.output or output)


def _reconstruct_clips(config: ReconstructConfig, clips: Sequence[ClipSource], output: Path) -> int:
    """Reconstruct every clip that is not done yet."""
    from hdrlab.inference.video.clips import make_clips
    from hdrlab.inference.video.reading import require_av
    from hdrlab.inference.video.recipes import clip_formats, reconstruct_recipe

    require_av()
    formats = clip_formats("formats", config.formats, clips, video="hdr10", frames="exr")
    outcome = make_clips(
        clips,
        output,
        reconstruct_recipe(config, formats, _open_method(config)),
        journal=COMMAND.journal,
        stem=config.stem,
        shard=config.shard,
        num_shards=config.num_shards,
        fresh=config.resume == "never",
        overwrite=config.overwrite,
    )
    return outcome.report(config.output or output)


def _open_method(config: ReconstructConfig) -> Expander | Reconstructor:
    """Return what develops photographs."""
    from hdrlab.inference.expander import Expander
    from hdrlab.weights.pretrained import shipped

    weights = config.checkpoint or config.slots or config.weights
    method = config.method
    if method == NETS_METHOD and not weights and not shipped():
        method = AVERAGE
        print(f"note: no weights came with this hdrlab, so method={method} is used", file=sys.stderr)
    if method != NETS_METHOD:
        return Expander(method, config.settings)

    from hdrlab.inference.reconstructor import Reconstructor

    return Reconstructor.load(
        weights,
        stages=config.stages,
        refine=config.refine,
        procedure=config.procedure,
        memory=config.memory,
        device=config.device,
        precision=config.precision,
        backend=config.backend,
        runs=config.paths.runs,
    )


def _settings(config: ReconstructConfig, method: str) -> str:
    """Digest what changes the outputs; memory and device do not, but for rounding."""
    settings = [
        __version__,
        method,
        config.formats or ("exr",),
        config.scale,
        config.colorspace,
        config.layers,
        config.preview,
    ]
    settings += [config.preview_size, config.sheet, config.metadata, config.uses_gain_map]
    settings += [config.gain_map_size, config.channels, config.panorama]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


COMMAND = Command(
    "reconstruct",
    ReconstructConfig,
    reconstruct,
    (
        "photo.jpg                    (writes hdr/photo.exr beside it, with a preview)",
        "~/photos ~/hdr formats=[exr,ultrahdr] sheet=true",
        "clip.mp4                     (writes hdr/clip.mp4, HDR10, with a preview)",
        "frames/shot.####.png hdr formats=[exr,hdr10]",
        "night.jpg hdr method=average_kovaleski boost=6",
        "-m archive hdr shard=range(8) num_shards=8 hydra/launcher=submitit_slurm",
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
