"""What Python users call: arrays in, arrays out, and the lines that the README shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

import hdrlab
from hdrlab import Reconstructor, ToneMapper, build_net
from hdrlab.errors import ImageError, OperatorError, ResourceError, WeightsError
from hdrlab.io import Image
from hdrlab.nets import SYSTEMS
from hdrlab.pipeline.resizing import reconstruct_any_size
from hdrlab.pipeline.singlehdr import reconstruct
from hdrlab.tonemapping import OPERATORS, missing
from hdrlab.weights.net_file import describe_net, load_nets, save_net
from hdrlab.weights.pretrained import SHIPPED

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny nets of both systems."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    for name in (*SYSTEMS["SingleHDR"][:3], *SYSTEMS["IQATM"]):
        save_net(build_net(name, width=1 / 16), folder / f"{name}.pt", {})
    return folder


@pytest.fixture(scope="module")
def reconstructor(weights: Path) -> Reconstructor:
    return Reconstructor.load(weights, device="cpu", precision="32")


def photo(height: int = 37, width: int = 50) -> Photo:
    """Smooth, each corner different, clipped around a lamp."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    lamp = 400 * np.exp(-40 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
    coloured = np.stack([200 * x, 150 * y, 180 - 100 * x], -1) + lamp[..., None]
    return coloured.clip(0, 255).astype(np.uint8)


