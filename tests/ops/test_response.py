"""Response curves: application, monotone repair, inversion, and the inverse basis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator, interp1d

from hdrlab.errors import DataError
from hdrlab.ops.response import apply_response, invert_response, load_inverse_basis, make_monotone
from hdrlab.ops.response_curves import family_test_indices, interpolate_monotonically, response_family

GRID = torch.linspace(0, 1, 1024)


@pytest.fixture(scope="module")
def family() -> torch.Tensor:
    return torch.from_numpy(response_family()[0].copy())


# apply_response


def test_apply_interpolates_between_samples() -> None:
    curve = torch.tensor([[0.0, 0.5, 0.6, 1.0], [1.0, 0.0, 1.0, 0.0]])
    x = torch.tensor([[0.0, 1 / 6, 0.5, 1.0], [1 / 3, 0.5, 5 / 6, 1.0]])
    expected = torch.tensor([[0.0, 0.25, 0.55, 1.0], [0.0, 0.5, 0.5, 0.0]])
    torch.testing.assert_close(apply_response(x, curve), expected)


def test_apply_takes_the_ends_of_the_curve_outside_the_unit_interval() -> None:
    curve = torch.tensor([[0.25, 0.5, 0.75]])
    x = torch.tensor([[-1e30, -0.1, 1.1, 3e9, 1e38, float("inf")]])
    assert apply_response(x, curve).tolist() == [[0.25, 0.25, 0.75, 0.75, 0.75, 0.75]]


def test_apply_lets_nan_through_without_touching_its_neighbours() -> None:
    result = apply_response(torch.tensor([[float("nan"), 0.5]]), torch.tensor([[0.0, 1.0]]))
    assert result[0, 0].isnan()
    assert result[0, 1] == 0.5


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 3, 4, 5)])
def test_apply_keeps_shape_and_uses_the_samples_own_curve(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    result = apply_response(x, torch.stack([GRID, 1 - GRID]))
    assert result.shape == x.shape
    torch.testing.assert_close(result, torch.stack([x[0], 1 - x[1]]), atol=1e-6, rtol=0)


def test_apply_works_in_at_least_float32() -> None:
    x = torch.rand(1, 3, 8, 8)
    expected = apply_response(x, GRID[None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply_response(x, GRID[None]), expected)
        assert apply_response(x.bfloat16(), GRID[None].bfloat16()).dtype == torch.float32
    assert apply_response(x.double(), GRID[None]).dtype == torch.float64
    half = x.half()
    assert torch.equal(apply_response(half, GRID[None]), apply_response(half.float(), GRID[None]))


def test_apply_gradients() -> None:
    curve = torch.rand(2, 9, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply_response, (x, curve))
    edge = torch.tensor([[-0.5, 1.0, 1.5]], requires_grad=True)
    apply_response(edge, GRID[None]).sum().backward()
    assert edge.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_apply_names_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"one curve per sample.*\[2, 3, 4, 4\].*\[1, 1024\]"):
        apply_response(torch.rand(2, 3, 4, 4), GRID[None])


@pytest.mark.golden
def test_apply_matches_the_reference(goldens: Path) -> None:
    golden = {key: torch.from_numpy(value) for key, value in np.load(goldens / "rf_ops.npz").items()}
    x, curve = golden["x"].requires_grad_(), golden["rf"].requires_grad_()
    applied = apply_response(x, curve)
    applied.backward(golden["upstream"])
    torch.testing.assert_close(applied, golden["applied"], atol=1e-8, rtol=0)
    torch.testing.assert_close(x.grad, golden["grad_x"], atol=0, rtol=0)
    torch.testing.assert_close(curve.grad, golden["grad_rf"], atol=1e-6, rtol=0)
    assert torch.equal(apply_response(golden["x"], golden["rf7"]), golden["applied7"])


# make_monotone


def test_monotone_lifts_all_steps_by_the_most_negative() -> None:
    raw = torch.tensor([[0.0, 3.0, 2.0, 4.0]])  # steps 3, -1, 2, lifted 4, 0, 3
    torch.testing.assert_close(make_monotone(raw), torch.tensor([[0.0, 4 / 7, 4 / 7, 1.0]]))


def test_monotone_keeps_rising_curves(family: torch.Tensor) -> None:
    torch.testing.assert_close(make_monotone(family), family, atol=1e-6, rtol=0)


def test_monotone_result_rises_from_zero_to_one() -> None:
    curve = make_monotone(torch.randn(8, 1024, generator=torch.Generator().manual_seed(0)).bfloat16())
    assert curve.dtype == torch.float32
    assert (curve.diff() >= 0).all()
    assert (curve[:, 0] == 0).all()
    torch.testing.assert_close(curve[:, -1], torch.ones(8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("raw", [torch.ones(1, 5), torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])])
def test_monotone_turns_a_curve_without_rise_into_the_straight_line(raw: torch.Tensor) -> None:
    raw = raw.clone().requires_grad_()
    curve = make_monotone(raw)
    torch.testing.assert_close(curve, torch.linspace(0, 1, 5)[None])
    curve.square().sum().backward()
    assert raw.grad.isfinite().all()


@pytest.mark.golden
def test_monotone_matches_the_reference(goldens: Path) -> None:
    golden = {key: torch.from_numpy(value) for key, value in np.load(goldens / "rf_ops.npz").items()}
    raw = golden["rf"].requires_grad_()
    curve = make_monotone(raw)
    (curve * golden["upstream_increase"]).sum().backward()
    torch.testing.assert_close(curve, golden["increase"], atol=1e-6, rtol=0)
    expected = golden["grad_increase"]
    assert (raw.grad - expected).abs().max() < 1e-5 * expected.abs().max()


# invert_response


def test_inverse_agrees_with_interpolation_by_scipy(family: torch.Tensor) -> None:
    grid = np.linspace(0, 1, 1024)
    expected = np.stack([interp1d(curve, grid)(grid) for curve in family.double().numpy()])
    torch.testing.assert_close(invert_response(family.double()).numpy(), expected, atol=1e-12, rtol=0)
    assert invert_response(family).dtype == torch.float32


def test_inverse_undoes_the_curve(family: torch.Tensor) -> None:
    smooth = family[(family.diff().amax(dim=1) < 0.01)]
    x = torch.rand(len(smooth), 500, generator=torch.Generator().manual_seed(0))
    there_and_back = apply_response(apply_response(x, smooth), invert_response(smooth))
    torch.testing.assert_close(there_and_back, x, atol=5e-3, rtol=0)


def test_inverse_has_no_nan_on_curves_that_are_flat_at_their_ends() -> None:
    curve = torch.tensor([[0.0, 0.0, 0.0, 0.5, 1.0, 1.0], [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]])
    inverse = invert_response(curve)
    assert inverse.isfinite().all()
    assert inverse[:, 0].tolist() == [0, 0]
    assert inverse[:, -1].tolist() == [1, 1]
    assert (inverse.diff() >= 0).all()
    torch.testing.assert_close(inverse[0, 1:-1], torch.tensor([0.48, 0.56, 0.64, 0.72]))


def test_inverse_sorts_falling_parts_and_leaves_its_input_alone() -> None:
    curve = torch.tensor([[0.2, 0.5, 0.25, 0.75, 0.9]])
    before = curve.clone()
    grid = np.linspace(0, 1, 5)
    expected = interp1d([0.0, 0.5, 0.25, 0.75, 1.0], grid)(grid)
    torch.testing.assert_close(invert_response(curve)[0].double().numpy(), expected)
    assert torch.equal(curve, before)


# inverse basis


def test_builtin_basis_has_the_form_of_emor() -> None:
    basis = load_inverse_basis("builtin")
    assert (basis.mean.shape, basis.components.shape) == ((1024,), (1024, 11))
    assert basis.name == "builtin"
    assert (basis.mean[0], basis.mean[-1]) == (0, 1)
    assert (basis.mean.diff() > 1e-4).all()
    assert (basis.components[[0, -1]] == 0).all()
    torch.testing.assert_close(basis.components.T @ basis.components, torch.eye(11), atol=1e-5, rtol=0)


def test_builtin_basis_is_no_more_sensitive_than_emor() -> None:
    jumps = load_inverse_basis("builtin").components.diff(dim=0).abs().amax(dim=0)
    assert jumps[:5].max() < 0.05
    assert jumps.max() < 0.23


def test_builtin_basis_describes_the_curves_that_it_was_not_made_from(family: torch.Tensor) -> None:
    basis = load_inverse_basis("builtin")
    held_out = family[family_test_indices(len(family))]
    deviation = invert_response(held_out) - basis.mean
    residual = deviation - deviation @ basis.components @ basis.components.T
    assert residual.square().mean(dim=1).sqrt().max() < 5e-4


def test_loaded_bases_do_not_share_memory() -> None:
    load_inverse_basis("builtin").mean.zero_()
    assert load_inverse_basis("builtin").mean[-1] == 1


@pytest.mark.golden
def test_emor_is_read(shared: Path) -> None:
    basis = load_inverse_basis(shared / "crf" / "invemor.txt")
    assert basis.name == "invemor.txt"
    assert (basis.mean[0], basis.mean[-1]) == (0, 1)
    assert basis.mean.diff().min().item() == pytest.approx(3.8e-4, abs=1e-5)
    jumps = basis.components.diff(dim=0).abs().amax(dim=0)
    published = [0.0015, 0.0045, 0.013, 0.019, 0.050, 0.13, 0.044, 0.062, 0.16, 0.23, 0.23]
    torch.testing.assert_close(jumps, torch.tensor(published), rtol=0.05, atol=0)


def _basis_text() -> str:
    """A file in EMoR's layout, with the built-in basis."""
    basis = load_inverse_basis("builtin")
    blocks = {"B =": GRID, "g0 =": basis.mean}
    blocks |= {f"hinv({i + 1})=": basis.components[:, i] for i in range(11)}
    lines: list[str] = []
    for header, values in blocks.items():
        lines += [header, *(" ".join(f"{v:.7e}" for v in row) for row in values.reshape(256, 4).tolist())]
    return "\r\n".join(lines) + "\r\n"


