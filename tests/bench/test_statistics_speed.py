"""The whole statistics of a large study in seconds and in little memory, on one core."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from harness.measure.statistics import replicated, two_way_intervals
from harness.measure.statistics.power import components, minimum_detectable
from harness.measure.statistics.significance import verdicts
from harness.measure.statistics.strengths import head_to_head

ALGORITHMS, SEEDS, PROMPTS, MARKS, RESAMPLES = 8, 6, 1000, 4, 2000
SECONDS, BYTES = 10.0, 2**30


def everything() -> list[Any]:
    """Every level and every paired difference at every mark; at the end the tests, their power, the tournament and a ratio."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(MARKS, ALGORITHMS, SEEDS, PROMPTS))
    found: list[Any] = []
    for mark in scores > 0:
        pairs = itertools.combinations(mark.astype(float), 2)
        found += two_way_intervals([*mark.astype(float), *(a - b for a, b in pairs)], generator=generator, resamples=RESAMPLES)
    last = (scores[-1] > 0).astype(float)
    differences = [table - last[0] for table in last[1:]]
    found += verdicts([table.mean(1) for table in differences])
    found += [minimum_detectable(components(table), SEEDS, PROMPTS) for table in differences]
    found.append(head_to_head(dict(zip("abcdefgh", scores[-1], strict=True)), generator=generator, resamples=RESAMPLES))
    found.append(replicated(last[:2], lambda a, b: a / b, generator=generator, resamples=RESAMPLES))
    return found


@pytest.mark.bench
def test_a_large_study_takes_under_ten_cpu_seconds_and_a_gibibyte(benchmark: Any) -> None:
    tracemalloc.start()
    begun = time.process_time()
    found = benchmark.pedantic(everything, rounds=1)
    seconds = time.process_time() - begun
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    benchmark.extra_info |= {"cpu_seconds": round(seconds, 2), "peak_mib": peak >> 20}
    assert len(found) == MARKS * (ALGORITHMS + 28) + 7 + 7 + 2
    assert seconds < SECONDS
    assert peak < BYTES