def scene(height: int = 40, width: int = 56) -> NDArray[np.float32]:
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    lamp = 40 * np.exp(-90 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
    return (np.stack([x + 0.1, y + 0.1, 1.2 - x], -1) + lamp[..., None]).astype(np.float32)


def python(code: str, *arguments: object) -> str:
    root = str(Path(hdrlab.__file__).parents[1])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout


# ------------------------------------------------------------------------------------- what is imported when

STEPS = {
    "the package": ("begun = time.process_time(); import hdrlab", {"torch", "numpy", "hydra", "PIL"}),
    "readers": ("import hdrlab.io", {"torch", "OpenImageIO", "PIL", "scipy"}),
    "rendered scenes": ("import hdrlab.datasets.tiny", {"torch"}),
    "response curves": (
        "from hdrlab.camera import load_response_curves; load_response_curves('builtin')",
        {"torch"},
    ),
    "classical operators": (
        "hdrlab.ToneMapper.load('reinhard')(__import__('numpy').ones((8, 8, 3), 'float32'))",
        {"torch"},
    ),
    "nets": (
        "for name in [one for one in sys.modules if one.startswith('scipy')]: del sys.modules[name]\n"
        "from hdrlab.weights.net_file import load_nets; [load_nets(path) for path in sys.argv[1:]]",
        {"torch._dynamo", "scipy", "pytorch_lightning"},
    ),
}
"""What is done one after the other, and what it does without."""


@pytest.mark.slow
def test_everything_is_imported_when_it_is_used(tmp_path: Path) -> None:
    net = build_net("dequantization", width=1 / 16)
    state = {f"dequantization.{name}": value for name, value in net.state_dict().items()}
    torch.save(
        {"hdrlab": {"nets": {"dequantization": describe_net(net)}}, "state_dict": state}, tmp_path / "a.ckpt"
    )
    steps = "".join(
        f"{code}\nprint([name for name in {sorted(without)} if name in sys.modules])\n"
        for code, without in STEPS.values()
    )
    ends = (
        "print(took < 0.5, hdrlab.__version__)\n"  # measured: 0.02 s
        "print([name for name in hdrlab.__all__ if name not in dir(hdrlab) or not hasattr(hdrlab, name)])\n"
        "print(hasattr(hdrlab, 'nothing'))"
    )
    steps = steps.replace("import hdrlab\n", "import hdrlab; took = time.process_time() - begun\n", 1)
    *brought, version, unlisted, found = python(
        f"import sys, time\n{steps}{ends}", SHIPPED / "compact", tmp_path / "a.ckpt"
    ).splitlines()
    assert dict(zip(STEPS, brought, strict=True)) == dict.fromkeys(STEPS, "[]")
    assert (version, unlisted, found) == (f"True {hdrlab.__version__}", "[]", "False")


@pytest.mark.slow
def test_importing_the_package_registers_nothing() -> None:
    code = (
        "import logging, signal, sys, warnings, imageio.config\n"
        "def state():\n"
        "    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]\n"
        "    known = {k: len(v) for k, v in imageio.config.known_extensions.items()}\n"
        "    return handlers, known, list(warnings.filters), logging.getLogger('pytorch_lightning').level\n"
        "import torch, pytorch_lightning\n"
        "before = state()\n"
        "import hdrlab.io, hdrlab.stages, hdrlab.datasets, hdrlab.inference.reconstructor\n"
        "import hdrlab.training.build, hdrlab.train\n"
        "print(before == state())"
    )
    assert python(code) == "True\n"


@pytest.mark.slow
def test_a_users_type_checker_sees_types(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(
        "import hdrlab\n"
        "reveal_type(hdrlab.__version__)\n"
        "reveal_type(hdrlab.Reconstructor.load()('photo.jpg'))\n"
        "reveal_type(hdrlab.ToneMapper.load('reinhard').name)\n"
        "hdrlab.ToneMapper.load(3)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert 'Revealed type is "str"' in said
    assert "numpy.dtype[numpy.floating[numpy._typing._nbit_base._32Bit]]" in said
    assert 'incompatible type "int"; expected "str"' in said
    assert "import-untyped" not in said


# ------------------------------------------------------------------------------------------ reconstruction


def expected(weights: Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    nets = {name: net for name, net in load_nets(weights).items() if name in SYSTEMS["SingleHDR"]}
    ldr = torch.from_numpy(samples).permute(2, 0, 1)[None]
    with torch.no_grad():
        made = reconstruct_any_size(ldr, lambda fitted: reconstruct(fitted, nets)).result
    return made[0].permute(1, 2, 0).numpy()


def test_a_photograph_becomes_linear_light(weights: Path, reconstructor: Reconstructor) -> None:
    hdr = reconstructor(photo())
    assert (hdr.shape, hdr.dtype) == ((37, 50, 3), np.float32)
    assert hdr.min() >= 0
    np.testing.assert_allclose(hdr, expected(weights, photo().astype(np.float32) / 255), rtol=1e-4, atol=1e-5)


def as_pillow(pixels: Photo) -> PillowImage.Image:
    return PillowImage.fromarray(pixels)


def turned(pixels: Photo) -> PillowImage.Image:
    """As a phone held upright stores it."""
    image = PillowImage.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    image.getexif()[0x0112] = 6
    return image


SAME = {
    "uint16": lambda x: x.astype(np.uint16) * 257,
    "float32": lambda x: x.astype(np.float32) / np.float32(255),
    "float64": lambda x: x / 255,
    "not contiguous": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "read only": lambda x: np.frombuffer(x.tobytes(), np.uint8).reshape(x.shape),
    "tensor": torch.from_numpy,
    "tensor, channels first": lambda x: torch.from_numpy(x).permute(2, 0, 1),
    "tensor, a batch of one": lambda x: torch.from_numpy(x).permute(2, 0, 1)[None],
    "tensor of floats": lambda x: torch.from_numpy(x).permute(2, 0, 1) / 255,
    "tensor with gradients": lambda x: (torch.from_numpy(x) / 255).requires_grad_(),
    "Pillow": as_pillow,
    "Pillow, with alpha": lambda x: as_pillow(x).convert("RGBA"),
    "Pillow, turned": turned,
    "Image": lambda x: Image(x, "display"),
}


@pytest.mark.parametrize("kind", SAME)
def test_photographs_come_in_many_forms(reconstructor: Reconstructor, kind: str) -> None:
    made = reconstructor(SAME[kind](photo()))
    np.testing.assert_allclose(made, reconstructor(photo()), rtol=1e-5, atol=1e-6)


def test_a_file_is_a_photograph_too(reconstructor: Reconstructor, tmp_path: Path) -> None:
    as_pillow(photo()).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(reconstructor(path), reconstructor(photo()))


def test_grey_photographs_are_photographs(reconstructor: Reconstructor) -> None:
    grey = photo()[..., 1]
    made = reconstructor(np.repeat(grey[..., None], 3, 2))
    for other in (grey, grey[..., None], as_pillow(grey), torch.from_numpy(grey)):
        assert np.array_equal(reconstructor(other), made)
    deep = PillowImage.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_allclose(reconstructor(deep), made, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 3), (33, 65)])
def test_photographs_have_any_size(reconstructor: Reconstructor, size: tuple[int, int]) -> None:
    made = reconstructor(photo(*size))
    assert made.shape == (*size, 3)
    assert np.isfinite(made).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            np.zeros((4, 8, 8, 3), np.uint8),
            r"and this is \[4, 8, 8, 3\]; take the images of a batch",
        ),
        (np.zeros((8, 8, 4), np.uint8), r"image\[\.\.\., :3\]"),
        (np.zeros((3, 8, 8), np.uint8), r"image\.transpose\(1, 2, 0\)"),
        (np.zeros((8, 8, 2), np.uint8), "RGB or grey"),
        (np.zeros((0, 8, 3), np.uint8), r"this is \[0, 8, 3\]"),
        (np.zeros(5), r"this is \[5\]"),
        (np.zeros((8, 8, 3), np.int64), "holds int64 values; a photograph is uint8, uint16, or floats"),
        (np.full((8, 8, 3), 255.0), "floats from 255 to 255; those of a photograph lie in .0, 1.: divide by"),
        (np.full((8, 8, 3), -1.0), "floats from -1 to -1"),
        (np.full((8, 8, 3), np.nan), "NaN or infinite"),
        (PillowImage.new("F", (8, 8)), "mode F"),
        (Image(np.zeros((8, 8, 3), np.float32), "linear"), "linear light already"),
        ([[1, 2, 3]], "a list is no image"),
        (None, "a NoneType is no image"),
    ],
)
def test_what_is_no_photograph_is_answered_in_a_sentence(
    reconstructor: Reconstructor, wrong: Any, said: str
) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        reconstructor(wrong)
    assert "\n" not in str(caught.value)


