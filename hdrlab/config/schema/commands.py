"""The commands' configurations; the files in ``conf`` say the same defaults."""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hdrlab.config.registry.tables import (
    EVERY_OPERATOR,
    EXPANSIONS,
    LEARNED,
    METHODS,
    NETS_METHOD,
    OPERATORS,
    SCORES,
    Presets,
    expansion_of,
)
from hdrlab.config.schema.data import DataConfig, HdrSynthConfig, TinyConfig
from hdrlab.config.schema.section import Key, Section, key, own_keys, parameter_keys
from hdrlab.config.schema.stage import StageConfig
from hdrlab.config.schema.trainer import (
    Accelerator,
    CallbacksConfig,
    ExperimentConfig,
    LoggerConfig,
    Precision,
    TrainerConfig,
)

ALL = "all"
"""In ``metrics=`` of evaluate: every metric of our own, not the headline alone."""

_OF_NETS = ("weights", "checkpoint", "slots", "procedure", "normalize", "device", "precision")
"""Keys of tonemap that are for iqatm alone."""

_OF_CHAINS = (
    *("weights", "checkpoint", "slots", "stages", "refine", "procedure", "layers", "memory"),
    *("device", "precision", "backend"),
)
"""Keys of reconstruct that are for nets alone."""

Device = Literal["auto", "cpu", "cuda", "mps"]
_DEVICE = "where to compute"
InferencePrecision = Literal["auto", "32", "bf16"]
GAIN_MAP_SIZES = ("full", "half", "quarter")
"""Of a gain map that is written, beside its base."""

CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".mxf", ".3gp"}
)
"""What counts as a clip by its name."""

FRAME_NUMBER = re.compile(r"%0?\d*d|#+")
"""What stands for the number of a frame in the name of a sequence."""

STILL_ONLY = {"reconstruct": ("ultrahdr", "avif", "jxl"), "tonemap": ("ultrahdr",)}
VIDEO = ("hdr10", "hlg", "video")
"""Formats that only single images have, and that only clips have."""

_PLUGINS = (
    "modules of your own to load, which runs them: names of modules, of entry points (hdrlab.plugins), or "
    "paths of .py files (docs/plugins.md)"
)
_PARAMETERS = "what is set of "


def is_clip(given: str) -> bool:
    """Say whether an input is a clip or a sequence, by its name."""
    suffix = os.path.splitext(given)[1].lower()
    return suffix in CLIP_SUFFIXES or bool(FRAME_NUMBER.search(os.path.basename(given)))


@dataclass(frozen=True, kw_only=True)
class PathsConfig(Section):
    """Where things are written, and what is found where."""

    runs: str = key("folder of run folders and published checkpoints", "runs", path=True)
    data: str = key("folder of prepared data and caches", "data", path=True)
    vgg16: str | None = key("VGG-16 weights for perceptual losses; or set HDRLAB_VGG16", None, path=True)


