"""The keys of the configuration: names, types, limits and meanings.

The values live in ``conf/``; what is written here is what may stand there. ``hdrlab.config.check`` turns a
composed configuration into these classes and reports everything that does not fit.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any


def key(
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    multiple: int | None = None,
    absent: Any = MISSING,
) -> Any:
    """Describe one key: its meaning, and the values it may take.

    ``absent`` is for keys that came later: the value that checkpoints and run hashes without the key mean.
    """
    limits = {"choices": choices, "above": above, "least": least, "most": most, "multiple": multiple}
    known = {} if absent is MISSING else {"absent": absent}
    return field(metadata={"help": help, **known, **limits})


# ---------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class StageConfig:
    """What every stage is told."""

    name: str = key("the stage's name; chosen with stage=NAME")
    max_steps: int = key("optimiser steps of the whole training", least=1)
    batch_size: int = key("samples per optimiser step, over all devices together", least=1)
    patch: int = key("side of the square training patches in pixels", least=32, multiple=32)
    width: float = key("factor on the nets' channel counts; 1 is the paper's net", above=0, most=4)
    lr: float = key("Adam's learning rate", above=0)
    adam_epsilon: str = key(
        "where Adam adds its epsilon: torch, or tf as the reference programs", choices=("torch", "tf")
    )


@dataclass(frozen=True)
class DeqInit:
    """What dequantization starts from, instead of fresh weights."""

    deq: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class LinInit:
    """What linearization starts from, instead of fresh weights."""

    lin: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class HalInit:
    """What hallucination starts from, instead of fresh weights."""

    hal: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class JointInit(DeqInit, LinInit, HalInit):
    """What joint training starts from, instead of the slots."""

    joint: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class RealFinetuneInit(JointInit):
    """What finetuning starts from, instead of the slots."""

    real_finetune: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class DeqLoss:
    """Weights of the dequantization stage's loss terms."""

    l2: float = key("squared error of C against the unquantised L", least=0)


@dataclass(frozen=True, kw_only=True)
class DeqConfig(StageConfig):
    """Dequantization: undo 8 bits and JPEG."""

    init: DeqInit
    loss: DeqLoss


@dataclass(frozen=True, kw_only=True)
class LinNetConfig:
    """What the paper's ablation takes from the linearization net."""

    features: tuple[str, ...] = key(
        "what linearization sees of a picture",
        choices=("rgb", "edges", "histograms"),
        absent=("rgb", "edges", "histograms"),
    )
    monotone: bool = key("whether the inverse response curve is made monotone", absent=True)


@dataclass(frozen=True, kw_only=True)
class HalNetConfig:
    """What the paper's ablation takes from the hallucination net."""

    upsampling: str = key(
        "hallucination's decoder: resize, then a convolution; or transposed convolutions",
        choices=("resize", "transposed"),
        absent="resize",
    )
    residual: bool = key("whether hallucination adds to clipped pixels; false: it replaces them", absent=True)


@dataclass(frozen=True)
class LinLoss:
    """Weights of the linearization stage's loss terms."""

    l2: float = key("squared error of the linear image B", least=0)
    curve: float = key("squared error of the inverse response curve", least=0)


@dataclass(frozen=True, kw_only=True)
class LinConfig(LinNetConfig, StageConfig):
    """Linearization: estimate and undo the camera's response curve."""

    init: LinInit
    input: str = key(
        "what the net sees: ldr, the clean L as the authors; or jpeg, the 8-bit I", choices=("ldr", "jpeg")
    )
    basis: str = key("inverse response basis: builtin, or the path of EMoR's invemor.txt")
    bn_momentum: float = key("batch norm's running-average momentum", above=0, most=1)
    curve_reduction: str = key(
        "authors_broadcast: the reference's cross-sample accident",
        choices=("per_sample", "authors_broadcast"),
    )
    loss: LinLoss


