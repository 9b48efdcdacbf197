"""Classical tone-mapping operators under one name each, NumPy in and out."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.registry.tables import OPERATORS, Operator
from hdrlab.errors import OperatorError, install
from hdrlab.ops.colour import Pixels
from hdrlab.tonemapping.display import to_display
from hdrlab.tonemapping.rows import Shown, Source, available_cores, show_by_rows, strips
from hdrlab.tonemapping.scene import Scene, log_average_of

__all__ = ["OPERATORS", "Operator", "OperatorError", "check_settings", "missing", "tone_map_classically"]

BRIGHTEST = 2.0**40  # times the log-average
MOST_WORKERS = 4
MOST_SAMPLES = 2**23
"""In all strips that are worked on at once, however wide the image; the widest alone may have more."""

ADJUSTMENTS = ("exposure", "contrast", "saturation", "gamma")
"""Settings of every operator, see `hdrlab.tonemapping.display.to_display`."""


def missing(name: str) -> str | None:
    """Say in one line what an operator lacks, or return None if it can be used.

    Raises:
        OperatorError: There is no such operator.
    """
    package = _require(name).package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"{name} needs an extra: {install('operators')}"


def tone_map_classically(
    name: str,
    hdr: NDArray[Any],
    settings: Mapping[str, Any] = MappingProxyType({}),
    *,
    scene: Scene | None = None,
    compress: bool = True,
    panorama: bool = False,
    quick: bool = False,
) -> Pixels:
    """Tone-map an image of any size and unit; exposures, where an operator has one, come from the image.

    Args:
        name: A key of `OPERATORS`.
        hdr: Linear pixels [H, W, 3] with Rec. 709 primaries, at least 0.
        settings: By name, keywords of the operator's function, or of
            `hdrlab.tonemapping.display.to_display`; an ``exposure`` in stops acts before the curve where the
            operator has a ``key``.
        scene: What a global operator is to take for the image's average and peaks; None: the image's own.
        compress: See `hdrlab.tonemapping.display.to_display`.
        panorama: Whether the image's left and right edge are neighbours.
        quick: Whether what is nearly the same will do, where an operator takes long.

    Returns:
        Display-encoded sRGB [H, W, 3] in [0, 1], float32. Black where the image holds no light at all.

    Raises:
        OperatorError: The name or a setting is unknown, an extra is missing, the array is no such image, or
            the operator cannot show it.
    """
    if reason := missing(name):
        raise OperatorError(reason)
    if hdr.ndim != 3 or hdr.shape[2] != 3 or 0 in hdr.shape or hdr.dtype.kind != "f":
        raise OperatorError(f"{name} takes floats [H, W, 3], not {hdr.dtype} {list(hdr.shape)}")
    peak = hdr.max()
    if not np.isfinite(peak) or not hdr.min() >= 0:
        raise OperatorError(f"{name} takes finite values from 0 on: clean the image first")
    if peak == 0:
        return np.zeros(hdr.shape, np.float32)
    operator = OPERATORS[name]
    defaults = operator.defaults
    after = dict(check_settings(name, [*defaults], settings))
    own: dict[str, Any] = {one: after.pop(one) for one in defaults if one in after}
    if "key" in defaults:
        own["key"] = own.get("key", defaults["key"]) * 2 ** after.pop("exposure", 0.0)
    if quick and "quick" in inspect.signature(operator.apply).parameters:
        own["quick"] = True
    white = float(peak)
    average = scene.average / white if scene else log_average_of(Source(hdr, white))
    # What is brighter than any scene, say a broken pixel, is clipped, or it would leave nothing of the rest.
    white *= min(1.0, average * BRIGHTEST)
    source = Source(hdr, white, panorama=panorama and not operator.is_global)
    if operator.is_global:
        own["scene"] = scene.scaled(1 / white) if scene else Scene.of(source)
        picture = Shown(lambda rows: operator.apply(source[rows], **own))
    else:
        picture = show_by_rows(operator.apply, source, **own)
    columns = source.columns
    shown = picture.store
    if shown is None or shown.shape != hdr.shape:
        shown = np.empty(hdr.shape, np.float32)

    def show(rows: slice) -> None:
        part = picture.rows(rows)[:, columns]
        if not np.isfinite(part).all():
            raise OperatorError(f"{name} gives values that are not finite for this image: take another")
        shown[rows] = to_display(part, **after, compress=compress)

    samples = 3 * source.width * picture.least
    workers = min(MOST_WORKERS, available_cores(), max(1, MOST_SAMPLES // samples))
    with ThreadPoolExecutor(workers) as pool:
        # By as much smaller strips, so that memory does not grow with the workers.
        list(pool.map(show, strips(source.height, source.width, parts=workers, least=picture.least)))
    return shown


def check_settings(name: str, parameters: Sequence[str], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings that an operator with these parameters of its own has.

    Raises:
        OperatorError: It has not.
    """
    allowed = (*parameters, *ADJUSTMENTS)
    if unknown := sorted(settings.keys() - {*allowed}):
        raise OperatorError(f"{name} has no {' and no '.join(unknown)}; it has {', '.join(allowed)}")
    return settings


def _require(name: str) -> Operator:
    if name not in OPERATORS:
        raise OperatorError(f"operator {name!r}: must be {' | '.join(OPERATORS)}")
    return OPERATORS[name]