@dataclass(frozen=True, kw_only=True)
class VideoConfig(Section):
    """How clips are made and written."""

    steady: bool = key(
        "whether a shot's frames share a curve, and gains move slowly; false: each alone", True
    )
    codec: Literal["hevc", "av1", "h264"] = key("of video; h264, of 8 bits, for SDR only", "hevc")
    crf: int | None = key(
        "rate factor: less is better and larger, 0 loses nothing; null: 16, for av1 24",
        None,
        least=0,
        most=63,
    )
    preset: str | None = key("the encoder's own word for how long it tries; null: medium, for av1 6", None)
    container: Literal["mp4", "mov", "mkv"] | None = key(
        "of video; null: the clip's own, mkv for webm and mp4 for all others", None
    )
    fps: float | None = key("frames a second of sequences; null: as EXR files say, else 24", None, above=0)
    chunk: int = key("frames that a kill can cost at most", 48, least=1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """Train one stage of an HDR system."""

    without: ClassVar[Mapping[str, Any]] = {
        "logger": {"name": "none"},
        "callbacks": {"progress": "none", "panels": 0},
    }

    stage: StageConfig = key("what is trained")
    data: DataConfig = TinyConfig()
    trainer: TrainerConfig = TrainerConfig()
    logger: LoggerConfig = LoggerConfig()
    callbacks: CallbacksConfig = CallbacksConfig()
    paths: PathsConfig = PathsConfig()
    seed: int = key("seed of weights, order, augmentation and camera", 0, least=0, most=2**32 - 1)
    plugins: tuple[str, ...] | None = key(_PLUGINS, None, later=True)
    preset: str = key(
        "which of the nets' published forms; or compact, the small chain", "default", choices=Presets()
    )
    resume: str = key(
        "auto continues the same command's run; never starts anew; or a checkpoint's path", "auto", path=True
    )
    publish: bool = key("whether a finished run is published as its stage's; a sweep's are not", True)
    objective: str = key(
        "metric that a sweep judges by, at the validation with the lowest val/loss", "val/loss"
    )
    scheduler: dict[str, Any] | None = key(
        "in place of stage.schedule: _target_=package.module.Class, its arguments, and interval, frequency, "
        "monitor for Lightning; it moves once a step unless interval=epoch",
        None,
        later=True,
        free=True,
    )
    experiment: ExperimentConfig | None = key("the named study, if one was chosen", None)

    @property
    def max_steps(self) -> int:
        """The step at which the run is finished."""
        return self.trainer.max_steps or self.stage.max_steps

    @property
    def val_images(self) -> int:
        """How many images a validation looks at."""
        return self.trainer.val_images or self.data.val_images

    def input_files(self) -> dict[str, str]:
        """Return the files whose content changes what a training computes, by their keys."""
        curves = self.data.input_files().get("data.curves")
        return self.stage.input_files() | ({"data.curves": curves} if curves else {})


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Section):
    """Check a folder of HDR images, alone or in pairs; write an index and fast files."""

    source: str = key("folder of HDR images", path=True)
    root: str = key("folder to write: the index and the fast files", path=True)
    data: DataConfig = HdrSynthConfig()
    paths: PathsConfig = PathsConfig()
    plugins: tuple[str, ...] | None = key(_PLUGINS, None, later=True)


@dataclass(frozen=True, kw_only=True)
class ToolboxConfig(Section):
    """What the user has installed for HDR-VDP."""

    hdrvdp2: str | None = key("folder of HDR-VDP-2, which holds hdrvdp.m", None, path=True)
    hdrvdp3: str | None = key("folder of HDR-VDP-3, which holds hdrvdp3.m", None, path=True)
    program: str | None = key(
        "Octave or MATLAB; null: octave, octave-cli or matlab, whichever is found first", None
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Section):
    """Score trained nets on images they never saw, beside classical methods and other programs."""

    OPEN: ClassVar[str | None] = "parameters"

    data: DataConfig = TinyConfig()
    paths: PathsConfig = PathsConfig()
    plugins: tuple[str, ...] | None = key(_PLUGINS, None, later=True)
    toolbox: ToolboxConfig = ToolboxConfig()
    weights: str | None = key(
        "nets to compare: compact, which come with hdrlab; official, the authors' once imported; or a folder",
        None,
    )
    checkpoint: tuple[str, ...] | None = key(
        "a checkpoint, files or a folder of hdrlab.import_weights, or a list; each whole system is a method",
        None,
        path=True,
    )
    results: dict[str, str] | None = key(
        "what other programs made of the same images: results.NAME=FOLDER, files named as the images are",
        None,
        path=True,
    )
    task: Literal["reconstruct", "tonemap"] | None = key(
        "what is compared; null: what the checkpoint, else the data are for (tiny: reconstruct)", None
    )
    split: Literal["train", "val", "test", "all"] = key(
        "which images to score on; data=folder has no splits", "test"
    )
    images: int | None = key("how many, spread evenly; null: all", None, least=1)
    methods: tuple[str, ...] = key(
        "what chains are compared with; srgb does nothing", tuple(EXPANSIONS), choices=EXPANSIONS
    )
    operators: tuple[str, ...] = key(
        "what tone mapping is compared with",
        ("gamma", "log", "reinhard", "drago"),
        choices=OPERATORS,
    )
    metrics: tuple[str, ...] | None = key(
        "beside the headline's: all of our own, and for reconstructions ColorVideoVDP, HDR-FLIP, HDR-VDP",
        None,
        choices=ChainMap(SCORES, {ALL: None}),  # type: ignore[arg-type]
    )
    parameters: dict[str, Any] | None = key(_PARAMETERS + "plug-ins' metrics", None, free=True)
    niqe: str | None = key(
        "NIQE's model file, for tone mapping: modelparameters.mat, or .npz", None, path=True
    )
    output: str | None = key(
        "folder for the results; null: beside the checkpoint, else in paths.runs", None, path=True
    )
    report: bool = key("write report.html, a page of scores and images, where methods are compared", True)
    report_images: int = key("how many images the page shows, spread evenly", 12, least=0)
    memory: str = key("what the program may take, images apart, for example 2GB", "2GB")
    accelerator: Accelerator = key(_DEVICE, "auto")
    precision: InferencePrecision = key(
        "what nets compute in: 32, so that scores of several machines compare; bf16; or auto, the faster",
        "32",
    )

    @classmethod
    def further(cls) -> Mapping[str, Key]:
        """List the parameters of the metrics."""
        return parameter_keys(SCORES.parameters())