@dataclass(frozen=True)
class PerceptualConfig:
    """The frozen VGG-16 behind a perceptual loss."""

    weights: str = key("auto, random, or a file: VGG-16 as .pth, .npy or .safetensors")


@dataclass(frozen=True)
class HalLoss:
    """Weights of the hallucination stage's loss terms."""

    log_l1: float = key("absolute error of the log-encoded HDR picture", least=0)
    perceptual: float = key("absolute error of VGG-16 features; 0 needs no VGG", least=0)
    tv: float = key("total variation of the log-encoded result", least=0)


@dataclass(frozen=True, kw_only=True)
class HalConfig(HalNetConfig, StageConfig):
    """Hallucination: restore what the sensor clipped."""

    init: HalInit
    mask_width: float = key("width of the highlight mask's ramp below 1", above=0, most=1)
    encoder_weights: str | None = key("VGG-16 weights the encoder starts from (the paper: places365)")
    perceptual: PerceptualConfig
    loss: HalLoss


@dataclass(frozen=True)
class JointLoss:
    """Weights of the joint stage's loss terms."""

    deq: float = key("squared error of C against the unquantised L", least=0)
    lin: float = key("squared error of the linear image B", least=0)
    curve: float = key("squared error of the inverse response curve", least=0)
    log_l1: float = key("absolute error of the log-encoded HDR picture A", least=0)
    perceptual: float = key("absolute error of VGG-16 features of A; 0 needs no VGG", least=0)
    tv: float = key("total variation of the log-encoded A", least=0)


@dataclass(frozen=True, kw_only=True)
class ChainConfig(LinNetConfig, HalNetConfig, StageConfig):
    """What stages of the whole chain share."""

    mask_width: float = key("width of the highlight mask's ramp below 1", above=0, most=1)
    basis: str = key("inverse response basis: builtin, or the path of EMoR's invemor.txt")
    bn_momentum: float = key("momentum of linearization's batch norm", above=0, most=1)
    perceptual: PerceptualConfig


@dataclass(frozen=True, kw_only=True)
class JointConfig(ChainConfig):
    """Joint training: the three nets together, end to end."""

    init: JointInit
    mode: str = key(
        "chained, each net on the one before; or teacher_forcing, each on its true input",
        choices=("chained", "teacher_forcing"),
    )
    loss: JointLoss


@dataclass(frozen=True)
class RealFinetuneLoss:
    """Weights of the finetuning stage's loss terms."""

    log_l1: float = key("absolute error of the log-encoded, scaled result R", least=0)
    perceptual: float = key("absolute error of VGG-16 features of R; 0 needs no VGG", least=0)
    tv: float = key("total variation of the log-encoded R", least=0)


@dataclass(frozen=True, kw_only=True)
class RealFinetuneConfig(ChainConfig):
    """Finetuning on real pairs, with the refinement net."""

    init: RealFinetuneInit
    start: str = key(
        "slots: from joint, else from deq, lin and hal; parts: from these three in any case",
        choices=("slots", "parts"),
        absent="slots",
    )
    normalise: str = key(
        "how pairs come to one scale: mean as the paper, or aligned on unclipped pixels",
        choices=("mean", "aligned"),
    )
    batch_norm: str = key("frozen keeps the statistics of joint; train goes on", choices=("frozen", "train"))
    loss: RealFinetuneLoss


@dataclass(frozen=True)
class TmoBottomInit:
    """What the bottom stage starts from, instead of fresh weights."""

    tmo_bottom: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class TmoHighInit:
    """What the high stage starts from, instead of fresh weights."""

    tmo_high: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class TmoFtInit(TmoBottomInit, TmoHighInit):
    """What the merging stage starts from, instead of the slots."""

    tmo_ft: str | None = key("a checkpoint of this stage")


@dataclass(frozen=True)
class TonePerceptualConfig(PerceptualConfig):
    """The frozen VGG-16 behind a tone-mapping stage's perceptual loss."""

    input: str = key(
        "weights prepares pictures as the weights want; raw feeds [0, 1] as the authors",
        choices=("weights", "raw"),
    )


