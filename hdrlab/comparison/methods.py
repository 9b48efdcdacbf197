"""Who takes part in a comparison of reconstructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hdrlab.chain import Chain
from hdrlab.comparison.contest import Contender, Outcome
from hdrlab.comparison.figures import PhotographCase
from hdrlab.expansion import EXPANSIONS, expand_classically
from hdrlab.ops.response import apply_response
from hdrlab.procedure import Procedure
from hdrlab.report.model import Method
from hdrlab.tiles import reconstruct_tiled

BASELINE = "srgb"
"""What does nothing, which every other method is compared with."""


def classical(names: Sequence[str]) -> list[Contender]:
    """Return the expansion operators of these names; the one that does nothing is always the first."""
    return [_expansion(name) for name in dict.fromkeys((BASELINE, *names))]


def _expansion(name: str) -> Contender:
    row = EXPANSIONS[name]
    about = Method(name, row.title, "baseline" if name == BASELINE else "classical", row.summary)
    return Contender(about, lambda case: Outcome(expand_classically(name, case.input)))


def oracle() -> Contender:
    """Return the photograph linearised by its camera's true response, where that is known."""
    said = "the photograph linearised by its camera's true response: the best without highlights"
    return Contender(Method("oracle", "True response", "oracle", said), _by_true_response)


def _by_true_response(case: PhotographCase) -> Outcome:
    curve = case.photograph.inverse_curve
    assert curve is not None, "the oracle takes part only where the data know the response"
    x_srgb = torch.from_numpy(case.input.astype(np.float32) / 255).permute(2, 0, 1)[None]
    x_lin = apply_response(x_srgb, torch.from_numpy(curve)[None])
    return Outcome(x_lin[0].permute(1, 2, 0).contiguous().numpy())


def trained(name: str, chain: Chain, files: Sequence[str]) -> Contender:
    """Return a chain of nets."""
    metadata = "; ".join(f"{key} {value}" for key, value in chain.metadata.items())
    about = Method(name, name, "trained", f"{', '.join(files)} ({metadata})")
    return Contender(about, lambda case: _reconstruct(chain, case))


def _reconstruct(chain: Chain, case: PhotographCase) -> Outcome:
    height, width, _ = case.input.shape
    sizes = Procedure(chain.procedure, height, width)
    x_srgb = torch.from_numpy(case.input.astype(np.float32) / 255).permute(2, 0, 1)[None]
    done = reconstruct_tiled(sizes.fit(x_srgb), chain.nets, memory=chain.memory)
    hdr = sizes.undo(done.result)[0].clamp(min=0).permute(1, 2, 0)
    return Outcome(hdr.contiguous().numpy(), done.curve[0].numpy())
