"""The processes of one training: which this is, and how they come to one run folder.

The first one prepares the data and opens the run; the others wait for that. Lightning starts them after it
(``trainer.devices=4``); torchrun and srun start all at once, so there the first tells through their store.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

RUN = "HDRLAB_RUN"
"""Environment variable by which processes that Lightning starts know the run."""

_KEY = "hdrlab.run"
_PATIENCE = timedelta(days=2)  # the first one may have a large data set to prepare


@dataclass(frozen=True)
class Announced:
    """A run as the first process has opened it.

    Attributes:
        folder: The run folder.
        resume_from: Checkpoint to go on from, or None.
        finished_step: Step at which an earlier call finished, or None.
    """

    folder: Path
    resume_from: Path | None
    finished_step: int | None


def own_rank() -> int:
    """Return which of a training's processes this is, as torchrun, srun or Lightning have set it."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def started_together() -> bool:
    """Say whether torchrun or srun has started several processes of this training."""
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1
    return by_torchrun or ("SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1)


def announce(run: Announced) -> None:
    """Tell the other processes which run it is."""
    stored = {
        "folder": str(run.folder),
        "resume_from": run.resume_from and str(run.resume_from),
        "finished_step": run.finished_step,
    }
    os.environ[RUN] = json.dumps(stored)
    if started_together():
        shared_store().set(_KEY, os.environ[RUN])


def listen() -> Announced:
    """Wait until the first process has opened the run."""
    text = shared_store().get(_KEY).decode() if started_together() else os.environ[RUN]
    stored = json.loads(text)
    resume_from = stored["resume_from"]
    return Announced(Path(stored["folder"]), resume_from and Path(resume_from), stored["finished_step"])


@cache
def shared_store() -> Any:
    """Connect to the key-value store that processes which were started together share; once, and to the end.

    Its keys are those of this try: what torchrun's earlier tries have left there would mislead.
    """
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    first = own_rank() == 0
    if "TORCHELASTIC_RUN_ID" in os.environ:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # by torchrun itself
        hosting = first and not hosted
        port += not hosted
    else:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        place = SLURMEnvironment(auto_requeue=False)
        host, port, hosting = place.main_address, place.main_port + 1, first  # the next is torch's own
    store = TCPStore(host, port, is_master=hosting, timeout=_PATIENCE, wait_for_workers=False)
    return PrefixStore(f"try {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