@dataclass(frozen=True, kw_only=True)
class PhotographConfig(Section):
    """Photograph HDR scenes with the camera model: the images that stages are scored on, as files."""

    output: str = key("folder to write: LDR_in, HDR_gt and photographs.csv", path=True)
    data: DataConfig = TinyConfig()
    paths: PathsConfig = PathsConfig()
    plugins: tuple[str, ...] | None = key(_PLUGINS, None, later=True)
    split: Literal["train", "val", "test"] = key("which images to photograph", "test")
    images: int | None = key("how many photographs; null: all, two an image", None, least=1)


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Section):
    """Turn published weights into files that hdrlab loads; TensorFlow is not needed."""

    source: str = key(
        "TensorFlow checkpoint (folder, prefix or .index), VGG-16 file, or a folder of several", path=True
    )
    output: str = key("folder to write: one file per net", path=True)
    basis: str | None = key(
        "EMoR's invemor.txt; needed where the source holds the linearization net", None, path=True
    )


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Section):
    """Write a whole system of nets for other programs, checked against PyTorch."""

    weights: str | None = key(
        "nets: compact, which come with hdrlab; official, the authors' once imported; or a folder; "
        "null: compact, unless checkpoint or slots is given",
        None,
    )
    checkpoint: tuple[str, ...] | None = key("nets of your own: a file, a folder, or a list", None, path=True)
    slots: str | None = key("data set whose published checkpoints, of finished trainings, are used", None)
    task: Literal["reconstruct", "tonemap"] | None = key(
        "which system; null: what the checkpoint holds, else reconstruct", None
    )
    format: Literal["onnx", "torch_export", "safetensors"] = key(
        "onnx, one graph for any program; torch_export, the same for PyTorch without hdrlab (.pt2); "
        "safetensors, a folder of one file a net, in half precision",
        "onnx",
    )
    output: str | None = key(
        "file to write, for safetensors a folder; null: named after the nets, here", None, path=True
    )
    refine: bool | None = key("reconstruct: whether to refine; null: where there is a net for it", None)
    procedure: Literal["auto", "default", "official"] = key(
        "how images are brought to a size that the nets take; auto: official for the authors' weights", "auto"
    )
    normalize: Literal["auto", "minmax", "percentile", "none"] = key(
        "tonemap: how the output is stretched; auto: as for its training", "auto"
    )
    paths: PathsConfig = PathsConfig()


