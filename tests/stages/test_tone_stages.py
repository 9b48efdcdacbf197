"""What only the tone-mapping stages have."""

from __future__ import annotations

import math

import pytest
import torch
from training import Lab, checkpoint, numbers

from hdrlab.datasets.index import open_index
from hdrlab.errors import CheckpointError, RunError
from hdrlab.ops.colour import luminance, srgb_decode
from hdrlab.stages.base import Batch, Stage
from hdrlab.training import build as training_build

LABEL_FREE = {"tmo_bottom": {"hue", "structure"}, "tmo_high": {"structure"}, "tmo_ft": {"hue", "structure"}}


def build(lab: Lab, name: str, *words: str) -> tuple[Stage, Batch]:
    config = lab.config(name, *words)
    data = training_build.build_data(config, open_index(lab.prepared / "tones"))
    samples = [data.training[counter] for counter in range(64)]
    labelled = [next(s for s in samples if bool(s["labelled"]) == wanted) for wanted in (True, False)]
    return training_build.build_stage(config), torch.utils.data.default_collate(labelled)


@pytest.mark.slow
@pytest.mark.parametrize("name", LABEL_FREE)
def test_an_unlabelled_image_counts_in_the_terms_that_need_no_label(lab: Lab, name: str) -> None:
    stage, batch = build(lab, name)

    def terms_of(batch: Batch) -> dict[str, float]:
        return {term: value.item() for term, value in stage.losses(batch, outputs).items()}

    with torch.no_grad():
        outputs = stage(batch)
    terms = terms_of(batch)
    assert all(math.isfinite(value) for value in terms.values())
    labels = {key: batch[key].clone() for key in ("sdr", "sdr_high", "sdr_bottom") if key in batch}
    for label in labels.values():
        label[1] = torch.rand_like(label[1])  # of the image that has none
    assert terms_of({**batch, **labels}) == terms
    given = {key: batch[key].clone() for key in ("bottom", "high", "encoded") if key in batch}
    for layer in given.values():
        layer[1] = layer[1].flip(1)  # of the same image, its input
    changed = terms_of({**batch, **given})
    assert {term for term in terms if changed[term] != terms[term]} == LABEL_FREE[name]


def test_validation_judges_images_with_a_label_only(lab: Lab) -> None:
    stage, batch = build(lab, "tmo_bottom")
    figures = stage.metrics(batch, stage(batch))["l1_layer"]
    assert figures.isnan().tolist() == [False, True]


@pytest.mark.slow
def test_the_merging_stage_starts_from_its_branches_or_openly_from_nothing(lab: Lab) -> None:
    run = lab.train("tmo_ft", "trainer.val_every=1", "stage.max_steps=1")
    stored = checkpoint(run / "best.ckpt")
    assert set(stored["hdrlab"]["inputs"]) == {"stage.init.tmo_bottom", "stage.init.tmo_high"}
    words = ["stage.init.tmo_bottom=null", "stage.init.tmo_high=null"]
    with pytest.raises(RunError, match=r"not published yet.*stage\.start=nothing"):
        lab.train("tmo_ft", *words)
    assert lab.train("tmo_ft", *words, "stage.start=nothing", "stage.max_steps=1").is_dir()


@pytest.mark.slow
def test_epochs_are_passes_over_sixteen_samples_an_image(lab: Lab) -> None:
    run = lab.train("tmo_bottom", "stage.epochs=1", "stage.batch_size=16", "trainer.log_every_n_steps=1")
    assert [step for step, *_ in numbers(run, "train/loss")] == [1, 2, 3, 4]  # four images


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("preset=tf2",), "preset=tf2: SingleHDR's only"),
        (("stage.patch=160",), "stage.patch=160: the terms that compare structure need at least 192"),
    ],
)
def test_what_the_nets_or_terms_cannot_take_is_refused(lab: Lab, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lab.config("tmo_high", *words)


def test_a_score_and_the_colours_of_the_input_are_learnt_with(lab: Lab) -> None:
    words = ("stage.loss.quality=1", "stage.tone.colour=input", "stage.tone.stretch=none", "stage.patch=192")
    stage, batch = build(lab, "tmo_ft", *words)
    outputs = stage(batch)
    assert {"quality", "l1"} <= stage.losses(batch, outputs).keys()
    ratios, given = (luminance(x) / x[:, :1] for x in (srgb_decode(outputs["sdr"]), batch["hdr"] + 1e-6))
    assert (ratios - given).abs().median() < 0.01
    assert outputs["sdr"].grad_fn is not None
    assert torch.equal(stage.stretched(outputs["sdr"]), outputs["sdr"])  # type: ignore[attr-defined]


@pytest.mark.slow
def test_how_results_are_shown_may_change_from_run_to_run(lab: Lab) -> None:
    words = ("stage.start=nothing", "stage.skip=true", "stage.max_steps=1")
    run = lab.train("tmo_ft", *words)
    start = f"stage.init.tmo_ft={run / 'last.ckpt'}"
    assert lab.train("tmo_ft", *words, start, "stage.tone.colour=input").is_dir()
    with pytest.raises(CheckpointError, match=r"was trained with stage\.tone"):
        lab.train("tmo_ft", *words, start, "stage.tone.domain=log")
