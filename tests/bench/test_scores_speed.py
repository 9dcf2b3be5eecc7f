"""The scores over a large study's frontiers in seconds on one core: envelopes, efficiency, drops and best-of-n."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.measure.overoptimisation import drops
from harness.report.optimum import GOLD, WIN, Optimum
from harness.report.overoptimisation import Scale, best
from harness.report.points import Point
from harness.report.scores import Board, efficiency, scores
from harness.store.records import Cell

ALGORITHMS, SETTINGS, SEEDS, PROMPTS, SAMPLES = 8, 4, 6, 1000, 32
SECONDS = 10.0
IDS = tuple(range(SEEDS)), tuple(range(PROMPTS))


def axis(key: str, start: float) -> tuple[Board, Optimum]:
    generator = np.random.default_rng(0)
    names = [(f"a{number}", f"b={setting}") for number in range(ALGORITHMS) for setting in range(SETTINGS)]
    cells = [Cell(Path(), {"algorithm": {"name": name}, "seed": 0}) for name, _ in names]
    found = [Point(name, setting, (cell,)) for (name, setting), cell in zip(names, cells, strict=True)]
    kl = np.repeat(np.linspace(0.2, 4, len(found)), SEEDS * PROMPTS).reshape(-1, SEEDS, PROMPTS)
    kl = kl * generator.uniform(0.5, 1.5, size=kl.shape)
    line = np.repeat(np.linspace(0, 5, 50), SEEDS * PROMPTS).reshape(-1, SEEDS, PROMPTS)
    reference = np.full((SEEDS, PROMPTS), start)
    value = start + 0.1 * np.sqrt(kl) + 0.3 * generator.normal(size=kl.shape)
    return Board(key, found, kl, value, reference, [], *IDS), Optimum([], SAMPLES, True, line, start + 0.2 * np.sqrt(line), 0, 0, *IDS)


def everything() -> int:
    count = 0
    for key, start in ((WIN, 0.5), (GOLD, 2.0)):
        found, line = axis(key, start)
        made = scores(found, 3.0)
        count += len(made.pairs) + len(efficiency(found, line))
        drops(found.kl.mean((1, 2)), found.value, np.ones_like(found.value))
    generator = np.random.default_rng(1)
    tables = {name: generator.normal(size=(SEEDS, PROMPTS, SAMPLES)) for name in (GOLD, "proxy")}
    return count + len(best(Scale(tables, *IDS)))


@pytest.mark.bench
def test_the_scores_of_a_large_study_take_under_ten_cpu_seconds(benchmark: Any) -> None:
    begun = time.process_time()
    found = benchmark.pedantic(everything, rounds=1)
    seconds = time.process_time() - begun
    benchmark.extra_info |= {"cpu_seconds": round(seconds, 2)}
    assert found == 2 * (28 + ALGORITHMS * SETTINGS) + 20
    assert seconds < SECONDS
