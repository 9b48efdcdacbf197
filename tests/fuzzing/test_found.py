"""What fuzzing found once stays mended, and fuzzing still finds what is wrong."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzzing.harness import Reader
from fuzzing.mutations import MUTATIONS, mutate
from fuzzing.readers import READERS
from fuzzing.seeds import make_seeds

FOUND = Path(__file__).parent / "found"


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as one:
        yield one


@pytest.mark.slow
def test_what_was_found_is_mended(reader: Reader, tmp_path: Path) -> None:
    files = [file for file in FOUND.glob("*/*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        place = tmp_path / file.parent.name / file.name.partition("-")[2]
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, place)
        assert not reader.check(file.parent.name, place), file


@pytest.mark.slow
def test_valid_files_of_every_kind_are_read_and_damaged_ones_refused(reader: Reader, tmp_path: Path) -> None:
    seeds = make_seeds(tmp_path)
    assert {seed.kind for seed in seeds} == READERS.keys() == MUTATIONS.keys()
    draws = random.Random(1)
    for seed in seeds:
        path = tmp_path / seed.kind / seed.name
        for data in (seed.data, b"", *(mutate(seed.kind, seed.data, draws) for _ in range(3))):
            path.write_bytes(data)
            assert not reader.check(seed.kind, path), f"{seed.kind}: {data[:200]!r}"


FAULTS = {
    "raise KeyError(1)": "KeyError",
    "raise HdrlabError('is bad')": "names no file",
    "bytearray(1 << 28)": "memory",
    "bytearray(1 << 40)": "MemoryError",
    "time.sleep(2)": "slow",
    "pass": "",
    "os.kill(os.getpid(), 11)": "ended with -11",
    "time.sleep(60)": "hang",
}
BROKEN = """
import os, time
from fuzzing import readers, worker
from hdrlab.errors import HdrlabError
readers.READERS["pfm"] = (lambda path: exec(path.read_text()),)
worker.main()
"""


@pytest.mark.slow
def test_faults_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a reader that does what its file says."""
    (tmp_path / "broken_worker.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("fuzzing.harness.SECONDS", 1)
    monkeypatch.setattr("fuzzing.harness.GRACE", 2)
    path = tmp_path / "x.pfm"
    with Reader("broken_worker") as reader:
        for fault, said in FAULTS.items():
            path.write_text(fault)
            found = reader.check("pfm", path)
            assert said in found, fault
            assert bool(said) == bool(found)
