from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from numpy.typing import NDArray
from safetensors import safe_open
from training import Lab

from hdrlab.errors import WeightsError
from hdrlab.import_weights import COMMAND
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.nets.vgg16 import conv_names, random_vgg16
from hdrlab.pipeline.singlehdr import reconstruct
from hdrlab.weights import OBJECT_SUFFIX, load_vgg16
from hdrlab.weights import identify as identification
from hdrlab.weights.identify import identify
from hdrlab.weights.names import _targets
from hdrlab.weights.net_file import describe_net, load_nets, read_header, save_net

Variables = dict[str, NDArray[np.float32]]
NAMES = SYSTEMS["SingleHDR"]


def command(*words: object) -> int:
    return call(COMMAND, words)


def variables_of(net: Net, objects: bool = False) -> Variables:
    """What TensorFlow would hold of a net."""
    found = {}
    for tensor, names in _targets(net):
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, tuple(range(tensor.ndim)))
        name = f"lin/{names[1]}{OBJECT_SUFFIX}" if objects else names[0]
        found[name] = tensor.detach().numpy().transpose(axes)
    return found


def narrow(name: str, preset: str, **options: Any) -> Net:
    return build_net(name, preset, **{"width": 0.1, **options})


@pytest.fixture
def basis(shared: Path) -> Path:
    return shared / "crf" / "invemor.txt"


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Pretends that a folder holds a checkpoint of given variables of narrow nets."""
    held: dict[Path, Variables] = {}
    monkeypatch.setattr(identification, "read_tensorflow_checkpoint", lambda prefix: held[prefix])
    monkeypatch.setattr(identification, "build_net", narrow)

    def make(folder: str, variables: Variables, name: str = "model.ckpt") -> Path:
        place = tmp_path / "source" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.index").write_bytes(folder.encode())
        held[place / name] = variables
        return place

    return make


def array(path: Path, name: str) -> NDArray[np.float32]:
    with np.load(path) as file:
        values: NDArray[np.float32] = file[name]
    return values


def nchw(values: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(np.array(values)).permute(0, 3, 1, 2)


# ------------------------------------------------------------------------------------ authentic checkpoints


@pytest.mark.golden
@torch.no_grad()
def test_a_tf1_checkpoint_becomes_files_that_reproduce_the_reference(
    goldens: Path, basis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = goldens / "tf1_checkpoint_deq_lin"
    assert command(f"source={source}", f"output={tmp_path / 'out'}", f"basis={basis}") == 0
    said = capsys.readouterr().out
    assert "official" in said
    assert "38" in said
    assert "93" in said
    assert "not in the source: hallucination, refinement" in said
    nets = load_nets(tmp_path / "out")
    assert nets.keys() == {"dequantization", "linearization"}
    assert {net.preset for net in nets.values()} == {"official"}
    for name, stem, result in (
        ("dequantization", "deq_forward", "out"),
        ("linearization", "lin_forward", "invcrf"),
    ):
        expected = array(goldens / f"{stem}.npz", result)
        got = nets[name](nchw(array(goldens / f"{stem}.npz", "x")))
        expected = nchw(expected).numpy() if expected.ndim == 4 else expected
        assert np.abs(got.numpy() - expected).max() < 1e-5
    header = read_header(tmp_path / "out" / "linearization.pt")
    assert header["preset"] == "official"
    assert header["basis"] == "invemor.txt"
    assert header["source"]["path"].endswith("tf1_checkpoint_deq_lin/model.ckpt")
    assert set(header["source"]["sha256"]) == {"model.ckpt.index", "model.ckpt.data-00000-of-00001"}
    assert {"hdrlab", "torch"} <= set(header["versions"])
    json.dumps(header)  # plain types only


@pytest.mark.golden
@torch.no_grad()
def test_a_tf2_checkpoint_becomes_a_file_that_reproduces_the_reference(
    goldens: Path, basis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = goldens / "tf2_checkpoint_lin" / "ckpt-1"
    assert command(f"source={source}", f"output={tmp_path}", f"basis={basis}") == 0
    said = capsys.readouterr().out
    assert "(optimiser): optimizer/_iterations" in said
    assert "(counter): epoch/" in said
    net = load_nets(tmp_path / "linearization.pt")["linearization"]
    assert net.preset == "tf2"
    arrays = goldens / "lin_forward_tf2.npz"
    assert np.abs(net(nchw(array(arrays, "x"))).numpy() - array(arrays, "invcrf")).max() < 1e-5


@pytest.mark.golden
@torch.no_grad()
def test_a_tone_mapping_checkpoint_becomes_files_that_reproduce_the_reference(
    iqatm_goldens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = iqatm_goldens / "tf1_checkpoint_ft", tmp_path / "out"
    assert command(f"source={source}", f"output={out}") == 0
    said = capsys.readouterr().out
    assert "(optimiser): beta1_power, beta2_power" in said
    assert "(102 in all)" in said
    assert "(counter): global_step" in said
    assert "(other)" not in said
    assert "not in the source" not in said
    nets = load_nets(out)
    assert {name: net.preset for name, net in nets.items()} == dict.fromkeys(SYSTEMS["IQATM"], "official")
    with np.load(iqatm_goldens / "tf1_checkpoint_ft_values.npz") as file:
        for net in nets.values():
            for name, values in variables_of(net).items():
                assert np.array_equal(values, file[name])
    with pytest.raises(WeightsError, match="no dequantization and no linearization and no hallucination net"):
        Reconstructor.load(out)


@pytest.mark.golden
def test_without_the_basis_nothing_is_written_and_the_remedy_is_said(
    goldens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("tf1_checkpoint_deq_lin", "tf2_checkpoint_lin"):
        assert command(f"source={goldens / source}", f"output={tmp_path / 'out'}") == 2
        assert "linearization needs basis=FILE, the EMoR basis invemor.txt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.golden
def test_presets_are_not_mixed_in_a_source_nor_in_the_output(
    goldens: Path, basis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = tmp_path / "both"
    for name in ("tf1_checkpoint_deq_lin", "tf2_checkpoint_lin"):
        shutil.copytree(goldens / name, both / name)
    assert command(f"source={both}", f"output={tmp_path / 'out'}", f"basis={basis}") == 2
    assert "nets of different presets do not work together" in capsys.readouterr().err
    first, second = (
        [f"source={both / name}", f"output={tmp_path / 'out'}", f"basis={basis}"]
        for name in ("tf1_checkpoint_deq_lin", "tf2_checkpoint_lin")
    )
    assert command(*first) == 0
    assert command(*second) == 2
    assert "dequantization.pt" in capsys.readouterr().err


@pytest.mark.golden
def test_a_damaged_checkpoint_is_refused(goldens: Path, basis: Path, tmp_path: Path, capsys: Any) -> None:
    bundle = tmp_path / "tf2"
    shutil.copytree(goldens / "tf2_checkpoint_lin", bundle)
    bundle.chmod(0o755)
    data = bundle / "ckpt-1.data-00000-of-00001"
    data.chmod(0o644)
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    assert command(f"source={bundle}", f"output={tmp_path / 'out'}", f"basis={basis}") == 2
    assert "does not match, so the file is damaged" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- identification


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_net_is_told_by_its_names_and_shapes(name: str, objects: bool) -> None:
    preset = "tf2" if objects else "official"
    variables = variables_of(build_net(name, preset, width=0.1), objects)
    slot = f"lin/conv1/kernel/.OPTIMIZER_SLOT/optimizer/m{OBJECT_SUFFIX}"
    noise = {slot: np.zeros((7, 7, 5, 4), np.float32), "beta1_power": np.zeros((), np.float32)}
    assert identify(variables | noise) == {name: preset}


def test_the_nets_of_tone_mapping_are_told_by_their_names() -> None:
    variables = {name: variables_of(build_net(name, width=0.1)) for name in SYSTEMS["IQATM"]}
    for name, own in variables.items():
        assert identify(own) == {name: "official"}
    together = {variable: values for own in variables.values() for variable, values in own.items()}
    assert identify(together) == dict.fromkeys(SYSTEMS["IQATM"], "official")


def test_what_is_none_of_the_nets_is_not_taken_for_one() -> None:
    assert identify({"vgg16/conv1_1/filter": np.zeros((3, 3, 3, 64), np.float32)}) == {}
    assert identify({f"lin/conv1/kernel{OBJECT_SUFFIX}": np.zeros((7, 7, 4, 16), np.float32)}) == {}


def test_the_maps_of_the_first_convolution_decide_the_preset_of_linearization() -> None:
    name = "crf_feature_net/conv1/weights"
    for maps, preset in ((102, "official"), (93, "tf2")):
        assert identify({name: np.zeros((7, 7, maps, 64), np.float32)}) == {"linearization": preset}
    with pytest.raises(WeightsError, match="102 maps"):
        identify({name: np.zeros((7, 7, 100, 64), np.float32)})


# ------------------------------------------------------------------------------------------- several at once


def test_the_released_folder_gives_the_tuned_set_and_beside_it_the_single_nets(
    checkpoints: Any, basis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    deq, ref = narrow("dequantization", "official"), narrow("refinement", "official")
    tuned = narrow("dequantization", "official")
    slots = {f"{name}/Adam": values for name, values in variables_of(ref).items()}
    checkpoints("ckpt_deq", variables_of(deq))
    checkpoints("ckpt_deq_lin_hal_ref", variables_of(tuned) | variables_of(ref) | slots)
    out = tmp_path / "out"
    assert command(f"source={tmp_path / 'source'}", f"output={out}", f"basis={basis}") == 0
    assert "ignored in ckpt_deq_lin_hal_ref (optimiser)" in capsys.readouterr().out
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.pt")) == [
        "ckpt_deq/dequantization.pt",
        "dequantization.pt",
        "refinement.pt",
    ]
    together, single = load_nets(out), load_nets(out / "ckpt_deq")
    assert torch.equal(
        together["dequantization"].get_parameter("convs.4.bias"), tuned.get_parameter("convs.4.bias")
    )
    kernel = "convs.4.weight"
    assert torch.equal(together["dequantization"].get_parameter(kernel), tuned.get_parameter(kernel))
    assert torch.equal(single["dequantization"].get_parameter(kernel), deq.get_parameter(kernel))


def test_the_same_net_twice_is_refused_where_neither_is_the_larger_set(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = variables_of(narrow("dequantization", "official"))
    checkpoints("a", variables)
    checkpoints("b", variables)
    assert command(f"source={tmp_path / 'source'}", f"output={tmp_path / 'out'}") == 2
    assert "dequantization is in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_iqatm_s_released_folder_gives_the_joint_set_of_the_last_step_and_beside_it_the_single_nets(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    bottom, high = narrow("tmo_bottom", "official"), narrow("tmo_high", "official")
    joint = {name: narrow(name, "official") for name in SYSTEMS["IQATM"]}
    steps = {"global_step": np.zeros((), np.int32), "beta1_power": np.zeros((), np.float32)}
    checkpoints("checkpoint/botlayer", variables_of(bottom) | steps, "model-bot.ckpt-60")
    checkpoints("checkpoint/botlayer", {}, "model-bot.ckpt-9")
    checkpoints("checkpoint/highlayer", variables_of(high) | steps, "model-high.ckpt-487")
    tuned = {name: values for net in joint.values() for name, values in variables_of(net).items()}
    checkpoints("checkpoint/ftlayer", tuned | steps, "model-ft.ckpt-488")
    out = tmp_path / "out"
    assert command(f"source={tmp_path / 'source'}", f"output={out}") == 0
    said = capsys.readouterr().out
    assert "botlayer: model-bot.ckpt-60 of its 2 checkpoints" in said
    assert "highlayer: model" not in said
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.pt")) == [
        "botlayer/tmo_bottom.pt",
        "highlayer/tmo_high.pt",
        *(f"{name}.pt" for name in SYSTEMS["IQATM"]),
    ]
    for folder, expected in (
        (out, joint),
        (out / "botlayer", {"tmo_bottom": bottom}),
        (out / "highlayer", {"tmo_high": high}),
    ):
        loaded = load_nets(folder)
        assert loaded.keys() == expected.keys()
        for name, net in expected.items():
            assert torch.equal(loaded[name].get_parameter("conv1.weight"), net.get_parameter("conv1.weight"))


def test_both_systems_lie_in_one_folder_whatever_their_presets(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints("high", variables_of(narrow("tmo_high", "official")))
    checkpoints("deq", variables_of(narrow("dequantization", "tf2"), objects=True))
    for _ in range(2):  # again beside what is there already
        assert command(f"source={tmp_path / 'source'}", f"output={tmp_path / 'out'}") == 0
    nets = load_nets(tmp_path / "out")
    assert {name: net.preset for name, net in nets.items()} == {
        "dequantization": "tf2",
        "tmo_high": "official",
    }
    assert "linearization, hallucination, refinement, tmo_bottom, tmo_merge" in capsys.readouterr().out


def test_only_the_other_nets_of_the_same_system_are_missed(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = checkpoints("bot", variables_of(narrow("tmo_bottom", "official")))
    assert command(f"source={source}", f"output={tmp_path / 'out'}") == 0
    assert "not in the source: tmo_high, tmo_merge\n" in capsys.readouterr().out


def test_a_checkpoint_of_something_else_is_refused(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = checkpoints("gan", {"generator/kernel": np.zeros((3, 3, 3, 3), np.float32)})
    assert command(f"source={source}", f"output={tmp_path / 'out'}") == 2
    assert "no net of SingleHDR or IQATM is in it; it holds generator/kernel" in capsys.readouterr().err


def test_everything_missing_is_listed(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = variables_of(narrow("hallucination", "official"))
    lost = [name for name in variables if "/h4/" in name]
    source = checkpoints("ckpt_hal", {name: a for name, a in variables.items() if name not in lost})
    assert command(f"source={source}", f"output={tmp_path / 'out'}") == 2
    said = capsys.readouterr()
    assert f"{len(lost)} variables" in said.out
    assert all(f"{name} is missing" in said.err for name in lost)


def test_an_official_chain_runs_from_its_folder(checkpoints: Any, basis: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = {
        name: narrow(name, "official", **({"basis": basis} if name == "linearization" else {})).eval()
        for name in NAMES
    }
    source = checkpoints("all", {k: v for net in nets.values() for k, v in variables_of(net).items()})
    assert command(f"source={source}", f"output={tmp_path / 'out'}", f"basis={basis}") == 0
    loaded = load_nets(tmp_path / "out")
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(reconstruct(x, loaded).result, reconstruct(x, nets).result)


# ---------------------------------------------------------------------------------------------------- VGG-16


def test_vgg_weights_become_safetensors_that_say_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random_vgg16()
    layers = {
        name.removesuffix(".weight"): [
            weights[name].flip(1).permute(2, 3, 1, 0).numpy()
            if name.startswith("conv1_1")
            else weights[name].permute(2, 3, 1, 0).numpy(),
            weights[name.replace("weight", "bias")].numpy(),
        ]
        for name in weights
        if name.endswith(".weight")
    }
    for stem in ("vgg16", "vgg16_places365_weights"):
        np.save(tmp_path / f"{stem}.npy", np.array(layers, dtype=object), allow_pickle=True)
    assert command(f"source={tmp_path}", f"output={tmp_path / 'out'}") == 0
    for stem in ("vgg16", "vgg16_places365"):
        loaded = load_vgg16(tmp_path / "out" / f"{stem}.safetensors")
        assert loaded.keys() == weights.keys()
        assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    with safe_open(tmp_path / "out" / "vgg16_places365.safetensors", "pt") as file:
        header = json.loads(file.metadata()["hdrlab"])
    assert set(header["source"]["sha256"]) == {"vgg16_places365_weights.npy"}


def test_the_unpublished_start_weights_are_recognised(tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "crf_net_v2.npy"
    source.write_bytes(b"\x93NUMPY")
    assert command(f"source={source}", f"output={tmp_path / 'out'}") == 2
    said = capsys.readouterr().err
    assert said.startswith("error:")
    assert "crf_net_v2.npy cannot be used" in said
    assert "ckpt_lin" in said


# ------------------------------------------------------------------------------------------------- wrong use


def test_every_wrong_value_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    missing = tmp_path / "missing"
    assert command(f"source={missing}", f"output={tmp_path / 'file'}", f"basis={missing}") == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split("=")[0] for line in said] == ["error: source", "error: output", "error: basis"]


def test_a_folder_without_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(f"source={tmp_path}", f"output={tmp_path / 'out'}") == 2
    assert "neither a TensorFlow V2 checkpoint" in capsys.readouterr().err


def test_another_file_given_as_the_basis_is_refused(
    checkpoints: Any, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = checkpoints("ckpt_lin", variables_of(narrow("linearization", "official")))
    assert (
        command(f"source={source}", f"output={tmp_path / 'o'}", f"basis={shared / 'crf' / 'emor.txt'}") == 2
    )
    assert "emor.txt" in capsys.readouterr().err


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        COMMAND.main(["--help"])
    assert "basis=" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------- loading nets


def small(name: str = "dequantization", preset: str = "default") -> Net:
    torch.manual_seed(0)
    return build_net(name, preset, width=0.1)


def test_a_saved_net_comes_back_the_same(tmp_path: Path) -> None:
    net = small("hallucination")
    save_net(net, tmp_path / "hallucination.pt", {"path": "here"})
    back = load_nets(str(tmp_path))["hallucination"]
    assert not back.training
    assert (back.name, back.preset, back.options) == ("hallucination", "default", {"width": 0.1})
    for a, b in zip(net.state_dict().values(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert [file.name for file in tmp_path.iterdir()] == ["hallucination.pt"]


def test_presets_are_not_mixed_when_loading(tmp_path: Path) -> None:
    save_net(small("dequantization", "official"), tmp_path / "a.pt", {})
    save_net(small("refinement", "tf2"), tmp_path / "b.pt", {})
    with pytest.raises(WeightsError, match="official: dequantization"):
        load_nets([tmp_path / "a.pt", tmp_path / "b.pt"])


def test_a_net_given_twice_is_refused_but_a_file_named_twice_is_one(tmp_path: Path) -> None:
    save_net(small(), tmp_path / "a.pt", {})
    assert set(load_nets([tmp_path / "a.pt", tmp_path])) == {"dequantization"}
    save_net(small(), tmp_path / "b.pt", {})
    with pytest.raises(WeightsError, match=r"both in .*a\.pt and in .*b\.pt"):
        load_nets(tmp_path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_one_flipped_bit_is_noticed(tmp_path: Path, place: float) -> None:
    path = tmp_path / "a.pt"
    save_net(small(), path, {})
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pt"):
        load_nets(path)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\x80\x02}",
        {"state_dict": {}},
        [1],
        {"hdrlab_net": 3},
        {"hdrlab_net": {"net": "x"}},
    ],
)
def test_foreign_and_damaged_files_are_refused_by_name(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=r"a\.pt: "):
        load_nets(path)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"hdrlab_net": Canary(tmp_path / "sung")}, tmp_path / "a.pt")
    with pytest.raises(WeightsError):
        load_nets(tmp_path / "a.pt")
    assert not (tmp_path / "sung").exists()


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    save_net(small(), tmp_path / "a.pt", {})
    stored = torch.load(tmp_path / "a.pt", weights_only=True)
    stored["hdrlab_net"]["schema_version"] += 1
    torch.save(stored, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="newer hdrlab"):
        load_nets(tmp_path / "a.pt")


def test_nothing_to_load_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no nets in"):
        load_nets(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        load_nets([tmp_path / "none.pt"])


def test_checkpoints_of_trainings_are_loaded_with_the_mask_they_were_trained_with(
    lab: Lab, tmp_path: Path
) -> None:
    from hdrlab.training.build import build_stage

    config = lab.config("hal", "stage.mask_width=0.3")
    stage = build_stage(config)
    stored: dict[str, Any] = {"state_dict": stage.state_dict()}
    stage.on_save_checkpoint(stored)
    file = tmp_path / "hal.ckpt"
    torch.save(stored, file)
    save_net(build_net("dequantization", width=0.1), tmp_path / "dequantization.pt", {})
    nets = load_nets([file, tmp_path / "dequantization.pt"])
    assert nets.keys() == {"hallucination", "dequantization"}
    assert nets["hallucination"].options["mask_width"] == 0.3
    assert not any(net.training for net in nets.values())
    name = "bottom.weight"
    assert torch.equal(
        nets["hallucination"].get_parameter(name), stored["state_dict"][f"hallucination.{name}"]
    )


def described(**changes: Any) -> dict[str, Any]:
    """A training's checkpoint with one net, and something wrong with it."""
    net = small()
    said = describe_net(net) | changes
    weights = {f"dequantization.{name}": value for name, value in net.state_dict().items()}
    return {"hdrlab": {"nets": {"dequantization": said}}, "state_dict": weights}


