"""What other programs made of the same images: a folder of files a program, named as the images are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import EvaluationError, ImageError
from hdrlab.evaluation.benchmark import Case, Made, Method
from hdrlab.evaluation.folders import files_of, reason_of
from hdrlab.evaluation.sdr_metrics import ToneCase
from hdrlab.io import HDR_SUFFIXES, LDR_SUFFIXES, probe_image, read_hdr, read_image, samples_in_unit
from hdrlab.io.image import as_rgb, printable

SHOWN = 5
MISSING = "no file of this name"
Files = Mapping[str, Path]


def reconstructions(results: Mapping[str, str] | None, stems: Sequence[str]) -> list[Method]:
    """Return a method for each folder of HDR images.

    Args:
        results: Folders by the methods' names.
        stems: Names of the photographs that are compared on.

    Raises:
        EvaluationError: A folder holds no result of any of them, or several of one.
    """
    return _methods(results, stems, HDR_SUFFIXES, _read_hdr)


def tone_mappings(results: Mapping[str, str] | None, stems: Sequence[str]) -> list[Method]:
    """Return a method for each folder of SDR images.

    Args:
        results: Folders by the methods' names.
        stems: Names of the HDR images that are compared on.

    Raises:
        EvaluationError: A folder holds no result of any of them, or several of one.
    """
    return _methods(results, stems, LDR_SUFFIXES, _read_sdr)


def _methods(
    results: Mapping[str, str] | None,
    stems: Sequence[str],
    suffixes: Collection[str],
    read: Callable[[Path, Any], NDArray[Any]],
) -> list[Method]:
    made, problems, warnings = [], [], []
    for name, folder in (results or {}).items():
        groups = files_of(Path(folder), suffixes)
        files = {stem: groups[stem][0] for stem in stems if stem in groups}
        if several := [stem for stem in files if len(groups[stem]) > 1]:
            problems.append(f"results.{name}={folder}: several files for {_some(several)}; leave one of each")
        elif not files:
            has = f"it holds {_some(list(groups))}" if groups else f"it holds no {'|'.join(sorted(suffixes))}"
            problems.append(
                f"results.{name}={folder}: no result for any of the {len(stems)} images; they are called "
                f"{_some(stems)}, {has}"
            )
        if missing := [stem for stem in stems if stem not in files]:
            warnings.append(f"results.{name}: {len(missing)} of {len(stems)} missing: {_some(missing)}")
        if broken := [stem for stem, file in files.items() if not _opens(file)]:
            warnings.append(f"results.{name}: {len(broken)} of {len(stems)} unreadable: {_some(broken)}")
        about = f"results of another program, {folder}"
        made.append(Method(name, name, "results", about, partial(_look_up, files, read)))
    if problems:
        raise EvaluationError(printable("; ".join(problems)))
    for warning in warnings:
        print(printable(f"{warning}: these count as black"), file=sys.stderr)
    return made


def _some(stems: Sequence[str]) -> str:
    text = ", ".join(stems[:SHOWN])
    return f"{text} …" if len(stems) > SHOWN else text


def _opens(file: Path) -> bool:
    try:
        probe_image(file)
    except ImageError:
        return False
    return True


def _look_up(files: Files, read: Callable[[Path, Any], NDArray[Any]], case: Case) -> Made:
    if case.name not in files:
        raise EvaluationError(MISSING)
    try:
        return read(files[case.name], case), None
    except ImageError as error:
        raise EvaluationError(reason_of(error)) from error


def _read_hdr(file: Path, case: Case) -> NDArray[np.float32]:
    return np.asarray(read_hdr(file).pixels, np.float32)


def _read_sdr(file: Path, case: ToneCase) -> NDArray[np.float32]:
    image = read_image(file)
    if image.domain == "linear":
        raise ImageError(file, "holds linear light; a tone-mapped image is a PNG or JPEG")
    pixels = as_rgb(samples_in_unit(image))
    # Data sets are cut to multiples of 8 at the right and the bottom; other programs saw the whole.
    height, width = case.reference.shape[:2]
    return pixels[:height, :width] if pixels.shape[:2] == case.whole else pixels
