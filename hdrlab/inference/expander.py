"""HDR images without nets: a response curve for all, and a classical expansion of the highlights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.config.registry.tables import ENDS, EXPANSIONS, METHODS, NETS_METHOD, expansion_of
from hdrlab.errors import OperatorError
from hdrlab.inference.hdr_files import Developed, developed, open_photograph
from hdrlab.ops.colour import luminance, srgb_decode
from hdrlab.ops.panorama import wrap_twice
from hdrlab.ops.response import average_inverse
from hdrlab.tonemapping.inverse import require_image

if TYPE_CHECKING:
    from hdrlab.inference.arrays import ImageLike


class Expander:
    """Makes HDR images of photographs without nets: ``Expander("average")(photo)``.

    Args:
        method: A name that ``reconstruct method=`` takes, but ``nets``. ``average`` undoes the mean of EMoR's
            responses and is better than every expansion but in clipped pixels; ``average_kovaleski`` lifts
            those.
        settings: Keywords of the expansion's function by their names, for example ``{"boost": 6}``.

    Raises:
        OperatorError: There is no such method or setting.

    Attributes:
        fingerprint: What decides about the result.
    """

    def __init__(self, method: str, settings: Mapping[str, Any] | None = None) -> None:
        if method not in METHODS or method == NETS_METHOD:
            raise OperatorError(f"method {method!r}: must be {' | '.join(METHODS)}")
        self.method, self.settings = method, dict(settings or {})
        name = expansion_of(method)
        self.expansion = EXPANSIONS[name] if name else None
        allowed = self.expansion_parameters
        if unknown := sorted(self.settings.keys() - allowed.keys()):
            has = f"it has {', '.join(allowed)}" if allowed else "it has no settings"
            raise OperatorError(f"{method} has no {' and no '.join(unknown)}; {has}")
        version = EXPANSIONS.version(name) if name else ""
        self.fingerprint = f"{method} {sorted(self.settings.items())}{version}"

    @property
    def expansion_parameters(self) -> Mapping[str, Any]:
        """The settings that there are, with their defaults."""
        return self.expansion.defaults if self.expansion else {}

    def __call__(self, photo: ImageLike) -> NDArray[np.float32]:
        """Expand a photograph.

        Args:
            photo: As for `hdrlab.Reconstructor`.

        Returns:
            Scene-linear float32 [H, W, 3], Rec. 709, at least 0; 1 = the photograph's clipping point.

        Raises:
            ImageError: It is no photograph.
        """
        return self.develop(photo).hdr

    def develop(
        self,
        photo: ImageLike,
        progress: Callable[[int, int], None] | None = None,
        *,
        wide: bool = False,
        panorama: bool = False,
    ) -> Developed:
        """Expand a photograph, and keep what it was made by; one in PQ or HLG is taken as it is.

        Args:
            photo: As for a call.
            progress: Called once, when it is done.
            wide: Whether to keep a file's colours outside Rec. 709.
            panorama: Whether its left and right edge are neighbours; takes twice the memory.

        Raises:
            ImageError: As for a call.
        """
        photograph = open_photograph(photo, wide=wide)
        if isinstance(photograph, Developed):
            return photograph
        samples = photograph.samples.clip(0, 1)
        levels = np.linspace(0, 1, 1024, dtype=np.float32)
        curve: NDArray[np.float32] = srgb_decode(levels)
        if self.method in ENDS:
            curve = average_inverse(torch.empty(1, len(levels)))[0].numpy()
            hdr = np.interp(samples, levels, curve).astype(np.float32)
            if self.expansion:
                # The operators know a photograph as sRGB: so they see what is overexposed, whatever its
                # response.
                before, after = luminance(srgb_decode(samples)), luminance(self._expand(samples, panorama))
                hdr *= np.divide(after, before, out=np.ones_like(before), where=before > 0)[..., None]
        else:
            hdr = self._expand(samples, panorama)
        if progress:
            progress(1, 1)
        return developed(photograph, hdr, curve, {"method": self.method, **self.settings})

    def _expand(self, samples: NDArray[np.float32], panorama: bool) -> NDArray[np.float32]:
        """Return what the expansion makes of a photograph, taken as sRGB, [H, W, 3].

        Raises:
            OperatorError: It gives no image of this size, or values that are none.
        """
        assert self.expansion is not None
        own = slice(None)
        if panorama:
            samples, own = wrap_twice(samples)
        made = np.asarray(self.expansion.apply(srgb_decode(samples), **self.settings), np.float32)
        require_image(self.method, made, samples.shape)
        return made[:, own]
