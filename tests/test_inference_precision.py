"""Reconstruction and tone mapping in half precision: where it is chosen, and what it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from hdrlab import Reconstructor, build_net
from hdrlab.errors import ResourceError
from hdrlab.inference import load
from hdrlab.inference.load import pick_precision
from hdrlab.metrics.pu21 import psnr_pu21
from hdrlab.nets import SYSTEMS, Net

CPU = torch.device("cpu")
DISPLAY = 203.0
"""cd/m² of the clipping point."""


@pytest.mark.parametrize("computed", [True, False])
def test_auto_is_what_the_device_computes(computed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "computes_bf16", lambda device: computed)
    assert pick_precision("auto", CPU) == (torch.bfloat16 if computed else None)
    assert pick_precision("bf16", CPU) == torch.bfloat16
    assert pick_precision("32", CPU) is None


def test_emulated_by_name_is_said_with_its_factor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(load, "computes_bf16", lambda device: False)
    with caplog.at_level(logging.WARNING):
        pick_precision("bf16", CPU)
    (line,) = caplog.messages
    assert line.startswith("precision=bf16: this cpu emulates it, a convolution takes ")


def test_another_word_is_refused() -> None:
    with pytest.raises(ResourceError, match=r"^precision=16: must be auto, 32 or bf16"):
        pick_precision("16", CPU)


def chain(preset: str) -> Mapping[str, Net]:
    torch.manual_seed(0)
    names = SYSTEMS["SingleHDR"][: 3 if preset == "compact" else 4]
    return {name: build_net(name, preset, width=1 / 4) for name in names}


@pytest.mark.parametrize("preset", ["default", "official", "compact"])
def test_bf16_is_for_the_nets_and_is_not_seen(preset: str) -> None:
    y, x = np.mgrid[0:96, 0:128] / 128
    lamp = 400 * np.exp(-40 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
    photo = (np.stack([200 * x, 150 * y, 180 - 100 * x], -1) + lamp[..., None]).clip(0, 255).astype(np.uint8)
    nets = chain(preset)
    used: dict[str, set[torch.dtype]] = {}
    made = {}
    for precision in ("32", "bf16"):
        seen = used[precision] = set()

        def note(module: nn.Module, given: object, out: torch.Tensor, seen: set[torch.dtype] = seen) -> None:
            if type(module) is nn.Conv2d:
                seen.add(out.dtype)

        reconstructor = Reconstructor(nets, precision=precision, device="cpu")
        assert reconstructor.precision == precision
        with register_module_forward_hook(note):
            made[precision] = reconstructor.develop(photo)
    assert torch.bfloat16 not in used["32"]
    assert used["bf16"] == {torch.bfloat16}
    assert made["bf16"].hdr.dtype == made["bf16"].curve.dtype == np.float32
    assert np.unique(made["bf16"].curve).size > 1000, "bfloat16 has some 300 values between 0.25 and 1"
    both = [torch.from_numpy(DISPLAY * made[one].hdr).permute(2, 0, 1)[None] for one in ("bf16", "32")]
    assert not torch.equal(*both)
    assert psnr_pu21(*both).item() > 45