@dataclass(frozen=True, kw_only=True)
class ToneStageConfig(StageConfig):
    """What the tone-mapping stages share."""

    epochs: int | None = key("passes over the training samples, 16 a picture, instead of max_steps", least=1)
    perceptual: TonePerceptualConfig
    gamut: str = key(
        "primaries of the HDR pictures, for the hue term",
        choices=("709", "nikon_d2x", "601", "2020", "p3", "alexa"),
    )
    scale255: bool = key("TMQI term: its constant on the scale of 8-bit values, where structure counts")


@dataclass(frozen=True)
class TmoBottomLoss:
    """Weights of the bottom stage's loss terms."""

    l1: float = key("absolute error of the bottom layer", least=0)
    perceptual: float = key("absolute error of VGG-16 features; 0 needs no VGG", least=0)
    structure: float = key("structure of the layer given, in TMQI's form; needs no label", least=0)
    hue: float = key("hue of the layer given; needs no label", least=0)
    delta_e: float = key("colour difference ΔE-ITP", least=0)


@dataclass(frozen=True, kw_only=True)
class TmoBottomConfig(ToneStageConfig):
    """The global branch of tone mapping, on pictures of an eighth of the size."""

    init: TmoBottomInit
    loss: TmoBottomLoss


@dataclass(frozen=True)
class TmoHighLoss:
    """Weights of the high stage's loss terms."""

    l1: float = key("absolute error of the high layer", least=0)
    perceptual: float = key("absolute error of VGG-16 features; 0 needs no VGG", least=0)
    structure: float = key(
        "structure of the layer given over five scales, in TMQI's form; needs no label", least=0
    )
    ms_ssim: float = key("SSIM over five scales", least=0)


@dataclass(frozen=True, kw_only=True)
class TmoHighConfig(ToneStageConfig):
    """The local branch of tone mapping, on detail."""

    init: TmoHighInit
    loss: TmoHighLoss


@dataclass(frozen=True)
class TmoFtLoss:
    """Weights of the merging stage's loss terms."""

    l1: float = key("absolute error of the SDR picture", least=0)
    perceptual: float = key("absolute error of VGG-16 features; 0 needs no VGG", least=0)
    ssim: float = key("SSIM", least=0)
    delta_e: float = key("colour difference ΔE-ITP", least=0)
    hue: float = key("hue of the HDR picture; needs no label", least=0)
    structure: float = key(
        "structure of the HDR picture over five scales, in TMQI's form; needs no label", least=0
    )


@dataclass(frozen=True, kw_only=True)
class TmoFtConfig(ToneStageConfig):
    """All three nets of tone mapping together."""

    init: TmoFtInit
    start: str = key(
        "slots: from tmo_bottom and tmo_high; nothing: from random nets, all at once",
        choices=("slots", "nothing"),
    )
    high: bool = key("whether detail goes through N_L; false adds it as it is", absent=True)
    merge: bool = key("whether N_ft makes the picture; false: the sum of both layers is it", absent=True)
    loss: TmoFtLoss


# ------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True)
class ShortRun:
    """What stages take for their length and size on a data set made for short runs."""

    max_steps: int = key("default of stage.max_steps", least=1)
    batch_size: int = key("default of stage.batch_size", least=1)
    patch: int = key("default of stage.patch", least=32, multiple=32)
    bn_momentum: float = key("default of stage.bn_momentum", above=0, most=1)
    tone_patch: int = key("default of stage.patch in the tone-mapping stages", least=32, multiple=32)
    tone_perceptual: float = key(
        "default of stage.loss.perceptual in the tone-mapping stages, whose VGG-16 is slow on a CPU", least=0
    )


@dataclass(frozen=True)
class DataConfig:
    """What every data set is told."""

    name: str = key("the data set's name; chosen with data=NAME")
    val_crop: int | None = key(
        "validate on central squares of this side; null: on whole pictures", least=32, multiple=32
    )
    val_pictures: int = key("how many pictures a validation looks at", least=1)
    workers: int = key("loader processes; 0 loads in the main one", least=0, most=256)


