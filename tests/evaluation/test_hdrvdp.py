"""HDR-VDP: what the user's Octave is given, what comes back, and what is said where it cannot be."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hdrlab.config.validate import find_matlab
from hdrlab.errors import ConfigError, EvaluationError
from hdrlab.evaluate import COMMAND
from hdrlab.metrics.external import ExternalMetric, open_metrics
from hdrlab.metrics.hdrvdp import open_hdrvdp, stretch

FAKE = f"""#!{sys.executable}
import re, sys
from pathlib import Path
import numpy as np
from scipy.io import loadmat

option, code = sys.argv[1:]
driver, metric, toolbox, folder = re.findall(r"'([^']*)'", code)
assert option == "--eval" and (Path(driver) / "hdrlab_vdp.m").is_file()
pair = loadmat(Path(folder) / "pair.mat")
assert pair["ppd"].item() == 30 and pair["ppd"].dtype == np.float64
assert pair["encoding"].item() == "rgb-bt.709"
test, reference = pair["test"], pair["reference"]
assert test.dtype == np.float64 and test.shape == reference.shape and test.shape[2] == 3
with open(Path(toolbox) / "calls", "a") as calls:
    print(metric, test.min(), test.max(), reference.min(), reference.max(), file=calls)
quality = 60 - np.sqrt(np.mean((np.log(test + 1) - np.log(reference + 1)) ** 2))
Path(folder, "quality.txt").write_text(f"{{quality}}\\nOctave 0.fake\\n")
"""


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like both toolboxes, and a fake octave on the path."""
    folder = tmp_path / "my toolbox"
    folder.mkdir()
    for name in ("hdrvdp.m", "hdrvdp3.m"):
        (folder / name).write_text("function res = hdrvdp()")
    (folder / "ChangeLog.txt").write_text("v2.2.2 released\nv2.2.1\n")
    put_octave(tmp_path, FAKE, monkeypatch)
    return folder


