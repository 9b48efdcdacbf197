"""Response correction: fits the tone and colour of a test image to its reference before it is scored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images
from hdrlab.ops.encoding import pq_decode, pq_encode

_LOWEST, _HIGHEST = 0.005, 10_000.0
_XYZ_RANGE = (1e-4, 1e8)
_RGB_TO_XYZ = ((0.412424, 0.357579, 0.180464), (0.212656, 0.715158, 0.072186), (0.019332, 0.119193, 0.950444))
_UV_SCALE = 410 / 255
_RIDGE = 0.01 / 8  # per pixel
_CHUNK = 1 << 18

_Columns = Callable[[Tensor], Tensor]


def crf_correct(test: Array, reference: Array) -> Tensor:
    """Remove what a different response curve and colour matrix could explain.

    A cubic is fitted to the PQ-encoded luminance, and cubic polynomials in both chromaticities u′v′ to
    each of these, 20 parameters per image. The fit sees the reference: scores after it are those of an
    oracle, to be named as such and shown beside the uncorrected ones.

    Args:
        test: Absolute linear RGB [B, 3, H, W] in cd/m².
        reference: The same shape and domain.

    Returns:
        The corrected test images [B, 3, H, W] in cd/m², ≥ 0.

    Raises:
        ValueError: Shapes do not fit, or values are integers.

    Source: Hanji et al., "Comparison of single image HDR reconstruction methods — the caveats of quality
    assessment", 2022.
    """
    test, reference = as_images(test, reference)
    pairs = zip(test, reference, strict=True)
    return torch.stack([ResponseCorrection(true[None])(one[None])[0] for one, true in pairs])


class ResponseCorrection:
    """`crf_correct` to one reference, whose part in the fit is computed once.

    Args:
        reference: Absolute linear RGB [1, 3, H, W] in cd/m².
    """

    def __init__(self, reference: Tensor) -> None:
        self.true_pq, self.true_uv = _encode(reference)

    def __call__(self, test: Tensor) -> Tensor:
        """Correct a test image of the reference's shape and domain; computed in double precision."""
        pq, uv = _encode(test)
        weights = _fit(_luminance_columns, pq, self.true_pq)
        floor, ceiling = pq_encode(pq.new_tensor([_LOWEST, _HIGHEST]))
        identity = pq.new_zeros(8, 2)
        identity[5, 0] = identity[6, 1] = 1
        mixing = _fit(_chroma_columns, uv, self.true_uv, ridge=_RIDGE * len(uv), prior=identity)
        corrected = torch.empty(len(pq), 3, dtype=test.dtype, device=test.device)
        parts = zip(*(torch.split(values, _CHUNK) for values in (corrected, pq, uv)), strict=True)
        for into, part_pq, part_uv in parts:
            fitted = (_luminance_columns(part_pq) @ weights).clamp(floor, ceiling)
            into.copy_(_luv_to_rgb(pq_decode(fitted), _chroma_columns(part_uv) @ mixing))
        return corrected.T.reshape(test.shape)


def _encode(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the PQ-encoded luminance [N, 1] and the scaled chromaticities [N, 2] of an image, in float64."""
    parts = [_rgb_to_luv(part.double()) for part in torch.split(image.flatten(start_dim=2)[0].T, _CHUNK)]
    return torch.cat([pq_encode(y) for y, _ in parts]), torch.cat([uv for _, uv in parts])


def _rgb_to_luv(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Convert [N, 3] in cd/m² to luminance [N, 1] and scaled chromaticities u′v′ [N, 2]."""
    xyz = (rgb.clamp(_LOWEST, _HIGHEST) @ rgb.new_tensor(_RGB_TO_XYZ).T).clamp(*_XYZ_RANGE)
    x, y = (xyz[:, :2] / xyz.sum(dim=1, keepdim=True)).unbind(dim=1)
    uv = torch.stack((4 * x, 9 * y), dim=1) / (-2 * x + 12 * y + 3).unsqueeze(1)
    return xyz[:, 1:2], uv * _UV_SCALE


def _luv_to_rgb(y_cd: Tensor, scaled_uv: Tensor) -> Tensor:
    """Invert `_rgb_to_luv`; colours outside the gamut lose their negative parts."""
    u, v = (scaled_uv / _UV_SCALE).T.unsqueeze(2)
    denominator = (6 * u - 16 * v + 12).clamp(min=1e-6)
    x, y = 9 * u / denominator, (4 * v / denominator).clamp(min=1e-6)
    xyz = torch.cat((x / y * y_cd, y_cd, (1 - x - y) / y * y_cd), dim=1).clamp(*_XYZ_RANGE)
    xyz_to_rgb: Tensor = torch.linalg.inv(xyz.new_tensor(_RGB_TO_XYZ))
    return (xyz @ xyz_to_rgb.T).clamp(min=0)


def _luminance_columns(pq: Tensor) -> Tensor:
    return torch.cat((pq**3, pq**2, pq, torch.ones_like(pq)), dim=1)


def _chroma_columns(uv: Tensor) -> Tensor:
    u, v = uv.unbind(dim=1)
    return torch.stack((u**3, v**3, u**2, v**2, u * v, u, v, torch.ones_like(u)), dim=1)


def _fit(columns: _Columns, x: Tensor, y: Tensor, ridge: float = 0.0, prior: Tensor | float = 0.0) -> Tensor:
    """Solve min |columns(x)·W − y|² + ridge·|W − prior|², in pieces that spare memory."""
    gram: Tensor | float = 0.0
    moment: Tensor | float = 0.0
    for part_x, part_y in zip(torch.split(x, _CHUNK), torch.split(y, _CHUNK), strict=True):
        design = columns(part_x)
        gram = gram + design.T @ design
        moment = moment + design.T @ part_y
    assert isinstance(gram, Tensor)
    gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # The pseudo-inverse also serves an image of one luminance, where the cubic is not determined.
    inverse: Tensor = torch.linalg.pinv(gram, hermitian=True)
    return inverse @ (moment + ridge * prior)