@dataclass(frozen=True)
class SynthConfig(DataConfig):
    """Photographs synthesised from HDR pictures by the camera model."""

    short_side: int = key("pictures are resized to this short side in pixels", least=64, multiple=32)
    exposures: int = key("length of the training exposure list, 2^-3 to 2^3", least=1)
    curves: str = key("response curves: builtin, or the path of dorfCurves.txt")
    noise: str = key(
        "sensor noise; authors: both terms correlated", choices=("independent", "authors", "none")
    )
    jpeg_quality: str = key(
        "random in 90..100, or positional in the batch as the authors", choices=("random", "positional")
    )
    resize_filter: str = key(
        "filter that resizes the pictures; bilinear as the authors", choices=("area", "bilinear")
    )


@dataclass(frozen=True)
class ToneConfig:
    """How the tone-mapping nets see a picture: its encoding, and the two layers it is split into."""

    domain: str = key(
        "encoding of the HDR picture; linear also linearises the SDR picture; log as DRLTM",
        choices=("gamma", "linear", "log"),
    )
    pyramid: str = key("what splits a picture; gaussian as DRLTM", choices=("bilateral", "gaussian"))
    sigma_color: float = key("colour deviation of the bilateral filter, on values in [0, 1]", above=0)
    fuse_middle: bool = key("add the bands between the two layers to the detail, as DRLTM")
    sdr_range: str = key(
        "of SDR pictures: minmax stretches each to [0, 1] as the authors; full keeps 0..255 over 255",
        choices=("minmax", "full"),
    )


@dataclass(frozen=True, kw_only=True)
class TinyConfig(SynthConfig):
    """HDR scenes that the project renders itself; for the tone-mapping stages with SDR pictures of them."""

    short_run: ShortRun
    tone: ToneConfig


@dataclass(frozen=True)
class ListsConfig:
    """Published split lists: text files, one relative path a line."""

    train: str = key("list of training pictures")
    test: str = key("list of test pictures")


@dataclass(frozen=True)
class HdrSynthConfig(SynthConfig):
    """A folder of HDR pictures, prepared or not."""

    root: str | None = key("folder of HDR pictures, or one that hdrlab.prepare wrote")
    manifest: str | None = key("CSV with columns file and split (train, val, test); role=hdr where present")
    lists: ListsConfig | None = key("data.lists.train and data.lists.test, instead of a manifest")  # noqa: RUF009 - a field
    skip_bad: bool = key("leave out pictures that fail the check instead of stopping")


@dataclass(frozen=True)
class HdrRealConfig(DataConfig):
    """A folder of photographs with their HDR pictures, prepared or not."""

    root: str | None = key("folder of pairs (data/hdr_real.md), or one that hdrlab.prepare wrote")
    manifest: str | None = key("CSV with columns file (the photograph) and split (train, val, test)")
    pairing: str = key(
        "LDR_in with HDR_gt; auto: by stem if one is in both, else by sorted order",
        choices=("auto", "stem", "order"),
    )
    exposures: str = key(
        "of a stack: ldr.jpg, or all of times.csv with the HDR picture scaled to each", choices=("ldr", "all")
    )
    skip_bad: bool = key("leave out pairs that fail the check instead of stopping")


@dataclass(frozen=True, kw_only=True)
class TmoPairsConfig(DataConfig):
    """A folder of HDR pictures with their tone-mapped SDR pictures, prepared or not."""

    root: str | None = key("folder of pairs (data/tmo_pairs.md), or one that hdrlab.prepare wrote")
    manifest: str | None = key("CSV with columns file and split (train, val, test); role=hdr where present")
    make_sdr: bool = key(
        "tone-map HDR pictures that have no SDR picture: the best classical operator by TMQI"
    )
    unlabelled: str | None = key("folder of HDR pictures without SDR pictures, mixed into the training")
    skip_bad: bool = key("leave out pairs that fail the check instead of stopping")
    tone: ToneConfig


