from __future__ import annotations

import copy

import pytest
import torch

from hdrlab.config.registry.tables import Presets
from hdrlab.nets import build_net

TRAINABLE = {
    ("dequantization", "default"): 1_999_779,
    ("dequantization", "official"): 1_999_779,
    ("linearization", "default"): 1_172_747,
    ("linearization", "official"): 1_200_971,
    ("linearization", "tf2"): 1_172_747,
    ("hallucination", "default"): 24_569_118,
    ("hallucination", "tf2"): 24_569_118,
    ("refinement", "default"): 1_266_947,
}
CHAIN = ("dequantization", "linearization", "hallucination", "refinement")
CASES = [(name, preset) for name in CHAIN for preset in Presets(name)]


@pytest.mark.parametrize(("name", "preset"), list(TRAINABLE))
def test_parameter_counts_are_the_published_ones(name: str, preset: str) -> None:
    with torch.device("meta") if name == "hallucination" else torch.device("cpu"):
        net = build_net(name, preset)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == TRAINABLE[name, preset]


@pytest.mark.parametrize(("name", "preset"), CASES)
@pytest.mark.parametrize("width", [0.01, 0.13])
def test_narrow_nets_keep_the_contract_in_both_precisions(name: str, preset: str, width: float) -> None:
    torch.manual_seed(0)
    net = build_net(name, preset, width=width).eval()
    assert (net.name, net.preset, net.options) == (name, preset, {"width": width})
    x = torch.rand(2, 9 if name == "refinement" else 3, 32, 64)
    out = net(x)
    assert out.shape == ((2, 1024) if name == "linearization" else (2, 3, 32, 64))
    double = copy.deepcopy(net).double()(x.double())
    assert double.dtype == torch.float64
    assert torch.allclose(out.double(), double, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "linearisation"}, "did you mean linearization"),
        ({"name": "dequantization", "preset": "oficial"}, "did you mean official"),
        ({"name": "refinement", "widht": 1}, "did you mean width"),
        ({"name": "dequantization", "basis": "builtin"}, "unknown option"),
        ({"name": "dequantization", "width": 0}, "above 0"),
        ({"name": "dequantization", "upsampling": "halfpixel"}, "did you mean half_pixel"),
        ({"name": "hallucination", "variant": "keras"}, "authors, tf2"),
    ],
)
def test_wrong_use_names_the_remedy(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_net(**arguments)
