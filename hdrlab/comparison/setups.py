"""From a configuration to a comparison: its pictures, its methods, what is measured, and the checks."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from hdrlab import __version__
from hdrlab.chain import open_chain
from hdrlab.comparison import figures, foreign, gates, methods, tones
from hdrlab.comparison.candidates import Candidate
from hdrlab.comparison.contest import Cases, ComparisonError, Contender
from hdrlab.comparison.folders import FolderPhotographs, FolderTones, said_of
from hdrlab.comparison.perceptual import open_metrics
from hdrlab.comparison.photographs import Photographs
from hdrlab.config.check import memory_bytes, tasks_of
from hdrlab.config.schema import EvaluateConfig, FolderConfig, TinyConfig, TmoPairsConfig
from hdrlab.config.stages import SYNTH_KEYS, TONE_KEYS
from hdrlab.datasets.index import Index, Progress
from hdrlab.datasets.sources import open_curves, open_data
from hdrlab.metrics import ANCHOR_LUMINANCE, PEAK_LUMINANCE, load_niqe_model
from hdrlab.report.model import Column
from hdrlab.tone_nets import open_learned

PACKAGES = ("torch", "torchmetrics", "numpy", "scipy", "OpenImageIO", "pillow")


@dataclass(frozen=True, eq=False)
class Pictures:
    """What methods are compared on, opened.

    Attributes:
        cases: The pictures.
        contenders: Methods that need knowledge of them, and results of other programs.
        fingerprint: Of the data.
        said: What must be said of them.
    """

    cases: Cases
    contenders: list[Contender]
    fingerprint: str
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Setup:
    """A comparison before its pictures are opened.

    Attributes:
        title: What is compared, for headings.
        contenders: Methods that need no knowledge of the pictures.
        columns: What is measured, the most telling first.
        headline: Names of the columns in short tables.
        baseline: Name of the method that does nothing.
        check: Makes the checks that precede scoring.
        open: Opens the pictures, showing how far it is.
        said: Conventions of what is measured.
    """

    title: str
    contenders: list[Contender]
    columns: tuple[Column, ...]
    headline: tuple[str, ...]
    baseline: str
    check: Callable[[], list[gates.Gate]]
    open: Callable[[Progress], Pictures]
    said: Mapping[str, str]


def set_up(config: EvaluateConfig, task: str, candidates: Sequence[Candidate]) -> Setup:
    """Set up a comparison.

    Args:
        config: What is asked for.
        task: reconstruct or tonemap.
        candidates: Trained methods.

    Raises:
        ComparisonError: The data are not for this task, a metric's package cannot be used, or what is asked
            for belongs to the other task.
        ChainError: A net is missing, or the device is not there.
        WeightsError: A file cannot be used.
        NiqeModelError: NIQE's model cannot be read.
    """
    if task not in tasks_of(config.data):
        who, others = _MISUSE[task]
        source = "these nets" if candidates else f"task={task}:"
        raise ComparisonError(f"{source} {who}, which data={config.data.name} has not; use {others}")
    return (_reconstructions if task == "reconstruct" else _tone_mappings)(config, candidates)


_MISUSE = {
    "reconstruct": (
        "reconstruct photographs",
        "data=tiny, data=hdr_synth, data=hdr_real, or data=folder with data.photographs",
    ),
    "tonemap": (
        "tone-map whole HDR pictures",
        "data=tiny, data=tmo_pairs, or data=folder with data.hdr",
    ),
}


def _reconstructions(config: EvaluateConfig, candidates: Sequence[Candidate]) -> Setup:
    data = config.data
    if config.niqe:
        raise ComparisonError("niqe: judges SDR pictures, and these are reconstructions; leave it out")
    extra = open_metrics(config.metrics or (), config.toolbox)
    chains = [
        methods.trained(
            candidate.name,
            open_chain(
                candidate.files,
                (Path(config.paths.runs), None),
                memory=memory_bytes(config.memory),
                device=_device(config.accelerator),
            ),
            candidate.files,
        )
        for candidate in candidates
    ]

    def open_pictures(progress: Progress) -> Pictures:
        if isinstance(data, FolderConfig):
            found = FolderPhotographs(data, config.pictures, progress)
            more = foreign.reconstructions(config.results, found.stems)
            cases = figures.PhotographCases(found, extra)
            return Pictures(cases, more, found.fingerprint, said_of(data, found.left_out))
        index = _open_index(config, SYNTH_KEYS, progress)
        taken = Photographs(data, index, open_curves(data), config.split, config.pictures)
        more = foreign.reconstructions(config.results, taken.stems)
        more += [methods.oracle()] if taken.knows_curves else []
        return Pictures(figures.PhotographCases(taken, extra), more, index.fingerprint)

    anchor = f"the reference's median luminance at {ANCHOR_LUMINANCE:.0f} cd/m²; display clips at "
    anchor += " and wide at ".join(f"{peak:.0f} cd/m²" for peak in PEAK_LUMINANCE.values())
    conventions = {"photometric anchor": anchor, "scale": "fitted on pixels that the photograph did not clip"}
    if extra:
        conventions["metrics of other packages"] = "; ".join(metric.said for metric in extra)
    return Setup(
        "Reconstruction of HDR pictures",
        [*chains, *methods.classical(config.methods)],
        figures.columns(extra, masked=isinstance(data, FolderConfig) and data.masks is not None),
        (*figures.HEADLINE, *(column.name for metric in extra for column in metric.columns)),
        methods.BASELINE,
        lambda: gates.check_figures(extra),
        open_pictures,
        conventions,
    )


def _tone_mappings(config: EvaluateConfig, candidates: Sequence[Candidate]) -> Setup:
    data = config.data
    if config.metrics:
        raise ComparisonError(
            f"metrics={','.join(config.metrics)}: they compare HDR pictures; leave them out"
        )
    if isinstance(data, FolderConfig) and (data.masks or data.keep):
        raise ComparisonError("data.masks, data.keep: for reconstructions only; leave them out")
    model = load_niqe_model(config.niqe) if config.niqe else None
    rounded = bool(config.results)  # what is compared with files must have lost as much as they
    learned = [
        tones.learned(
            candidate.name,
            open_learned(
                candidate.files, (Path(config.paths.runs), None), device=_device(config.accelerator)
            ),
            candidate.files,
        )
        for candidate in candidates
    ]

    def open_pictures(progress: Progress) -> Pictures:
        said: Mapping[str, str] = {}
        cases: FolderTones | tones.ToneCases
        if isinstance(data, FolderConfig):
            cases = FolderTones(data, config.pictures, model, progress, rounded=rounded)
            fingerprint, said = cases.fingerprint, said_of(data, cases.left_out)
        else:
            assert isinstance(data, (TinyConfig, TmoPairsConfig))
            index = _open_index(config, TONE_KEYS, progress)
            cases = tones.ToneCases(data, index, config.split, config.pictures, model, rounded=rounded)
            fingerprint = index.fingerprint
        more = foreign.tone_mappings(config.results, cases.stems)
        more += [tones.label()] if cases.all_labelled else []
        return Pictures(cases, more, fingerprint, said)

    return Setup(
        "Tone mapping of HDR pictures",
        [*learned, *tones.classical(config.operators)],
        tones.columns(config.niqe),
        tones.HEADLINE,
        tones.BASELINE,
        tones.check_figures,
        open_pictures,
        {"results": "rounded to 8 bits, as files are" if rounded else "scored before rounding to 8 bits"},
    )


def all_contenders(setup: Setup, opened: Pictures) -> list[Contender]:
    """Return who takes part.

    Raises:
        ComparisonError: One alone does, or two are called alike.
    """
    contenders = [*setup.contenders, *opened.contenders]
    names = [one.about.name for one in contenders]
    if len(names) < 2:
        key = "methods" if setup.baseline == methods.BASELINE else "operators"
        raise ComparisonError(f"nothing to compare {names[0]} with: give a checkpoint, results or {key}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ComparisonError(f"results.{twice[0]}: a checkpoint is called so; choose another name")
    return contenders


def where(config: EvaluateConfig) -> str:
    """Say which pictures a comparison is made on."""
    data = config.data
    if isinstance(data, FolderConfig):
        return f"folder {data.root or data.photographs or data.hdr}"
    return f"{config.split} split of {data.name}"


def output_folder(config: EvaluateConfig) -> Path:
    """Say where the results of a comparison go."""
    if config.output:
        return Path(config.output)
    data, part = config.data, config.split
    if isinstance(data, FolderConfig):
        part = Path(data.root or data.photographs or data.hdr or "").resolve().name
    if not config.checkpoint:
        return Path(config.paths.runs) / "comparisons" / f"{data.name}_{part}"
    first = Path(config.checkpoint[0])
    return (first if first.is_dir() else first.parent) / f"comparison_{data.name}_{part}"


def _open_index(config: EvaluateConfig, keys: tuple[str, ...], progress: Progress) -> Index:
    cache = Path(config.paths.data) / "cache"
    return open_data(config.data, cache, keys, progress, splits=(config.split,))


def versions() -> str:
    """Return the versions of what decides about figures."""
    own = [f"hdrlab {__version__}", f"python {platform.python_version()}"]
    return ", ".join([*own, *(f"{name} {version(name)}" for name in PACKAGES)])


def _device(accelerator: str) -> str:
    return "cuda" if accelerator == "gpu" else accelerator
