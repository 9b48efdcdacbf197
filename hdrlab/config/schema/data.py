"""The data sets' sections; the files in ``conf/data`` say the same defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hdrlab.config.schema.section import Section, key, missing_files

SYNTH_KEYS = ("jpeg", "ldr", "lin", "hdr", "curve", "inv_curve", "mask")
"""What photographs synthesised from HDR images put into a batch, see `hdrlab.config.registry.stages`."""
REAL_KEYS = ("jpeg", "hdr", "mask")
"""What photographs with their HDR images put into it."""
TONE_KEYS = ("encoded", "high", "bottom", "sdr", "sdr_high", "sdr_bottom", "hdr", "labelled", "mask")
"""What HDR images with their SDR images put into it."""

_SKIP_BAD = "leave out pairs that fail the check instead of stopping"
_MANIFEST = "CSV with columns file and split (train, val, test); role=hdr where present"


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """What every data set has."""

    summary: ClassVar[str] = ""
    """What it is, for the help."""
    slots_of: ClassVar[tuple[str, ...]] = ()
    """Data sets whose published checkpoints a stage on this one starts from, the first that has any."""
    batch_keys: ClassVar[tuple[str, ...]] = ()
    """What it puts into a batch; nothing, if it is for evaluations only."""
    needs_pairs: ClassVar[bool] = False
    """Whether the user brings both sides of a pair; else photographs are synthesised from HDR images."""
    root_holds: ClassVar[str | None] = None
    """What lies in ``data.root``, which must be given and can be prepared; None, if it needs none."""

    name: str = key("the data set's name; chosen with data=NAME")
    val_crop: int | None = key(
        "validate on central squares of this side; null: on whole images", None, least=32, multiple=32
    )
    val_images: int = key("how many images a validation looks at", 16, least=1)
    workers: int = key("loader processes; 0 loads in the main one", 2, least=0, most=256)

    def images(self) -> Mapping[str, str]:
        """Name what a plug-in's data set holds, each with its split: train, val or test."""
        raise NotImplementedError

    def read(self, name: str) -> Any:
        """Return what a plug-in's data set holds under a name; its base class says what that is."""
        raise NotImplementedError

    @property
    def tasks(self) -> tuple[str, ...]:
        """What methods can be compared at on it, the usual first: reconstruct, tonemap."""
        able = {"reconstruct": "jpeg", "tonemap": "sdr"}
        return tuple(task for task, name in able.items() if name in self.batch_keys)

    def input_files(self) -> dict[str, str]:
        """Return the files that it names, by their keys."""
        lists = getattr(self, "lists", None)
        named = {
            "data.curves": getattr(self, "curves", "builtin"),
            "data.manifest": getattr(self, "manifest", None),
            "data.lists.train": lists and lists.train,
            "data.lists.test": lists and lists.test,
            "data.scenes": getattr(self, "scenes", None),
            "data.keep": getattr(self, "keep", None),
        }
        return {name: path for name, path in named.items() if path not in (None, "builtin")}

    def input_folders(self) -> dict[str, str]:
        """Return the folders that it names, by their keys."""
        names = ("root", "unlabelled", "photographs", "references", "hdr", "sdr", "masks")
        return {f"data.{name}": path for name in names if (path := getattr(self, name, None)) is not None}

    def rules(self) -> Iterator[str]:
        """Say which folders and files are not there."""
        for name, folder in self.input_folders().items():
            if not os.path.isdir(folder):
                yield f"{name}={folder}: no such folder"
        yield from missing_files(self.input_files())


@dataclass(frozen=True, kw_only=True)
class SynthConfig(DataConfig):
    """Photographs synthesised from HDR images by the camera model.

    A plug-in's data set of HDR images is a subclass that defines `images` and `read`, which returns an image:
    linear, Rec. 709, float32 [H, W, 3], at least 0.
    """

    batch_keys: ClassVar[tuple[str, ...]] = SYNTH_KEYS

    short_side: int = key("images are resized to this short side in pixels", 512, least=64, multiple=32)
    exposures: int = key("length of the training exposure list, 2^-3 to 2^3", 600, least=1)
    curves: str = key(
        "response curves: builtin, or the path of dorfCurves.txt or emor.txt", "builtin", path=True
    )
    noise: Literal["independent", "authors", "none"] = key(
        "sensor noise; authors: both terms correlated", "independent"
    )
    jpeg_quality: Literal["random", "positional"] = key(
        "random in 90..100, or positional in the batch as the authors", "random"
    )
    resize_filter: Literal["area", "bilinear"] = key(
        "filter that resizes the images; bilinear as the authors", "area"
    )
    camera: Literal["paper", "varied"] = key(
        "paper, SingleHDR's; or varied: scenes drawn evenly, exposures by the share that clips, light, "
        "noise, resizing, sharpening, JPEG of 70 to 100 in two chroma samplings",
        "paper",
    )

    def rules(self) -> Iterator[str]:
        """Say what is not there, or too large for the images."""
        if self.val_crop is not None and self.val_crop > self.short_side:
            yield f"data.val_crop={self.val_crop}: must be at most data.short_side={self.short_side}"
        yield from super().rules()