def with_weight(value: Any, name: Any = None) -> dict[str, Any]:
    stored = described()
    first = next(iter(stored["state_dict"]))
    del stored["state_dict"][first]
    stored["state_dict"][name or first] = value
    return stored


CRAFTED = {
    "meta": with_weight(torch.zeros(16, device="meta")),
    "sparse": with_weight(torch.eye(16).to_sparse()),
    "quantized": with_weight(torch.quantize_per_tensor(torch.zeros(16), 0.1, 0, torch.qint8)),
    "complex": with_weight(torch.zeros(16, dtype=torch.complex64)),
    "nan": with_weight(torch.full((16,), torch.nan)),
    "number": with_weight(torch.zeros(16), 7),
    "preset": described(preset="xx"),
    "options": described(options=[1]),
    "width": described(options={"width": 0.5}),
    "header": {"hdrlab": {"nets": [1]}, "state_dict": {}},
    "older": {"hdrlab": {"stage": "deq"}, "state_dict": {}},
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_is_refused_by_name(tmp_path: Path, name: str) -> None:
    torch.save(described(), tmp_path / "good.ckpt")
    assert set(load_nets(tmp_path / "good.ckpt")) == {"dequantization"}
    torch.save(CRAFTED[name], tmp_path / "crafted.ckpt")
    with pytest.raises(WeightsError, match=r"crafted\.ckpt"):
        load_nets(tmp_path / "crafted.ckpt")


# --------------------------------------------------------------------------- downloads as they come


def as_published(goldens: Path, folder: Path) -> Path:
    """The folder of a download from a Mac: a checkpoint, and a companion of each of its files."""
    kept = folder / "download" / "ckpt"
    kept.parent.mkdir(parents=True)
    shutil.copytree(goldens / "tf1_checkpoint_deq_lin", kept)
    for file in list(kept.iterdir()):
        for place in (kept, folder / "download" / "__MACOSX" / "ckpt"):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"._{file.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X" + bytes(34))
    (folder / "download" / "__MACOSX" / "vgg16.npy").write_bytes(b"\0\5\26\7")
    (folder / "download" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return folder / "download"


@pytest.mark.golden
def test_companions_of_macos_are_passed_over(goldens: Path, basis: Path, tmp_path: Path) -> None:
    source = as_published(goldens, tmp_path)
    for number, given in enumerate((source, source / "ckpt")):
        output = tmp_path / f"out{number}"
        assert command(f"source={given}", f"output={output}", f"basis={basis}") == 0
        assert {file.name for file in output.iterdir()} == {"dequantization.pt", "linearization.pt"}


@pytest.mark.golden
def test_an_archive_is_read_as_it_was_published(goldens: Path, basis: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "nets"), "zip", as_published(goldens, tmp_path)))
    assert command(f"source={archive}", f"output={tmp_path / 'out'}", f"basis={basis}") == 0
    assert load_nets(tmp_path / "out").keys() == {"dequantization", "linearization"}
    header = read_header(tmp_path / "out" / "linearization.pt")
    assert header["source"]["path"] == f"{archive}/ckpt/model.ckpt"


