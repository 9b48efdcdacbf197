from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdrlab.errors import OperatorError, WeightsError
from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.ops.encoding import encode_hdr, normalise_minmax, normalise_percentile, tone_limits
from hdrlab.ops.pyramids import decompose, expand
from hdrlab.pipeline.iqatm import (
    BOTTOM_MARGIN,
    NORMALIZATIONS,
    Normalization,
    ToneInput,
    merge_layers,
    to_bytes_official,
    tone_map,
)
from hdrlab.pipeline.resizing import PROCEDURES, ProcedureName
from hdrlab.weights import load_variables

MID_GREY = 0.18**0.4545


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    torch.manual_seed(0)
    return {name: build_net(name, width=0.5) for name in SYSTEMS["IQATM"]}


@pytest.fixture(scope="module")
def official(iqatm_goldens: Path) -> dict[str, Net]:
    """The three nets with the weights behind the reference."""
    with np.load(iqatm_goldens / "weights.npz") as file:
        variables = dict(file)
    built = {name: build_net(name, "official") for name in SYSTEMS["IQATM"]}
    for net in built.values():
        load_variables(net, variables)
    return built


@pytest.fixture(scope="module")
def e2e(iqatm_goldens: Path) -> dict[str, Tensor]:
    with np.load(iqatm_goldens / "e2e.npz") as file:
        return {name: image(file[name]) for name in file.files if file[name].ndim == 3}


def image(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


def scene(height: int, width: int, count: int = 1, stops: float = 16) -> Tensor:
    generator = torch.Generator().manual_seed(height + width)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return torch.exp2(stops * smooth) * (0.8 + 0.4 * torch.rand(smooth.shape, generator=generator))


@contextmanager
def listening(net: nn.Module) -> Iterator[list[Tensor]]:
    """What a net was given and what it made of it."""
    heard: list[Tensor] = []

    def hear(net: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        heard.extend([given[0], made])

    hook = net.register_forward_hook(hear)
    yield heard
    hook.remove()


@pytest.mark.golden
@pytest.mark.parametrize("name", ["sceneA", "sceneB"])
def test_files_are_the_authors(name: str, e2e: dict[str, Tensor], official: dict[str, Net]) -> None:
    shown = tone_map(e2e[f"hdr_{name}"], official, procedure="official")
    expected = e2e[f"uint8_{name}"]
    assert shown.shape == expected.shape
    assert (255 * shown - e2e[f"float_before_save_{name}"]).abs().max() < 255 * 5e-5
    off = (to_bytes_official(shown).int() - expected.int()).abs()
    assert off.max() <= 1
    assert torch.count_nonzero(off) < 1e-3 * off.numel()
    # The last step alone does not add an error of its own.
    assert torch.equal(to_bytes_official(e2e[f"float_before_save_{name}"] / 255), expected)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["sceneA", "sceneB"])
def test_layers_of_a_cropped_image_are_the_authors(name: str, e2e: dict[str, Tensor]) -> None:
    hdr = e2e[f"hdr_{name}"]
    hdr = hdr[..., : hdr.shape[-2] // 8 * 8, : hdr.shape[-1] // 8 * 8]
    high, bottom = decompose(encode_hdr(hdr, *tone_limits(hdr)))
    assert torch.allclose(high, e2e[f"rec_high_{name}"], rtol=0, atol=2e-6)
    assert torch.allclose(bottom, e2e[f"rec_bot_{name}"], rtol=0, atol=2e-6)


@pytest.mark.golden
def test_every_step_is_the_authors(e2e: dict[str, Tensor], official: dict[str, Net]) -> None:
    with (
        listening(official["tmo_high"]) as high,
        listening(official["tmo_bottom"]) as bottom,
        listening(official["tmo_merge"]) as merge,
    ):
        tone_map(e2e["hdr_sceneA"], official, procedure="official")
    margin = slice(BOTTOM_MARGIN, -BOTTOM_MARGIN)
    steps = {
        "rec_high": high[0],
        "rec_bot": bottom[0][..., margin, margin],
        "stage_high_out": high[1],
        "stage_bot_out_cropped": bottom[1][..., margin, margin],
        "stage_bot_expanded": merge[0] - high[1],
        "stage_ft_out": merge[1],
    }
    for name, step in steps.items():
        assert (step - e2e[f"{name}_sceneA"]).abs().max() < 5e-5, name


@pytest.mark.golden
def test_joint_training_pass_is_the_authors(iqatm_goldens: Path, official: dict[str, Net]) -> None:
    with np.load(iqatm_goldens / "nets.npz") as file:
        batch = {
            name: torch.from_numpy(file[name]).permute(0, 3, 1, 2)
            for name in ("ft_high_in", "ft_bot_in", "joint_bot_out", "joint_bot_up", "ft_in", "ft_out")
        }
    assert torch.allclose(expand(batch["joint_bot_out"]), batch["joint_bot_up"], rtol=0, atol=2e-6)
    with torch.no_grad(), listening(official["tmo_merge"]) as merge:
        out = merge_layers(batch["ft_high_in"], batch["ft_bot_in"], official)
    assert (merge[0] - batch["ft_in"]).abs().max() < 5e-5
    assert (out - batch["ft_out"]).abs().max() < 5e-5


def test_gradients_reach_all_nets_and_layers(nets: dict[str, Net]) -> None:
    high, bottom = (layer.requires_grad_() for layer in decompose(torch.rand(2, 3, 32, 24)))
    out = merge_layers(high, bottom, nets)
    assert out.shape == (2, 3, 32, 24)
    weights = [net.head.weight for net in nets.values()]
    for grad in torch.autograd.grad((out * torch.rand_like(out)).sum(), [high, bottom, *weights]):
        assert torch.count_nonzero(grad) > 0


def test_the_margin_keeps_zero_padding_out_of_the_bottom_layer(nets: dict[str, Net]) -> None:
    high, bottom = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 8, 8), 0.3)
    for margin, flat in ((BOTTOM_MARGIN, True), (BOTTOM_MARGIN - 1, False), (0, False)):
        with torch.no_grad(), listening(nets["tmo_bottom"]) as heard:
            merge_layers(high, bottom, nets, margin=margin)
        inner = heard[1][..., margin : margin + 8, margin : margin + 8]
        assert bool((inner.amax((2, 3)) - inner.amin((2, 3))).max() < 1e-5) is flat


