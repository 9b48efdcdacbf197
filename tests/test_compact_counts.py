"""The training of the compact linearization on counts: what is counted, how it scores, what it writes."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdrlab.losses import curve_log_error
from hdrlab.metrics import curve_mse
from hdrlab.nets.compact import statistics
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.stages.lin import aligned_psnr
from hdrlab.weights.net_file import load_nets
from hdrlab.weights.pretrained import SHIPPED


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "experiments"))
    return import_module("compact_counts")


def samples(number: int) -> list[dict[str, torch.Tensor]]:
    """Photographs in whole codes, none of them clipped, and gammas as their inverse curves."""
    draws = torch.Generator().manual_seed(8)
    grid = torch.linspace(0, 1, 1024)
    codes = torch.randint(5, 230, (number, 3, 24, 32), generator=draws)
    return [{"jpeg": one / 255, "inv_curve": grid ** (1.6 + 0.2 * i)} for i, one in enumerate(codes)]


def test_scores_over_levels_are_those_of_the_photograph(program: Any) -> None:
    (sample,) = samples(1)
    counts, cells, levels, curve = (torch.from_numpy(column)[None] for column in program.count(sample))
    seen = statistics(sample["jpeg"][None])
    for stored, wanted in zip((counts, cells), seen, strict=True):
        torch.testing.assert_close(stored.float(), wanted, atol=1e-3, rtol=0)
    truth, photograph = sample["inv_curve"][None], sample["jpeg"][None]
    torch.testing.assert_close(curve.float(), truth, atol=1e-3, rtol=0)
    average = average_inverse(truth)
    linear, error, logarithm, psnr = program.scores(average, levels, truth)
    made, scene = (apply_response(photograph, one) for one in (average, truth))
    assert float(linear) == pytest.approx(float((made - scene).square().mean()), rel=1e-3)
    assert float(error) == pytest.approx(float(curve_mse(average, truth)), rel=1e-4)
    everywhere = photograph.repeat_interleave(2, 2).repeat_interleave(
        2, 3
    )  # of which every second pixel counts
    assert float(logarithm) == pytest.approx(float(curve_log_error(average, truth, everywhere)), rel=0.02)
    # The display's anchor is the median of luminance there, of all channels' levels here.
    assert float(psnr) == pytest.approx(float(aligned_psnr(made, scene, photograph, stride=1)), abs=0.5)
    assert float(program.scores(truth, levels, truth)[3]) > 70


def test_training_goes_on_from_what_ships_and_writes_a_net(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train_0_0000", "val"):
        columns = zip(*map(program.count, samples(4)), strict=True)
        np.savez(tmp_path / f"{name}.npz", **dict(zip(program.NAMES, map(np.stack, columns), strict=True)))
    words = {"lr": 1e-4, "pu21": 0.03, "seed": 0, "steps": 2, "batch": 2, "fresh": None}
    program.train(Namespace(counts=tmp_path, out=tmp_path / "net.safetensors", **words))
    assert "step 2: linear" in capsys.readouterr().out
    net, before = (
        load_nets(one)["linearization"] for one in (tmp_path / "net.safetensors", SHIPPED / "compact")
    )
    assert net.basis_name == before.basis_name
    moved = [float((a - b).abs().max()) for a, b in zip(net.parameters(), before.parameters(), strict=True)]
    assert 0 < max(moved) < 1e-2
