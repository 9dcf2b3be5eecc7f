"""Memory that a worker keeps: where it is kept, pages are cleared once."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
from harness.execute.allocation import keep
kept = keep(int(sys.argv[1]))
b"x" * (48 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"x" * (48 << 20)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(weights: int) -> tuple[bool, int]:
    """Whether a process for a model of so many weights keeps memory, and how many pages ten more blocks of 48 MiB cost it."""
    run = subprocess.run([sys.executable, "-c", FAULTS, str(weights)], capture_output=True, text=True, check=True)
    kept, count = run.stdout.split()
    return kept == "True", int(count)


def test_a_small_models_worker_keeps_its_memory_and_a_large_ones_gives_it_back() -> None:
    kept, few = faults(400_000)
    if not kept:
        pytest.skip("this C library has no mallopt")
    large, many = faults(135_000_000)
    assert not large
    assert few < 100 < 10 * (48 << 20) // resource.getpagesize() <= many


HELD = """
import gc
from harness.execute.allocation import give_back, keep
kept = keep(0)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
blocks = [b"x" * (1 << 20) for _ in range(200)]
last = b"y" * (1 << 20)  # on top of the heap, so that nothing below it goes back by itself
del blocks
before = resident()
give_back()
print(kept, before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read resident memory from")
def test_what_a_job_no_longer_holds_goes_back_between_jobs() -> None:
    run = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    kept, freed = run.stdout.split()
    if kept != "True":
        pytest.skip("this C library has no mallopt")
    assert int(freed) > 150