@pytest.mark.parametrize("width", [9, 64, 75])
def test_borders_do_not_ripple(width: int) -> None:
    torch.manual_seed(1)
    nets = {name: build_net(name).double() for name in SYSTEMS["IQATM"]}
    rows = scene(40, 1).double().expand(1, 3, 40, width)
    shown = tone_map(rows, nets)
    assert (shown - shown[..., :1]).abs().max() < 1e-9
    assert shown.std() > 0.01


def test_a_border_is_shown_as_if_the_image_went_on(nets: dict[str, Net]) -> None:
    image = scene(128, 160, stops=8)
    shown = tone_map(image, nets)
    further = nn.functional.pad(image, (64,) * 4, mode="reflect")
    apart = (shown - tone_map(further, nets)[..., 64:-64, 64:-64]).abs().amax(1)[0]
    inside = apart[24:-24, 24:-24]
    border = torch.cat([side.flatten() for side in (apart[:6], apart[-6:], apart[:, :6], apart[:, -6:])])
    # Normalisation is global: more of the same image moves its statistics a little, everywhere alike.
    assert border.mean() < 1.5 * inside.mean() + 1e-3
    assert border.max() < 1.5 * inside.max() + 1e-2


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 1), (3, 5), (8, 8), (17, 30), (48, 64), (121, 33)])
def test_any_size_keeps_its_size(size: tuple[int, int], nets: dict[str, Net]) -> None:
    shown = tone_map(scene(*size), nets)
    assert shown.shape == (1, 3, *size)
    assert 0 <= shown.min() <= shown.max() <= 1
    if size != (1, 1):
        assert shown.aminmax() == (0, 1)


