"""Blocks that were freed are at hand for the next, and are given back in the end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# In a process of its own: where others have left free blocks in the heap, nothing grows.
CODE = """
import json, resource, torch
from hdrlab.ops.heap import give_back_idle, kept_pages

BLOCK = 40_000_000

def faults(number):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(number):
        torch.ones(BLOCK // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    status = open("/proc/self/status").read()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0]) / BLOCK

torch.set_num_threads(1)
faults(1)
before, usual = resident(), faults(10)
with kept_pages():
    faults(20)  # aligned blocks do not fit where such a one was, until some are joined
    again, kept = faults(10), resident() - before
    give_back_idle()
    idle = resident() - before
print(json.dumps([usual, again, kept, idle, resident() - before]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone")
def test_large_blocks_are_kept_and_given_back() -> None:
    printed = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    usual, again, kept, idle, left = json.loads(printed)
    assert again < usual / 4  # of 9,800 pages each, or 20 where pages are huge
    assert kept > 0.9
    assert max(idle, left) < 0.2