def test_tiles_are_told_and_leave_no_trace(weights: Path) -> None:
    whole, tiled = (
        Reconstructor.load(weights, memory=memory, device="cpu", precision="32", procedure="default")
        for memory in ("2GB", "670MB")
    )
    told: list[tuple[int, int]] = []
    made = tiled(photo(300, 1200), lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 4
    np.testing.assert_allclose(made, whole(photo(300, 1200)), rtol=1e-5, atol=1e-6)


def test_too_little_memory_is_refused_with_the_least_that_works(weights: Path) -> None:
    with pytest.raises(ResourceError, match=r"^memory=100MB: too little .* at least \d+MB$") as refused:
        Reconstructor.load(weights, memory="100MB")
    least = str(refused.value).rpartition(" ")[2]
    assert Reconstructor.load(weights, memory=least, device="cpu", precision="32")(photo()).shape == (
        37,
        50,
        3,
    )


def test_nets_in_hand_are_used_and_left_as_they_are(weights: Path, reconstructor: Reconstructor) -> None:
    nets = load_nets(weights)
    nets["hallucination"].train()
    before = {name: value.clone() for name, value in nets["hallucination"].state_dict().items()}
    assert np.array_equal(Reconstructor(nets, device="cpu", precision="32")(photo()), reconstructor(photo()))
    assert nets["hallucination"].training
    for name, value in nets["hallucination"].state_dict().items():
        assert torch.equal(value, before[name]), name
    del nets["hallucination"]
    with pytest.raises(WeightsError, match="no hallucination net among them"):
        Reconstructor(nets)
    assert Reconstructor(nets, stages="deq_lin", device="cpu", precision="32")(photo()).max() <= 1


def test_what_cannot_be_loaded_is_said(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"no nets: .*slots/elsewhere holds neither joint nor deq, lin and hal"
    ):
        Reconstructor.load("elsewhere", runs=tmp_path)
    with pytest.raises(WeightsError, match="no such file or folder"):
        Reconstructor.load(tmp_path / "nothing.ckpt")
    with pytest.raises(WeightsError, match=r"dequantization\.pt: no linearization and no hallucination net"):
        Reconstructor.load(weights / "dequantization.pt")
    with pytest.raises(ResourceError, match="memory=lots: must be a number with MB or GB"):
        Reconstructor.load(weights, memory="lots")
    with pytest.raises(ResourceError, match="device=tpu: not on this machine"):
        Reconstructor.load(weights, device="tpu")


# -------------------------------------------------------------------------------------------- tone mapping


@pytest.mark.parametrize("operator", [*(name for name in OPERATORS if missing(name) is None), "iqatm"])
def test_every_operator_shows_a_scene(weights: Path, operator: str) -> None:
    mapper = ToneMapper.load(operator, weights if operator == "iqatm" else None, device="cpu", precision="32")
    shown = mapper(scene())
    assert (shown.shape, shown.dtype) == ((40, 56, 3), np.float32)
    assert 0 <= shown.min() < shown.max() <= 1
    assert mapper.name == operator
    assert mapper.caption


@pytest.mark.parametrize("operator", ["reinhard", "iqatm"])
def test_hdr_images_come_in_many_forms(weights: Path, tmp_path: Path, operator: str) -> None:
    mapper = ToneMapper.load(operator, weights if operator == "iqatm" else None, device="cpu", precision="32")
    hdr = scene()
    hdrlab.write_image(tmp_path / "a.pfm", hdr)
    expected = mapper(hdr)
    for other in (
        hdr.astype(np.float64),
        torch.from_numpy(hdr),
        torch.from_numpy(hdr).permute(2, 0, 1)[None],
        hdrlab.read_image(tmp_path / "a.pfm"),
        tmp_path / "a.pfm",
    ):
        np.testing.assert_allclose(mapper(other), expected, atol=1e-6)
    assert mapper(hdr[..., 0]).shape == (40, 56, 3)
    below = hdr.copy()
    below[0, 0] = -1
    hdr[0, 0] = 0
    np.testing.assert_array_equal(mapper(below), mapper(hdr))
    assert not mapper(np.zeros((9, 9, 3), np.float32)).any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((8, 8, 3), np.uint8), "holds uint8 values, display-encoded; an HDR image holds floats"),
        (PillowImage.new("RGB", (8, 8)), "is an image of Pillow's, display-encoded"),
        (np.full((8, 8, 3), np.inf, np.float32), "192 values that are NaN or infinite"),
        (np.full((8, 8, 3), 1e300), "float32 cannot"),
        (np.zeros((3, 8, 8), np.float32), "channels last"),
        ("nowhere.exr", "nowhere.exr: No such file"),
    ],
)
def test_what_is_no_hdr_image_is_answered_in_a_sentence(wrong: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        ToneMapper.load("reinhard")(wrong)


def test_operators_that_are_not_there_are_said(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"operator 'reinhart': must be iqatm \| gamma"):
        ToneMapper.load("reinhart")
    with pytest.raises(OperatorError, match="reinhard has no nets"):
        ToneMapper.load("reinhard", weights)
    with pytest.raises(WeightsError, match="holds no tmo_ft; train it"):
        ToneMapper.load(weights="tiny", runs=tmp_path)
    with pytest.raises(WeightsError, match="no tmo_high and no tmo_merge net"):
        ToneMapper.load(weights=weights / "tmo_bottom.pt")


# -------------------------------------------------------------------------------------------------- nets


def test_a_net_comes_with_its_weights(weights: Path) -> None:
    net = build_net("hallucination", weights=weights)
    stored = load_nets(weights / "hallucination.pt")["hallucination"]
    assert not net.training
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), stored.parameters(), strict=True))
    assert build_net("hallucination", "default", weights=[weights], width=1 / 16).options == net.options
    with pytest.raises(WeightsError, match=r"is of preset=default, width=0\.0625, not of width=1"):
        build_net("hallucination", weights=weights, width=1)
    with pytest.raises(WeightsError, match="not of preset=tf2"):
        build_net("hallucination", "tf2", weights=weights)
    with pytest.raises(WeightsError, match="holds no refinement net, but dequantization"):
        build_net("refinement", weights=weights)
    with pytest.raises(ValueError, match="did you mean hallucination"):
        build_net("halucination", weights=weights)


def test_a_net_without_weights_is_fresh() -> None:
    net = build_net("dequantization", width=0.1)
    assert net.training
    assert (net.preset, net.options) == ("default", {"width": 0.1})
    assert build_net("dequantization", "official", width=0.1).preset == "official"


@pytest.mark.parametrize(
    ("operator", "said"), [("Reinhard", "did you mean reinhard?"), (["drago", "aces"], "must be one name")]
)
def test_operators_that_are_none_are_answered_in_a_sentence(operator: Any, said: str) -> None:
    with pytest.raises(OperatorError) as answer:
        ToneMapper.load(operator)
    assert said in str(answer.value)
