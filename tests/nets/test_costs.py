"""What the nets cost, in operations: a number that no other program on the machine changes."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hdrlab.nets import build_net
from hdrlab.nets.linearization import LinearizationNet

SIDE = 128


@pytest.mark.parametrize(
    ("name", "preset", "most"),
    [
        ("dequantization", "default", 133.7),  # 144.3 without tiles
        ("linearization", "official", 137.6),  # 207 with all 102 maps
        ("linearization", "default", 194.7),
        ("hallucination", "default", 619.5),  # 825 without tiles, 1221 with the decoder's maps doubled first
        ("refinement", "default", 133.9),
    ],
)
@torch.no_grad()
def test_a_folded_net_takes_no_more_operations_a_pixel(name: str, preset: str, most: float) -> None:
    """Ceilings in thousands, two operations a multiplication."""
    net = build_net(name, preset).fold()
    x = torch.rand(1, 9 if name == "refinement" else 3, SIDE, SIDE)
    with FlopCounterMode(display=False) as counter:
        net.backbone(x) if isinstance(net, LinearizationNet) else net(x)
    assert counter.get_total_flops() / SIDE**2 / 1000 < most


@pytest.mark.parametrize(
    ("name", "preset", "most_bytes", "most_operations"),
    [
        ("dequantization", "default", 1520, 330),
        ("linearization", "default", 1750, 1200),
        ("hallucination", "default", 12600, 2850),
        ("refinement", "default", 1520, 330),
        ("tmo_merge", "default", 3150, 430),
        ("dequantization", "compact", 170, 56),
        ("linearization", "compact", 2200, 2120),
        ("hallucination", "compact", 380, 330),
    ],
)
@torch.inference_mode()
def test_a_folded_net_allocates_no_more_memory_and_calls_no_more_kernels(
    name: str, preset: str, most_bytes: float, most_operations: int
) -> None:
    """Ceilings in bytes a pixel that are allocated in all, and in calls within an image of 128 × 128."""
    net = build_net(name, preset).eval().fold()
    x = torch.rand(1, 9 if name == "refinement" else 3, SIDE, SIDE)
    net(x)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        net(x)
    events = watched.events()
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in events)
    assert allocated / SIDE**2 < most_bytes
    assert len(events) < most_operations
