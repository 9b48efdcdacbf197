"""From a data section of the configuration to its index, prepared on first use. Imports no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.schema import HdrSynthConfig, SynthConfig
from hdrlab.datasets import scenes
from hdrlab.datasets.index import Index, Progress, Source, build_index, open_index
from hdrlab.datasets.splits import DataError, Listed, list_pictures


class Rendered(Source):
    """The scenes the project renders itself, read as if they were files."""

    def __init__(self) -> None:
        super().__init__(Path(scenes.__file__).parent)
        code = b"".join(path.read_bytes() for path in sorted(self.root.glob("*.py")))
        self.version = hashlib.sha256(code).hexdigest()[:16]

    def listed(self) -> list[Listed]:
        """List all scenes of all splits; each is a scene of its own."""
        return [
            Listed(f"{split}/{index}/{name}", split, f"{split}/{name}")
            for split, size in scenes.SPLIT_SIZES.items()
            for index in range(size)
            for name in [scenes.scene_name(split, index)]
        ]

    def stamp(self, listed: Listed) -> str:
        """Return the version of the renderer's code."""
        return self.version

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Render a scene [H, W, 3]."""
        split, index, _ = listed.file.split("/")
        pixels = scenes.render_scene(split, int(index))
        return pixels, hashlib.sha256(pixels.tobytes()).hexdigest()


def open_data(data: SynthConfig, cache: Path, progress: Progress | None = None) -> Index:
    """Open the index of a data set, making it on first use.

    An unprepared folder is never written to: its index and fast files go below ``cache``.

    Args:
        data: The data section.
        cache: Folder for what is made on first use.
        progress: Called with (done, all, file) while pictures are read.

    Raises:
        DataError: With every problem found.
    """
    if not isinstance(data, HdrSynthConfig):
        source = Rendered()
        folder = cache / f"tiny-{data.short_side}-{source.version}"
        index, _ = _made(source.listed(), source, folder, data, progress)
        return index
    assert data.root is not None
    root = Path(data.root)
    if (root / "index.json").is_file():
        index = open_index(root)
        _check_prepared(index, data)
    else:
        index, _ = _made(listed_of(data, root), Source(root), cache / _cache_name(root), data, progress)
    empty = [split for split in ("train", "val") if not index.split(split)]
    if empty:
        raise DataError([f"data.root={root}: no usable picture in the split {' or '.join(empty)}"])
    return index


def listed_of(data: HdrSynthConfig, root: Path) -> list[Listed]:
    """List the pictures of a folder as the data section says: by manifest, by lists, or by name.

    Raises:
        DataError: With every problem found.
    """
    lists = (Path(data.lists.train), Path(data.lists.test)) if data.lists else None
    return list_pictures(root, Path(data.manifest) if data.manifest else None, lists)


def _made(
    listed: list[Listed], source: Source, folder: Path, data: SynthConfig, progress: Progress | None
) -> tuple[Index, object]:
    return build_index(
        listed,
        source,
        folder,
        short_side=data.short_side,
        resize_filter=data.resize_filter,
        skip_bad=getattr(data, "skip_bad", False),
        progress=progress,
    )


def _cache_name(root: Path) -> str:
    place = str(root.resolve())
    return f"{root.resolve().name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def _check_prepared(index: Index, data: SynthConfig) -> None:
    wanted = {"short_side": data.short_side, "resize_filter": data.resize_filter}
    wrong = [
        f"data.{name}={value}: {index.folder} was prepared with {index.settings[name]}; prepare it again"
        for name, value in wanted.items()
        if index.settings[name] != value
    ]
    if getattr(data, "manifest", None) or getattr(data, "lists", None):
        wrong.append(f"data.manifest, data.lists: {index.folder} is prepared and has its splits already")
    if wrong:
        raise DataError(wrong)