def test_official_crops_the_right_and_the_bottom(nets: dict[str, Net]) -> None:
    hdr = scene(29, 39)
    shown = tone_map(hdr, nets, procedure="official")
    assert torch.equal(shown, tone_map(hdr[..., :24, :32].clone(), nets, procedure="official"))


def test_samples_of_a_batch_are_mapped_by_themselves(nets: dict[str, Net]) -> None:
    hdr = scene(24, 40, count=3)
    hdr[1] *= 1000
    hdr[2] = 5
    shown = tone_map(hdr, nets)
    for alone, together in zip(hdr, shown, strict=True):
        assert torch.equal(tone_map(alone[None], nets)[0], together)


def test_the_unit_does_not_matter(nets: dict[str, Net]) -> None:
    hdr = scene(24, 40)
    shown = tone_map(hdr, nets)
    assert torch.equal(tone_map(hdr * 2.0**-40, nets), shown)
    assert torch.equal(tone_map(hdr * 2.0**90, nets), shown)


def hostile() -> dict[str, Tensor]:
    ramp = torch.exp2(torch.linspace(0, 21, 64 * 64)).view(1, 1, 64, 64).expand(1, 3, 64, 64)
    stars = torch.zeros(1, 3, 64, 64)
    stars[..., 10, 10] = 5
    outlier = scene(64, 64)
    outlier[0, 0, 0, 0] = 3e38
    return {
        "21 stops": ramp,
        "stars": stars,
        "outlier": outlier,
        "8x8": scene(8, 8),
        "step": (ramp > 1024).float(),
        "one channel": torch.cat([ramp[:, :1], 0 * ramp[:, :2]], 1),
        "barely": torch.tensor([1.0, 1 + 2**-23]).view(1, 1, 1, 2).expand(1, 3, 16, 2),
        "denormal": 1e-42 * scene(16, 16),
    }


@pytest.mark.parametrize("domain", ["gamma", "linear", "log"])
@pytest.mark.parametrize("procedure", PROCEDURES)
@pytest.mark.parametrize("name", hostile())
def test_hostile_images_have_an_image(
    name: str, procedure: ProcedureName, domain: str, nets: dict[str, Net]
) -> None:
    hdr = hostile()[name]
    if procedure == "official" and hdr.shape[-1] < 8:
        return
    for normalize in NORMALIZATIONS:
        tone = ToneInput(domain=domain)  # type: ignore[arg-type]
        shown = tone_map(hdr, nets, tone=tone, procedure=procedure, normalize=normalize)
        assert shown.isfinite().all()
        assert 0 <= shown.min() < shown.max() <= 1


@pytest.mark.parametrize("procedure", PROCEDURES)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("value", [1e-37, 0.4, 3e38])
def test_constant_images_are_mid_grey(
    value: float, normalize: Normalization, procedure: ProcedureName, nets: dict[str, Net]
) -> None:
    shown = tone_map(torch.full((1, 3, 40, 48), value), nets, normalize=normalize, procedure=procedure)
    assert torch.allclose(shown, torch.full_like(shown, MID_GREY), atol=1e-5)


def test_a_flat_colour_keeps_its_colour(nets: dict[str, Net]) -> None:
    colour = torch.tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    shown = tone_map(colour.expand(1, 3, 41, 47), nets)
    assert torch.allclose(shown, shown[..., :1, :1].expand_as(shown), atol=1e-6)
    x_lin = shown[..., 0, 0] ** (1 / 0.4545)
    weights = torch.tensor([0.212656, 0.715158, 0.072186])
    assert (x_lin * weights).sum().item() == pytest.approx(0.18, abs=1e-5)
    assert torch.allclose(x_lin / x_lin[:, 2:], colour.flatten()[None], rtol=1e-4)


