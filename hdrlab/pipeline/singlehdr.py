"""The chain as one function: from a photograph to an HDR picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response

REQUIRED = ("dequantization", "linearization", "hallucination")
MASK_WIDTH = 0.12


class Nets(Protocol):
    """Nets by the names of `hdrlab.nets.build_net`: a dictionary or an `nn.ModuleDict`."""

    def __getitem__(self, name: str, /) -> nn.Module: ...

    def __contains__(self, name: str, /) -> bool: ...


class NetSetError(ValueError):
    """Nets that do not make a chain."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Every picture of the chain.

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
        """The end of the chain: R where there is one, else A."""
        return self.hdr if self.refined is None else self.refined

    def map_pictures(self, change: Callable[[Tensor], Tensor]) -> Reconstruction:
        """Apply a function to every picture and to the mask; the curve stays."""
        return Reconstruction(
            change(self.dequantized),
            self.curve,
            change(self.linear),
            change(self.alpha),
            change(self.hdr),
            None if self.refined is None else change(self.refined),
        )


def reconstruct(ldr: Tensor, nets: Nets, mask_width: float | None = None) -> Reconstruction:
    """Reconstruct HDR pictures, without padding or resizing.

    Gradients pass; batch norms work in the mode that the nets are in.

    Args:
        ldr: Display-encoded photographs [B, 3, H, W], nominally in [0, 1] and taken as they are; H and W are
            multiples of 32.
        nets: Dequantization, linearization, hallucination and, optionally, refinement.
        mask_width: Ramp of the highlight mask; None: the one the hallucination net was trained with, or 0.12.

    Returns:
        The pictures of all steps.

    Raises:
        NetSetError: A net is missing.
        ValueError: The shape does not fit.

    Source: SingleHDR, section 3; the authors' test-time order.
    """
    require_nets(nets)
    dequantized = dequantize(nets["dequantization"], ldr)
    curve = nets["linearization"](dequantized)
    linear = apply_response(dequantized, curve)
    alpha, hdr = hallucinate(nets["hallucination"], linear, mask_width)
    refined = refine(nets["refinement"], hdr, linear, dequantized) if "refinement" in nets else None
    return Reconstruction(dequantized, curve, linear, alpha, hdr, refined)


def require_nets(nets: Nets) -> None:
    """Refuse nets that do not make a chain.

    Raises:
        NetSetError: Naming the missing nets.
    """
    missing = [name for name in REQUIRED if name not in nets]
    if missing:
        raise NetSetError(f"no {' and no '.join(missing)} net; the chain needs {', '.join(REQUIRED)}")


def dequantize(net: nn.Module, ldr: Tensor) -> Tensor:
    """Return C [B, 3, H, W] in [0, 1], from photographs of that shape."""
    dequantized: Tensor = net(ldr)
    return dequantized.clamp(0, 1)


def hallucinate(net: nn.Module, linear: Tensor, mask_width: float | None = None) -> tuple[Tensor, Tensor]:
    """Return the mask α [B, 1, H, W] and A = B + α · max(residual, 0), from B [B, 3, H, W].

    For a net built with `residual=False` it is A = (1 − α) · B + α · max(output, 0).
    """
    alpha = highlight_mask(linear, _mask_width(net) if mask_width is None else mask_width)
    residual: Tensor = net(linear)
    if getattr(net, "variant", None) == "tf2":  # weights of that code base emit BGR
        residual = residual.flip(1)
    kept = linear if getattr(net, "residual", True) else (1 - alpha) * linear
    return alpha, kept + alpha * F.relu(residual.to(linear.dtype))


def _mask_width(net: nn.Module) -> float:
    trained_with = getattr(net, "options", {}).get("mask_width")
    return MASK_WIDTH if trained_with is None else float(trained_with)


def refine(net: nn.Module, hdr: Tensor, linear: Tensor, dequantized: Tensor) -> Tensor:
    """Return R [B, 3, H, W], from A, B and C of that shape."""
    refined: Tensor = net(torch.cat([hdr, linear, dequantized], dim=1))
    return F.relu(refined).to(hdr.dtype)