def put_octave(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    octave = folder / "bin" / "octave"
    octave.parent.mkdir(exist_ok=True)
    octave.write_text(text)
    octave.chmod(octave.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(octave.parent))


def opened(folder: Path, *names: str) -> list[ExternalMetric]:
    mains = {"hdrvdp2": folder / "hdrvdp.m", "hdrvdp3": folder / "hdrvdp3.m"}
    return open_metrics(names, {name: mains[name] for name in names}, find_matlab(None))


def test_both_images_are_stretched_as_the_authors_do() -> None:
    values = np.random.default_rng(0).permutation(np.arange(3000.0)).reshape(25, 40, 3)
    made = stretch(values)
    # k = 3: the third smallest, 2, becomes 1, the third largest, 2997, becomes 999.
    assert made[values == 2] == pytest.approx(1)
    assert made[values == 2997] == pytest.approx(999)
    assert made[values == 0] == pytest.approx(1 - 2 * 998 / 2995)
    np.testing.assert_allclose(stretch(7 * values), made, rtol=1e-9)
    assert (stretch(-values) >= 0).all()
    assert (stretch(np.zeros((8, 8, 3))) == 1).all()


@pytest.mark.slow
def test_octave_is_given_the_pair_by_the_protocol(toolbox: Path) -> None:
    two, three = opened(toolbox, "hdrvdp2", "hdrvdp3")
    assert "HDR-VDP-2 2.2.2" in two.convention
    assert "Octave 0.fake" in two.convention
    assert "30 pixels per degree" in two.convention
    assert [metric.name for metric in (*two.metrics, *three.metrics)] == [
        "hdrvdp2",
        "hdrvdp3_display",
        "hdrvdp3_wide",
    ]
    (toolbox / "calls").unlink()
    test = torch.linspace(0, 30000, 3 * 50 * 40).reshape(1, 3, 50, 40)
    figures = {**two.score(test, test / 2), **three.score(test, test / 2)}
    assert figures["hdrvdp2"] == pytest.approx(60, abs=1e-4)  # stretched one by one
    assert figures["hdrvdp3_wide"] < 59.8
    rows = [line.split() for line in (toolbox / "calls").read_text().splitlines()]
    assert [row[0] for row in rows] == ["hdrvdp2", "hdrvdp3", "hdrvdp3"]
    assert float(rows[0][2]) == pytest.approx(999, rel=0.01)
    assert [[float(value) for value in row[1:]] for row in rows[1:]] == [
        pytest.approx([0.005, 1000, 0.005, 1000]),
        pytest.approx([0.005, 10000, 0.005, 10000]),
    ]


def test_matlab_is_called_in_its_own_way(toolbox: Path, tmp_path: Path) -> None:
    matlab = tmp_path / "bin" / "matlab"
    matlab.write_text(FAKE.replace('"--eval"', '"-batch"'))
    matlab.chmod(0o755)
    _, _, said = open_hdrvdp("hdrvdp3", toolbox / "hdrvdp3.m", str(matlab))
    assert "task quality" in said


def test_a_metric_that_sees_no_difference_stops_the_comparison(
    toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_octave(tmp_path, FAKE.replace("60 - ", "60 - 0 * "), monkeypatch)
    with pytest.raises(EvaluationError, match=r"HDR-VDP-2 Q: 60.0000 for equal images and 60.0000 for clip"):
        opened(toolbox, "hdrvdp2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\necho 'error: reconSpyr undefined' >&2\nexit 1\n", "error: reconSpyr undefined"),
        ("#!/bin/sh\nexit 0\n", "silence"),
        (FAKE.replace("{quality}", "nan"), "gave no quality"),
    ],
)
def test_a_toolbox_that_does_not_run_is_told(
    toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    put_octave(tmp_path, text, monkeypatch)
    with pytest.raises(EvaluationError, match=reason):
        opened(toolbox, "hdrvdp2")


def test_what_is_missing_is_told_before_anything_starts(
    toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data=tiny", "metrics=[hdrvdp2,hdrvdp3]"]
    with pytest.raises(ConfigError) as caught:
        COMMAND.compose([*words, f"toolbox.hdrvdp3={tmp_path}"])
    assert "metrics=hdrvdp2: needs toolbox.hdrvdp2=FOLDER" in str(caught.value)
    assert f"toolbox.hdrvdp3={tmp_path}: holds no hdrvdp3.m" in str(caught.value)
    monkeypatch.setenv("PATH", str(toolbox))
    with pytest.raises(
        ConfigError, match="HDR-VDP needs GNU Octave or MATLAB, and octave, octave-cli or matl"
    ):
        COMMAND.compose([*words, f"toolbox.hdrvdp2={toolbox}", f"toolbox.hdrvdp3={toolbox}"])


@pytest.mark.slow
def test_octave_itself_runs_the_driver(tmp_path: Path) -> None:
    if shutil.which("octave") is None and shutil.which("octave-cli") is None:
        pytest.skip("no Octave: apt-get install octave")
    folder = tmp_path / "it's a toolbox"
    folder.mkdir()
    body = "(test, reference, encoding, ppd, options)\n  assert(strcmp(encoding, 'rgb-bt.709'));\n"
    body += "  assert(isequal(size(test), size(reference)) && size(test, 3) == 3);\n"
    body += "  res.{} = ppd - mean(abs(test(:) - reference(:))) / max(reference(:));\nend\n"
    (folder / "hdrvdp.m").write_text("function res = hdrvdp" + body.format("Q"))
    (folder / "hdrvdp3.m").write_text(
        "function res = hdrvdp3" + body.format("Q_JOD").replace("(test,", "(task, test,", 1)
    )
    metrics = opened(folder, "hdrvdp2", "hdrvdp3")
    assert "Octave " in metrics[0].convention
    image = torch.rand(1, 3, 288, 432, generator=torch.Generator().manual_seed(0)) * 100
    assert metrics[0].score(image, image)["hdrvdp2"] == 30
    half = metrics[1].score(image / 2, image)["hdrvdp3_wide"]
    assert half == pytest.approx(30 - float((image / 2).mean() / image.max()), abs=1e-3)
