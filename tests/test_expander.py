"""HDR images without nets: classical methods as reconstruct offers them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab import reconstruct
from hdrlab.errors import OperatorError
from hdrlab.evaluation.methods import linearised
from hdrlab.inference.expander import Expander
from hdrlab.io import read_image
from hdrlab.tonemapping.inverse import EXPANSIONS, expand_classically


def photograph() -> NDArray[np.uint8]:
    """A ramp of greys with a clipped lamp and a red corner."""
    levels = np.linspace(0, 250, 60).astype(np.uint8)
    image = np.repeat(np.tile(levels, (40, 1))[..., None], 3, axis=2)
    image[10:20, 40:50] = 255
    image[:5, :5] = (200, 20, 10)
    return image


def command(*words: str) -> int:
    return call(reconstruct.COMMAND, words)


def test_the_names_and_keys_are_those_of_the_methods() -> None:
    offered = {(name, key) for name, row in EXPANSIONS.items() for key in row.parameters}
    taken = {(name, key) for name in EXPANSIONS for key in Expander(name).expansion_parameters}
    assert offered <= taken
    assert {key for _, key in taken - offered} == {"extent", "sigma"}  # constants of a paper


@pytest.mark.parametrize("name", EXPANSIONS)
def test_an_expansion_is_that_of_the_comparison(name: str) -> None:
    np.testing.assert_allclose(
        Expander(name)(photograph()), expand_classically(name, photograph()), rtol=1e-4, atol=1e-5
    )


def test_the_average_is_that_of_the_comparison_and_kovaleski_lifts_what_is_clipped() -> None:
    plain = Expander("average").develop(photograph())
    np.testing.assert_allclose(plain.hdr, linearised(photograph(), plain.curve), atol=1e-5)
    lifted = Expander("average_kovaleski", {"boost": 6})(photograph())
    np.testing.assert_allclose(lifted[12:18, 42:48] / plain.hdr[12:18, 42:48], 6, rtol=0.2)
    dark = np.s_[:, 5:20]
    np.testing.assert_allclose(lifted[dark], plain.hdr[dark], rtol=0.02)


def test_sixteen_bits_stay_smooth_and_a_panorama_has_no_edge() -> None:
    ramp = np.linspace(0, 65535, 4000).astype(np.uint16)[None, :, None].repeat(3, axis=2)
    assert len(np.unique(Expander("average")(ramp))) > 3500
    turned = np.roll(photograph(), 15, axis=1)  # the lamp lies on both edges
    whole, again = (
        Expander("kovaleski").develop(image, panorama=True).hdr for image in (photograph(), turned)
    )
    np.testing.assert_allclose(np.roll(whole, 15, axis=1), again, rtol=0.1, atol=1e-3)
    assert np.abs(Expander("kovaleski")(turned) - again).max() > 0.3


def test_what_a_method_has_not_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"method 'averge': must be nets \| average \|"):
        Expander("averge")
    with pytest.raises(OperatorError, match="average has no boost; it has no settings"):
        Expander("average", {"boost": 2})


def test_the_command_takes_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PillowImage.fromarray(photograph()).save(tmp_path / "a.png")
    out = tmp_path / "out"
    words = [f"input={tmp_path / 'a.png'}", f"output={out}", "preview=false"]
    assert command(*words, "method=average_kovaleski", "boost=6") == 0
    made = read_image(out / "a.exr")
    assert made.pixels.max() == pytest.approx(6, rel=0.1)
    assert command(*words, "method=average_kovaleski", "boost=3") == 0  # not "there already"
    assert read_image(out / "a.exr").pixels.max() == pytest.approx(3, rel=0.1)
    assert (
        command(*words, "method=landis", "boost=3", "weights=compact", "layers=true", "stages=deq_lin") == 2
    )
    said = capsys.readouterr().err
    assert "boost: landis cannot use it; it is for kovaleski, average_kovaleski" in said
    assert "weights: method=landis has no nets" in said
    assert "layers: method=landis has no nets" in said
    assert "stages: method=landis has no nets" in said


def test_without_weights_the_average_is_used_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hdrlab.weights.pretrained.SHIPPED", tmp_path / "none")
    PillowImage.fromarray(photograph()).save(tmp_path / "a.png")
    assert command(f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}") == 0
    assert "note: no weights came with this hdrlab, so method=average is used" in capsys.readouterr().err
    made = read_image(tmp_path / "out" / "a.exr").pixels
    np.testing.assert_allclose(made, Expander("average")(photograph()), rtol=1e-2, atol=1e-4)
