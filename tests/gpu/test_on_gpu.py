"""What only a GPU can show: it computes what the CPU does, nearly so in half precision, and twice alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hdrlab.config.registry.stages import STAGES
from hdrlab.nets import NETS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]

PRESETS = [tuple(name.split("/")) for name in NETS]
Plans = Callable[..., Any]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_net_computes_what_it_does_on_the_cpu(program: Any, plan_of: Plans, name: str, preset: str) -> None:
    found = program.compare_net(name, preset, plan_of("cuda"))
    assert found.passed, found.result


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_in_bf16_as_in_float32(program: Any, plan_of: Plans, name: str) -> None:
    for found in program.stages(plan_of("cuda", stages=(name,))):
        assert found.passed is not False, found.result


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_twice_alike(program: Any, plan_of: Plans, name: str) -> None:
    (found,) = program.determinism(plan_of("cuda", stages=(name,)))
    assert found.passed is not False, found.result


@pytest.mark.parametrize("section", ["float16", "kill_and_resume", "shared_batch_norm"])
def test_the_other_checks_pass(program: Any, plan_of: Plans, section: str) -> None:
    for found in getattr(program, section)(plan_of("cuda")):
        assert found.passed, found.result