@dataclass(frozen=True, kw_only=True)
class FolderConfig(DataConfig):
    """Pictures in folders, as they lie there, for evaluations: no index, no splits."""

    root: str | None = key("folder with LDR_in and HDR_gt, or with hdr and perhaps sdr; or name these below")
    photographs: str | None = key("folder of photographs (8 bits: .jpg, .png), the input of reconstructions")
    references: str | None = key("folder of their HDR pictures, of the same names")
    hdr: str | None = key("folder of HDR pictures, the input of tone mapping")
    sdr: str | None = key("folder of SDR pictures of the same names, to compare with")
    pairing: str = key(
        "pairs by their names without suffix, or by sorted order; auto: names if one is on both sides",
        choices=("auto", "stem", "order"),
    )
    scenes: str | None = key("CSV with columns file and scene: what pictures show the same")
    masks: str | None = key("folder of masks, of the photographs' names: white pixels are a further region")
    keep: str | None = key("published mask: CSV of running number and 0 or 1; rows with 0 count apart")
    skip_bad: bool = key("leave out pairs that fail the check instead of stopping")


# ------------------------------------------------------------------------------------------------ rest


@dataclass(frozen=True)
class TrainerConfig:
    """How a run is carried out; none of it changes what a step computes, but for precision."""

    name: str = key("fit, or smoke for two steps")
    max_steps: int = key("steps of this run; refers to stage.max_steps", least=1)
    accelerator: str = key("where to compute", choices=("auto", "cpu", "gpu", "mps"))
    devices: int = key("devices on this machine", least=1)
    num_nodes: int = key("machines; start one process a device with torchrun or srun then", least=1)
    timeout: int = key("seconds after which a process that is not heard of ends a run of several", least=1)
    precision: str = key(
        "arithmetic of the nets, losses stay in 32 bits; bf16 is slow on CPUs without AVX512-BF16 or AMX",
        choices=("64", "32", "bf16", "16"),
    )
    accumulate: int = key(
        "parts a step is computed in, one after the other, to save memory", least=1, absent=1
    )
    clip: float = key("largest norm of a step's gradient; 0 clips nothing", least=0, absent=0.0)
    bad_steps: int = key("steps with NaN or infinity that are left out before a run stops", least=0)
    ema: float | None = key(
        "decay of the weights' moving average, which is then validated and published; null: none",
        above=0,
        most=0.999999,
        absent=None,
    )
    compile: bool = key("compile the nets: a minute or more at first, faster steps then", absent=False)
    sync_batchnorm: bool = key("batch norms over the samples of all GPUs, not of each", absent=False)
    bad_samples: int = key("samples that cannot be made and are replaced before a run stops", least=0)
    val_every: int | None = key("steps between validations; null: a tenth of the run", least=1)
    save_every: int | None = key("steps between checkpoints; null: at validations only", least=1)
    log_every: int = key("steps between logged training losses", least=1)
    val_pictures: int = key("pictures of a validation; refers to data.val_pictures", least=1)


@dataclass(frozen=True)
class LoggerConfig:
    """Where the numbers go."""

    name: str = key("the logger's name; chosen with logger=NAME")


@dataclass(frozen=True)
class WandbConfig(LoggerConfig):
    """Weights & Biases; the key comes from the environment only."""

    project: str = key("project name")
    entity: str | None = key("user or team")
    group: str | None = key("group; null: the stage's name")
    online: bool = key("send while training; false keeps an offline run")
    artifacts: bool = key("keep the checkpoints in it too, as an artifact")


@dataclass(frozen=True)
class CallbacksConfig:
    """What a person watches."""

    progress: str = key(
        "auto: a live bar in a terminal, else lines", choices=("auto", "bar", "lines", "none")
    )
    panels: int = key("validation pictures drawn in each panel; 0 draws none", least=0, most=16)


