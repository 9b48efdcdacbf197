"""Photographs in, HDR files out: ``python -m hdrlab.reconstruct input=… output=…``."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab import __version__
from hdrlab.config.check import check_reconstruct, memory_bytes
from hdrlab.config.command import Command
from hdrlab.config.menu import reconstruct_menu
from hdrlab.config.schema import ReconstructConfig

if TYPE_CHECKING:
    from hdrlab.batch_files import Advance, Job

MANIFEST = "reconstruct.jsonl"


def reconstruct(config: ReconstructConfig) -> int:
    """Reconstruct every photograph that is not done yet; those that fail are listed in the end."""
    from hdrlab.batch_files import BatchError, Manifest, plan_jobs, run_batch

    output = Path(os.path.abspath(config.output))
    jobs = plan_jobs(config.input, output)

    from hdrlab.chain import open_chain
    from hdrlab.hdr_outputs import write_outputs

    chain = open_chain(
        config.checkpoint,
        (Path(config.paths.runs), config.slots),
        stages=config.stages,
        refine=config.refine,
        procedure=config.procedure,
        memory=memory_bytes(config.memory),
        device=config.device,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchError([f"output={output}: cannot be made ({error.strerror or error})"]) from error

    def work(job: Job, advance: Advance) -> list[Path]:
        developed = chain.develop(job.source, advance, layers=config.layers)
        return write_outputs(
            job.target,
            developed,
            config.formats,
            config.scale,
            with_preview=config.preview,
            with_sheet=config.sheet,
        )

    manifest = Manifest(
        output / MANIFEST, _settings(config, chain.fingerprint), fresh=config.resume == "never"
    )
    return run_batch(jobs, manifest, work).report(Path(config.output))


def _settings(config: ReconstructConfig, nets: str) -> str:
    """Digest what changes the outputs; memory and device do not, but for rounding."""
    said = [__version__, nets, config.formats, config.scale, config.layers, config.preview, config.sheet]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


COMMAND = Command(
    "reconstruct",
    ReconstructConfig,
    check_reconstruct,
    reconstruct,
    reconstruct_menu,
    required=("input", "output"),
)

if __name__ == "__main__":
    COMMAND.main()