@dataclass(frozen=True, kw_only=True)
class TinyConfig(SynthConfig):
    """HDR scenes that the project renders itself; for the tone-mapping stages with SDR images of them."""

    summary: ClassVar[str] = "scenes the project renders itself (the default)"
    batch_keys: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(SYNTH_KEYS + TONE_KEYS))

    name: Literal["tiny"] = key("the data set's name", "tiny")
    short_side: int = key("images are resized to this short side in pixels", 384, least=64, multiple=32)
    val_crop: int | None = key(
        "validate on central squares of this side; null: on whole images", 256, least=32, multiple=32
    )
    val_images: int = key("how many images a validation looks at", 8, least=1)
    workers: int = key("loader processes; 0 loads in the main one", 0, least=0, most=256)


@dataclass(frozen=True, kw_only=True)
class PreparableConfig(DataConfig):
    """A folder of the user's images, which can be prepared."""

    root: str | None = key("folder of images, or one that hdrlab.prepare wrote", None, path=True)
    manifest: str | None = key(_MANIFEST, None, path=True)
    skip_bad: bool = key("leave out images that fail the check instead of stopping", False)


@dataclass(frozen=True, kw_only=True)
class ListsConfig(Section):
    """Published split lists: text files, one relative path a line."""

    train: str = key("list of training images", path=True)
    test: str = key("list of test images", path=True)


@dataclass(frozen=True, kw_only=True)
class HdrSynthConfig(SynthConfig, PreparableConfig):
    """A folder of HDR images, prepared or not."""

    summary: ClassVar[str] = "a folder of HDR images: data.root=FOLDER"
    root_holds: ClassVar[str | None] = "HDR images (.hdr, .exr, .tif, .pfm)"

    name: Literal["hdr_synth"] = key("the data set's name", "hdr_synth")
    root: str | None = key("folder of HDR images, or one that hdrlab.prepare wrote", None, path=True)
    lists: ListsConfig | None = key("data.lists.train and data.lists.test, instead of a manifest", None)

    def rules(self) -> Iterator[str]:
        """Say what is not there, or given twice."""
        if self.manifest is not None and self.lists is not None:
            yield "data.manifest and data.lists: give one of them, not both"
        yield from super().rules()


@dataclass(frozen=True, kw_only=True)
class RealPairsConfig(DataConfig):
    """Photographs with their HDR images.

    A plug-in's data set of such pairs is a subclass that defines `images` and `read`, which returns both: the
    photograph, uint8 [H, W, 3], display-encoded RGB, and its HDR image, linear, Rec. 709, float32 of that
    shape, at least 0, in any unit.
    """

    slots_of: ClassVar[tuple[str, ...]] = ("hdr_synth", "tiny")
    batch_keys: ClassVar[tuple[str, ...]] = REAL_KEYS
    needs_pairs: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class HdrRealConfig(RealPairsConfig, PreparableConfig):
    """A folder of photographs with their HDR images, prepared or not."""

    summary: ClassVar[str] = "photographs with HDR images: data.root=FOLDER"
    root_holds: ClassVar[str | None] = "pairs"

    name: Literal["hdr_real"] = key("the data set's name", "hdr_real")
    root: str | None = key(
        "folder of pairs (data/hdr_real.md), or one that hdrlab.prepare wrote", None, path=True
    )
    manifest: str | None = key(
        "CSV with columns file (the photograph) and split (train, val, test)", None, path=True
    )
    pairing: Literal["auto", "stem", "order"] = key(
        "LDR_in with HDR_gt; auto: by stem if one is in both, else by sorted order", "auto"
    )
    exposures: Literal["ldr", "all"] = key(
        "of a stack: ldr.jpg, or all of times.csv with the HDR image scaled to each", "ldr"
    )
    skip_bad: bool = key(_SKIP_BAD, False)


