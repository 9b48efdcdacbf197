"""The camera model: exposure, noise, response, quantisation, JPEG and the sample mask."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdrlab.camera import CameraNoise, camera_generator, load_response_curves, sample_noise, synthesize
from hdrlab.camera.jpeg import compress_jpeg, gray_u8, quantise
from hdrlab.camera.synthesis import exposure_mask

LINEAR = torch.linspace(0, 1, 1024)[None]


def _bchw(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _scene(batch: int = 1, side: int = 32) -> torch.Tensor:
    return 2 * torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_chain_matches_the_reference_bit_for_bit(goldens: Path, kind: str) -> None:
    golden = np.load(goldens / "synthesis.npz")
    draws = CameraNoise(*(_bchw(golden[key]) for key in ("u_s", "u_c", "n_s", "n_c")))
    result = synthesize(
        _bchw(golden["hdr"]),
        torch.from_numpy(golden["t"]),
        torch.from_numpy(golden["crf"]),
        draws if kind == "noisy" else None,
        torch.from_numpy(golden["jpeg_quality"]),
    )
    for name in ("hdr_t", "clipped", "ldr", "quantised_u8"):
        assert torch.equal(getattr(result, name), _bchw(golden[f"{kind}_{name}"])), name
    assert torch.equal(result.jpeg_u8, _bchw(golden[f"{kind}_jpeg_accurate_u8"]))
    assert torch.equal(gray_u8(result.quantised_u8), _bchw(golden[f"{kind}_quantised_gray_u8"]))


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_gray_and_mask_match_the_reference(goldens: Path, kind: str) -> None:
    golden = np.load(goldens / "synthesis.npz")
    gray = gray_u8(_bchw(golden[f"{kind}_jpeg_u8"]))
    assert torch.equal(gray, _bchw(golden[f"{kind}_jpeg_gray_u8"]))
    assert torch.equal(exposure_mask(gray), torch.from_numpy(golden[f"{kind}_loss_mask"]))


@pytest.mark.golden
def test_quantiser_and_gray_rule_match_the_reference(goldens: Path) -> None:
    golden = np.load(goldens / "quantise_gray.npz")
    assert torch.equal(quantise(torch.from_numpy(golden["q_in"])), torch.from_numpy(golden["q_out"]))
    assert torch.equal(gray_u8(_bchw(golden["rgb_u8"])), _bchw(golden["gray_u8"]))


def test_quantiser_rounds_halves_to_even_and_never_wraps() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, 255.4, 256.0, -1.0], dtype=torch.float64) / 255
    assert quantise(x).tolist() == [0, 2, 2, 255, 255, 0]


def test_chain_on_known_numbers() -> None:
    hdr = torch.tensor([0.1, 0.4, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    result = synthesize(hdr, torch.tensor([2.0]), LINEAR)
    torch.testing.assert_close(result.hdr_t[0, :, 0, 0], torch.tensor([0.2, 0.8, 6.0]))
    torch.testing.assert_close(result.clipped[0, :, 0, 0], torch.tensor([0.2, 0.8, 1.0]))
    torch.testing.assert_close(result.ldr[0, :, 0, 0], torch.tensor([0.2, 0.8, 1.0]))
    assert result.quantised_u8[0, :, 0, 0].tolist() == [51, 204, 255]
    assert torch.equal(result.jpeg_u8, result.quantised_u8)
    torch.testing.assert_close(result.jpeg, result.quantised_u8 / 255)
    assert result.jpeg_gray_u8.shape == (1, 1, 2, 2)
    assert result.loss_mask.shape == (1, 1, 1, 1)


def test_noise_has_the_stated_strength() -> None:
    ones = torch.ones(1, 3, 1, 1)
    draws = sample_noise(camera_generator(0, 0), (256, 256))
    assert draws is not None
    quiet = torch.zeros(1, 3, 1, 1)
    x = torch.full((1, 3, 256, 256), 0.5)
    signal = CameraNoise(ones, quiet, draws.n_signal, draws.n_constant).add_to(x)
    constant = CameraNoise(quiet, ones, draws.n_signal, draws.n_constant).add_to(x)
    assert signal.std().item() == pytest.approx(0.5 * 0.08 / 6, rel=0.01)
    assert constant.std().item() == pytest.approx(0.005, rel=0.01)


def test_target_is_never_negative() -> None:
    result = synthesize(
        torch.zeros(1, 3, 16, 16), torch.ones(1), LINEAR, sample_noise(camera_generator(0, 1), (16, 16))
    )
    assert result.hdr_t.min() == 0
    assert result.hdr_t.max() > 0


def test_jpeg_is_baseline_with_halved_chroma_of_the_asked_quality() -> None:
    image = (255 * _scene(2, 48) / 2).to(torch.uint8)
    expected = []
    for loaded, quality in zip(image, (90, 30), strict=True):
        buffer = BytesIO()
        Image.fromarray(loaded.permute(1, 2, 0).numpy()).save(
            buffer, "JPEG", quality=quality, subsampling="4:2:0"
        )
        expected.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    assert torch.equal(compress_jpeg(image, [90, 30]), torch.stack(expected))


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize(("white", "kept"), [(0.5, 1.0), (0.51, 0.0)])
@pytest.mark.parametrize(("good", "bad"), [(248, 249), (7, 6)])
def test_mask_compares_with_half_of_the_images_own_pixels(
    side: int, white: float, kept: float, good: int, bad: int
) -> None:
    gray = torch.full((2, 1, side, side), good, dtype=torch.uint8)
    gray[1].view(-1)[: round(white * side * side)] = bad
    assert exposure_mask(gray).reshape(-1).tolist() == [1.0, kept]


def test_black_and_white_are_counted_apart() -> None:
    gray = torch.full((1, 1, 10, 10), 255, dtype=torch.uint8)
    gray[:, :, :5] = 0
    assert exposure_mask(gray).item() == 1


def test_samples_do_not_depend_on_their_batch() -> None:
    curves = torch.from_numpy(load_response_curves("builtin").curves[[3, 100]])
    hdr, exposure, qualities = _scene(2), torch.tensor([0.5, 2.0]), [90, 97]
    together = synthesize(hdr, exposure, curves, None, qualities)
    alone = synthesize(hdr[1:], exposure[1:], curves[1:], None, qualities[1:])
    for batch, single in zip(together, alone, strict=True):
        assert torch.equal(batch[1:], single)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    curves = torch.from_numpy(load_response_curves("builtin").curves[[30]])
    noise = sample_noise(camera_generator(1, 2), (256, 256))
    threads = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            results.append(synthesize(_scene(1, 256), torch.tensor([1.3]), curves, noise, [93]))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_float64_is_kept() -> None:
    noise = sample_noise(camera_generator(0, 0), (32, 32))
    result = synthesize(_scene().double(), torch.ones(1), LINEAR, noise, [95])
    floats = (result.hdr_t, result.clipped, result.ldr, result.jpeg, result.loss_mask)
    assert {value.dtype for value in floats} == {torch.float64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hdr": torch.rand(1, 32, 32, 3)}, r"hdr \[B, 3, H, W\]; got \[1, 32, 32, 3\]"),
        ({"exposure": torch.ones(2)}, r"one exposure per sample, \[1\]; got \[2\]"),
        ({"response": LINEAR[0]}, "one curve per sample"),
        ({"jpeg_quality": [101]}, r"1 JPEG qualities between 1 and 100; got \[101\]"),
        ({"jpeg_quality": [90, 91]}, r"1 JPEG qualities.*got \[90, 91\]"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    arguments = {"hdr": _scene(), "exposure": torch.ones(1), "response": LINEAR} | change
    with pytest.raises(ValueError, match=message):
        synthesize(**arguments)  # type: ignore[arg-type]
