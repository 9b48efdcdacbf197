"""What every stage of the table keeps.

``traces.json`` holds the first ten losses of each stage on the images made from formulas. A deliberate
change of a stage's numbers rewrites it: ``HDRLAB_WRITE_TRACES=1 python -m pytest tests/stages -k trace -n0``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training import Lab, checkpoint, every_stage, long_stages_slow, numbers

from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets.index import open_index
from hdrlab.errors import CheckpointError
from hdrlab.stages.base import Batch, Stage
from hdrlab.training import build as training_build
from hdrlab.training.checkpoints import load_stage

TRACES = Path(__file__).with_name("traces.json")
PERCEPTUAL = ("stage.loss.perceptual=0.001", "stage.perceptual.weights=random")
VGG = {"hal": PERCEPTUAL, "joint": PERCEPTUAL, "real_finetune": PERCEPTUAL, "tmo_bottom": PERCEPTUAL}
"""The other tone-mapping stages see images so large that VGG-16 takes half a minute."""
VARIANTS: dict[str, list[tuple[str, ...]]] = {
    "lin": [(), ("stage.input=jpeg",)],
    "hal": [PERCEPTUAL, ("stage.input=jpeg", "stage.loss.perceptual=0")],
    "joint": [PERCEPTUAL, ("stage.mode=teacher_forcing",)],
    "real_finetune": [PERCEPTUAL, ("stage.normalise=aligned",)],
}


class Recorder(dict[str, Tensor]):
    """A batch that remembers which keys were read."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return super().__getitem__(key)


def build(lab: Lab, config: TrainConfig) -> tuple[Stage, Recorder]:
    folder = lab.prepared / "tones" if config.data.name == "tmo_pairs" else lab.prepared
    data = training_build.build_data(config, open_index(folder))
    batch = torch.utils.data.default_collate([data.training[counter] for counter in range(2)])
    stage = training_build.build_stage(config)
    stage.setup("fit")
    return stage, Recorder(batch)


