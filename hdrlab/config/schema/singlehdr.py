"""Sections of SingleHDR's stages: from a single photograph to HDR."""

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
    lr_key,
    max_steps_key,
    weight_key,
)

Feature = Literal["rgb", "edges", "histograms"]


@dataclass(frozen=True, kw_only=True)
class DeqInit(Init):
    """What dequantization starts from, instead of fresh weights."""

    deq: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class LinInit(Init):
    """What linearization starts from, instead of fresh weights."""

    lin: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class HalInit(Init):
    """What hallucination starts from, instead of fresh weights."""

    hal: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class JointInit(DeqInit, LinInit, HalInit):
    """What joint training starts from, instead of the published checkpoints."""

    joint: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class RealFinetuneInit(JointInit):
    """What finetuning starts from, instead of the published checkpoints."""

    real_finetune: str | None = key(OWN_CHECKPOINT, None, path=True)


@dataclass(frozen=True, kw_only=True)
class DeqLoss(Loss):
    """Weights of the dequantization stage's loss terms."""

    l2: float = weight_key("squared error of C against the unquantised L", 1.0)


@dataclass(frozen=True, kw_only=True)
class DeqConfig(StageConfig):
    """Dequantization: undo 8 bits and JPEG."""

    batch_keys: ClassVar[tuple[str, ...]] = ("jpeg", "ldr", "mask")

    name: Literal["deq"] = key("the stage's name", "deq")
    init: DeqInit = DeqInit()
    loss: DeqLoss = DeqLoss()


@dataclass(frozen=True, kw_only=True)
class LinNetConfig(Section):
    """The linearization net, and what the paper's ablation takes from it."""

    basis: str = key(
        "inverse response basis: builtin, or the path of EMoR's invemor.txt", "builtin", path=True
    )
    bn_momentum: float = key(
        "momentum of linearization's batch norm, in its running averages", 0.001, above=0, most=1
    )
    features: tuple[Feature, ...] = key(
        "what linearization sees of an image", ("rgb", "edges", "histograms"), later=True
    )
    monotone: bool = key("whether the inverse response curve is made monotone", True, later=True)


@dataclass(frozen=True, kw_only=True)
class HalNetConfig(Section):
    """The hallucination net and its loss's VGG-16, and what the paper's ablation takes from the net."""

    mask_width: float = key("width of the highlight mask's ramp below 1", 0.12, above=0, most=1)
    upsampling: Literal["resize", "transposed"] = key(
        "hallucination's decoder: resize, then a convolution; or transposed convolutions",
        "resize",
        later=True,
    )
    residual: bool = key(
        "whether hallucination adds to clipped pixels; false: it replaces them", True, later=True
    )
    perceptual: PerceptualConfig = PerceptualConfig()


@dataclass(frozen=True, kw_only=True)
class LinLoss(Loss):
    """Weights of the linearization stage's loss terms."""

    l2: float = weight_key("squared error of the linear image B", 1.0)
    curve: float = weight_key("squared error of the inverse response curve", 0.1)
    pu21: float = weight_key("PU21-PSNR of B in dB, aligned, as a loss", 0.0)
    log: float = weight_key("squared error of the curve's logarithm at the image's levels, aligned", 0.0)


@dataclass(frozen=True, kw_only=True)
class LinConfig(LinNetConfig, StageConfig):
    """Linearization: estimate and undo the camera's response curve."""

    batch_keys: ClassVar[tuple[str, ...]] = ("jpeg", "ldr", "lin", "inv_curve", "mask")

    name: Literal["lin"] = key("the stage's name", "lin")
    init: LinInit = LinInit()
    input: Literal["ldr", "jpeg"] = key(
        "what the net sees: ldr, the clean L as the authors; or jpeg, the 8-bit I", "ldr"
    )
    curve_reduction: Literal["per_sample", "authors_broadcast"] = key(
        "authors_broadcast: the reference's cross-sample accident", "per_sample"
    )
    loss: LinLoss = LinLoss()