@dataclass(frozen=True, kw_only=True)
class InputsConfig(Section):
    """Files and folders that plans need; which ones, the plan's file in experiments/ says."""

    hdr_synth: str | None = key("folder of HDR-Synth's HDR images (data/hdr_synth.md)", None, path=True)
    train_list: str | None = key("text file: HDR-Synth's training images, one path a line", None, path=True)
    test_list: str | None = key("text file: HDR-Synth's test images, one path a line", None, path=True)
    hdr_real: str | None = key("folder of HDR-Real's training pairs (data/hdr_real.md)", None, path=True)
    tmo_pairs: str | None = key("folder of HDR and SDR images (data/tmo_pairs.md)", None, path=True)
    dorf: str | None = key("dorfCurves.txt", None, path=True)
    invemor: str | None = key("invemor.txt", None, path=True)
    vgg16: str | None = key("VGG-16 of ImageNet, for perceptual losses; or set HDRLAB_VGG16", None, path=True)
    places365: str | None = key(
        "VGG-16 of places365, which hallucination's encoder starts from", None, path=True
    )


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Section):
    """Carry out a paper's chain of trainings, score it, and write claimed beside measured."""

    plan: tuple[str, ...] = key("singlehdr, iqatm, the path of a .yaml like these, or a list")
    inputs: InputsConfig = InputsConfig()
    paths: PathsConfig = PathsConfig()
    scale: str = key(
        "paper, with the paper's data and lengths; or tiny, in minutes on rendered scenes", "tiny"
    )
    devices: int = key("devices on this machine, for every training", 1, least=1)
    precision: Precision = key("arithmetic of the nets, for every training", "32")


@dataclass(frozen=True, kw_only=True)
class FilesConfig(Section):
    """What the commands share that make files of images or clips, each once."""

    OPEN: ClassVar[str | None] = "parameters"

    input: tuple[str, ...] = key("images: a file, a folder, a glob pattern, or a list of these", path=True)
    output: str | None = key("folder to write; null: one beside the input", None, path=True)
    stem: str | None = key("name of a single input's files, without ending; null: the input's", None)
    paths: PathsConfig = PathsConfig()
    plugins: tuple[str, ...] | None = key(_PLUGINS, None, later=True)
    checkpoint: tuple[str, ...] | None = key("nets of your own: a file, a folder, or a list", None, path=True)
    sequence: bool = key("whether a folder or pattern is one clip: its numbered frames", False)
    video: VideoConfig = VideoConfig()
    precision: InferencePrecision = key(
        "what nets compute in; auto: bf16 where the processor or GPU has it, else 32", "auto"
    )
    panorama: bool | None = key(
        "whether the left and right edge are neighbours; null: where XMP (GPano) says so, at 2:1", None
    )
    metadata: Literal["keep", "strip", "no_gps"] = key(
        "Exif, XMP and IPTC of the photograph: keep, strip, or no_gps for all but the place", "keep"
    )
    channels: Literal["1", "3"] = key(
        "of the gain map in Ultra HDR files: 1, brightness alone; 3, colours too", "1"
    )
    resume: Literal["auto", "never"] = key("auto leaves what is done already; never does all again", "auto")
    shard: int = key(
        "which share of the images to do, from 0; with -m shard=range(8) num_shards=8 eight jobs do all",
        0,
        least=0,
    )
    num_shards: int = key("into how many shares the images are dealt, one after the other", 1, least=1)
    overwrite: bool = key("replace files that hdrlab did not write, or that were worked on since", False)


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig(FilesConfig):
    """Turn photographs into HDR images."""

    input: tuple[str, ...] = key(
        "photographs: a file, a folder, a glob pattern, or a list of these", path=True
    )
    output: str | None = key("folder to write; null: one beside the input, ending in hdr", None, path=True)
    method: str = key(
        "nets; or without them: average, the mean of all cameras' responses; average_kovaleski, brighter "
        "where it is clipped; a classical expansion of sRGB",
        NETS_METHOD,
        choices=METHODS,
    )
    parameters: dict[str, Any] | None = key(_PARAMETERS + "the method", None, free=True)
    weights: str | None = key(
        "nets: compact, which come with hdrlab; official, the authors' once imported; or a folder; "
        "null: compact, unless checkpoint or slots is given",
        None,
    )
    slots: str | None = key("data set whose published checkpoints, of finished trainings, are used", None)
    stages: Literal["all", "deq_lin"] = key("all, or deq_lin for a linear image without highlights", "all")
    refine: bool | None = key("whether to use the refinement net; null: where there is one", None)
    procedure: Literal["auto", "default", "official"] = key(
        "default pads by mirroring; official resizes as the authors did; auto: official for their weights",
        "auto",
    )
    formats: tuple[Literal["exr", "hdr", "tiff", "ultrahdr", "avif", "jxl", "hdr10", "hlg"], ...] | None = (
        key(
            "files to write; avif and jxl (JPEG XL) are PQ, of 10 and 16 bits; hdr10 and hlg are video; "
            "null: exr, and of a clip hdr10",
            None,
        )
    )
    preview: bool = key("write a tone-mapped JPEG beside each image", True)
    preview_size: int = key("longer side of the preview in pixels at most", 2048, least=16)
    sheet: bool = key("write a PNG of the photograph beside the result in three exposures", False)
    layers: bool = key("store C, B, A, alpha and the response curve in the EXR, the curve as CSV too", False)
    scale: Literal["relative", "diffuse_white", "median"] = key(
        "what 1 means: relative, the clipping point; diffuse_white, 1 cd/m² with the clipping point at 203; "
        "median, such that the median luminance is 0.18",
        "relative",
    )
    colorspace: Literal["rec709", "rec2020", "p3", "acescg", "aces2065-1"] = key(
        "primaries of EXR, HDR and TIFF files; wider ones keep what a wide photograph holds beyond rec709",
        "rec709",
    )
    memory: str = key(
        "what the program may take, for example 2GB; images, about 100 bytes a pixel, apart", "2GB"
    )
    device: Device = key(_DEVICE, "auto")
    backend: Literal["torch", "onnxruntime"] = key(
        "what computes the nets; onnxruntime is an extra, and computes in 32 bits", "torch"
    )
    gain_map: tuple[Literal["use", "ignore", "full", "half", "quarter"], ...] = key(
        "use: a photograph that is Ultra HDR already is taken by its own; ignore: its base is "
        "reconstructed; full, half or quarter: size of the one in Ultra HDR files; one word, or one of each "
        "kind, as in [ignore,full]",
        ("use", "half"),
    )

    @classmethod
    def irrelevant(cls, values: Mapping[str, Any]) -> Sequence[str]:
        """Name the keys that the chosen method has not."""
        method = values["method"]
        having = EXPANSIONS[end].parameters if (end := expansion_of(method)) else ()
        others = [name for name in EXPANSIONS.parameters() if name not in having]
        return others if method == NETS_METHOD else [*others, *_OF_CHAINS]

    @classmethod
    def further(cls) -> Mapping[str, Key]:
        """List the parameters of the methods."""
        return parameter_keys(EXPANSIONS.parameters())

    @property
    def settings(self) -> dict[str, Any]:
        """What the user set of the method."""
        return dict(self.parameters or {})

    @property
    def uses_gain_map(self) -> bool:
        """Whether an Ultra HDR photograph is taken by its own gain map."""
        return "ignore" not in self.gain_map

    @property
    def gain_map_size(self) -> str:
        """One of `GAIN_MAP_SIZES`."""
        return next((word for word in self.gain_map if word in GAIN_MAP_SIZES), "half")


