"""Blocks that were freed are at hand for the next, and are given back in the end."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch

from hdrlab.inference.heap import kept_pages

BLOCK = 40_000_000


def faults_of_blocks(number: int) -> int:
    """Count the pages that writing that many blocks, one after the other, faults in."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(number):
        torch.ones(BLOCK // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes() -> int:
    said = Path("/proc/self/status").read_text(encoding="ascii").partition("VmRSS:")[2]
    return int(said.split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone")
def test_large_blocks_are_kept_and_given_back() -> None:
    before = resident_bytes()
    with kept_pages():
        faults_of_blocks(20)  # aligned blocks do not fit where such a one was, until some are joined
        assert faults_of_blocks(10) < 1000  # of 9,800 pages each
        assert resident_bytes() - before > 0.9 * BLOCK
    assert resident_bytes() - before < 0.2 * BLOCK
