"""The nets, and the one function that builds them by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hdrlab.nets.compact import (
    CompactDequantizationNet,
    CompactHallucinationNet,
    CompactLinearizationNet,
)
from hdrlab.nets.hallucination import HallucinationNet
from hdrlab.nets.layers import Net, require_choice
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.nets.tone_mapping import ToneBottomNet, ToneHighNet, ToneMergeNet
from hdrlab.nets.unet import DequantizationNet, RefinementNet

__all__ = ["NETS", "SYSTEMS", "Net", "build_net"]

NETS: Mapping[str, tuple[Callable[..., Net], Mapping[str, Mapping[str, Any]]]] = {
    "dequantization": (
        DequantizationNet,
        {
            "default": {"upsampling": "half_pixel"},
            "official": {"upsampling": "legacy"},
            "tf2": {"upsampling": "half_pixel"},
            "compact": {},
        },
    ),
    "linearization": (
        LinearizationNet,
        {
            "default": {"histogram": "paper", "bn_momentum": 0.001},
            "official": {"histogram": "authors", "bn_momentum": 0.001},
            "tf2": {"histogram": "paper", "bn_momentum": 0.01},
            "compact": {},
        },
    ),
    "hallucination": (
        HallucinationNet,
        {
            "default": {"variant": "authors"},
            "official": {"variant": "authors"},
            "tf2": {"variant": "tf2"},
            "compact": {},
        },
    ),
    "refinement": (
        RefinementNet,
        {
            "default": {"upsampling": "half_pixel", "final_relu": False, "identity_init": True},
            "official": {"upsampling": "legacy", "final_relu": False, "identity_init": False},
            "tf2": {"upsampling": "half_pixel", "final_relu": True, "identity_init": False},
        },
    ),
    "tmo_bottom": (ToneBottomNet, {"default": {}, "official": {}}),
    "tmo_high": (ToneHighNet, {"default": {}, "official": {}}),
    "tmo_merge": (ToneMergeNet, {"default": {}, "official": {}}),
}
"""Class of each net and its options under each preset but `compact`, whose nets are other classes."""

COMPACT: Mapping[str, Callable[..., Net]] = {
    "dequantization": CompactDequantizationNet,
    "linearization": CompactLinearizationNet,
    "hallucination": CompactHallucinationNet,
}
"""Class of each net under the preset `compact`."""

SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "SingleHDR": ("dequantization", "linearization", "hallucination", "refinement"),
    "IQATM": ("tmo_bottom", "tmo_high", "tmo_merge"),
}
"""The nets that work together, by the paper's name."""


def build_net(name: str, preset: str = "default", **options: Any) -> Net:
    """Build a net with fresh weights.

    Args:
        name: A key of `NETS`.
        preset: One of the net's presets: `default` follows the paper, `official` and `tf2` reproduce the
            code bases for their checkpoints, `compact` is the small chain that ships. The nets of tone
            mapping have no `tf2` and no `compact`, and their other two differ in what surrounds the nets.
        **options: Arguments of the net's class. All take `width`, a factor on the channel counts (1 = the
            paper); linearization takes `basis` and `bn_momentum`.

    Returns:
        The net in training mode; its `name`, `preset` and `options` say what it is.

    Raises:
        ValueError: A name, preset, option or value is illegal; the message names the nearest legal one.
    """
    require_choice("net", name, NETS)
    make, presets = NETS[name]
    require_choice(f"preset of {name}", preset, presets)
    make = COMPACT[name] if preset == "compact" else make
    legal = inspect.signature(make).parameters
    for option in options:
        require_choice(f"option of {name}", option, legal)
    net = make(**{**presets[preset], **options})
    net.to(memory_format=net.layout)  # type: ignore[call-overload]  # torch declares it with others only
    net.name, net.preset, net.options = name, preset, dict(options)
    return net
