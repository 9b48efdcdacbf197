"""Reads damaged files in a process that may die, and says what was wrong with each."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType

SECONDS = 5.0
"""What reading a file may take in all its ways."""

GRACE = 15.0
"""After so much longer the process is killed."""

MEGABYTE = 1 << 20
BYTES = 160 * MEGABYTE
"""What reading may take beyond ten times the file: a million pixels with all that is made of them."""


class Reader:
    """A process that reads files one by one, made anew when it dies.

    Args:
        module: What it runs.
        pixels: What images may declare.
    """

    def __init__(self, module: str = "fuzzing.worker", pixels: int = 1_000_000) -> None:
        self._module, self._pixels = module, pixels
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def check(self, kind: str, path: Path) -> str:
        """Read a file; return what was wrong with how that went, or nothing."""
        process = self._process or self._start()
        assert process.stdin
        process.stdin.write(f"{kind} {path}\n".encode())
        process.stdin.flush()
        line = self._answer(process, SECONDS + GRACE)
        if line is None:
            self.stop()
            return f"hang: no answer in {SECONDS + GRACE:.0f} s"
        if not line:
            code = process.wait()
            self.stop()
            return f"death: the process ended with {code}"
        answer = json.loads(line)
        if answer["wrong"]:
            return str(answer["wrong"])
        if answer["seconds"] > SECONDS:
            return f"slow: {answer['seconds']:.1f} s for {path.stat().st_size} bytes"
        if answer["bytes"] > BYTES + 10 * path.stat().st_size:
            return f"memory: {answer['bytes'] // MEGABYTE} MiB for {path.stat().st_size} bytes"
        return ""

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-m", self._module, str(self._pixels)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, bufsize=0)
        assert self._answer(self._process, 600) == b"ready\n"
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None