def test_basis_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "invemor.txt"
    path.write_text(_basis_text())
    loaded, builtin = load_inverse_basis(str(path)), load_inverse_basis("builtin")
    torch.testing.assert_close(loaded.mean, builtin.mean, atol=1e-7, rtol=0)
    torch.testing.assert_close(loaded.components, builtin.components, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hinv(3)=", "h(3)=", r"line 1029: expected the header 'hinv\(3\)=', found 'h\(3\)='"),
        ("hinv(11)=", "hinv(11)=\r\n0.5", r"'hinv\(11\)='.*1021 samples, expected 1024"),
        ("g0 =\r\n0.0000000e+00", "g0 =\r\nnan", r"'g0='.*sample 0 is not finite"),
        ("g0 =\r\n0.0000000e+00", "g0 =\r\nzero", r"'g0='.*not a list of numbers"),
        ("g0 =\r\n0.0000000e+00", "g0 =\r\n0.5000000e+00", "g0 must rise from 0 to 1"),
        ("hinv(2)=\r\n0.0000000e+00", "hinv(2)=\r\n0.1000000e+00", "start and end at 0"),
    ],
)
def test_basis_file_faults_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path, text = tmp_path / "invemor.txt", _basis_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"invemor\.txt.*{message}"):
        load_inverse_basis(path)


