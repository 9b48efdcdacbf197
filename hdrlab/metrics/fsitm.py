"""FSITM: where the local phase of a tone-mapped image agrees with that of its HDR image."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images
from hdrlab.metrics.sizes import require_side

_MIN_SIDE = 4  # the longer wavelength of the finer filters
_FINE, _COARSE = 2, 8
_BANDWIDTH = 0.65
_CUTOFF, _ORDER = 0.45, 15
_PIXELS_A_STEP = 2**18


class Fsitm(NamedTuple):
    """Shares of pixels whose phase agrees, by colour channel; papers report one of them or their mean.

    Attributes:
        red: Of the red channel, [B] in [0, 1].
        green: Of the green channel.
        blue: Of the blue channel.
    """

    red: Tensor
    green: Tensor
    blue: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the three channels, [B] in [0, 1]."""
        return (self.red + self.green + self.blue) / 3


def fsitm(hdr: Array, sdr: Array, alpha: float | None = None) -> Fsitm:
    """Compare the feature maps of tone-mapped images, channel by channel, with those of the HDR images.

    A map is the sign of the phase α · coarse(H) + (1 − α) · fine(log H). Zeros of an HDR channel take its
    smallest other value before the logarithm; a constant channel has no feature anywhere.

    Args:
        hdr: Linear RGB [B, 3, H, W] in any unit, both sides at least 4; what is below 0 counts as 0.
        sdr: Display-encoded images of the same shape in any range.
        alpha: Weight of the coarse phase in [0, 1]; None takes 1 − 1/r for r = ⌊pixels / 2¹⁸⌋, and 0 where
            r < 2, that is below 524,288 pixels.

    Returns:
        Scores, float64; NaN where an image is not finite. All three are the same for grey images.

    Raises:
        ImageSizeError: A side is shorter than 4 pixels.
        ValueError: Shapes do not fit, or values are integers.

    Source: Ziaei Nafchi, Shahkolaei, Farrahi Moghaddam and Cheriet, "FSITM: A Feature Similarity Index for
    Tone-Mapped Images", 2015.
    """
    hdr, sdr = as_images(hdr, sdr)
    require_side(hdr, _MIN_SIDE, "FSITM")
    if alpha is None:
        alpha = 1 - 1 / max(1, hdr.shape[-2] * hdr.shape[-1] // _PIXELS_A_STEP)
    hdr, sdr = hdr.double().clamp(min=0), sdr.double()
    features = _features(torch.cat([hdr, sdr]), torch.cat([_log_codes(hdr), sdr]), alpha)
    agree = features[: len(hdr)] == features[len(hdr) :]
    finite = (hdr.isfinite() & sdr.isfinite()).all(dim=-1).all(dim=-1)
    shares = torch.where(finite, agree.double().mean(dim=(2, 3)), torch.nan)
    return Fsitm(*shares.expand(-1, 3).unbind(dim=1))


def _log_codes(hdr: Tensor) -> Tensor:
    """Return the logarithm of each channel, stretched to 0 … 255 and rounded."""
    above = torch.where(hdr > 0, hdr, torch.inf)
    logs = torch.log(torch.where(hdr > 0, hdr, above.amin(dim=(2, 3), keepdim=True)))
    low, high = logs.amin(dim=(2, 3), keepdim=True), logs.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, 255 * (logs - low) / (high - low), 0).round()


def _features(coarse: Tensor, fine: Tensor, alpha: float) -> Tensor:
    """Return where the mixed phase of [B, C, H, W] is positive."""
    if alpha == 0:
        return _even_response(fine, _gains(fine, _FINE)) > 0  # the sign of the phase
    return alpha * _phase(coarse, _COARSE) + (1 - alpha) * _phase(fine, _FINE) > 0


def _phase(x: Tensor, wavelength: float) -> Tensor:
    """Return the local phase of [B, C, H, W], from -π/2 in dark lines to π/2 in bright ones."""
    gains = _gains(x, wavelength)
    odd = _filter(x.unsqueeze(-3), 0.5j * (_mirror(gains) - gains))
    return torch.atan2(_even_response(x, gains), torch.hypot(*odd.unbind(dim=-3)))


def _even_response(x: Tensor, gains: Tensor) -> Tensor:
    """Return the real part of what complex filters of real gains respond, summed over the orientations."""
    return _filter(x, (gains + _mirror(gains)).sum(dim=0) / 2)


def _mirror(gains: Tensor) -> Tensor:
    """Return the gains of the opposite frequencies."""
    return gains.flip(-2, -1).roll((1, 1), (-2, -1))


def _filter(x: Tensor, gains: Tensor) -> Tensor:
    """Filter maps [..., H, W] with gains that give a real response."""
    # Without its offset a constant image is 0 exactly, not rounding noise with signs.
    spectrum = torch.fft.rfft2(x - x[..., :1, :1])
    filtered: Tensor = torch.fft.irfft2(spectrum * gains[..., : spectrum.shape[-1]], s=x.shape[-2:])
    return filtered


def _gains(like: Tensor, wavelength: float) -> Tensor:
    """Return the gains [2, H, W] of log-Gabor filters with the orientations 0 and π/2.

    Each is the sum of two scales, at the wavelength and at its square.
    """
    height, width = like.shape[-2:]
    fx, fy = _frequencies(width, like), _frequencies(height, like).unsqueeze(-1)
    rho = torch.hypot(fx, fy)
    rho[0, 0] = 1  # any but 0; the gain there is none
    logs = torch.stack([torch.log(rho * length) for length in (wavelength, wavelength**2)])
    radial = torch.exp(-logs.square() / (2 * math.log(_BANDWIDTH) ** 2)).sum(dim=0)
    radial = radial / (1 + (rho / _CUTOFF) ** (2 * _ORDER))
    radial[0, 0] = 0
    # (1 + cos θ) / 2 and (1 + sin θ) / 2, the angle counted from x against y.
    return radial * torch.stack([1 + fx / rho, 1 - fy / rho]) / 2


def _frequencies(size: int, like: Tensor) -> Tensor:
    """Return the frequencies along an axis in the order of the FFT, those of odd sizes stretched to ±½."""
    cycles: Tensor = torch.fft.fftfreq(size, dtype=like.dtype, device=like.device)
    return cycles * (size / (size - size % 2))
