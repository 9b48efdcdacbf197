"""The operators as the page offers them: their settings as sliders, and previews of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.registry import Limits
from hdrlab.config.registry.tables import LEARNED
from hdrlab.config.schema.commands import TonemapConfig
from hdrlab.config.schema.section import keys_of
from hdrlab.errors import OperatorError
from hdrlab.inference.tone_mapper import ToneMapper, adjusted
from hdrlab.tonemapping import ADJUSTMENTS, OPERATORS, missing
from hdrlab.tonemapping.scene import Scene

RANGES: Mapping[str, tuple[float, float, bool]] = {
    "exposure": (-5, 5, False),
    "contrast": (0.5, 2, True),
    "saturation": (0, 2, False),
    "gamma": (0.5, 2, True),
    "bias": (0.5, 1, False),
    "clipped": (0, 0.1, False),
    "sharpening": (0, 16, False),
    "white": (0.5, 500, True),
    "base_contrast": (5, 1000, True),
}
"""From where to where sliders go, and whether evenly in the logarithm; of others, see `_range`."""

Key = tuple[str, str]
LEARNED_SUMMARY = "Guo 2021, learned"
KEPT = 4  # images of nets, whose adjustments are to answer at once
KEPT_SCENES = 100


def describe() -> list[dict[str, Any]]:
    """Return what the page says of each operator that can be used here, in the order of the command."""
    rows: list[tuple[str, str, dict[str, Any]]] = [(LEARNED, LEARNED_SUMMARY, {})]
    rows += [(name, one.summary, dict(one.defaults)) for name, one in OPERATORS.items() if not missing(name)]
    return [
        {
            "name": name,
            "summary": summary,
            "sliders": [_slider(one, own.get(one)) for one in _names(name)],
        }
        for name, summary, own in sorted(rows, key=lambda row: row[0] == LEARNED)
    ]


def settings_of(operator: str, given: Mapping[str, str]) -> dict[str, float]:
    """Read an operator's settings from an address.

    Raises:
        OperatorError: There is no such operator or setting, or a value is out of its limits.
    """
    if operator != LEARNED and operator not in OPERATORS:
        raise OperatorError(f"operator {operator!r}: there is none of this name")
    allowed, keys, read = _names(operator), keys_of(TonemapConfig), {}
    for name, text in given.items():
        if name not in allowed:
            raise OperatorError(f"{operator} has no {name!r}; it has {', '.join(allowed)}")
        try:
            read[name] = float(text)
        except ValueError:
            raise OperatorError(f"{name}: must be a number") from None
        if not keys[name].limits.admit(read[name]) or abs(read[name]) > 1e6:
            raise OperatorError(f"{name}={read[name]:g}: must be {keys[name].wanted}")
    return read


class Operators:
    """Operators ready to use; nets are loaded once, when they are first asked for.

    Args:
        device: Where nets compute.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._learned: ToneMapper | None = None
        self._seen: OrderedDict[Key | None, NDArray[np.float32]] = OrderedDict()
        self._scenes: OrderedDict[Key, Scene] = OrderedDict()
        self._computing, self._changing = Lock(), Lock()  # the first is held for seconds

    def show(
        self,
        operator: str,
        hdr: NDArray[np.float32],
        settings: Mapping[str, float],
        key: Key | None = None,
    ) -> NDArray[np.float32]:
        """Tone-map an image.

        Args:
            operator: Its name.
            hdr: Linear pixels [H, W, 3], at least 0.
            settings: From `settings_of`.
            key: Of the picture and which copy of it, where it is a preview, likely to be shown again: what
                nets make of it and what global operators must know of it is then kept.

        Returns:
            Display-encoded sRGB [H, W, 3] in [0, 1].

        Raises:
            OperatorError: The operator cannot show it.
        """
        if operator != LEARNED:
            mapper = ToneMapper.load(operator, settings=settings)
            return mapper.apply(hdr, scene=self._scene(key, hdr), quick=True) if key else mapper(hdr)
        with self._computing:
            if (shown := self._seen.get(key)) is None:
                self._learned = self._learned or ToneMapper.load(LEARNED, device=self._device)
                shown = self._learned(hdr)
                if key:
                    self._keep(self._seen, key, shown, KEPT)
        return adjusted(shown, settings)

    def _scene(self, key: Key, hdr: NDArray[np.float32]) -> Scene:
        if (scene := self._scenes.get(key)) is None:
            scene = Scene.of(hdr)
            self._keep(self._scenes, key, scene, KEPT_SCENES)
        return scene

    def _keep(self, kept: OrderedDict[Any, Any], key: Key, value: Any, most: int) -> None:
        with self._changing:
            kept[key] = value
            while len(kept) > most:
                kept.popitem(last=False)

    def forget(self, picture: str) -> None:
        """Keep nothing of a picture any more."""
        with self._changing:
            for kept in (self._seen, self._scenes):
                for key in [key for key in kept if key and key[0] == picture]:
                    del kept[key]


def _names(operator: str) -> list[str]:
    own = {} if operator == LEARNED else OPERATORS[operator].parameters
    return [*(name for name, one in own.items() if one.kind is float), *ADJUSTMENTS]


def _slider(name: str, default: float | None) -> dict[str, Any]:
    key = keys_of(TonemapConfig)[name]
    default = key.default if name in ADJUSTMENTS else default
    low, high, logarithmic = RANGES.get(name) or _range(default or 0.0, key.limits)
    help = re.sub(r"^of [^:]*: |; null:.*", "", key.help)
    return {
        "name": name,
        "help": help,
        "default": default,
        "low": low,
        "high": high,
        "logarithmic": logarithmic,
    }


def _range(default: float, limits: Limits) -> tuple[float, float, bool]:
    """Return what a slider goes through that `RANGES` does not name."""
    least = limits.least if limits.least is not None else limits.above
    if least is not None and limits.most is not None:
        margin = 0.01 * (limits.most - least) if limits.above is not None else 0.0
        return least + margin, limits.most, False
    if default > 0:
        low = default / 16 if least is None else max(default / 16, least)
        return low, default * 16, True
    return default - 4, default + 4, False
