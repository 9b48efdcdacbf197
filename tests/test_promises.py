"""Every promise names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "experiments" / "robustness.md"


def test_every_promise_is_proved_by_tests_that_exist() -> None:
    rows = re.findall(r"^\| ([PS]\d+) \|[^|]*\| (.*) \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    promises = [*(f"P{number}" for number in range(1, 13)), *(f"S{number}" for number in range(1, 6))]
    assert [name for name, _ in rows] == promises
    for promise, named in rows:
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", named)
        assert len(tests) == named.count("`") // 2 > 1, promise
        for file, test in tests:
            assert f"def {test}(" in (TESTS / file).read_text("utf-8"), f"{promise}: {file}::{test}"
