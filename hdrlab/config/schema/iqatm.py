"""Sections of IQATM's stages: tone mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from hdrlab.config.schema.section import Section, key
from hdrlab.config.schema.stage import (
    OWN_CHECKPOINT,
    Init,
    Loss,
    PerceptualConfig,
    StageConfig,
    batch_size_key,
    lr_key,
    max_steps_key,
    patch_key,
    weight_key,
)


@dataclass(frozen=True, kw_only=True)
class TmoBottomInit(Init):
    """What the bottom stage starts from, instead of fresh weights."""

    tmo_bottom: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class TmoHighInit(Init):
    """What the high stage starts from, instead of fresh weights."""

    tmo_high: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class TmoFtInit(TmoBottomInit, TmoHighInit):
    """What the merging stage starts from, instead of the published checkpoints."""

    tmo_ft: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class TonePerceptualConfig(PerceptualConfig):
    """The frozen VGG-16 behind a tone-mapping stage's perceptual loss."""

    input: Literal["weights", "raw"] = key(
        "weights prepares images as the weights want; raw feeds [0, 1] as the authors", "weights"
    )


@dataclass(frozen=True, kw_only=True)
class ToneConfig(Section):
    """How the tone-mapping nets see an image: its encoding, and the two layers it is split into."""

    SHOWN: ClassVar[tuple[str, ...]] = ("stretch", "colour", "saturation", "contrast", "local_contrast")
    """Keys of how what they make is shown."""

    domain: Literal["gamma", "linear", "log", "adaptive"] = key(
        "encoding of the HDR image; linear also linearises the SDR image; log as DRLTM; adaptive: "
        "Reinhard's curve about the log-average",
        "gamma",
    )
    pyramid: Literal["bilateral", "gaussian"] = key("what splits an image; gaussian as DRLTM", "bilateral")
    sigma_color: float = key("colour deviation of the bilateral filter, on values in [0, 1]", 75.0, above=0)
    fuse_middle: bool = key("add the bands between the two layers to the detail, as DRLTM", False)
    sdr_range: Literal["minmax", "full"] = key(
        "of SDR images: minmax stretches each to [0, 1] as the authors; full keeps 0..255 over 255", "minmax"
    )
    stretch: Literal["minmax", "percentile", "none"] = key(
        "of the nets' output where it is shown: minmax as the authors", "minmax", later=True
    )
    colour: Literal["nets", "input"] = key(
        "nets, or input: the nets give the luminance only, the HDR image the chromaticity", "nets", later=True
    )
    saturation: float = key(
        "exponent of the channels' ratios to the luminance with colour=input", 1.0, least=0, later=True
    )
    contrast: float = key(
        "exponent of the luminance about middle grey with colour=input", 1.0, above=0, later=True
    )
    local_contrast: float = key(
        "mean deviation of the luma in blocks, in (0, 1), for which that exponent is chosen image by image; "
        "0: contrast",
        0.0,
        least=0,
        most=0.5,
        later=True,
    )
    level: float = key(
        "mean of the encoded luminance for which domain=adaptive exposes an image; 0: its log-average at "
        "middle grey",
        0.0,
        least=0,
        most=0.9,
    )


@dataclass(frozen=True, kw_only=True)
class ToneStageConfig(StageConfig):
    """What the tone-mapping stages share."""

    epochs: int | None = key(
        "passes over the training samples, 16 an image, instead of max_steps", None, least=1
    )
    lr: float = lr_key(3e-4)
    tone: ToneConfig = ToneConfig()
    perceptual: TonePerceptualConfig = TonePerceptualConfig()
    gamut: Literal["709", "nikon_d2x", "601", "2020", "p3", "alexa"] = key(
        "primaries of the HDR images, for the hue term", "709"
    )
    scale255: bool = key(
        "TMQI term: its constant on the scale of 8-bit values, where structure counts", False
    )


@dataclass(frozen=True, kw_only=True)
class ToneLoss(Loss):
    """Weights of the loss terms that all tone-mapping stages have."""

    l1: float = weight_key("absolute error of what the stage makes", 0.6)
    perceptual: float = weight_key("absolute error of VGG-16 features; 0 needs no VGG", 0.3)


