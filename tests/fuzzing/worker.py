"""The process that reads damaged files, under limits; a line in for each file, a line out."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path

ROOM = 3 << 30
"""Bytes of address space beyond what the process has when it is ready; hits end a file, not the machine."""


def peak() -> int:
    """Return the most bytes that were resident since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def forget_peak() -> int:
    """Let the peak begin anew; return what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def main() -> None:
    """Answer every line ``kind path`` by a line of JSON: what was wrong, seconds, bytes taken."""
    import torch

    from fuzzing import readers

    readers.pixels = int(sys.argv[1])
    torch.set_num_threads(1)
    logging.disable()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=answers)
    for line in sys.stdin:
        kind, path = line.rstrip("\n").split(" ", 1)
        wrong, refused, before, begun = "", 0, forget_peak(), time.monotonic()
        try:
            refused = readers.read_all(kind, Path(path))
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-3:]
            place = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(where))
            wrong = f"{type(error).__name__}: {str(error)[:200]} ({place})"
        answer = {
            "wrong": wrong,
            "refused": refused,
            "seconds": time.monotonic() - begun,
            "bytes": peak() - before,
        }
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
