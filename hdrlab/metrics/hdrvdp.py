"""HDR-VDP-2 and HDR-VDP-3: the authors' own toolboxes, called through an installed Octave or MATLAB."""

from __future__ import annotations

import hashlib
import math
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.errors import EvaluationError
from hdrlab.metrics.names import Metric
from hdrlab.metrics.photometry import PEAK_LUMINANCE

PIXELS_PER_DEGREE = 30.0  # a whole number would make Octave round what it computes with it
ENCODING = "rgb-bt.709"
FLOOR = 0.005
"""What HDR-VDP-3 is shown at least, in cd/m²: as PU21."""

Values = NDArray[np.float64]
Score = Callable[[Tensor, Tensor], Mapping[str, float]]
_VERSION_FILES = ("hdrvdp_version.txt", "ChangeLog.txt")


@dataclass(frozen=True)
class HdrVdp:
    """A toolbox and the program that runs it.

    Attributes:
        metric: hdrvdp2 or hdrvdp3.
        main: Its main file, absolute.
        program: Octave or MATLAB.
    """

    metric: str
    main: Path
    program: str

    def run(self, test: Values, reference: Values) -> tuple[float, str]:
        """Score an image.

        Args:
            test: Values [H, W, 3] in cd/m².
            reference: The same of the reference.

        Returns:
            The quality, and the program's name and version.

        Raises:
            EvaluationError: The program ends without one.
        """
        from scipy.io import savemat

        with TemporaryDirectory() as folder, as_file(files("hdrlab.metrics") / "hdrlab_vdp.m") as driver:
            pair = {"test": test, "reference": reference, "encoding": ENCODING, "ppd": PIXELS_PER_DEGREE}
            savemat(Path(folder) / "pair.mat", pair)
            arguments = ", ".join(_quoted(str(one)) for one in (self.metric, self.main.parent, folder))
            done = self._call(f"addpath({_quoted(str(driver.parent))}); hdrlab_vdp({arguments})")
            written = Path(folder) / "quality.txt"
            lines = (
                written.read_text(encoding="utf-8", errors="replace").splitlines()
                if written.is_file()
                else []
            )
        try:
            quality = float(lines[0])
        except (IndexError, ValueError):
            quality = math.nan
        if done.returncode or not math.isfinite(quality):
            output = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            last = output[-1] if output else "silence"
            reason = next((line for line in output if "error" in line.lower()), last)
            raise EvaluationError(
                f"metrics={self.metric}: {self.program} gave no quality ({reason}); is {self.main.parent} "
                "the whole toolbox, and does it run there?"
            )
        return quality, lines[1] if len(lines) > 1 else Path(self.program).name

    def _call(self, code: str) -> subprocess.CompletedProcess[str]:
        option = "-batch" if Path(self.program).stem.lower() == "matlab" else "--eval"
        try:
            return subprocess.run(
                [self.program, option, code],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise EvaluationError(f"metrics={self.metric}: {self.program} cannot be run ({error})") from error

    @property
    def version(self) -> str:
        """What the toolbox says of its version, and the digest of its main file."""
        texts = [self.main.with_name(name) for name in _VERSION_FILES]
        found = (
            re.search(r"\d+\.\d+(\.\d+)*", t.read_text("utf-8", "replace")) for t in texts if t.is_file()
        )
        number = next((match[0] for match in found if match), "of an unknown version")
        digest = hashlib.sha256(self.main.read_bytes()).hexdigest()
        return f"{number}, {self.main.name} with SHA-256 {digest[:16]}"


def open_hdrvdp(metric: str, toolbox: Path, program: str) -> tuple[tuple[Metric, ...], Score, str]:
    """Open a toolbox, and try it on a small image.

    Args:
        metric: hdrvdp2 or hdrvdp3.
        toolbox: The main file of what the user has installed.
        program: Octave or MATLAB.

    Returns:
        What it gives; what scores absolute images [1, 3, H, W], test and reference; and what must be quoted.

    Raises:
        EvaluationError: It does not run.

    Source:
        Mantiuk et al., "HDR-VDP-2: A calibrated visual metric for visibility and quality predictions in all
        luminance conditions", 2011; Mantiuk, Hammou and Hanji, "HDR-VDP-3", 2023. Of HDR-VDP-2 the protocol
        is that of SingleHDR's authors, `stretch`.
    """
    vdp = HdrVdp(metric, toolbox.resolve(), program)
    ramp = np.tile(np.logspace(-1, 3, 256)[:, None, None], (1, 256, 3))
    _, ran = vdp.run(ramp, ramp)
    text = f"{vdp.version}, {ran}, {ENCODING} on the toolbox's own display, "
    text += f"{PIXELS_PER_DEGREE:.0f} pixels per degree"
    if metric == "hdrvdp2":
        text = f"HDR-VDP-2 {text}, both images stretched one by one to 1 … 999, 0.1 % of the values beyond"
        return (Metric(metric, "HDR-VDP-2 Q", "", text),), lambda *pair: _score_2(vdp, *pair), text
    text = f"HDR-VDP-3 {text}, task quality, Q_JOD"
    metrics = tuple(
        Metric(
            f"{metric}_{mode}",
            f"HDR-VDP-3 {mode}",
            "JOD",
            f"{text}; clipped at {peak:.0f} cd/m²; scale aligned",
        )
        for mode, peak in PEAK_LUMINANCE.items()
    )
    return metrics, lambda *pair: _score_3(vdp, *pair), text


def stretch(pixels: Values) -> Values:
    """Bring an image to 1 … 999 as SingleHDR's authors do before HDR-VDP-2.

    Of N values, k = round(N / 1000), a and b are the k-th smallest and the k-th largest;
    x ← (x − a) · 998 / (b − a + 1e-8) + 1, and what is negative becomes 0.

    Args:
        pixels: Values [H, W, 3].

    Source: the first author's answer about the paper's evaluation.
    """
    k = max(1, round(pixels.size / 1000))
    ordered = np.partition(pixels, (k - 1, pixels.size - k), axis=None)
    low, high = ordered[k - 1], ordered[pixels.size - k]
    stretched: Values = np.maximum((pixels - low) * 998 / (high - low + 1e-8) + 1, 0)
    return stretched


def _score_2(vdp: HdrVdp, test: Tensor, reference: Tensor) -> dict[str, float]:
    return {"hdrvdp2": vdp.run(stretch(_rows(test)), stretch(_rows(reference)))[0]}


def _score_3(vdp: HdrVdp, test: Tensor, reference: Tensor) -> dict[str, float]:
    return {
        f"hdrvdp3_{mode}": vdp.run(*(_rows(x.clamp(FLOOR, peak)) for x in (test, reference)))[0]
        for mode, peak in PEAK_LUMINANCE.items()
    }


def _rows(image: Tensor) -> Values:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).double().numpy())


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
