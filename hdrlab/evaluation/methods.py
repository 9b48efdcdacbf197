"""Who takes part in a comparison: what does nothing, published formulas, trained nets, and oracles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.evaluation import hdr_metrics, sdr_metrics
from hdrlab.evaluation.benchmark import Floats, Made, Method
from hdrlab.evaluation.hdr_metrics import PhotographCase
from hdrlab.evaluation.sdr_metrics import ToneCase
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.tonemapping import OPERATORS, tone_map_classically
from hdrlab.tonemapping.inverse import EXPANSIONS, expand_classically

AVERAGE = "average"
"""The one constant that a trained response has to beat, beside doing nothing."""

_NETS = threading.Lock()


def expansions(names: Sequence[str]) -> list[Method]:
    """Return what does nothing, the average camera, and the expansion operators of these names."""
    first, *others = (_expansion(name) for name in dict.fromkeys((hdr_metrics.BASELINE, *names)))
    text = "the photograph linearised by the average camera's response, the mean of EMoR's, whatever it shows"
    average = Method(AVERAGE, "Average response", "baseline", text, _by_average_response)
    return [first, average, *others]


def _expansion(name: str) -> Method:
    row = EXPANSIONS[name]
    kind = "baseline" if name == hdr_metrics.BASELINE else "classical"
    return Method(name, row.title, kind, row.summary, partial(_expand, name))  # type: ignore[arg-type]


def _expand(name: str, case: PhotographCase) -> Made:
    return expand_classically(name, case.input), None


def _by_average_response(case: PhotographCase) -> Made:
    curve: Floats = average_inverse(torch.empty(1, 1024))[0].numpy()
    return linearised(case.input, curve), curve


def oracle() -> Method:
    """Return the photograph linearised by its camera's true response, where that is known."""
    text = "the photograph linearised by its camera's true response: the best without highlights"
    return Method("oracle", "True response", "oracle", text, _by_true_response)


def _by_true_response(case: PhotographCase) -> Made:
    curve = case.photograph.inverse_curve
    assert curve is not None, "the oracle takes part only where the data know the response"
    return linearised(case.input, curve), None


def linearised(photograph: NDArray[np.uint8], inverse_curve: Floats) -> Floats:
    """Look a photograph [H, W, 3] up in an inverse response curve [K]; there are 256 codes only."""
    codes = torch.arange(256, dtype=torch.float32)[None] / 255
    light: Floats = apply_response(codes, torch.from_numpy(inverse_curve)[None])[0].numpy()
    return light[photograph]


def reconstructor(name: str, nets: Reconstructor, files: Sequence[str]) -> Method:
    """Return a chain of nets."""
    metadata = "; ".join(f"{key} {value}" for key, value in nets.metadata.items())

    def run(case: PhotographCase) -> Made:
        made = alone(nets.develop, case.input)
        return made.hdr, made.curve

    return Method(name, name, "trained", f"{', '.join(files)} ({metadata})", run)


def operators(names: Sequence[str]) -> list[Method]:
    """Return the tone-mapping operators of these names; the one that does nothing is always the first."""
    return [_operator(name) for name in dict.fromkeys((sdr_metrics.BASELINE, *names))]


def _operator(name: str) -> Method:
    def run(case: ToneCase) -> Made:
        return tone_map_classically(name, case.reference), None

    kind = "baseline" if name == sdr_metrics.BASELINE else "classical"
    return Method(name, name.replace("_", " "), kind, OPERATORS[name].summary, run)  # type: ignore[arg-type]


def label() -> Method:
    """Return the SDR images of the data: what nets learn from."""

    def run(case: ToneCase) -> Made:
        assert case.sdr is not None, "labels take part only where every image has one"
        return case.sdr[0].permute(1, 2, 0).numpy(), None

    return Method(
        "sdr", "SDR of the data", "oracle", "the SDR images of the data, which nets learn from", run
    )


def tone_mapper(name: str, mapper: ToneMapper, files: Sequence[str]) -> Method:
    """Return a learned operator."""
    return Method(name, name, "trained", ", ".join(files), lambda case: (alone(mapper, case.reference), None))


def alone(nets: Callable[[Any], Any], image: NDArray[Any]) -> Any:
    """Run nets on one image at a time, on all cores, whichever thread asks."""
    with _NETS:
        before = torch.get_num_threads()
        torch.set_num_threads(_CORES)
        try:
            return nets(image)
        finally:
            torch.set_num_threads(before)


_CORES = torch.get_num_threads()
