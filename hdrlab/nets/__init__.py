"""The nets, and the one function that builds them by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hdrlab.config.registry import resolve
from hdrlab.config.registry.tables import NETS, Presets, like, net_names
from hdrlab.nets.layers import Net, require_choice

__all__ = ["NETS", "PAPER", "SYSTEMS", "Net", "build_net"]

SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "SingleHDR": ("dequantization", "linearization", "hallucination", "refinement"),
    "IQATM": ("tmo_bottom", "tmo_high", "tmo_merge"),
}
"""The nets that work together, by the paper's name."""

PAPER = ("default", "official", "tf2")
"""The presets of the papers' nets."""

ALIASES: Mapping[str, str] = {
    "deq": "dequantization",
    "lin": "linearization",
    "hal": "hallucination",
    "tmo_ft": "tmo_merge",
}
"""Stages that are called otherwise than the net they train."""


def build_net(name: str, preset: str = "default", **options: Any) -> Net:
    """Build a net with fresh weights.

    Args:
        name: Of a net: `NETS` has them, as name/preset.
        preset: One of the net's presets: `default` follows the paper, `official` and `tf2` reproduce the
            code bases for their checkpoints, `compact` is the small chain that ships. The nets of tone
            mapping have no `tf2` and no `compact`, and their other two differ in what surrounds the nets. For
            one of a plug-in, which this net has not, stands the preset that it is like.
        **options: Arguments of the net's class. All take `width`, a factor on the channel counts (1 = the
            paper); linearization takes `basis` and `bn_momentum`.

    Returns:
        The net in training mode; its `name`, `preset` and `options` say what it is.

    Raises:
        ValueError: A name, preset, option or value is illegal; the message names the nearest legal one.
    """
    require_choice("net", name, net_names(), ALIASES)
    if f"{name}/{preset}" not in NETS:
        preset = like(preset)
    require_choice(f"preset of {name}", preset, Presets(name))
    row = NETS[f"{name}/{preset}"]
    make = resolve(row.target)
    legal = inspect.signature(make).parameters
    for option in options:
        require_choice(f"option of {name}", option, legal)
    net: Net = make(**{**row.options, **options})
    net.to(memory_format=net.layout)  # type: ignore[call-overload]  # torch declares it with others only
    net.name, net.preset, net.options = name, preset, dict(options)
    return net