@dataclass(frozen=True, kw_only=True)
class TonePairsConfig(DataConfig):
    """HDR images with their tone-mapped SDR images.

    A plug-in's data set of such pairs is a subclass that defines `images` and `read`, which returns both: the
    HDR image, linear, Rec. 709, float32 [H, W, 3], at least 0, in any unit, and its SDR image, uint8 of that
    shape, display-encoded RGB; None in its place where there is none.
    """

    batch_keys: ClassVar[tuple[str, ...]] = TONE_KEYS
    needs_pairs: ClassVar[bool] = True

    window_least: float = key(
        "least share of each side that a training window takes", 0.1, above=0, most=1, later=True
    )
    window_most: float = key(
        "greatest share; near 1, the nets see as much of a scene as when they are used",
        0.6,
        above=0,
        most=1,
        later=True,
    )

    def rules(self) -> Iterator[str]:
        """Say which keys do not fit together."""
        yield from super().rules()
        if self.window_most < self.window_least:
            yield f"data.window_most={self.window_most}: below window_least={self.window_least}"


@dataclass(frozen=True, kw_only=True)
class TmoPairsConfig(TonePairsConfig, PreparableConfig):
    """A folder of HDR images with their tone-mapped SDR images, prepared or not."""

    summary: ClassVar[str] = "HDR images with SDR images: data.root=FOLDER"
    root_holds: ClassVar[str | None] = "pairs"

    name: Literal["tmo_pairs"] = key("the data set's name", "tmo_pairs")
    root: str | None = key(
        "folder of pairs (data/tmo_pairs.md), or one that hdrlab.prepare wrote", None, path=True
    )
    make_sdr: bool = key(
        "tone-map HDR images that have no SDR image: the best classical operator by TMQI", False
    )
    unlabelled: str | None = key(
        "folder of HDR images without SDR images, mixed into the training", None, path=True
    )
    skip_bad: bool = key(_SKIP_BAD, False)


@dataclass(frozen=True, kw_only=True)
class FolderConfig(DataConfig):
    """Images in folders, as they lie there, for evaluations: no index, no splits."""

    summary: ClassVar[str] = (
        "pairs as they lie in folders: data.photographs=FOLDER data.references=FOLDER, or data.hdr=FOLDER"
    )
    needs_pairs: ClassVar[bool] = True

    name: Literal["folder"] = key("the data set's name", "folder")
    workers: int = key("loader processes; 0 loads in the main one", 0, least=0, most=256)
    root: str | None = key(
        "folder with LDR_in and HDR_gt, or with hdr and perhaps sdr; or name these below", None, path=True
    )
    photographs: str | None = key(
        "folder of photographs (8 bits: .jpg, .png), the input of reconstructions", None, path=True
    )
    references: str | None = key("folder of their HDR images, of the same names", None, path=True)
    hdr: str | None = key("folder of HDR images, the input of tone mapping", None, path=True)
    sdr: str | None = key("folder of SDR images of the same names, to compare with", None, path=True)
    pairing: Literal["auto", "stem", "order"] = key(
        "pairs by their names without suffix, or by sorted order; auto: names if one is on both sides", "auto"
    )
    scenes: str | None = key("CSV with columns file and scene: what images show the same", None, path=True)
    masks: str | None = key(
        "folder of masks, of the photographs' names: white pixels are a further region", None, path=True
    )
    keep: str | None = key(
        "published mask: CSV of running number and 0 or 1; rows with 0 count apart", None, path=True
    )
    skip_bad: bool = key(_SKIP_BAD, False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the folders are for."""
        able = {"reconstruct": self.photographs, "tonemap": self.hdr}
        return tuple(task for task, folder in able.items() if folder)

    def rules(self) -> Iterator[str]:
        """Say what is not there, or lacks its other side."""
        yield from super().rules()
        if self.root is None:
            if not (self.photographs or self.references or self.hdr):
                yield (
                    "data.root: not set; a folder with LDR_in and HDR_gt, or with hdr; or name the folders: "
                    "data.photographs=FOLDER data.references=FOLDER, for tone mapping data.hdr=FOLDER"
                )
            for one, other in (("photographs", "references"), ("references", "photographs"), ("sdr", "hdr")):
                if getattr(self, one) and not getattr(self, other):
                    yield f"data.{one}: needs data.{other}=FOLDER beside it"


PLUGIN_BASES = (SynthConfig, RealPairsConfig, TonePairsConfig)
"""What a plug-in's data set is a subclass of, by what it holds."""
