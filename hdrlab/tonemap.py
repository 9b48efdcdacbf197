"""HDR pictures in, SDR pictures out: ``python -m hdrlab.tonemap input=… output=… operator=…``."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab import __version__
from hdrlab.config.check import check_tonemap
from hdrlab.config.command import Command
from hdrlab.config.menu import tonemap_menu
from hdrlab.config.schema import TonemapConfig

if TYPE_CHECKING:
    from hdrlab.batch_files import Advance, Job
    from hdrlab.io import Image

MANIFEST = "tonemap.jsonl"
BESIDE = ("_preview.png", "_sheet.png", "_curve.csv", ".jsonl")
"""Ends of the names of what hdrlab.reconstruct writes beside its HDR pictures: passed over in folders."""


def tonemap(config: TonemapConfig) -> int:
    """Tone-map every picture that is not done yet; those that fail are listed in the end."""
    from hdrlab.batch_files import BatchError, Manifest, run_batch
    from hdrlab.io.hdr_pictures import read_hdr
    from hdrlab.io.image import printable
    from hdrlab.sdr_outputs import write_sdr
    from hdrlab.tone_operators import open_operators

    output = Path(os.path.abspath(config.output))
    jobs = _plan(config, output)
    operators = open_operators(config)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchError([f"output={output}: cannot be made ({error.strerror or error})"]) from error
    notes: list[str] = []

    def work(job: Job, advance: Advance) -> list[Path]:
        hdr = read_hdr(job.source, sanitize=config.sanitize)
        captions = operators.captions if config.sheet else None
        shown = operators.show(hdr, advance)
        files = write_sdr(job.target, shown, config.format, quality=config.quality, captions=captions)
        notes.extend(f"note: {job.name}: {said}" for said in _remarks(hdr))
        return files

    settings = _settings(config, operators.fingerprint)
    outcome = run_batch(jobs, Manifest(output / MANIFEST, settings, fresh=config.resume == "never"), work)
    for note in notes:
        print(printable(note), file=sys.stderr)
    return outcome.report(Path(config.output))


def _plan(config: TonemapConfig, output: Path) -> list[Job]:
    """Find the pictures; what lies beside them counts only if it is named itself."""
    from hdrlab.batch_files import BatchError, plan_jobs
    from hdrlab.sdr_outputs import output_files

    named = {Path(os.path.abspath(one)) for one in config.input}
    found = plan_jobs(config.input, output)
    jobs = [job for job in found if job.source in named or not job.source.name.endswith(BESIDE)]
    if not jobs:
        raise BatchError([f"input={', '.join(config.input)}: no HDR picture there"])
    files = Counter(
        str(file).casefold()
        for job in jobs
        for file in output_files(job.target, config.operator, config.format, sheet=config.sheet)
    )
    if twice := [file for file, times in files.items() if times > 1]:
        raise BatchError(f"{file}: of two pictures; do one after the other" for file in twice)
    return jobs


def _remarks(hdr: Image) -> list[str]:
    """Say what a user should know of a picture that was tone-mapped all the same."""
    said = [] if hdr.pixels.any() else ["holds no light, so it comes out black"]
    if negative := hdr.metadata["negative"]:
        said.append(f"{negative} of {hdr.pixels.size} values are below 0 and were taken as 0")
    return said


def _settings(config: TonemapConfig, nets: str) -> str:
    """Digest what changes the outputs."""
    said = [__version__, nets, config.operator, config.format, config.quality, config.sheet, config.sanitize]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


COMMAND = Command(
    "tonemap", TonemapConfig, check_tonemap, tonemap, tonemap_menu, required=("input", "output")
)

if __name__ == "__main__":
    COMMAND.main()