def zip_of(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def test_archives_that_are_no_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = f"output={tmp_path / 'out'}"
    bomb = zip_of(tmp_path / "bomb.zip", {"vgg16.npy": bytes(200 << 20)})
    assert command(f"source={bomb}", output) == 2
    assert "too large for its size" in capsys.readouterr().err
    escaping = zip_of(tmp_path / "escape.zip", {"../../outside.npy": b"x", "/etc/outside.npy": b"x"})
    assert command(f"source={escaping}", output) == 2
    assert "neither a TensorFlow V2 checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.parent.rglob("outside.npy"))
    damaged = zip_of(tmp_path / "damaged.zip", {"vgg16.npy": bytes(1000)})
    content = bytearray(damaged.read_bytes())
    content[45] ^= 255
    damaged.write_bytes(content)
    assert command(f"source={damaged}", output) == 2
    assert "damaged ZIP archive" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.golden
@pytest.mark.parametrize("ending", [".meta", ".index", ".data-00000-of-00001", ""])
def test_any_file_of_a_checkpoint_stands_for_it(
    ending: str, goldens: Path, basis: Path, tmp_path: Path
) -> None:
    source = tmp_path / "ckpt"
    shutil.copytree(goldens / "tf1_checkpoint_deq_lin", source)
    (source / "model.ckpt.meta").write_bytes(b"a graph")
    words = [f"source={source / f'model.ckpt{ending}'}", f"output={tmp_path / 'out'}", f"basis={basis}"]
    assert command(*words) == 0


PAGE = b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vgg16.npy", PAGE, "is no NumPy file: it begins like a web page"),
        ("vgg16-397923af.pth", PAGE, "is no PyTorch file: it begins like a web page"),
        ("vgg16.h5", b"", "is no HDF5 file: it is empty"),
        ("vgg16.safetensors", b"\x1f\x8b\x08zipped", "is no safetensors file: it begins like a gzip archive"),
        ("vgg16.npy", b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        ("vgg16.npy", b"abcdefghij", "it begins with the bytes 61 62 63"),
        ("model.ckpt.index", PAGE, "is no index of a TensorFlow checkpoint: it begins like a web page"),
        ("model.ckpt.index", b"", "is no index of a TensorFlow checkpoint: it is empty"),
    ],
)
def test_messages_say_what_a_file_is_instead(
    name: str, content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert command(f"source={tmp_path / name}", f"output={tmp_path / 'out'}") == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_weights_that_are_no_finite_real_numbers_are_refused(
    value: complex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random_vgg16()
    layers = {}
    for name in conv_names():
        kernel = weights[f"{name}.weight"].permute(2, 3, 1, 0).numpy()
        layers[name] = {"weights": kernel.copy(), "biases": weights[f"{name}.bias"].numpy()}
    kind = np.complex64 if np.iscomplexobj(value) else np.float32
    layers["conv5_3"]["weights"] = layers["conv5_3"]["weights"].astype(kind)
    layers["conv5_3"]["weights"][2, 2, 5, 7] = value
    np.save(tmp_path / "vgg16.npy", layers, allow_pickle=True)  # type: ignore[arg-type]
    assert command(f"source={tmp_path / 'vgg16.npy'}", f"output={tmp_path / 'out'}") == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