def test_images_that_collapse_for_the_authors_are_shown_as_they_are(nets: dict[str, Net]) -> None:
    hdr = torch.arange(192.0).view(1, 1, 8, 24).expand(1, 3, 8, 24)[..., :8]
    weighed = (0.18 * hdr / hdr.mean()).clamp(max=1)
    shown = tone_map(hdr, nets, procedure="official")
    assert torch.allclose(shown, weighed**0.4545, atol=1e-5)
    assert not torch.allclose(tone_map(hdr, nets), shown, atol=0.1)


def test_black_is_black(nets: dict[str, Net]) -> None:
    assert torch.count_nonzero(tone_map(torch.zeros(1, 3, 16, 16), nets)) == 0


def test_the_output_is_stretched_as_asked(nets: dict[str, Net]) -> None:
    hdr = scene(40, 48)
    plain = tone_map(hdr, nets, normalize="none")
    assert 0 < plain.min() < plain.max() < 1
    assert torch.equal(tone_map(hdr, nets), normalise_minmax(plain))
    assert torch.equal(tone_map(hdr, nets, normalize="percentile"), normalise_percentile(plain))


def test_nets_of_linear_images_are_encoded_afterwards(nets: dict[str, Net]) -> None:
    hdr, tone = scene(40, 48), ToneInput(domain="linear")
    with listening(nets["tmo_merge"]) as merge:
        shown = tone_map(hdr, nets, tone=tone, procedure="official")
    assert torch.equal(shown, normalise_minmax(merge[1]) ** 0.4545)


@pytest.mark.parametrize(
    "tone",
    [
        ToneInput("log"),
        ToneInput(pyramid="gaussian"),
        ToneInput(sigma_color=0.1),
        ToneInput(fuse_middle=True),
    ],
)
def test_nets_see_what_they_were_trained_with(tone: ToneInput, nets: dict[str, Net]) -> None:
    hdr = scene(40, 48)
    with listening(nets["tmo_high"]) as heard:
        tone_map(hdr, nets, tone=tone, procedure="official")
    x = encode_hdr(hdr, *tone_limits(hdr, tone.domain), tone.domain)
    high, _ = decompose(x, pyramid=tone.pyramid, sigma_color=tone.sigma_color, fuse_middle=tone.fuse_middle)
    assert torch.equal(heard[0], high)
    assert not torch.equal(high, decompose(encode_hdr(hdr, *tone_limits(hdr)))[0])


def test_double_precision_stays(nets: dict[str, Net]) -> None:
    double = {name: build_net(name, width=0.5).double() for name in nets}
    for name, net in nets.items():
        double[name].load_state_dict(net.state_dict())
    hdr = scene(24, 32)
    shown = tone_map(hdr.double(), double)
    assert shown.dtype == torch.float64
    assert torch.allclose(shown.float(), tone_map(hdr, nets), atol=1e-3)


def test_bytes_are_cut_after_nearly_a_half() -> None:
    x_srgb = torch.tensor([0, 0.5 / 255, 0.51 / 255, 100.49 / 255, 1], dtype=torch.float64)
    assert to_bytes_official(x_srgb).tolist() == [0, 0, 1, 100, 255]


def test_broken_samples_are_counted(nets: dict[str, Net]) -> None:
    hdr = scene(8, 8)
    hdr[0, 0, 0, :2] = torch.nan
    hdr[0, 1, 1, 1] = torch.inf
    with pytest.raises(OperatorError, match="3 of 192 samples are NaN or infinite"):
        tone_map(hdr, nets)


def test_wrong_arguments_are_refused(nets: dict[str, Net]) -> None:
    hdr = scene(7, 30)
    with pytest.raises(OperatorError, match="7×30 pixels: the official procedure needs 8×8"):
        tone_map(hdr, nets, procedure="official")
    with pytest.raises(ValueError, match="unknown procedure 'offical'"):
        tone_map(hdr, nets, procedure="offical")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown normalize 'max'"):
        tone_map(hdr, nets, normalize="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected a tensor \[B, 3, H, W\]"):
        tone_map(hdr[:, :1], nets)
    with pytest.raises(WeightsError, match="no tmo_bottom and no tmo_merge net"):
        tone_map(hdr, {"tmo_high": nets["tmo_high"]})
