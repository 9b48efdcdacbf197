"""The weights that come with the package: whole, small, verified, and found by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call
from training import Lab, checkpoint

from hdrlab import evaluate
from hdrlab.errors import CheckpointError, WeightsError
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.nets import build_net
from hdrlab.weights.__main__ import export, verify
from hdrlab.weights.net_file import load_nets, num_parameters, read_header, save_net
from hdrlab.weights.pretrained import SHIPPED, TONE, pretrained_weights, shipped

ROOT = Path(__file__).resolve().parents[1]


def test_what_ships_is_whole_small_and_has_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped() == ["compact"]
    nets = load_nets(SHIPPED / "compact")
    assert set(nets) == {"dequantization", "linearization", "hallucination"}
    assert sum(file.stat().st_size for file in (SHIPPED / "compact").iterdir()) < 12e6
    assert (SHIPPED / "compact" / "card.md").is_file()
    assert verify() == 0
    assert "hdrlab.import_weights" in capsys.readouterr().out


def test_the_number_of_parameters_is_the_readmes() -> None:
    folder = SHIPPED / "compact"
    count = num_parameters(*load_nets(folder).values(), *load_nets(folder / TONE).values())
    for page in ("README.md", "docs/howto/which_weights.md"):
        assert f" {count / 1e6:.1f} million parameters" in (ROOT / page).read_text(encoding="utf-8"), page


def test_what_ships_tone_maps_by_its_own_way_of_seeing() -> None:
    folder = SHIPPED / "compact" / TONE
    assert (folder / "card.md").is_file()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1e6
    assert num_parameters(*load_nets(folder).values()) == 61_113
    hdr = np.random.default_rng(1).lognormal(0, 2, (40, 56, 1)).astype(np.float32) * [1.0, 0.6, 0.3]
    default, named = (ToneMapper.load("iqatm", name, device="cpu") for name in (None, "compact"))
    assert default.fingerprint == named.fingerprint
    shown = named(hdr.astype(np.float32))
    assert np.isfinite(shown).all()
    assert shown.mean() > 0.1
    # Of the input's colours, which a way of seeing by default would not give.
    assert (shown[..., 0] >= shown[..., 1] - 1e-5).all()
    assert (shown[..., 1] >= shown[..., 2] - 1e-5).all()


def test_an_export_says_what_the_nets_see(lab: Lab, tmp_path: Path) -> None:
    fresh = ("stage.start=nothing", "stage.init.tmo_bottom=null", "stage.init.tmo_high=null")
    run = lab.train("tmo_ft", *fresh, "stage.max_steps=1", "stage.tone.domain=adaptive")
    assert export(tmp_path / "nets", [str(run / "last.ckpt")]) == 0
    header = read_header(tmp_path / "nets" / "tmo_merge.safetensors")
    assert header["source"]["tone"]["domain"] == "adaptive"
    hdr = np.random.default_rng(1).lognormal(0, 2, (40, 56, 3)).astype(np.float32)
    of_run, exported = (
        ToneMapper.load("iqatm", place, device="cpu")(hdr) for place in (run / "last.ckpt", tmp_path / "nets")
    )
    np.testing.assert_allclose(exported, of_run, atol=0.05)


@pytest.mark.parametrize("place", [0.5, 0.99])
def test_a_flipped_bit_is_found(tmp_path: Path, place: float) -> None:
    copy = tmp_path / "dequantization.safetensors"
    shutil.copy(SHIPPED / "compact" / "dequantization.safetensors", copy)
    data = bytearray(copy.read_bytes())
    data[int(len(data) * place)] ^= 1
    copy.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=r"checksum|damaged|cannot be read|do not fit"):
        load_nets(copy)


def test_a_foreign_or_cut_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_nets(file)


def test_half_precision_is_what_is_lost(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_net("hallucination", "compact", mask_width=0.2)
    save_net(net, tmp_path / "hallucination.safetensors", {"experiment": "test"})
    loaded = load_nets(tmp_path)["hallucination"]
    assert loaded.mask_width == 0.2  # type: ignore[comparison-overlap]
    for name, value in net.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_names_are_told_from_folders(tmp_path: Path) -> None:
    assert pretrained_weights("compact", tmp_path) == SHIPPED / "compact"
    assert pretrained_weights("compact", tmp_path, TONE) == SHIPPED / "compact" / "tone"
    assert pretrained_weights("nets", tmp_path) is None
    with pytest.raises(WeightsError, match="official"):
        pretrained_weights("official", tmp_path)
    (tmp_path / "weights" / "official").mkdir(parents=True)
    assert pretrained_weights("official", tmp_path) == tmp_path / "weights" / "official"


def test_a_training_starts_from_a_file_of_one_net(lab: Lab, tmp_path: Path) -> None:
    torch.manual_seed(5)
    net = build_net("dequantization", "compact")
    net.last.weight.data.normal_(std=0.01)
    save_net(net, tmp_path / "own.pt", {})
    words = ("preset=compact", "stage.width=1", "stage.max_steps=1", "stage.lr=1e-12")
    run = lab.train("deq", *words, f"stage.init.deq={tmp_path / 'own.pt'}")
    trained = checkpoint(run / "last.ckpt")["state_dict"]
    for name, value in net.state_dict().items():
        torch.testing.assert_close(trained[f"dequantization.{name}"], value, rtol=1e-4, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"dequantization is of width=1.0; say so here too"):
        lab.train("deq", "preset=compact", f"stage.init.deq={tmp_path / 'own.pt'}")
    with pytest.raises(CheckpointError, match=r"holds a dequantization net, which stage=lin has not"):
        lab.train("lin", "preset=compact", f"stage.init.lin={tmp_path / 'own.pt'}")


def test_what_ships_is_compared_by_its_name(lab: Lab) -> None:
    words = [*lab.data(), f"paths.data={lab.work / 'data'}", f"paths.runs={lab.runs}", "data.short_side=64"]
    given = ["weights=compact", *words, "images=1", "methods=[srgb]", "report=false"]
    assert call(evaluate.COMMAND, given) == 0
    (summary,) = lab.runs.glob("comparisons/*/summary.json")
    methods = json.loads(summary.read_text())["methods"]
    assert "compact" in {method["name"] for method in methods}


def test_what_ships_is_compared_where_images_are_tone_mapped(lab: Lab) -> None:
    words = [*lab.data("tmo_ft"), f"paths.data={lab.work / 'data'}", f"paths.runs={lab.runs}", "task=tonemap"]
    given = ["weights=compact", *words, "images=1", "operators=[log]", "report=false"]
    assert call(evaluate.COMMAND, given) == 0
    (summary,) = lab.runs.glob("comparisons/*/summary.json")
    methods = json.loads(summary.read_text())["methods"]
    assert "compact" in {method["name"] for method in methods}
