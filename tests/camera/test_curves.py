"""Sources of response curves and their splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdrlab.camera.curves import load_response_curves
from hdrlab.errors import DataError

SAMPLES = np.linspace(0, 1, 1024)


def _write_dorf(path: Path, curves: list[str]) -> Path:
    grid = " ".join(f"{value:.6e}" for value in SAMPLES)
    blocks = [f"curve{i}\r\ntype\r\nI =\r\n {grid}\r\nB =\r\n {curve}\r\n" for i, curve in enumerate(curves)]
    path.write_text("".join(blocks))
    return path


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.6e}" for value in values)


def test_family_rises_strictly_from_zero_to_one() -> None:
    family = load_response_curves("builtin")
    assert family.curves.dtype == np.float32
    assert 180 <= len(family.curves) == len(family.names) == len(set(family.names)) <= 220
    assert (family.curves[:, 0] == 0).all()
    assert (family.curves[:, -1] == 1).all()
    assert (np.diff(family.curves, axis=1) > 1e-5).all()


def test_family_contains_the_standards() -> None:
    family = load_response_curves("builtin")
    srgb = family.curves[family.names.index("srgb")]
    rec709 = family.curves[family.names.index("rec709")]
    linear = family.curves[family.names.index("gamma(g=1.000)")]
    expected = np.where(SAMPLES <= 0.0031308, 12.92 * SAMPLES, 1.055 * SAMPLES ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(srgb, expected, atol=3e-5)
    expected = np.where(SAMPLES < 0.018, 4.5 * SAMPLES, 1.099 * SAMPLES**0.45 - 0.099)
    np.testing.assert_allclose(rec709, expected, atol=3e-4)
    np.testing.assert_allclose(linear, SAMPLES, atol=1e-7)


def test_family_split_holds_out_ten_curves_of_many_kinds() -> None:
    family = load_response_curves("builtin")
    train, test = family.split("train"), family.split("test")
    assert len(test) == 10
    assert sorted([*train, *test]) == family.split("all").tolist()
    assert len({family.names[i].split("(")[0] for i in test}) >= 6
    assert np.array_equal(test, load_response_curves("builtin").split("test"))


def test_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown split.*'val'.*train.*test.*all"):
        load_response_curves("builtin").split("val")  # type: ignore[arg-type]


def test_dorf_is_split_as_the_authors_do(tmp_path: Path) -> None:
    dorf = load_response_curves(_write_dorf(tmp_path / "dorfCurves.txt", [_text(SAMPLES)] * 201))
    assert dorf.split("test").tolist() == [108, 180, 12, 6, 30, 118, 38, 11, 16, 4]
    assert len(dorf.split("train")) == 191
    assert dorf.source == "dorfCurves.txt"


def test_dorf_reads_the_sixth_line_of_each_curve_as_it_is(tmp_path: Path) -> None:
    flat_ends = np.clip(SAMPLES * 1.2, 0.01, 0.99)
    dorf = load_response_curves(_write_dorf(tmp_path / "d.txt", [_text(SAMPLES**0.5), _text(flat_ends)]))
    assert dorf.names == ("curve0", "curve1")
    assert dorf.curves.dtype == np.float32
    np.testing.assert_allclose(dorf.curves, [SAMPLES**0.5, flat_ends], atol=1e-6)


def _changed(index: int, value: float) -> str:
    values = SAMPLES.copy()
    values[index] = value
    return _text(values)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (_text(SAMPLES[:-1]), "has 1023 samples, expected 1024"),
        (_changed(7, float("nan")), "sample 7 is not finite"),
        (_changed(500, 0.9), "must not fall; it does after sample 500"),
        (_changed(1023, 1.5), r"must lie in \[0, 1\]; found 0 … 1.5"),
        (_changed(0, -0.1), r"must lie in \[0, 1\]; found -0.1 … 1"),
        (_text(0 * SAMPLES + 0.5), "is constant"),
        ("0 one 1", "not a list of numbers"),
    ],
)
def test_dorf_faults_name_file_line_and_curve(tmp_path: Path, curve: str, message: str) -> None:
    path = _write_dorf(tmp_path / "dorf.txt", [_text(SAMPLES), curve])
    with pytest.raises(DataError, match=rf"dorf\.txt, line 12, curve 'curve1': .*{message}"):
        load_response_curves(path)


def test_dorf_that_is_cut_shifted_empty_or_missing(tmp_path: Path) -> None:
    path = _write_dorf(tmp_path / "dorf.txt", [_text(SAMPLES)] * 2)
    text = path.read_text()
    path.write_text(text[: text.rindex("B =")])
    with pytest.raises(DataError, match="line 7, curve 'curve1': expected six lines"):
        load_response_curves(path)
    path.write_text("a stray line\n" + text)
    with pytest.raises(DataError, match="line 1, curve 'a stray line': expected six lines"):
        load_response_curves(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        load_response_curves(path)
    with pytest.raises(DataError, match="absent: cannot be read"):
        load_response_curves(tmp_path / "absent")
