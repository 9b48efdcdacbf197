"""The published programs' numbers that come along, and the page that tells of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from parity import record
from parity.__main__ import PAGE, main
from parity.cases import Case, cases, dequantization_tf2, named
from parity.metrics import CHECKS, Check
from parity.recipe import image, iqatm_variable, photograph, refinement_input, singlehdr_variable
from parity.reference import FILE, Agreement, Reference, sampled, totals

REFERENCE = Reference()


@pytest.fixture(autouse=True, scope="module")
def _each_case_is_computed_once() -> Iterator[None]:
    plain, found = Case.compare, dict[tuple[str, ...], Agreement]()

    def compare(case: Case, reference: Reference) -> Agreement:
        key = case.what, case.preset, case.program
        return found[key] if key in found else found.setdefault(key, plain(case, REFERENCE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Case, "compare", compare)
        yield


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.what}, {case.preset}, {case.program}")
@torch.no_grad()
def test_nets_and_procedures_agree_with_the_published_programs(case: Case) -> None:
    found = case.compare(REFERENCE)
    assert found.values > 50
    assert found.difference <= case.tolerance


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.what)
def test_metrics_agree_with_known_values(check: Check) -> None:
    assert check.largest_difference()[1] <= check.tolerance


@torch.no_grad()
def test_every_number_is_compared_but_those_that_need_the_emor_basis() -> None:
    seen = set.union(*(case.compare(REFERENCE).seen for case in cases()))
    left = REFERENCE.names - seen
    assert {name.rpartition("/")[2] for name in left} <= {"invcrf_raw", "invcrf", "linear", "train_invcrf"}


@torch.no_grad()
def test_the_other_preset_does_not_agree() -> None:
    out = dequantization_tf2(REFERENCE)["singlehdr/deq_forward_tf2/out"]
    assert REFERENCE.compare({"singlehdr/deq_forward/out": out}).difference > 1e-3


def test_one_value_off_one_place_is_seen_by_the_totals() -> None:
    x = photograph("deq", 2, 64, 96)
    key = "singlehdr/deq_forward/out_clipped"
    sample = sampled(key, x)
    x[0, 0, 0, 0] += 100
    assert np.array_equal(sample, sampled(key, x))  # not a place that is sampled
    assert totals(x)[1] > totals(photograph("deq", 2, 64, 96))[1] + 99


def test_values_that_are_not_finite_do_not_agree() -> None:
    out = torch.full((2, 3, 64, 96), torch.nan)
    found = REFERENCE.compare(named("singlehdr/deq_forward", {"out": out}))
    assert found.difference == np.inf


def test_the_file_is_small() -> None:
    assert FILE.stat().st_size < 300_000


def test_the_page_shows_the_table_of_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["make parity"])
    assert main() == 0
    printed = capsys.readouterr().out

    def steady(text: str) -> list[str]:
        """Rows without the measured difference, whose digits change with the processor."""
        return re.findall(r"^\|(.*?)\| \S+ \| (\S+ \| \w*) \|$", text, re.MULTILINE)

    assert len(steady(printed)) == len(cases()) + len(CHECKS)
    assert steady(PAGE.read_text(encoding="utf-8")) == steady(printed)
    for program in REFERENCE.programs.values():
        assert program in PAGE.read_text(encoding="utf-8")


# ------------------------------------------------------------------------- the full outputs, where they are


@pytest.mark.golden
def test_the_recipe_draws_what_the_programs_were_given(goldens: Path, iqatm_goldens: Path) -> None:
    for file in ("deq_forward", "lin_forward", "ref_forward"):
        with np.load(goldens / f"{file}.npz") as arrays:
            stored = {key[2:]: arrays[key] for key in arrays.files if key.startswith("w:")}
        assert stored
        for name, values in stored.items():
            assert np.array_equal(singlehdr_variable(name, values.shape), values), name
    with np.load(goldens / "hal_forward.npz") as arrays:
        sums = json.loads(str(arrays["var_crc32_json"]))
        shapes = json.loads(str(arrays["var_list_json"]))
    for name, shape in shapes:
        assert crc32(singlehdr_variable(name, shape).tobytes()) == sums[name], name
    with np.load(iqatm_goldens / "weights.npz") as arrays:
        for name in (name for name in arrays.files if arrays[name].ndim):
            assert np.array_equal(iqatm_variable(name, arrays[name].shape), arrays[name]), name
    drawn = {
        "deq_forward": photograph("deq", 2, 64, 96),
        "hal_forward": image("hal", 2, 64, 96),
        "lin_forward": image("lin_forward", 2, 64, 96),
        "lin_forward_odd": image("lin_forward_odd", 1, 65, 97),
        "lin_features_tf1": image("feat", 1, 24, 32),
        "ref_forward": refinement_input(),
    }
    for file, values in drawn.items():
        with np.load(goldens / f"{file}.npz") as arrays:
            assert np.array_equal(arrays["x"], values), file
    with np.load(goldens / "pipeline.npz") as arrays:
        assert np.array_equal(arrays["ldr_rgb_u8"], np.round(255 * photograph("pipe", 1, 70, 100)[0]))


@pytest.mark.golden
def test_the_numbers_are_those_of_the_full_outputs(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FILE", tmp_path / "again.npz")
    monkeypatch.setattr("sys.argv", ["record", str(shared / "goldens")])
    record.main()
    with np.load(tmp_path / "again.npz") as again, np.load(FILE) as kept:
        assert again.files == kept.files
        for name in kept.files:
            if name.startswith("totals"):  # sums depend on the order of summation
                np.testing.assert_allclose(again[name], kept[name], rtol=1e-9, err_msg=name)
            else:
                assert np.array_equal(again[name], kept[name]), name


@pytest.mark.golden
@torch.no_grad()
def test_curves_of_the_emor_basis_agree(shared: Path) -> None:
    curves = cases(shared / "crf" / "invemor.txt")[-1]
    assert curves.compare(REFERENCE).difference <= curves.tolerance
