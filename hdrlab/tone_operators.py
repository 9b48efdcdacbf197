"""The operators that a user asked for, learned and classical, and their work on one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.check import ConfigError
from hdrlab.config.schema import TonemapConfig
from hdrlab.io import Image, ImageError
from hdrlab.operators import OPERATORS, OperatorError, missing, tone_map_classically

LEARNED = "iqatm"
BLACKEST = 1 / 510  # rounds to 0 in 8 bits below

Apply = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class ToneOperators:
    """Operators that are ready to work.

    Attributes:
        applied: From linear pixels [H, W, 3], at least 0, to display-encoded ones in [0, 1], by name.
        captions: What a sheet says of each.
        fingerprint: Digest of the nets, empty without.
    """

    applied: dict[str, Apply]
    captions: dict[str, str]
    fingerprint: str

    def show(self, hdr: Image, advance: Callable[[int, int], None]) -> dict[str, NDArray[np.float32]]:
        """Tone-map a picture with every operator; none may turn light into blackness.

        Args:
            hdr: From `hdrlab.io.hdr_pictures.read_hdr`.
            advance: Told after each operator.

        Raises:
            ImageError: One cannot show it.
        """
        shown = {}
        for number, (name, apply) in enumerate(self.applied.items(), 1):
            try:
                shown[name] = apply(hdr.pixels)
            except OperatorError as error:
                raise ImageError(hdr.path, f"{name}: {error}") from error
            if hdr.pixels.any() and shown[name].max() < BLACKEST:
                raise ImageError(hdr.path, f"{name}: comes out black; take another operator")
            advance(number, len(self.applied))
        return shown


def open_operators(config: TonemapConfig) -> ToneOperators:
    """Make the operators ready; what is missing is said before any net is loaded.

    Raises:
        ConfigError: An extra is missing.
        ChainError: Nets or the device are missing.
        WeightsError: A file of nets cannot be used.
    """
    classical = [name for name in config.operator if name != LEARNED]
    if problems := [reason for reason in map(missing, classical) if reason]:
        raise ConfigError(problems)
    applied: dict[str, Apply] = {name: partial(tone_map_classically, name) for name in classical}
    captions = {name: f"{name}: {OPERATORS[name].summary}" for name in classical}
    if LEARNED not in config.operator:
        return ToneOperators(applied, captions, "")

    from hdrlab.tone_nets import open_learned

    learned = open_learned(
        config.checkpoint,
        (Path(config.paths.runs), config.slots),
        procedure=config.procedure,
        normalize=config.normalize,
        device=config.device,
    )
    applied[LEARNED] = learned
    captions[LEARNED] = f"{LEARNED}: Guo 2021, learned"
    in_order = {name: applied[name] for name in config.operator}
    return ToneOperators(in_order, captions, learned.fingerprint)
