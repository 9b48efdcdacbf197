"""How small a picture a metric can judge."""

from __future__ import annotations

from torch import Tensor


class PictureSizeError(ValueError):
    """A picture is too small for a metric; the message names both sizes."""


def require_side(pictures: Tensor, least: int, metric: str) -> None:
    """Refuse pictures whose shorter side is too short.

    Args:
        pictures: Of shape [..., H, W].
        least: The shortest side allowed.
        metric: Name for the message.

    Raises:
        PictureSizeError: A side is too short.
    """
    height, width = pictures.shape[-2:]
    if min(height, width) < least:
        raise PictureSizeError(
            f"{metric} needs pictures of at least {least}×{least} pixels, not {height}×{width}: "
            f"leave them out or judge larger ones"
        )