def plain(value: Any, where: str = "") -> Iterator[str]:
    """Yield the place of everything that is neither tensor nor plain type, subclasses included."""
    if type(value) in (dict, list, tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from plain(inner, f"{where}.{key}")
    elif type(value) not in (torch.Tensor, str, int, float, bool, type(None)):
        yield f"{where}: {type(value)}"


@long_stages_slow
def test_a_stage_declares_the_batch_keys_it_reads(lab: Lab, name: str) -> None:
    read: set[str] = set()
    for variant in VARIANTS.get(name, [()]):
        stage, batch = build(lab, lab.config(name, *variant))
        outputs = stage(batch)
        stage.losses(batch, outputs)
        stage.metrics(batch, outputs)
        stage.panel(batch, outputs)
        read |= batch.read
    assert read | {"mask"} == set(STAGES[name].batch_keys)
    assert any(read <= set(row.batch_keys) for row in DATA.values())


@pytest.mark.slow
@every_stage
def test_every_weight_has_a_term_and_every_term_a_weight(lab: Lab, name: str) -> None:
    stage, batch = build(lab, lab.config(name, *VGG.get(name, ())))
    terms = stage.losses(batch, stage(batch))
    left_out = {"pu21", "highlights", "quality"} | (set() if name in VGG else {"perceptual"})
    assert {term for term in set(stage.weights) - set(terms) if stage.weights[term]} == set()
    assert set(stage.weights) - set(terms) <= left_out
    assert set(terms) <= set(stage.weights)
    expected = sum(stage.weights[term] * float(value.detach()) for term, value in terms.items())
    assert float(stage.weigh(terms).detach()) == pytest.approx(expected, rel=1e-6)
    for wrong in ({**terms, "another": torch.tensor(0.0)}, {}):
        with pytest.raises(KeyError, match="do not match the weights"):
            stage.weigh(wrong)


@pytest.mark.slow
@long_stages_slow
def test_training_moves_every_net_and_spares_none(lab: Lab, name: str) -> None:
    config = lab.config(name)
    fresh = training_build.build_stage(config).state_dict()
    trained = checkpoint(lab.trained(name) / "last.ckpt")["state_dict"]
    learnt = dict(training_build.build_stage(config).named_parameters())
    still = [key for key in learnt if torch.equal(fresh[key], trained[key])]
    assert len(still) < len(learnt) / 4, still
    assert all(torch.isfinite(value).all() for value in trained.values())


@long_stages_slow
def test_a_checkpoint_stands_alone_and_holds_plain_types(lab: Lab, name: str, tmp_path: Path) -> None:
    run = lab.trained(name, *VGG.get(name, ()))
    stored = checkpoint(run / "last.ckpt")
    assert not list(plain(stored["hdrlab"]))
    assert not list(plain(dict(stored["state_dict"])))
    assert not any(key.startswith("vgg16") for key in stored["state_dict"])
    said = stored["hdrlab"]
    assert said["config"]["stage"]["name"] == said["stage"] == name
    assert said["versions"].keys() >= {"hdrlab", "torch", "python"}

    moved = (run / "last.ckpt").rename(tmp_path / "moved.ckpt")
    stage, batch = build(lab, lab.config(name))
    stage.load_state_dict(stored["state_dict"])
    loaded = load_stage(moved)
    with torch.inference_mode():
        expected, outputs = stage.eval()(batch), loaded(batch)
    assert not loaded.training
    assert expected.keys() == outputs.keys()
    assert all(torch.equal(expected[key], outputs[key]) for key in expected)


@long_stages_slow
def test_a_checkpoint_that_does_not_fit_is_explained(lab: Lab, name: str, tmp_path: Path) -> None:
    stored = checkpoint(lab.trained(name, "trainer=smoke") / "last.ckpt")
    key, tensor = next(iter(stored["state_dict"].items()))
    weights = {**stored["state_dict"], "foreign": tensor}
    del weights[key]
    for change, said in (
        ({"state_dict": weights}, rf"missing {key}.*unexpected foreign"),
        ({"hdrlab": {**stored["hdrlab"], "schema_version": 99}}, "newer hdrlab"),
        ({"hdrlab": {**stored["hdrlab"], "stage": "nothing"}}, "of the stage 'nothing'"),
    ):
        torch.save({**stored, **change}, tmp_path / "wrong.ckpt")
        with pytest.raises(CheckpointError, match=said):
            load_stage(tmp_path / "wrong.ckpt")


@pytest.mark.slow
@long_stages_slow
@pytest.mark.parametrize("precision", ["bf16", "64"])
def test_other_precisions_train(lab: Lab, name: str, precision: str) -> None:
    run = lab.train(name, "trainer=smoke", f"trainer.precision={precision}", *VGG.get(name, ()))
    wanted = torch.float64 if precision == "64" else torch.float32
    stored = checkpoint(run / "last.ckpt")["state_dict"]
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {wanted}
    losses = torch.tensor([value for *_, value in numbers(run, "train/loss")])
    assert len(losses) == 2
    assert bool(losses.isfinite().all())


@long_stages_slow
def test_the_trace_of_the_first_ten_losses(lab: Lab, name: str) -> None:
    # In float64: batch norms over two cells show float32's rounding, which threads and kernels change.
    steady = (
        "stage.max_steps=10",
        "trainer.log_every_n_steps=1",
        "trainer.val_every=10",
        "trainer.precision=64",
    )
    run = lab.train(name, *steady, *VGG.get(name, ()))
    losses = [value for *_, value in numbers(run, "train/loss")]
    traces = json.loads(TRACES.read_text()) if TRACES.is_file() else {}
    if os.environ.get("HDRLAB_WRITE_TRACES"):
        TRACES.write_text(json.dumps(traces | {name: losses}, indent=1) + "\n")
        pytest.skip("trace written")
    assert losses[0] == pytest.approx(traces[name][0], rel=1e-5)
    assert losses == pytest.approx(traces[name], rel=1e-3)


@every_stage
def test_all_weights_zero_are_refused(lab: Lab, name: str) -> None:
    weights = training_build.build_stage(lab.config(name)).weights
    with pytest.raises(ValueError, match="every weight is 0"):
        lab.config(name, *(f"stage.loss.{term}=0" for term in weights))
