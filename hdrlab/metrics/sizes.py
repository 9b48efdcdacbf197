"""How small an image a metric can judge."""

from __future__ import annotations

from torch import Tensor

from hdrlab.errors import ImageSizeError


def require_side(images: Tensor, least: int, metric: str) -> None:
    """Refuse images whose shorter side is too short.

    Args:
        images: Of shape [..., H, W].
        least: The shortest side allowed.
        metric: Name for the message.

    Raises:
        ImageSizeError: A side is too short.
    """
    height, width = images.shape[-2:]
    if min(height, width) < least:
        raise ImageSizeError(
            f"{metric} needs images of at least {least}×{least} pixels, not {height}×{width}: "
            f"leave them out or judge larger ones"
        )
