"""Results of other programs: found by name, read, and never dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import scene

from hdrlab.errors import EvaluationError
from hdrlab.evaluation import external_results
from hdrlab.evaluation.benchmark import Benchmark, Case, run
from hdrlab.evaluation.hdr_metrics import PhotographCase, metrics
from hdrlab.evaluation.photographs import Photograph, without_folder
from hdrlab.evaluation.sdr_metrics import ToneCase
from hdrlab.evaluation.summary import summarise_rows
from hdrlab.evaluation.tables import failures_of
from hdrlab.io import write_image

HDR = scene()
STEMS = ["a", "sub/b", "c", "d", "e"]


def case(number: int) -> Case:
    ldr = np.rint(255 * np.clip(HDR / 2, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return PhotographCase(Photograph(STEMS[number], STEMS[number], ldr, HDR), {"psnr_pu21_display"})


def written(folder: Path) -> str:
    (folder / "sub").mkdir(parents=True)
    write_image(folder / "a.exr", 7 * HDR)
    write_image(folder / "sub" / "b.hdr", HDR[:-2])
    (folder / "c.exr").write_bytes(b"\x76\x2f\x31\x01 broken")
    write_image(folder / "d.exr", np.where(HDR > 5, np.float32(np.inf), HDR))
    write_image(folder / "a_preview.png", np.zeros((4, 4, 3), np.uint8))
    return str(folder)


def test_failures_count_as_black_and_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = external_results.reconstructions({"theirs": written(tmp_path / "x")}, STEMS)
    said = capsys.readouterr().err
    assert "results.theirs: 1 of 5 missing: e: these count as black" in said
    assert "results.theirs: 1 of 5 unreadable: c: these count as black" in said
    chosen = [metric for metric in metrics() if metric.name == "psnr_pu21_display"]
    benchmark = Benchmark("t", "reconstruct", "theirs", made, chosen, (), STEMS, case, "f")
    rows, _ = run(benchmark, lambda *given: None, 0, 1e9, lambda *moved: None)
    assert [row["failed"] for row in rows] == [False, True, True, True, True]
    assert rows[0]["psnr_pu21_display"] > 50  # the scale is aligned, EXR holds half floats
    black = [row["psnr_pu21_display"] for row in rows[1:]]
    assert max(black) == min(black) < 10
    (line,) = failures_of(summarise_rows(benchmark, rows), 5)
    assert line.startswith("theirs 4 of 5: sub/b (144×94 pixels instead of 144×96), c (")
    assert "d (holds" in line
    assert line.endswith("e (no file of this name)")


def test_a_folder_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "x")
    with pytest.raises(EvaluationError, match=r"no result for any of the 1 images; they are called z, it ho"):
        external_results.reconstructions({"theirs": folder}, ["z"])
    write_image(tmp_path / "x" / "a.hdr", HDR)
    with pytest.raises(EvaluationError, match="several files for a; leave one of each"):
        external_results.reconstructions({"theirs": folder}, STEMS)


def test_sdr_results_are_cut_as_the_data_are(tmp_path: Path) -> None:
    import torch

    hdr = np.tile(HDR, (2, 2, 1))
    whole = (hdr.shape[0] + 3, hdr.shape[1] + 5)
    case = ToneCase("a", "s", torch.from_numpy(hdr).permute(2, 0, 1)[None], None, None, whole)
    shown = np.arange(whole[0] * whole[1] * 3).reshape(*whole, 3) % 251
    write_image(tmp_path / "a.png", shown.astype(np.uint8))
    write_image(tmp_path / "b.png", shown[:-1].astype(np.uint8))
    (method,) = external_results.tone_mappings({"theirs": str(tmp_path)}, ["a"])
    pixels = method.run(case)[0]
    np.testing.assert_allclose(pixels, shown[:-3, :-5] / 255, atol=1e-6)
    assert not case.unfit(pixels)
    case.name = "b"
    (method,) = external_results.tone_mappings({"theirs": str(tmp_path)}, ["b"])
    assert (
        case.unfit(method.run(case)[0])
        == f"{whole[1]}×{whole[0] - 1} pixels instead of {hdr.shape[1]}×{hdr.shape[0]}"
    )


def test_linear_files_are_no_sdr_results(tmp_path: Path) -> None:
    import torch

    write_image(tmp_path / "a.tif", HDR)
    (method,) = external_results.tone_mappings({"theirs": str(tmp_path)}, ["a"])
    case = ToneCase("a", "s", torch.from_numpy(HDR).permute(2, 0, 1)[None], None)
    with pytest.raises(EvaluationError, match="holds linear light"):
        method.run(case)


def test_names_leave_out_the_data_sets_folder_where_all_stay_different() -> None:
    assert without_folder(["LDR_in/a", "x/LDR_in/b", "c/ldr"], "LDR_in") == ["a", "x/b", "c/ldr"]
    assert without_folder(["LDR_in/a", "a"], "LDR_in") == ["LDR_in/a", "a"]
