"""TensorFlow's checkpoints: read whole and exactly, and mapped onto our nets."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdrlab.errors import WeightsError
from hdrlab.io.tensorflow.checkpoint import find_prefix
from hdrlab.io.tensorflow.protobuf import crc32c
from hdrlab.nets import SYSTEMS, build_net
from hdrlab.weights import load_variables, read_tensorflow_checkpoint

Variables = dict[str, Any]


@pytest.fixture(scope="module")
def deq_variables(goldens: Path) -> Variables:
    with np.load(goldens / "deq_forward.npz") as file:
        return {name[2:]: file[name] for name in file.files if name.startswith("w:")}


@pytest.fixture(scope="module")
def lin_variables(goldens: Path) -> Variables:
    with np.load(goldens / "lin_forward.npz") as file:
        return {name[2:]: file[name] for name in file.files if name.startswith("w:")}


@pytest.fixture
def bundle(goldens: Path, tmp_path: Path) -> Path:
    """A copy of the authentic TF2 checkpoint, to be damaged."""
    shutil.copytree(goldens / "tf2_checkpoint_lin", tmp_path / "bundle")
    for file in (tmp_path / "bundle").iterdir():
        file.chmod(0o644)
    (tmp_path / "bundle").chmod(0o755)
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"123456789", 0xE3069283),
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (b"a", 0xC1D04330),
    ],
)
def test_crc32c_gives_the_published_check_values(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def test_crc32c_agrees_with_the_bitwise_definition_at_every_length() -> None:
    data = np.random.default_rng(0).bytes(70)
    for length in range(70):
        crc = 0xFFFFFFFF
        for byte in data[:length]:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        assert crc32c(data[:length]) == crc ^ 0xFFFFFFFF


def test_crc32c_is_fast_enough_for_large_checkpoints() -> None:
    start = time.process_time()
    crc32c(bytes(20_000_000))
    assert time.process_time() - start < 2  # measured: 0.1 s


@pytest.mark.golden
@pytest.mark.parametrize(
    "name", ["", "model.ckpt", "model.ckpt.index", "checkpoint", "model.ckpt.data-00000-of-00001"]
)
def test_a_tf1_checkpoint_is_read_whole(
    goldens: Path, deq_variables: Variables, lin_variables: Variables, name: str
) -> None:
    variables = read_tensorflow_checkpoint(goldens / "tf1_checkpoint_deq_lin" / name)
    expected = deq_variables | lin_variables
    assert len(variables) == 131
    assert variables.keys() == expected.keys()
    for key, array in expected.items():
        assert variables[key].dtype == np.float32
        assert np.array_equal(variables[key], array)


@pytest.mark.golden
@torch.no_grad()
def test_a_tf1_checkpoint_loads_into_both_of_its_nets(goldens: Path, lin_variables: Variables) -> None:
    variables = read_tensorflow_checkpoint(goldens / "tf1_checkpoint_deq_lin")
    deq = load_variables(build_net("dequantization", "official"), variables)
    lin_net = build_net("linearization", "official").double()
    lin = load_variables(lin_net, variables)
    assert len(deq.loaded) == 38
    assert set(deq.loaded) == set(lin.ignored)
    assert set(lin.loaded) == set(deq.ignored) == set(lin_variables)
    head = lin_net.get_submodule("head").get_parameter("weight")
    assert head.dtype == torch.float64
    assert np.array_equal(head.numpy().astype("f4"), lin_variables["ae_invcrf_decode_net/dense/kernel"].T)


@pytest.mark.golden
@torch.no_grad()
def test_a_tf2_checkpoint_reproduces_the_reference_curve(goldens: Path, shared: Path) -> None:
    variables = read_tensorflow_checkpoint(goldens / "tf2_checkpoint_lin")
    net = build_net("linearization", "tf2", basis=shared / "crf" / "invemor.txt").eval()
    report = load_variables(net, variables)
    assert len(report.loaded) == 93
    assert report.ignored
    assert not any(name.startswith("lin/") for name in report.ignored if ".OPTIMIZER_SLOT" not in name)
    with np.load(goldens / "lin_forward_tf2.npz") as arrays:
        x = torch.from_numpy(arrays["x"]).permute(0, 3, 1, 2)
        assert np.abs(net(x).numpy() - arrays["invcrf"]).max() < 1e-5


def _tf2_paths(net_name: str) -> dict[str, str]:
    """Pair TF1 names with TF2 object paths as the two code bases list them, independent of the loader."""
    if net_name == "dequantization":
        stages = ["conv", "d2/conv", "d3/conv", "d4/conv", "enc/conv"] + [f"u{i}/conv" for i in (4, 3, 2, 1)]
        paths = [f"{stage}{i}" for stage in stages for i in (1, 2)] + ["out"]
        names = ["conv2d"] + [f"conv2d_{i}" for i in range(1, 19)]
        pairs = {f"Dequantization_Net/{a}": b for a, b in zip(names, paths, strict=True)}
        return {f"{a}/{leaf}": f"{b}/{leaf}" for a, b in pairs.items() for leaf in ("kernel", "bias")}
    scopes = {
        "encoder/h6/conv": "conv1",
        "decoder/h7/conv2d": "conv2",
        "decoder/h7/fuse_skip_connection": "s0/conv1",
    }
    scopes |= {f"encoder/h{s}/conv_{i}": f"d{s}/conv{i}" for s in range(1, 6) for i in range(1, 3 + (s > 2))}
    scopes |= {f"decoder/h{i}/decon2d": f"u{6 - i}/conv1" for i in range(1, 6)}
    scopes |= {f"decoder/h{i}/fuse_skip_connection": f"s{7 - i}/conv1" for i in range(2, 7)}
    leaves = {"W_conv2d": "kernel", "b_conv2d": "bias"}
    names = {f"{a}/{x}": f"{b}/{y}" for a, b in scopes.items() for x, y in leaves.items()}
    norms = {"encoder/h6/batch_norm": "norm1", "decoder/h7/batch_norm": "norm2"}
    norms |= {f"decoder/h{i}/decon2d/batch_norm_dc": f"u{6 - i}/norm1" for i in range(1, 6)}
    statistics = ("gamma", "beta", "moving_mean", "moving_variance")
    names |= {f"{a}/{leaf}": f"{b}/{leaf}" for a, b in norms.items() for leaf in statistics}
    return {f"Hallucination_Net/{a}": b for a, b in names.items()}


def _random_variables(goldens: Path, net_name: str, width: float) -> Variables:
    """Random values under TF1 names, in the shapes of a narrow net."""
    generator = np.random.default_rng(0)
    if net_name == "dequantization":
        with np.load(goldens / "deq_forward.npz") as file:
            shapes = {name[2:]: file[name].shape for name in file.files if name.startswith("w:")}
    else:
        with np.load(goldens / "hal_forward.npz") as file:
            shapes = dict(json.loads(str(file["var_list_json"])))
    fixed = (1, 3, 5, 6, 7, 9)  # kernel sides and colour channels
    return {
        name: generator.random([n if n in fixed else round(n * width) for n in shape], np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.golden
@pytest.mark.parametrize("net_name", ["dequantization", "hallucination"])
def test_tf1_names_and_tf2_object_paths_reach_the_same_weights(goldens: Path, net_name: str) -> None:
    variables = _random_variables(goldens, net_name, width=0.25)
    paths = _tf2_paths(net_name)
    assert paths.keys() == variables.keys()
    assert len(set(paths.values())) == len(paths)
    objects = {f"lin/{paths[name]}/.ATTRIBUTES/VARIABLE_VALUE": array for name, array in variables.items()}
    first, second = (build_net(net_name, "official", width=0.25) for _ in range(2))
    assert len(
        load_variables(first, {f"{name}:0": array for name, array in variables.items()}).loaded
    ) == len(paths)
    assert load_variables(second, objects).ignored == ()
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.golden
def test_what_does_not_fit_is_listed_whole_and_nothing_is_loaded(deq_variables: Variables) -> None:
    broken = dict(deq_variables)
    del broken["Dequantization_Net/conv2d_3/bias"]
    broken["Dequantization_Net/conv2d_4/kernel"] = np.zeros((3, 3, 32, 65), np.float32)
    broken["Dequantization_Net/conv2d_5/bias"] = np.full(64, np.nan, np.float32)
    net = build_net("dequantization", "official")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_variables(net, broken)
    message = str(caught.value)
    assert "3 variables" in message
    assert "conv2d_3/bias is missing, expected [32]" in message
    assert "conv2d_4/kernel has [3, 3, 32, 65], expected [3, 3, 32, 64]" in message
    assert "conv2d_5/bias holds values that are not finite" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.golden
def test_missing_object_paths_are_named_as_object_paths(goldens: Path) -> None:
    variables = read_tensorflow_checkpoint(goldens / "tf2_checkpoint_lin")
    del variables["lin/crf_feature_net/res4/norm1/gamma/.ATTRIBUTES/VARIABLE_VALUE"]
    with pytest.raises(WeightsError, match=r"res4/norm1/gamma is missing, expected \[512\]"):
        load_variables(build_net("linearization", "tf2"), variables)


@pytest.mark.golden
def test_another_histogram_is_refused(lin_variables: Variables) -> None:
    with pytest.raises(WeightsError, match=r"conv1/weights has \[7, 7, 102, 64\], expected \[7, 7, 93, 64\]"):
        load_variables(build_net("linearization", "default"), lin_variables)


def _cut_index(folder: Path) -> None:
    os.truncate(folder / "ckpt-1.index", 3000)


def _cut_shard(folder: Path) -> None:
    os.truncate(folder / "ckpt-1.data-00000-of-00001", 4_000_000)


def _flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


def _empty_index(folder: Path) -> None:
    (folder / "ckpt-1.index").write_bytes(b"")


@pytest.mark.golden
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_index, "index is truncated"),
        (_empty_index, "it is empty"),
        (_cut_shard, "truncated"),
        (lambda folder: _flip(folder / "ckpt-1.index", 700), "checksum of a block of the index"),
        (lambda folder: _flip(folder / "ckpt-1.data-00000-of-00001", 2_000_000), "checksum of lin/"),
        (lambda folder: (folder / "ckpt-1.data-00000-of-00001").unlink(), "cannot read"),
        (lambda folder: (folder / "ckpt-1.index").unlink(), "no TensorFlow V2 checkpoint"),
        (lambda folder: (folder / "checkpoint").write_text("nothing"), "does not say which"),
    ],
)
def test_damage_is_named(bundle: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(bundle)
    with pytest.raises(WeightsError, match=message):
        read_tensorflow_checkpoint(bundle)


@pytest.mark.golden
def test_any_flipped_byte_of_an_index_is_an_error_of_ours(bundle: Path) -> None:
    index = bundle / "ckpt-1.index"
    data = index.read_bytes()
    (bundle / "ckpt-1.data-00000-of-00001").unlink()  # so that an unharmed index fails too, and quickly
    generator = np.random.default_rng(0)
    for position in [*generator.integers(0, len(data), 60), *range(len(data) - 60, len(data))]:
        index.write_bytes(
            data[:position] + bytes([data[position] ^ 1 << int(position) % 8]) + data[position + 1 :]
        )
        with pytest.raises(WeightsError):
            read_tensorflow_checkpoint(index)


@pytest.mark.golden
def test_the_state_file_may_name_another_machine_s_path(bundle: Path) -> None:
    (bundle / "checkpoint").write_text('model_checkpoint_path: "/home/trainer/runs/ckpt-1"\n')
    assert "lin/crf_feature_net/conv1/bias/.ATTRIBUTES/VARIABLE_VALUE" in read_tensorflow_checkpoint(bundle)


@pytest.mark.golden
def test_a_tone_mapping_checkpoint_is_read_whole_and_exactly(iqatm_goldens: Path) -> None:
    variables = read_tensorflow_checkpoint(iqatm_goldens / "tf1_checkpoint_ft")
    with np.load(iqatm_goldens / "tf1_checkpoint_ft_values.npz") as file:
        expected = dict(file)
    assert len(variables) == 153
    assert variables.keys() == expected.keys()
    for name, values in expected.items():
        assert variables[name].dtype == values.dtype
        assert np.array_equal(variables[name], values)


@pytest.mark.golden
@torch.no_grad()
def test_a_tone_mapping_checkpoint_loads_into_its_three_nets_exactly(iqatm_goldens: Path) -> None:
    variables = read_tensorflow_checkpoint(iqatm_goldens / "tf1_checkpoint_ft")
    nets = {name: build_net(name, "official") for name in SYSTEMS["IQATM"]}
    loaded = {name: load_variables(net, variables).loaded for name, net in nets.items()}
    assert [len(names) for names in loaded.values()] == [16, 10, 24]
    scopes = {name: {variable.split("/")[0] for variable in names} for name, names in loaded.items()}
    assert scopes == {"tmo_bottom": {"bot_level"}, "tmo_high": {"high_level"}, "tmo_merge": {"ft_merger"}}
    third = nets["tmo_bottom"].get_parameter("conv3.weight").permute(2, 3, 1, 0)
    assert np.array_equal(third.numpy(), variables["bot_level/conv2_weight_1"])
    wide = nets["tmo_merge"].get_parameter("residuals.1.groups.2.weight").permute(2, 3, 1, 0)
    assert np.array_equal(wide.numpy(), variables["ft_merger/3pass_res2g3_weight"])
    del variables["bot_level/conv2_bias_1"]
    with pytest.raises(WeightsError, match=r"bot_level/conv2_bias_1 is missing, expected \[24\]"):
        load_variables(nets["tmo_bottom"], variables)


@pytest.mark.parametrize(
    ("names", "state", "expected"),
    [
        (["model-ft.ckpt-900", "model-ft.ckpt-1464", "model-ft.ckpt-20"], None, "model-ft.ckpt-1464"),
        (["ckpt-1", "ckpt-2", "ckpt-3"], "/elsewhere/ckpt-2", "ckpt-2"),
        (["model.ckpt"], None, "model.ckpt"),
        (["model-bot.ckpt-60", "model-high.ckpt-487"], None, None),
        (["model.ckpt", "model.ckpt-5"], None, None),
    ],
)
def test_of_several_checkpoints_the_newest_is_meant(
    tmp_path: Path, names: list[str], state: str | None, expected: str | None
) -> None:
    for name in names:
        (tmp_path / f"{name}.index").touch()
    if state:
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{state}"\n')
    if expected:
        assert find_prefix(tmp_path) == tmp_path / expected
        return
    with pytest.raises(WeightsError, match="does not say which"):
        find_prefix(tmp_path)


def test_no_checkpoint_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "model.ckpt"):
        with pytest.raises(WeightsError):
            read_tensorflow_checkpoint(path)
