"""Exact measurements against numbers worked out by hand, and against what samples say of the same policy."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from harness.exact import truth, world
from harness.exact.world import World
from harness.measure import enumerated
from harness.measure.frontier import frontier
from harness.report.optimum import GOLD, WIN, optima
from harness.store.records import read
from harness.store.writer import CellWriter

TWO = np.array([[1.0, 0.0]])  # rewards of two responses, the first better


def test_outcomes_of_two_responses() -> None:
    """Against one half of each: the better wins one half and ties one half, .75 with ties half; the worse .25."""
    won, tied = enumerated.outcomes_of(TWO, np.log(np.full((1, 2), 0.5)))
    assert won[0].tolist() == pytest.approx([0.75, 0.25])
    assert tied[0].tolist() == pytest.approx([0.5, 0.5])


def test_outcomes_are_what_a_judge_of_samples_finds() -> None:
    small = world.drawn(2, prompts=3, responses=4)
    policy = log_softmax(np.random.default_rng(1).normal(size=(3, 4)), axis=1)
    exact = (np.exp(policy) * enumerated.outcomes_of(small.reward, small.reference)[0]).sum(1)
    generator = np.random.default_rng(0)
    for row in range(3):
        mine, theirs = (generator.choice(4, 20_000, p=np.exp(each[row])) for each in (policy, small.reference))
        ours, others = small.reward[row, mine], small.reward[row, theirs]
        assert np.mean((ours > others) + 0.5 * (ours == others)) == pytest.approx(exact[row], abs=0.014)  # 4 standard errors


def rows(given: World) -> list[dict[str, Any]]:
    """A reference's rows, made by the code that makes them, of a yardstick with nothing else in it."""
    prompts, responses = (tuple(f"{kind}{k}" for k in range(n)) for kind, n in zip("xy", given.reward.shape, strict=True))
    evaluation = [SimpleNamespace(prompt=prompt) for prompt in prompts]
    choices, judge = SimpleNamespace(prompts=prompts, responses=responses), SimpleNamespace(primary="gold", names=("gold",))
    known = {"enumerated": enumerated.Known(given, {"gold": given.reward})}
    yard: Any = SimpleNamespace(choices=choices, judge=judge, evaluation=evaluation, known=known)
    return enumerated.rows(yard)


def test_frontiers_of_a_record_are_the_exact_ones(tmp_path: Path) -> None:
    """Of every spot KL and value are those of the best policy at this KL, which ``harness.exact.truth`` finds by bisection."""
    given = world.drawn(0, prompts=4, responses=5)
    with CellWriter(tmp_path / "study" / "references" / "seed0") as writer:
        writer.samples(rows(given))
        writer.finish({"kind": "reference", "seed": 0, "status": "finished", "judge": {"primary": "gold"}, "checkpoints": []}, {})
    (tmp_path / "study" / "experiment.json").write_text("{}")
    study = read(tmp_path / "study")
    found = optima(study.references)
    won = enumerated.outcomes_of(given.reward, given.reference)[0]
    for key, scores in ((GOLD, given.reward), (WIN, won)):
        assert found[key].exact and not found[key].ended
        assert len(found[key].spots) == 61
        for spot in found[key].spots[1::12]:
            assert spot.value.value == pytest.approx(truth.best(given, scores, spot.kl.value), abs=1e-6)
    assert found[WIN].spots[0].value.value == pytest.approx(0.5, abs=1e-7)  # a tilt of 1e9 standard deviations


def test_weights_that_are_the_reference_s_own_make_the_frontier_exact() -> None:
    """Reference .9 and .1, rewards 1 and 0: the better one has .9 exp(1 / t) / (.9 exp(1 / t) + .1) at tilt t."""
    line = frontier(TWO, np.array([[0.9, 0.1]]), smallest_ess=0.0)
    tilts = 16 * 0.5 * (0.05 / 16) ** (np.arange(60) / 59)  # in standard deviations of the two scores: .5
    nearest = int(np.argmin(abs(tilts - 1.0)))
    weight = 0.9 * math.exp(1 / tilts[nearest])
    assert line.value[nearest + 1, 0] == pytest.approx(weight / (weight + 0.1), abs=1e-9)
