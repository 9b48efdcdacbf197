"""Makes `imageio` read and write .exr, .hdr and .pfm as they are: float32, linear, bottom-up rows turned.

imageio's own choices for these suffixes give 8-bit pixels or want a download.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from imageio.config import FileExtension, PluginConfig, extension_list, known_extensions, known_plugins
from imageio.core.request import InitializationError, IOMode, Request
from imageio.core.v3_plugin_api import ImageProperties, PluginV3
from numpy.typing import ArrayLike, NDArray

from hdrlab.errors import ImageError
from hdrlab.io.files import probe_image, read_image, write_image

_NAME = "hdrlab"
_SUFFIXES = (".exr", ".hdr", ".pfm")


def register() -> None:
    """Puts this plugin first for its suffixes; other formats keep theirs."""
    known_plugins[_NAME] = PluginConfig(name=_NAME, class_name="HdrPlugin", module_name=__name__)
    for suffix in _SUFFIXES:
        entries = known_extensions.setdefault(suffix, [])
        if any(_NAME in entry.priority for entry in entries):
            continue
        extension = FileExtension(name="HDR image", extension=suffix, priority=[_NAME])
        entries.insert(0, extension)
        extension_list.insert(0, extension)


class HdrPlugin(PluginV3):  # type: ignore[misc]
    """One linear image per file; keyword arguments go to `read_image` and `write_image`."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        if request.extension not in _SUFFIXES:
            raise InitializationError(f"{_NAME} takes {', '.join(_SUFFIXES)}")
        self._path = Path(request.get_local_filename())
        if request.mode.io_mode == IOMode.read and not self._is_linear():
            raise InitializationError(f"{self._path} holds no linear image")

    def read(self, *, index: Any = 0, **options: Any) -> NDArray[np.float32]:
        """Returns [H, W, 3] float32; [1, H, W, 3] for `index=...`.

        Raises:
            ValueError: There is but one image, and another is asked for.
            ValueError: There is but one image, and another is asked for.
        """
        _check_index(index)
        pixels = read_image(self._path, **options).pixels
        return pixels[None] if index is ... else pixels

    def iter(self, **options: Any) -> Iterator[NDArray[np.float32]]:
        """Yield the one image [H, W, 3], linear float32."""
        yield self.read(**options)

    def write(self, ndimage: ArrayLike, **options: Any) -> bytes | None:
        """Writes [H, W, 3], [H, W, 1] or [H, W] floats; returns the file's bytes for the target `<bytes>`."""
        write_image(self._path, ndimage, **options)
        self.request.finish()
        result: bytes | None = self.request.get_result()
        return result

    def properties(self, index: Any = 0) -> ImageProperties:
        """Shape and type as `read` returns them, from the header alone."""
        _check_index(index)
        info = probe_image(self._path)
        shape: tuple[int, ...] = (info.height, info.width, 3)
        if index is ...:
            return ImageProperties((1, *shape), np.dtype(np.float32), n_images=1, is_batch=True)
        return ImageProperties(shape, np.dtype(np.float32))

    def metadata(self, index: Any = 0, exclude_applied: bool = True) -> dict[str, Any]:
        """Header entries and reading notes; EXPOSURE and COLORCORR count as applied."""
        _check_index(index)
        applied = {"EXPOSURE", "COLORCORR"} if exclude_applied else set()
        entries = read_image(self._path, sanitize=True).metadata
        return {key: value for key, value in entries.items() if key not in applied}

    def _is_linear(self) -> bool:
        try:
            return probe_image(self._path).domain == "linear"
        except ImageError:
            return self._path.is_file()  # a damaged file is ours: read() says what is wrong


def _check_index(index: Any) -> None:
    if index not in (0, None, ...):
        raise ValueError(f"index {index!r}: these formats hold one image, index 0")