@dataclass(frozen=True)
class ExperimentConfig:
    """A named study, pinned to its stage."""

    name: str = key("the study's name")
    stage: str = key("the stage it was made for")
    publish: bool = key("whether the result takes the stage's slot; an ablation's does not", absent=True)


@dataclass(frozen=True)
class SlurmConfig:
    """What a sweep's jobs ask of a SLURM cluster; devices and machines are the trainer's."""

    partition: str | None = key("partition")
    account: str | None = key("account to charge")
    minutes: int = key("time limit of a job; one that reaches it saves and is submitted again", least=1)
    cpus: int = key("cores of a task; a task has one device", least=1)
    gpus: int = key("GPUs of a task", least=0)
    memory: str | None = key("memory of a machine, for example 32GB")
    setup: tuple[str, ...] | None = key("shell lines before the training, for example [module load cuda]")
    options: tuple[str, ...] | None = key("further options of sbatch, name=value, for example [qos=long]")
    starts: int = key("how often a job is submitted until it is finished", least=1)


@dataclass(frozen=True)
class SweepConfig:
    """How the values of a sweep are chosen, and where its jobs run."""

    slurm: SlurmConfig
    name: str = key("the search space's name")
    method: str = key(
        "grid: every combination; tpe: Optuna's choice, by the jobs before", choices=("grid", "tpe")
    )
    space: tuple[str, ...] | None = key(
        "what is varied, as on a command line: [stage.lr=1e-3,1e-4], and for tpe also "
        "[stage.lr=interval(1e-5,1e-2)], with tag(log,interval(…)) on a log scale"
    )
    jobs: int = key("jobs of tpe; most jobs of a grid", least=1, most=10_000)
    objective: str = key("figure to judge by, at the validation with the lowest val/loss")
    startup: int = key("tpe: jobs drawn at random before it chooses", least=1)
    seed: int = key("tpe: seed of its choices", least=0, most=2**32 - 1)
    launcher: str = key("where jobs run: local, on this machine; or slurm", choices=("local", "slurm"))
    parallel: int = key("jobs at the same time", least=1)


@dataclass(frozen=True)
class PathsConfig:
    """Where things are written, and what is found where."""

    runs: str = key("folder of run folders and slots")
    data: str = key("folder of prepared data and caches")
    vgg16: str | None = key("VGG-16 weights for perceptual losses; or set HDRLAB_VGG16")


@dataclass(frozen=True)
class TrainConfig:
    """Everything ``hdrlab.train`` is told."""

    stage: StageConfig
    data: DataConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    callbacks: CallbacksConfig
    paths: PathsConfig
    seed: int = key("seed of weights, order, augmentation and camera", least=0, most=2**32 - 1)
    preset: str = key("which of the nets' published forms", choices=("default", "official", "tf2"))
    resume: str = key("auto continues the same command's run; never starts anew; or a checkpoint's path")
    publish: bool = key("whether a finished run takes its stage's slot; a sweep's do not", absent=True)
    experiment: ExperimentConfig | None = key("the named study, if one was chosen")  # noqa: RUF009 - a field
    sweep: SweepConfig | None = key("the search space, if one was chosen")  # noqa: RUF009 - a field


@dataclass(frozen=True)
class PrepareConfig:
    """Everything ``hdrlab.prepare`` is told."""

    data: DataConfig
    paths: PathsConfig
    source: str = key("folder of HDR pictures")
    root: str = key("folder to write: the index and the fast files")


CLASSICAL_OPERATORS = (
    *("gamma", "log", "reinhard", "reinhard_local", "drago", "durand", "filmic"),
    *("opencv_reinhard", "opencv_drago", "opencv_mantiuk"),
    *("colour_simple", "colour_logarithmic", "colour_exponential", "colour_exponentiation"),
    *("colour_schlick1994", "colour_tumblin1999", "colour_reinhard2004", "colour_filmic"),
)
"""The names of hdrlab.operators."""

EXPANSIONS = ("srgb", "landis", "akyuz", "masia", "kovaleski", "huo")
"""The names of hdrlab.expansion."""