def test_basis_file_that_is_cut_or_not_orthonormal(tmp_path: Path) -> None:
    path, text = tmp_path / "invemor.txt", _basis_text()
    path.write_text(text[: text.index("hinv(7)=")])
    with pytest.raises(DataError, match=r"expected the header.*found 'the end of the file'"):
        load_inverse_basis(path)
    second, third = text.index("hinv(2)="), text.index("hinv(3)=")
    body = text[second:third].replace("hinv(2)=", "hinv(3)=")
    path.write_text(text[:third] + body + text[text.index("hinv(4)=") :])
    with pytest.raises(DataError, match="must be orthonormal"):
        load_inverse_basis(path)


def test_missing_basis_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.txt: cannot be read.*CAVE laboratory.*'builtin'"):
        load_inverse_basis(tmp_path / "absent.txt")


@pytest.mark.parametrize("seed", range(20))
def test_monotone_interpolation_is_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.uniform(0.01, 1, random.integers(3, 20)).cumsum()
    y = random.normal(size=len(x)).round(seed % 2)  # every second time with equal neighbours
    at = np.concatenate([x, random.uniform(x[0], x[-1], 100)])
    np.testing.assert_allclose(interpolate_monotonically(x, y, at), PchipInterpolator(x, y)(at), atol=1e-12)
