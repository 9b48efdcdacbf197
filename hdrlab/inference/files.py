"""What reconstruct and tonemap share: images or clips in, files out, each done once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrlab.config.schema.commands import FilesConfig
from hdrlab.errors import RunError, __version__
from hdrlab.inference.batch import Manifest, Work, make_output, run_batch
from hdrlab.inference.jobs import folder_beside, plan_jobs
from hdrlab.inference.video.sources import ClipSource, clip_sources

if TYPE_CHECKING:
    from hdrlab.inference.video.clips import Recipe


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a command makes of images.

    Attributes:
        files: Names the files that an image becomes, from the path of its outputs without ending.
        open: Makes ready what works, once it is known what there is to do: returns what decides about the
            outputs, plain values, and what makes those of an image.
        beside: Ends of names that are hdrlab's own; in folders they are not even counted.
        journals: Further journals, whose results are passed over in folders.
    """

    files: Callable[[Path], Sequence[Path]]
    open: Callable[[], tuple[Sequence[Any], Work]]
    beside: tuple[str, ...] = ()
    journals: tuple[str, ...] = ()


def make_files(
    config: FilesConfig,
    kind: str,
    journal: str,
    images: Callable[[], Images],
    clips: Callable[[Sequence[ClipSource]], Recipe],
) -> int:
    """Make the files of every image or clip that is not done yet, and print how it went.

    Args:
        config: The command's.
        kind: What its outputs are, by which a folder beside the input is called.
        journal: Name of the manifest in the output folder.
        images: Says what images become.
        clips: Says what these clips become.

    Returns:
        The exit code: 1 if one could not be done; those that could not are listed in the end.

    Raises:
        RunError: There are images and clips, nothing at all, or the folder of outputs cannot be made.
    """
    output = Path(os.path.abspath(config.output)) if config.output else folder_beside(config.input[0], kind)
    sources, inputs = clip_sources(config.input, sequence=config.sequence)
    if sources and inputs:
        raise RunError(["input: clips and images in one command; take one after the other"])
    if sources:
        from hdrlab.inference.video.clips import make_clips
        from hdrlab.inference.video.reading import require_av

        require_av()
        outcome = make_clips(sources, output, clips(sources), config, journal)
    else:
        made = images()
        journals = (journal, *made.journals)
        plan = plan_jobs(inputs, output, made.files, beside=made.beside, journals=journals, stem=config.stem)
        plan.deal(config.shard, config.num_shards)
        settings, work = made.open()
        make_output(output)
        digest = hashlib.sha256(json.dumps([__version__, *settings]).encode()).hexdigest()[:16]
        fresh = config.resume == "never"
        with Manifest(output / journal, digest, fresh=fresh, overwrite=config.overwrite) as manifest:
            outcome = run_batch(plan, manifest, work)
    return outcome.report(config.output or output)