@dataclass(frozen=True, kw_only=True)
class TonemapConfig(FilesConfig):
    """Turn HDR images into SDR images, for any display."""

    input: tuple[str, ...] = key(
        "HDR images: a file, a folder, a glob pattern, or a list of these", path=True
    )
    output: str | None = key("folder to write; null: one beside the input, ending in sdr", None, path=True)
    operator: tuple[str, ...] | None = key(
        "what tone-maps: one, or a list whose names the files get; null: iqatm where its nets are named, by "
        "weights, checkpoint or slots, else reinhard",
        None,
        choices=EVERY_OPERATOR,
    )
    weights: str | None = key(
        "nets of iqatm: compact, which come with hdrlab, or a folder; null: compact, unless checkpoint or "
        "slots is given",
        None,
    )
    slots: str | None = key("data set whose published tmo_ft is used", None)
    procedure: Literal["auto", "default", "official"] = key(
        "iqatm: default takes any size; official crops to multiples of 8; auto: official for its weights",
        "auto",
    )
    normalize: Literal["auto", "minmax", "percentile", "none"] = key(
        "iqatm: how its output is stretched; minmax as the authors; percentile clips 0.1 % at both ends; "
        "auto: as for its training",
        "auto",
    )
    exposure: float = key("stops by which the image is brighter", 0.0, least=-20, most=20)
    contrast: float = key("exponent of the luminance about middle grey, after the operator", 1.0, above=0)
    saturation: float = key("factor on the colours, after the operator; 0 is grey", 1.0, least=0)
    gamma: float = key("above 1 lifts what is dark, after the operator", 1.0, above=0)
    parameters: dict[str, Any] | None = key(_PARAMETERS + "the operators", None, free=True)
    format: (
        tuple[Literal["png", "png16", "jpeg", "jpg", "tiff", "avif", "exr", "ultrahdr", "video"], ...] | None
    ) = key(
        "of the files, one or a list; png16 and tiff have 16 bits, exr is linear light; null: png, and "
        "of a clip video",
        None,
    )
    quality: int = key("of JPEG files", 95, least=1, most=100)
    colorspace: Literal["rec709", "p3", "rec2020"] = key(
        "primaries of the files; wider ones keep what a wide image holds beyond rec709 (sRGB)", "rec709"
    )
    layer: str | None = key("layer or part of OpenEXR files to take; null: the image itself", None)
    sheet: bool = key("write all operators' images side by side as <name>_sheet.png", False)
    sanitize: bool = key("replace NaN and infinite values instead of refusing the file", False)
    device: Device = key("where iqatm computes", "auto")
    gain_map: Literal["full", "half", "quarter"] = key(
        "size of the gain map in Ultra HDR files, beside their base", "half"
    )

    @classmethod
    def irrelevant(cls, values: Mapping[str, Any]) -> Sequence[str]:
        """Name the keys that are for none of the chosen operators."""
        names = values["operator"] or ()
        names = (names,) if isinstance(names, str) else names
        having = OPERATORS.parameters()
        others = [name for name, whose in having.items() if not whose.keys() & {*names}]
        return [*others, *(() if LEARNED in names else _OF_NETS)] if names else []

    @classmethod
    def further(cls) -> Mapping[str, Key]:
        """List the parameters of the operators."""
        return parameter_keys(OPERATORS.parameters())

    @property
    def settings(self) -> dict[str, Any]:
        """What the user set of the operators, without what is as it would be."""
        adjusted = {"exposure": 0, "contrast": 1, "saturation": 1, "gamma": 1}
        chosen = {name: getattr(self, name) for name in adjusted}
        set_ = {name: value for name, value in chosen.items() if value != adjusted[name]}
        return {**set_, **(self.parameters or {})}

    def settings_of(self, operator: str) -> dict[str, Any]:
        """Those of `settings` that an operator has."""
        having = OPERATORS.parameters()
        return {
            name: value for name, value in self.settings.items() if operator in having.get(name, (operator,))
        }

    @property
    def operators(self) -> tuple[str, ...]:
        """What tone-maps, where nothing was chosen too."""
        named = self.weights or self.checkpoint or self.slots
        return self.operator or ((LEARNED,) if named else ("reinhard",))


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Section):
    """Open a page in which photographs become HDR and HDR files are tone-mapped."""

    plugins: tuple[str, ...] | None = key(_PLUGINS, None)
    host: str = key("address to listen at; 0.0.0.0: at all, for others to use", "127.0.0.1")
    port: int = key("port to listen at; 0: any free one", 8210, least=0, most=65535)
    hosts: tuple[str, ...] | None = key(
        "names by which others call this server, for example demo.example.org; addresses need none", None
    )
    file_mb: float = key("megabytes that a file may have", 200.0, above=0)
    megapixels: float = key("millions of pixels that a picture may declare", 100.0, above=0)
    pictures: int = key("how many pictures are kept at a time", 40, least=1)
    queue: int = key("how many may wait for the worker", 40, least=1)
    minutes: float = key("after which a picture is deleted that nobody asks for", 60.0, above=0)
    weights: str | None = key(
        "nets: compact, which come with hdrlab; official, the authors' once imported; or a folder; "
        "null: compact",
        None,
    )
    memory: str = key(
        "what the nets may take, for example 2GB; pictures, about 150 bytes a pixel, apart", "2GB"
    )
    device: Device = key(_DEVICE, "auto")


for _command, _schema, _table in (
    ("hdrlab tonemap", TonemapConfig, OPERATORS),
    ("hdrlab reconstruct", ReconstructConfig, EXPANSIONS),
    ("hdrlab evaluate", EvaluateConfig, SCORES),
):
    _table.reserved = dict.fromkeys(own_keys(_schema), _command)