@dataclass(frozen=True, kw_only=True)
class TmoBottomLoss(ToneLoss):
    """Weights of the bottom stage's loss terms."""

    structure: float = weight_key("structure of the layer given, in TMQI's form; needs no label", 0.15)
    hue: float = weight_key("hue of the layer given; needs no label", 0.15)
    delta_e: float = weight_key("colour difference ΔE-ITP", 0.2)


@dataclass(frozen=True, kw_only=True)
class TmoBottomConfig(ToneStageConfig):
    """The global branch of tone mapping, on images of an eighth of the size."""

    batch_keys: ClassVar[tuple[str, ...]] = ("bottom", "sdr_bottom", "labelled", "mask")
    least_patch: ClassVar[int] = (
        96  # a window of 11 pixels must fit into the bottom layer, an eighth as large
    )

    name: Literal["tmo_bottom"] = key("the stage's name", "tmo_bottom")
    max_steps: int = max_steps_key(97_600)
    batch_size: int = batch_size_key(32)
    patch: int = patch_key(512)
    init: TmoBottomInit = TmoBottomInit()
    loss: TmoBottomLoss = TmoBottomLoss()


@dataclass(frozen=True, kw_only=True)
class TmoHighLoss(ToneLoss):
    """Weights of the high stage's loss terms."""

    structure: float = weight_key(
        "structure of the layer given over five scales, in TMQI's form; needs no label", 0.2
    )
    ms_ssim: float = weight_key("SSIM over five scales", 0.2)


@dataclass(frozen=True, kw_only=True)
class TmoHighConfig(ToneStageConfig):
    """The local branch of tone mapping, on detail."""

    batch_keys: ClassVar[tuple[str, ...]] = ("high", "sdr_high", "labelled", "mask")
    least_patch: ClassVar[int] = 192  # a window of 11 pixels must fit into the fifth scale

    name: Literal["tmo_high"] = key("the stage's name", "tmo_high")
    max_steps: int = max_steps_key(170_800)
    batch_size: int = batch_size_key(4)
    patch: int = patch_key(512)
    init: TmoHighInit = TmoHighInit()
    loss: TmoHighLoss = TmoHighLoss()


@dataclass(frozen=True, kw_only=True)
class TmoFtLoss(ToneLoss):
    """Weights of the merging stage's loss terms."""

    ssim: float = weight_key("SSIM", 0.1)
    delta_e: float = weight_key("colour difference ΔE-ITP", 0.2)
    hue: float = weight_key("hue of the HDR image; needs no label", 0.15)
    structure: float = weight_key(
        "structure of the HDR image over five scales, in TMQI's form; needs no label", 0.1
    )
    quality: float = key(
        "one minus TMQI itself, structure and naturalness; needs no label", 0.0, least=0, later=True
    )


@dataclass(frozen=True, kw_only=True)
class TmoFtConfig(ToneStageConfig):
    """All three nets of tone mapping together."""

    batch_keys: ClassVar[tuple[str, ...]] = ("encoded", "high", "bottom", "sdr", "hdr", "labelled", "mask")
    least_patch: ClassVar[int] = 192

    name: Literal["tmo_ft"] = key("the stage's name", "tmo_ft")
    max_steps: int = max_steps_key(244_000)
    lr: float = lr_key(1.5e-3)
    init: TmoFtInit = TmoFtInit()
    start: Literal["slots", "nothing"] = key(
        "slots: from the published tmo_bottom and tmo_high; nothing: from random nets, all at once", "slots"
    )
    high: bool = key("whether detail goes through N_L; false adds it as it is", True, later=True)
    merge: bool = key("whether N_ft makes the image; false: the sum of both layers is it", True, later=True)
    skip: bool = key(
        "whether N_ft adds to the sum of both layers instead of making the image anew",
        False,
        later=True,
    )
    loss: TmoFtLoss = TmoFtLoss()
