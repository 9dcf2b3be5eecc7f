"""Three arms: what IPO converges to by least squares, and that DPO goes on for ever where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.exact import arms
from harness.plugins import registry


def test_ipo_on_ordered_data_is_a_least_squares_fit() -> None:
    """Gaps f_a - f_b, f_b - f_c and f_a - f_c are all to be g: least squares gives f = (2 g / 3, 0, -2 g / 3).

    At tau = 1, g = 1/2, so the probabilities are proportional to (exp(1/3), 1, exp(-1/3)): .44844, .32132, .23024.
    """
    found = arms.curves("ipo", {"target_gap": 0.5}, "ordered", steps=300, rate=0.05, seeds=1)
    assert found.probabilities[0, -1] == pytest.approx([0.44844, 0.32132, 0.23024], abs=0.02)


def test_nothing_is_learnt_of_an_arm_that_is_never_seen() -> None:
    """As often a over b as b over a leaves the reference, one third each, but for which comparisons a batch happens to hold."""
    found = arms.curves("ipo", {"target_gap": 0.5}, "undecided", steps=300, rate=0.05, seeds=1)
    assert found.probabilities[0, -1] == pytest.approx([1 / 3] * 3, abs=0.05)


def test_dpo_forgets_its_reference_where_the_order_is_total_and_ipo_does_not() -> None:
    dpo = arms.curves("dpo", {"beta": 1.0}, "ordered", steps=300, rate=0.05, seeds=1)
    assert dpo.probabilities[0, -1, 0] > 0.95


@pytest.mark.parametrize(("name", "setting"), [("dpo", {"beta": 1.0}), ("ipo", {"target_gap": 0.5})])
def test_seeds_that_are_trained_together_go_their_own_ways(name: str, setting: dict[str, float]) -> None:
    """Each seed's path is that of a run of its own, of 9 comparisons a step that its own generator draws."""
    size = {"steps": 40, "rate": 0.05}
    together = arms.curves(name, setting, "undecided", seeds=3, **size).probabilities
    loss = registry.load("algorithms", name).algorithm
    alone = np.concatenate([arms.learnt(loss, setting, "undecided", seeds=[seed], **size)[1] for seed in range(3)])
    assert together == pytest.approx(alone, abs=1e-6)
    assert abs(alone[0, -1] - alone[1, -1]).max() > 1e-3


def test_a_loss_whose_rows_know_of_one_another_is_trained_seed_by_seed() -> None:
    size = {"steps": 20, "rate": 0.05}
    found = arms.curves("kto", {"beta": 1.0}, "ordered", seeds=2, **size).probabilities
    loss = registry.load("algorithms", "kto").algorithm
    assert found[1] == pytest.approx(arms.learnt(loss, {"beta": 1.0}, "ordered", seeds=[1], **size)[1][0], abs=1e-12)


def test_the_command_draws_and_tabulates(tmp_path: Path) -> None:
    arms.main(["ipo.target_gap=0.5", "--steps", "20", "--seeds", "2", "--out", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"three-arms.svg", "three-arms.png", "three-arms.csv"}
    header, first, *_ = (tmp_path / "three-arms.csv").read_text().splitlines()
    assert header == "data,setting,arm,seeds,step,probability,low,high"
    low, middle, high = np.array([float(first.split(",")[i]) for i in (6, 5, 7)])
    assert low <= middle <= high
    with pytest.raises(HarnessError, match="Did you mean 'target_gap'"):
        arms.main(["ipo.target_gp=0.5"])