@dataclass(frozen=True, kw_only=True)
class HalLoss(Loss):
    """Weights of the hallucination stage's loss terms."""

    log_l1: float = weight_key("absolute error of the log-encoded HDR image", 1.0)
    perceptual: float = weight_key("absolute error of VGG-16 features; 0 needs no VGG", 0.001)
    tv: float = weight_key("total variation of the log-encoded result", 0.1)
    highlights: float = weight_key("Huber error of the logarithm in clipped pixels, with its gradients", 0.0)


@dataclass(frozen=True, kw_only=True)
class HalConfig(HalNetConfig, StageConfig):
    """Hallucination: restore what the sensor clipped."""

    batch_keys: ClassVar[tuple[str, ...]] = ("jpeg", "lin", "hdr", "inv_curve", "mask")

    name: Literal["hal"] = key("the stage's name", "hal")
    init: HalInit = HalInit()
    input: Literal["lin", "jpeg"] = key(
        "what the net sees: lin, the clean H_c as the authors; or jpeg, the photograph I linearised by a "
        "curve between the true inverse and the average camera's",
        "lin",
    )
    encoder_weights: str | None = key(
        "VGG-16 weights the encoder starts from (the paper: places365)", None, path=True
    )
    loss: HalLoss = HalLoss()


@dataclass(frozen=True, kw_only=True)
class JointLoss(Loss):
    """Weights of the joint stage's loss terms."""

    deq: float = weight_key("squared error of C against the unquantised L", 1.0)
    lin: float = weight_key("squared error of the linear image B", 10.0)
    curve: float = weight_key("squared error of the inverse response curve", 1.0)
    log_l1: float = weight_key("absolute error of the log-encoded HDR image A", 1.0)
    perceptual: float = weight_key("absolute error of VGG-16 features of A; 0 needs no VGG", 0.001)
    tv: float = weight_key("total variation of the log-encoded A", 0.1)
    highlights: float = weight_key("error of A's logarithm in clipped pixels, and of its changes", 0.0)
    pu21: float = weight_key("PU21-PSNR of A in dB, aligned, as a loss: it sees the response", 0.0)


@dataclass(frozen=True, kw_only=True)
class ChainConfig(LinNetConfig, HalNetConfig, StageConfig):
    """What stages of the whole chain share."""

    max_steps: int = max_steps_key(100_000)
    lr: float = lr_key(1e-5)


@dataclass(frozen=True, kw_only=True)
class JointConfig(ChainConfig):
    """Joint training: the three nets together, end to end."""

    batch_keys: ClassVar[tuple[str, ...]] = ("jpeg", "ldr", "lin", "hdr", "inv_curve", "mask")

    name: Literal["joint"] = key("the stage's name", "joint")
    init: JointInit = JointInit()
    mode: Literal["chained", "teacher_forcing"] = key(
        "chained, each net on the one before; or teacher_forcing, each on its true input", "chained"
    )
    loss: JointLoss = JointLoss()


@dataclass(frozen=True, kw_only=True)
class RealFinetuneLoss(Loss):
    """Weights of the finetuning stage's loss terms."""

    log_l1: float = weight_key("absolute error of the log-encoded, scaled result R", 1.0)
    perceptual: float = weight_key("absolute error of VGG-16 features of R; 0 needs no VGG", 0.0)
    tv: float = weight_key("total variation of the log-encoded R", 0.0)


@dataclass(frozen=True, kw_only=True)
class RealFinetuneConfig(ChainConfig):
    """Finetuning on real pairs, with the refinement net."""

    batch_keys: ClassVar[tuple[str, ...]] = ("jpeg", "hdr", "mask")

    name: Literal["real_finetune"] = key("the stage's name", "real_finetune")
    init: RealFinetuneInit = RealFinetuneInit()
    start: Literal["slots", "parts"] = key(
        "slots: from the published joint, else deq, lin and hal; parts: from these three in any case",
        "slots",
        later=True,
    )
    normalise: Literal["mean", "aligned"] = key(
        "how pairs come to one scale: mean as the paper, or aligned on unclipped pixels", "mean"
    )
    batch_norm: Literal["frozen", "train"] = key(
        "frozen keeps the statistics of joint; train goes on", "frozen"
    )
    loss: RealFinetuneLoss = RealFinetuneLoss()
