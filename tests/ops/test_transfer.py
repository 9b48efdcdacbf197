"""Transfer functions, luminance and mean normalisation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hdrlab.ops import transfer

UNIT = torch.linspace(0, 1, 4097, dtype=torch.float64)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (transfer.mu_law_encode, transfer.mu_law_decode),
        (transfer.srgb_encode, transfer.srgb_decode),
        (lambda x: transfer.pq_encode(1e4 * x), lambda v: transfer.pq_decode(v) / 1e4),
    ],
)
def test_encodings_invert_and_rise(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]
) -> None:
    encoded = encode(UNIT)
    torch.testing.assert_close(decode(encoded), UNIT, atol=1e-7, rtol=0)
    assert (encoded.diff() > 0).all()
    assert encoded[0].item() == pytest.approx(0, abs=1e-6)
    assert encoded[-1].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (transfer.log_compress, 0.1, 0.289065),  # log 2 / log 11
        (transfer.mu_law_encode, 0.01, 0.461630),  # log 51 / log 5001
        (transfer.srgb_encode, 0.18, 0.461356),
        (transfer.srgb_decode, 0.5, 0.214041),
        (transfer.srgb_encode, 0.001, 0.01292),
        (transfer.pq_encode, 100.0, 0.508078),
    ],
)
def test_known_values(function: Callable[[Tensor], Tensor], x: float, expected: float) -> None:
    actual = function(torch.tensor(x, dtype=torch.float64))
    assert actual.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("function", [transfer.log_compress, transfer.srgb_encode, transfer.srgb_decode])
def test_gradients_are_finite_at_the_ends(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 4, 4, dtype=dtype)
    for function in (
        transfer.log_compress,
        transfer.srgb_encode,
        transfer.luminance,
        transfer.mean_normalise,
    ):
        assert function(x).dtype == dtype


def test_luminance_weighs_red_first() -> None:
    rgb = torch.eye(3).view(1, 3, 1, 3)
    assert transfer.luminance(rgb).flatten().tolist() == pytest.approx([0.212656, 0.715158, 0.072186])
    with pytest.raises(ValueError, match="RGB"):
        transfer.luminance(torch.rand(1, 4, 2, 2))


def test_mean_normalise_is_per_sample_and_forgets_the_scale() -> None:
    x = torch.rand(2, 3, 4, 4) + 0.1
    scales = torch.tensor([3.0, 700.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(
        transfer.mean_normalise(scales * x), transfer.mean_normalise(x), rtol=1e-4, atol=0
    )
    assert transfer.mean_normalise(torch.zeros(1, 3, 2, 2)).sum() == 0
