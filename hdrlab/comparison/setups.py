"""From a configuration to a comparison: its pictures, its methods, what is measured, and the checks."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hdrlab import __version__
from hdrlab.chain import open_chain
from hdrlab.comparison import figures, gates, methods, tones
from hdrlab.comparison.candidates import Candidate
from hdrlab.comparison.contest import Case, ComparisonError, Contender
from hdrlab.comparison.perceptual import open_metrics
from hdrlab.comparison.photographs import Photographs
from hdrlab.config.check import memory_bytes
from hdrlab.config.schema import EvaluateConfig, TinyConfig, TmoPairsConfig
from hdrlab.config.stages import SYNTH_KEYS, TONE_KEYS
from hdrlab.datasets.index import Index
from hdrlab.datasets.sources import open_curves
from hdrlab.metrics import ANCHOR_LUMINANCE, PEAK_LUMINANCE
from hdrlab.report.model import Column
from hdrlab.tone_nets import open_learned

PACKAGES = ("torch", "torchmetrics", "numpy", "scipy", "OpenImageIO", "pillow")


@dataclass(frozen=True, eq=False)
class Setup:
    """A comparison before its pictures are opened.

    Attributes:
        title: What is compared, for headings.
        keys: The batch keys by which the data set chooses its form.
        contenders: Methods that need no knowledge of the pictures.
        columns: What is measured, the most telling first.
        headline: Names of the columns in short tables.
        baseline: Name of the method that does nothing.
        check: Makes the checks that precede scoring.
        open: From the index to the pictures and to further methods.
        said: Conventions of what is measured.
    """

    title: str
    keys: tuple[str, ...]
    contenders: list[Contender]
    columns: tuple[Column, ...]
    headline: tuple[str, ...]
    baseline: str
    check: Callable[[], list[gates.Gate]]
    open: Callable[[Index], tuple[Sequence[Case], list[Contender]]]
    said: Mapping[str, str]


def reconstructions(config: EvaluateConfig, candidates: Sequence[Candidate]) -> Setup:
    """Set up a comparison of chains with the classical expansions.

    Raises:
        ComparisonError: The data have no photographs, or a metric's package cannot be used.
        ChainError: A net is missing, or the device is not there.
        WeightsError: A file cannot be used.
    """
    if isinstance(config.data, TmoPairsConfig):
        said = "these nets reconstruct photographs, which data=tmo_pairs has not"
        raise ComparisonError(f"checkpoint: {said}; use data=tiny, data=hdr_synth or data=hdr_real")
    extra = open_metrics(config.metrics or ())
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

    def open_pictures(index: Index) -> tuple[Sequence[Case], list[Contender]]:
        taken = Photographs(config.data, index, open_curves(config.data), config.split, config.pictures)
        return figures.PhotographCases(taken, extra), [methods.oracle()] if taken.knows_curves else []

    anchor = f"the reference's median luminance at {ANCHOR_LUMINANCE:.0f} cd/m²; display clips at "
    anchor += " and wide at ".join(f"{peak:.0f} cd/m²" for peak in PEAK_LUMINANCE.values())
    conventions = {"photometric anchor": anchor, "scale": "fitted on pixels that the photograph did not clip"}
    if extra:
        conventions["metrics of other packages"] = "; ".join(metric.said for metric in extra)
    return Setup(
        "Reconstruction of HDR pictures",
        SYNTH_KEYS,
        [*chains, *methods.classical(config.methods)],
        figures.columns(extra),
        (*figures.HEADLINE, *(column.name for metric in extra for column in metric.columns)),
        methods.BASELINE,
        lambda: gates.check_figures(extra),
        open_pictures,
        conventions,
    )


def tone_mappings(config: EvaluateConfig, candidates: Sequence[Candidate]) -> Setup:
    """Set up a comparison of learned tone mapping with classical operators.

    Raises:
        ComparisonError: The data are not for tone mapping, or metrics are asked for that judge HDR pictures.
        ChainError: A net is missing, or the device is not there.
        WeightsError: A file cannot be used.
    """
    data = config.data
    if not isinstance(data, (TinyConfig, TmoPairsConfig)):
        said = f"these nets tone-map, and data={data.name} has no pictures for that"
        raise ComparisonError(f"checkpoint: {said}; use data=tiny or data=tmo_pairs")
    if config.metrics:
        raise ComparisonError(
            f"metrics={','.join(config.metrics)}: they compare HDR pictures; leave them out"
        )
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

    def open_pictures(index: Index) -> tuple[Sequence[Case], list[Contender]]:
        cases = tones.ToneCases(data, index, config.split, config.pictures)
        return cases, [tones.label()] if cases.all_labelled else []

    return Setup(
        "Tone mapping of HDR pictures",
        TONE_KEYS,
        [*learned, *tones.classical(config.operators)],
        tones.COLUMNS,
        tones.HEADLINE,
        tones.BASELINE,
        tones.check_figures,
        open_pictures,
        {"results": "scored before rounding to 8 bits"},
    )


def versions() -> str:
    """Return the versions of what decides about figures."""
    own = [f"hdrlab {__version__}", f"python {platform.python_version()}"]
    return ", ".join([*own, *(f"{name} {version(name)}" for name in PACKAGES)])


def _device(accelerator: str) -> str:
    return "cuda" if accelerator == "gpu" else accelerator
