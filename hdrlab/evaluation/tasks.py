"""From a configuration to a comparison that is ready to run: its images, its methods, what is measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from hdrlab.config.registry.stages import SYNTH_KEYS, TONE_KEYS
from hdrlab.config.registry.tables import SCORES
from hdrlab.config.schema.commands import ALL, EvaluateConfig
from hdrlab.config.schema.data import FolderConfig, TinyConfig, TonePairsConfig
from hdrlab.config.validate import find_matlab
from hdrlab.datasets.build import open_curves, open_data
from hdrlab.datasets.index import Index, Progress
from hdrlab.errors import EvaluationError, __version__
from hdrlab.evaluation import external_results, hdr_metrics, methods, sdr_metrics
from hdrlab.evaluation.benchmark import Benchmark, Task
from hdrlab.evaluation.candidates import Candidate
from hdrlab.evaluation.folders import FolderPhotographs, FolderTones, notes_of
from hdrlab.evaluation.hdr_metrics import PhotographCase
from hdrlab.evaluation.photographs import Photographs
from hdrlab.evaluation.summary import LEAST_SCENES, Results
from hdrlab.evaluation.tables import failures_of
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.metrics import ANCHOR_LUMINANCE, PEAK_LUMINANCE, load_niqe_model
from hdrlab.metrics.external import ExternalMetric, open_metrics

PACKAGES = ("torch", "numpy", "scipy", "OpenImageIO", "pillow")
_MISUSE = {
    "reconstruct": (
        "reconstruct photographs",
        "data=tiny, data=hdr_synth, data=hdr_real, or data=folder with data.photographs",
    ),
    "tonemap": (
        "tone-map whole HDR images",
        "data=tiny, data=tmo_pairs, or data=folder with data.hdr",
    ),
}


def open_benchmark(
    config: EvaluateConfig, task: Task, candidates: Sequence[Candidate], progress: Progress
) -> Benchmark:
    """Open everything that a comparison needs.

    Args:
        config: What is asked for.
        task: What is compared.
        candidates: Trained methods.
        progress: Called with (done, all, file) while images are checked.

    Raises:
        EvaluationError: The data are not for this task, a metric's package cannot be used, what is asked for
            belongs to the other task, or there is nothing to compare.
        WeightsError: A net is missing, a file or NIQE's model cannot be read.
        ResourceError: The device is not there.
    """
    if task not in config.data.tasks:
        who, others = _MISUSE[task]
        source = "these nets" if candidates else f"task={task}:"
        raise EvaluationError(f"{source} {who}, which data={config.data.name} has not; use {others}")
    made = (_reconstruction if task == "reconstruct" else _tone_mapping)(config, candidates, progress)
    names = [method.name for method in made.methods]
    if len([name for name in names if name != methods.AVERAGE]) < 2:
        key = "methods" if task == "reconstruct" else "operators"
        raise EvaluationError(f"nothing to compare {names[0]} with: give a checkpoint, results or more {key}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EvaluationError(f"results.{twice[0]}: a checkpoint is called so; choose another name")
    return replace(made, title=f"{made.title}: {where(config)}")


def _reconstruction(config: EvaluateConfig, candidates: Sequence[Candidate], progress: Progress) -> Benchmark:
    data = config.data
    if config.niqe:
        raise EvaluationError("niqe: judges SDR images, and these are reconstructions; leave it out")
    extra = _open_metrics(config, "reconstruct")
    masked = isinstance(data, FolderConfig) and data.masks is not None
    metrics = hdr_metrics.metrics(extra, masked=masked, everything=ALL in (config.metrics or ()))
    own = [
        methods.reconstructor(
            one.name,
            Reconstructor.load(
                one.files,
                memory=config.memory,
                device=_device(config.accelerator),
                precision=config.precision,
            ),
            one.files,
        )
        for one in candidates
    ]
    photographs: FolderPhotographs | Photographs
    if isinstance(data, FolderConfig):
        photographs = FolderPhotographs(data, config.images, progress)
        fingerprint, notes = photographs.fingerprint, notes_of(data, photographs.left_out)
    else:
        index = _open_index(config, SYNTH_KEYS, progress)
        photographs = Photographs(data, index, open_curves(data), config.split, config.images)
        fingerprint, notes = index.fingerprint, {}
    others = external_results.reconstructions(config.results, photographs.stems)
    if isinstance(photographs, Photographs) and photographs.knows_curves:
        others.append(methods.oracle())
    wanted = frozenset(metric.name for metric in metrics)
    anchor = f"the reference's median luminance at {ANCHOR_LUMINANCE:.0f} cd/m²; display clips at "
    anchor += " and wide at ".join(f"{peak:.0f} cd/m²" for peak in PEAK_LUMINANCE.values())
    conventions = {"photometric anchor": anchor, "scale": "fitted on pixels that the photograph did not clip"}
    if extra:
        conventions["metrics of other packages"] = "; ".join(metric.convention for metric in extra)
    return Benchmark(
        title="Reconstruction of HDR images",
        task="reconstruct",
        baseline=hdr_metrics.BASELINE,
        methods=[*own, *methods.expansions(config.methods), *others],
        metrics=metrics,
        headline=(*hdr_metrics.HEADLINE, *(metric.name for one in extra for metric in one.metrics)),
        stems=photographs.stems,
        case=lambda number: PhotographCase(photographs[number], wanted, extra),
        fingerprint=fingerprint,
        notes={**notes, **conventions},
        parallel=not extra,  # other packages promise nothing about threads
    )


def _open_metrics(config: EvaluateConfig, task: Task) -> list[ExternalMetric]:
    names = [name for name in config.metrics or () if name != ALL]
    if other := [name for name in names if SCORES[name].task != task]:
        what = "compare HDR images" if task == "tonemap" else "judge tone-mapped images"
        raise EvaluationError(f"metrics={','.join(other)}: they {what}; leave them out")
    files = {name: row.toolbox for name, row in SCORES.items() if row.toolbox}
    folders = {name: getattr(config.toolbox, name) for name in files}
    mains = {name: Path(folder, files[name]) for name, folder in folders.items() if folder}
    return open_metrics(names, mains, find_matlab(config.toolbox.program), config.parameters or {})


def _tone_mapping(config: EvaluateConfig, candidates: Sequence[Candidate], progress: Progress) -> Benchmark:
    data = config.data
    extra = _open_metrics(config, "tonemap")
    if isinstance(data, FolderConfig) and (data.masks or data.keep):
        raise EvaluationError("data.masks, data.keep: for reconstructions only; leave them out")
    model = load_niqe_model(config.niqe) if config.niqe else None
    rounded = bool(config.results)  # what is compared with files must have lost as much as they
    own = [
        methods.tone_mapper(
            one.name,
            ToneMapper.load(
                weights=one.files, device=_device(config.accelerator), precision=config.precision
            ),
            one.files,
        )
        for one in candidates
    ]
    images: FolderTones | sdr_metrics.ToneCases
    notes: Mapping[str, str] = {}
    if isinstance(data, FolderConfig):
        images = FolderTones(data, config.images, model, progress, rounded=rounded, extra=extra)
        fingerprint, notes = images.fingerprint, notes_of(data, images.left_out)
    else:
        assert isinstance(data, (TinyConfig, TonePairsConfig))
        index = _open_index(config, TONE_KEYS, progress)
        images = sdr_metrics.ToneCases(
            data, index, config.split, config.images, model, rounded=rounded, extra=extra
        )
        fingerprint = index.fingerprint
    others = external_results.tone_mappings(config.results, images.stems)
    others += [methods.label()] if images.all_labelled else []
    results = "rounded to 8 bits, as files are" if rounded else "scored before rounding to 8 bits"
    return Benchmark(
        title="Tone mapping of HDR images",
        task="tonemap",
        baseline=sdr_metrics.BASELINE,
        methods=[*own, *methods.operators(config.operators), *others],
        metrics=(*sdr_metrics.metrics(config.niqe), *(one for metric in extra for one in metric.metrics)),
        headline=(*sdr_metrics.HEADLINE, *(one.name for metric in extra for one in metric.metrics)),
        stems=images.stems,
        case=images.__getitem__,
        fingerprint=fingerprint,
        notes={**notes, "results": results},
        parallel=not extra,
    )


def notes(
    config: EvaluateConfig,
    benchmark: Benchmark,
    results: Results,
    candidates: Sequence[Candidate],
    *,
    nothing_left: bool,
) -> dict[str, str]:
    """Return the remarks beside the scores: images, data, conventions, failures, versions."""
    listed = getattr(config.data, "keep", None)
    apart = f"are left out by {listed}" if listed else "are mostly black or white and left out"
    counted = f"{results.num}; {results.left_out} more {apart}"
    own = [f"hdrlab {__version__}", f"python {platform.python_version()}"]
    return {
        "images": f"{results.num}, all mostly black or white" if nothing_left else counted,
        "data": f"{where(config)}, fingerprint {benchmark.fingerprint[:16]}",
        **benchmark.notes,
        "significant": f"the 95 % interval excludes 0, with {LEAST_SCENES} scenes at least",
        "undefined scores": "are in no mean, are counted beside it, and lose against any other",
        "failures, scored as black": "; ".join(failures_of(results, len(benchmark.stems))) or "none",
        **{f"checkpoint {one.name}": ", ".join(one.files) for one in candidates},
        "versions": ", ".join([*own, *(f"{name} {version(name)}" for name in PACKAGES)]),
    }


def where(config: EvaluateConfig) -> str:
    """Say which images a comparison is made on."""
    data = config.data
    if isinstance(data, FolderConfig):
        return f"folder {data.root or data.photographs or data.hdr}"
    return f"{config.split} split of {data.name}"


def output_folder(config: EvaluateConfig) -> Path:
    """Say where the results of a comparison go."""
    if config.output:
        return Path(config.output)
    data, part = config.data, str(config.split)
    if isinstance(data, FolderConfig):
        part = Path(data.root or data.photographs or data.hdr or "").resolve().name
    if not config.checkpoint:
        return Path(config.paths.runs) / "comparisons" / f"{data.name}_{part}"
    first = Path(config.checkpoint[0])
    return (first if first.is_dir() else first.parent) / f"comparison_{data.name}_{part}"


def _open_index(config: EvaluateConfig, keys: tuple[str, ...], progress: Progress) -> Index:
    cache = Path(config.paths.data) / "cache"
    return open_data(config.data, cache, keys, progress, splits=(config.split,))


def _device(accelerator: str) -> str:
    return "cuda" if accelerator == "gpu" else accelerator
