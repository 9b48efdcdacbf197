"""The chain as one function: from a photograph to an HDR image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.errors import WeightsError
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response

REQUIRED = ("dequantization", "linearization", "hallucination")
_MEASURED, _WHITE = 0.6, 0.9
"""A channel below the first is measured, above the second clipped: JPEG and noise move it to and fro."""
_GAIN_SCALE = 1.5


class Nets(Protocol):
    """Nets by the names of `hdrlab.nets.build_net`: a dictionary or an `nn.ModuleDict`."""

    def __getitem__(self, name: str, /) -> nn.Module: ...

    def __contains__(self, name: str, /) -> bool: ...


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Every image of the chain.

    Attributes:
        dequantized: C, display-encoded [B, 3, H, W] in [0, 1].
        curve: Inverse response curve [B, 1024], from 0 to 1.
        linear: B, scene-linear [B, 3, H, W] in [0, 1].
        alpha: Highlight mask [B, 1, H, W] in [0, 1].
        hdr: A, scene-linear [B, 3, H, W], at least 0; 1 = the clipping point.
        refined: R, scene-linear [B, 3, H, W], at least 0; None without a refinement net.
    """

    dequantized: Tensor
    curve: Tensor
    linear: Tensor
    alpha: Tensor
    hdr: Tensor
    refined: Tensor | None

    @property
    def result(self) -> Tensor:
        """The end of the chain, linear [B, 3, H, W]: R where there is one, else A."""
        return self.hdr if self.refined is None else self.refined

    def map_images(self, change: Callable[[Tensor], Tensor]) -> Reconstruction:
        """Apply a function to every image and to the mask; the curve stays."""
        return Reconstruction(
            change(self.dequantized),
            self.curve,
            change(self.linear),
            change(self.alpha),
            change(self.hdr),
            None if self.refined is None else change(self.refined),
        )


def reconstruct(ldr: Tensor, nets: Nets) -> Reconstruction:
    """Reconstruct HDR images, without padding or resizing.

    Gradients pass; batch norms work in the mode that the nets are in.

    Args:
        ldr: Display-encoded photographs [B, 3, H, W], nominally in [0, 1] and taken as they are; H and W are
            multiples of 32.
        nets: Dequantization, linearization, hallucination and, optionally, refinement.

    Returns:
        The images of all steps.

    Raises:
        WeightsError: A net is missing.
        ValueError: The shape does not fit.

    Source: SingleHDR, section 3; the authors' test-time order.
    """
    require_nets(nets)
    dequantized = dequantize(nets["dequantization"], ldr)
    curve = nets["linearization"](dequantized)
    linear = apply_response(dequantized, curve)
    alpha, hdr = hallucinate(nets["hallucination"], linear)
    refined = refine(nets["refinement"], hdr, linear, dequantized) if "refinement" in nets else None
    return Reconstruction(dequantized, curve, linear, alpha, hdr, refined)


def require_nets(nets: Nets) -> None:
    """Refuse nets that do not make a chain.

    Raises:
        WeightsError: Naming the missing nets.
    """
    missing = [name for name in REQUIRED if name not in nets]
    if missing:
        raise WeightsError(f"no {' and no '.join(missing)} net; the chain needs {', '.join(REQUIRED)}")


def dequantize(net: nn.Module, ldr: Tensor) -> Tensor:
    """Return C [B, 3, H, W] in [0, 1], from photographs of that shape."""
    dequantized: Tensor = net(ldr)
    return dequantized.clamp(0, 1)


def hallucinate(net: nn.Module, linear: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask α [B, 1, H, W] and A = B + α · max(residual, 0), from linear B [B, 3, H, W].

    The mask is as wide as the net says (`HallucinationNet.mask_width`). For a net built with
    `residual=False` it is A = (1 − α) · B + α · max(output, 0); for one of preset `compact`, whose output g
    is the logarithm of a gain, A = B · exp(1.5 · w · max(g, 0)), where w rises with α and leaves out channels
    that are far from clipping, see `brighten`.
    """
    alpha = highlight_mask(linear, getattr(net, "mask_width", 0.12))
    if getattr(net, "log_gain", False):
        return highlight(net, linear, net(linear))
    residual: Tensor = net(linear)
    if getattr(net, "variant", None) == "tf2":  # weights of that code base emit BGR
        residual = residual.flip(1)
    kept = linear if getattr(net, "residual", True) else (1 - alpha) * linear
    return alpha, kept + alpha * F.relu(residual.to(linear.dtype))


def highlight(net: nn.Module, linear: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return α [B, 1, H, W] and A of a compact net, as `hallucinate` does, from linear B and its output."""
    alpha = highlight_mask(linear, net.mask_width)  # type: ignore[arg-type]
    return alpha, brighten(linear, alpha, gain, leaky=net.training)


def brighten(
    linear: Tensor, alpha: Tensor, gain: Tensor, *, leaky: bool = False, guide: Tensor | None = None
) -> Tensor:
    """Multiply clipped channels of B [B, 3, H, W] by gains ≥ 1 whose logarithms are given.

    Args:
        linear: B [B, 3, H, W], linear.
        alpha: Its highlight mask [B, 1, H, W] in [0, 1].
        gain: Logarithms over 1.5, in the shape of B; what is below 0 counts as 0.
        leaky: For trainings: a tenth of what is below 0 counts too, or a net might never leave it again.
        guide: What clipping is judged by, linear and of B's shape: B with less noise, whose mask `alpha` then
            is; None: B.
    """
    judged = linear if guide is None else guide
    gain = F.leaky_relu(gain, 0.1) if leaky else F.relu(gain)
    near_white = ((judged - _MEASURED) / (_WHITE - _MEASURED)).clamp(0, 1)
    # Where a sky clips little by little, α alternates with the codes 253 to 255, and with JPEG's ripples: its
    # upper half counts as nearly 1, and single pixels that lag behind all their neighbours follow these;
    # those that are not clipped at all stay.
    weight = torch.minimum(closed((1 - (1 - alpha) ** 3) * near_white), 8 * alpha)
    return linear * torch.exp(_GAIN_SCALE * weight * gain.to(linear.dtype))


def closed(maps: Tensor) -> Tensor:
    """Fill what is darker than all around it in maps [B, C, H, W] of any range: closing by 3×3."""
    highest = F.max_pool2d(maps, 3, stride=1, padding=1)
    return -F.max_pool2d(-highest, 3, stride=1, padding=1)


def refine(net: nn.Module, hdr: Tensor, linear: Tensor, dequantized: Tensor) -> Tensor:
    """Return R [B, 3, H, W], linear and at least 0, from A, B and C of that shape."""
    refined: Tensor = net(torch.cat([hdr, linear, dequantized], dim=1))
    return F.relu(refined).to(hdr.dtype)