OPERATORS = ("iqatm", *CLASSICAL_OPERATORS)
"""With the learned one."""


@dataclass(frozen=True)
class ToolboxConfig:
    """What the user has installed for HDR-VDP."""

    hdrvdp2: str | None = key("folder of HDR-VDP-2, which holds hdrvdp.m")
    hdrvdp3: str | None = key("folder of HDR-VDP-3, which holds hdrvdp3.m")
    program: str | None = key(
        "Octave or MATLAB; null: octave, octave-cli or matlab, whichever is found first"
    )


@dataclass(frozen=True)
class EvaluateConfig:
    """Everything ``hdrlab.evaluate`` is told."""

    data: DataConfig
    paths: PathsConfig
    toolbox: ToolboxConfig
    checkpoint: tuple[str, ...] | None = key(
        "a checkpoint, files or a folder of hdrlab.import_weights, or a list; each whole system is a method"
    )
    results: dict[str, str] | None = key(  # noqa: RUF009 - a field
        "what other programs made of the same pictures: results.NAME=FOLDER, files named as the pictures are"
    )
    task: str | None = key(
        "what is compared; null: what the checkpoint, else the data are for (tiny: reconstruct)",
        choices=("reconstruct", "tonemap"),
    )
    split: str = key(
        "which pictures to score on; data=folder has no splits", choices=("train", "val", "test", "all")
    )
    pictures: int | None = key("how many, spread evenly; null: all", least=1)
    methods: tuple[str, ...] = key("what chains are compared with; srgb does nothing", choices=EXPANSIONS)
    operators: tuple[str, ...] = key("what tone mapping is compared with", choices=CLASSICAL_OPERATORS)
    metrics: tuple[str, ...] | None = key(
        "metrics of other packages, for reconstructions: ColorVideoVDP, HDR-FLIP, HDR-VDP",
        choices=("cvvdp", "flip", "hdrvdp2", "hdrvdp3"),
    )
    niqe: str | None = key("NIQE's model file, for tone mapping: modelparameters.mat, or .npz")
    output: str | None = key("folder for the results; null: beside the checkpoint, else in paths.runs")
    report: bool = key("write report.html, a page of scores and pictures, where methods are compared")
    report_pictures: int = key("how many pictures the page shows, spread evenly", least=0)
    memory: str = key("what a tile's maps may take, for example 2GB")
    accelerator: str = key("where to compute", choices=("auto", "cpu", "gpu", "mps"))


@dataclass(frozen=True)
class PhotographConfig:
    """Everything ``hdrlab.photograph`` is told."""

    data: DataConfig
    paths: PathsConfig
    output: str = key("folder to write: LDR_in, HDR_gt and photographs.csv")
    split: str = key("which pictures to photograph", choices=("train", "val", "test"))
    pictures: int | None = key("how many photographs; null: all, two a picture", least=1)


@dataclass(frozen=True)
class ImportConfig:
    """Everything ``hdrlab.import_weights`` is told."""

    source: str = key("TensorFlow checkpoint (folder, prefix or .index), VGG-16 file, or a folder of several")
    output: str = key("folder to write: one file per net")
    basis: str | None = key("EMoR's invemor.txt; needed where the source holds the linearization net")


@dataclass(frozen=True)
class InputsConfig:
    """Files and folders that plans need; which ones, the plan's file in experiments/ says."""

    hdr_synth: str | None = key("folder of HDR-Synth's HDR pictures (data/hdr_synth.md)")
    train_list: str | None = key("text file: HDR-Synth's training pictures, one path a line")
    test_list: str | None = key("text file: HDR-Synth's test pictures, one path a line")
    hdr_real: str | None = key("folder of HDR-Real's training pairs (data/hdr_real.md)")
    tmo_pairs: str | None = key("folder of HDR and SDR pictures (data/tmo_pairs.md)")
    dorf: str | None = key("dorfCurves.txt")
    invemor: str | None = key("invemor.txt")
    vgg16: str | None = key("VGG-16 of ImageNet, for perceptual losses; or set HDRLAB_VGG16")
    places365: str | None = key("VGG-16 of places365, which hallucination's encoder starts from")


