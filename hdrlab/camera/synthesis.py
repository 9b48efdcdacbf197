"""Pure application of the camera model: exposure, noise, response, quantisation, JPEG, sample mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hdrlab.camera.jpeg import compress_jpeg, gray_u8, quantise
from hdrlab.ops.response import apply_response

_SIGNAL_NOISE = 0.08 / 6  # largest standard deviation, as a share of the signal
_CONSTANT_NOISE = 0.005
_WHITE, _BLACK = 249, 6  # grey values that count as over- and under-exposed


@dataclass(frozen=True)
class CameraNoise:
    """Draws that make the sensor noise of a batch.

    Attributes:
        u_signal: strength [B, 3, 1, 1] in [0, 1) of the noise proportional to the signal.
        u_constant: strength [B, 3, 1, 1] in [0, 1) of the noise that does not depend on it.
        n_signal: standard normal values [B, 3, H, W].
        n_constant: standard normal values [B, 3, H, W].
    """

    u_signal: Tensor
    u_constant: Tensor
    n_signal: Tensor
    n_constant: Tensor

    def add_to(self, x_lin: Tensor) -> Tensor:
        """Adds the noise to exposed linear values [B, 3, H, W]; the result may be negative."""
        u_signal, u_constant, n_signal, n_constant = (
            draw.to(x_lin) for draw in (self.u_signal, self.u_constant, self.n_signal, self.n_constant)
        )
        noisy = x_lin + n_signal * (_SIGNAL_NOISE * u_signal * x_lin)
        return noisy + _CONSTANT_NOISE * u_constant * n_constant


class Synthesis(NamedTuple):
    """A batch on its way through the camera; RGB throughout.

    Attributes:
        hdr_t: exposed, noisy scene [B, 3, H, W], linear, ≥ 0: the HDR target.
        clipped: the same clipped to [0, 1].
        ldr: after the response curve [B, 3, H, W], display-encoded, in [0, 1], before quantisation.
        quantised_u8: the 8-bit image [B, 3, H, W], uint8.
        jpeg_u8: the photograph [B, 3, H, W], uint8: after JPEG, or the 8-bit image where JPEG is off.
        jpeg_gray_u8: grey values of the photograph [B, 1, H, W], uint8.
        loss_mask: 1 where a sample is usable, 0 where over half of it is over- or under-exposed [B, 1, 1, 1].
    """

    hdr_t: Tensor
    clipped: Tensor
    ldr: Tensor
    quantised_u8: Tensor
    jpeg_u8: Tensor
    jpeg_gray_u8: Tensor
    loss_mask: Tensor

    @property
    def jpeg(self) -> Tensor:
        """The photograph [B, 3, H, W] as values in [0, 1] of ldr's dtype: the input of the nets."""
        return self.jpeg_u8.to(self.ldr.dtype) / 255


def synthesize(
    hdr: Tensor,
    exposure: Tensor,
    response: Tensor,
    noise: CameraNoise | None = None,
    jpeg_quality: Sequence[int] | Tensor | None = None,
) -> Synthesis:
    """Photographs linear scenes with the given camera parameters.

    Nothing is drawn at random here, and the result does not depend on the number of threads.

    Args:
        hdr: scenes [B, 3, H, W], linear RGB, ≥ 0, finite.
        exposure: factors [B] on the scenes, > 0.
        response: camera response curves [B, K] in [0, 1], one per sample.
        noise: the draws that make the sensor noise, or None for none.
        jpeg_quality: JPEG qualities [B], whole numbers in [1, 100], or None for no JPEG.

    Returns:
        Every intermediate of the chain.

    Raises:
        ValueError: a shape does not fit the batch, or a quality is out of range.

    Source: SingleHDR (Liu et al., CVPR 2020), image formation and training data. Different from the authors'
    code: the sample mask compares with half of the image's own pixels, whatever its size.
    """
    qualities = None if jpeg_quality is None else [int(quality) for quality in jpeg_quality]
    _check(hdr, exposure, response, qualities)
    exposed = hdr * exposure.to(hdr).reshape(-1, 1, 1, 1)
    hdr_t = (exposed if noise is None else noise.add_to(exposed)).clamp(min=0)
    clipped = hdr_t.clamp(max=1)
    ldr = apply_response(clipped, response.to(hdr.device))
    quantised_u8 = quantise(ldr)
    jpeg_u8 = quantised_u8 if qualities is None else compress_jpeg(quantised_u8, qualities)
    jpeg_gray_u8 = gray_u8(jpeg_u8)
    mask = exposure_mask(jpeg_gray_u8).to(ldr.dtype)
    return Synthesis(hdr_t, clipped, ldr, quantised_u8, jpeg_u8, jpeg_gray_u8, mask)


def exposure_mask(jpeg_gray_u8: Tensor) -> Tensor:
    """Tells usable images, float32 [B, 1, 1, 1]: 0 where over half of the pixels are white, or are black.

    Args:
        jpeg_gray_u8: grey values [B, 1, H, W], uint8.

    Source: SingleHDR, authors' code, which compares with half of 256² whatever the size of the image.
    """
    over = (jpeg_gray_u8 >= _WHITE).sum(dim=(1, 2, 3), keepdim=True)
    under = (jpeg_gray_u8 <= _BLACK).sum(dim=(1, 2, 3), keepdim=True)
    return (2 * torch.maximum(over, under) <= jpeg_gray_u8[0].numel()).float()


def _check(hdr: Tensor, exposure: Tensor, response: Tensor, qualities: list[int] | None) -> None:
    if hdr.ndim != 4 or hdr.shape[1] != 3:
        raise ValueError(f"synthesize needs hdr [B, 3, H, W]; got {list(hdr.shape)}")
    if exposure.shape != hdr.shape[:1]:
        raise ValueError(
            f"synthesize needs one exposure per sample, [{len(hdr)}]; got {list(exposure.shape)}"
        )
    if qualities is None:
        return
    if len(qualities) != len(hdr) or not all(1 <= quality <= 100 for quality in qualities):
        raise ValueError(f"synthesize needs {len(hdr)} JPEG qualities between 1 and 100; got {qualities}")
