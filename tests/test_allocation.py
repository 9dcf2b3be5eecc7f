"""Memory that a worker keeps: where it is kept, pages are cleared once."""

from __future__ import annotations

import resource
import subprocess
import sys

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