@dataclass(frozen=True)
class ReproduceConfig:
    """Everything ``hdrlab.reproduce`` is told."""

    inputs: InputsConfig
    paths: PathsConfig
    plan: tuple[str, ...] = key("singlehdr, iqatm, the path of a .yaml like these, or a list")
    scale: str = key("paper, with the paper's data and lengths; or tiny, in minutes on rendered scenes")
    devices: int = key("devices on this machine, for every training", least=1)
    precision: str = key("arithmetic of the nets, for every training", choices=("64", "32", "bf16", "16"))


@dataclass(frozen=True)
class ReconstructConfig:
    """Everything ``hdrlab.reconstruct`` is told."""

    paths: PathsConfig
    input: tuple[str, ...] = key("photographs: a file, a folder, a glob pattern, or a list of these")
    output: str = key("folder to write")
    checkpoint: tuple[str, ...] | None = key("nets: a file, a folder, or a list; null: the slots")
    slots: str | None = key("data set whose slots are used; null: the only one that has a whole chain")
    stages: str = key("all, or deq_lin for a linear picture without highlights", choices=("all", "deq_lin"))
    refine: bool | None = key("whether to use the refinement net; null: where there is one")
    procedure: str = key(
        "default pads by mirroring; official resizes as the authors did; auto: official for their weights",
        choices=("auto", "default", "official"),
    )
    formats: tuple[str, ...] = key("files to write", choices=("exr", "hdr", "tiff", "ultrahdr"))
    preview: bool = key("write a tone-mapped PNG beside each picture")
    sheet: bool = key("write a PNG of the photograph beside the result in three exposures")
    layers: bool = key("store C, B, A, alpha and the response curve in the EXR, the curve as CSV too")
    scale: str = key(
        "what 1 means: relative, the clipping point; diffuse_white, 1 cd/m² with the clipping point at 203; "
        "median, such that the median luminance is 0.18",
        choices=("relative", "diffuse_white", "median"),
    )
    memory: str = key(
        "what a tile's maps may take, for example 2GB; pictures, about 100 bytes a pixel, apart"
    )
    device: str = key("where to compute", choices=("auto", "cpu", "cuda", "mps"))
    resume: str = key("auto leaves what is done already; never does all again", choices=("auto", "never"))


@dataclass(frozen=True)
class TonemapConfig:
    """Everything ``hdrlab.tonemap`` is told."""

    paths: PathsConfig
    input: tuple[str, ...] = key("HDR pictures: a file, a folder, a glob pattern, or a list of these")
    output: str = key("folder to write")
    operator: tuple[str, ...] = key(
        "what tone-maps: one, or a list whose names the files get", choices=OPERATORS
    )
    checkpoint: tuple[str, ...] | None = key("nets of iqatm: a file, a folder, or a list; null: the slot")
    slots: str | None = key("data set whose slot is used; null: the only one that holds tmo_ft")
    procedure: str = key(
        "iqatm: default takes any size; official crops to multiples of 8; auto: official for its weights",
        choices=("auto", "default", "official"),
    )
    normalize: str = key(
        "iqatm: how its output is stretched; minmax as the authors; percentile clips 0.1 % at both ends",
        choices=("minmax", "percentile", "none"),
    )
    format: str = key("of the files; png16 has 16 bits", choices=("png", "png16", "jpeg"))
    quality: int = key("of JPEG files", least=1, most=100)
    sheet: bool = key("write all operators' pictures side by side as <name>_sheet.png")
    sanitize: bool = key("replace NaN and infinite values instead of refusing the file")
    device: str = key("where iqatm computes", choices=("auto", "cpu", "cuda", "mps"))
    resume: str = key("auto leaves what is done already; never does all again", choices=("auto", "never"))
