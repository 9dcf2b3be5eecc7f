"""Which trials a tuned comparison runs and what their winners become, played against worlds whose best setting is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.experiment import Cell, Experiment, cell_fingerprint, cells, resolve
from harness.measure.tuning import AIMED, Trial, label
from harness.trials import has_tuner, trial_seed, trials, tunes
from harness.tuning import tuned
from harness.types import Defaults

LOSS = '''"""A loss."""
grid = {{"beta": {grid}}}
search = {{"gap": (1.0, 9.0, "linear", "mine")}}


@declare(knob="beta")
def algorithm(chosen, *, beta: float = 0.1, gap: float = 2.0):
    return chosen
'''
Measured = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Experiment]:
    def make(grid: str = "(2.0, 0.5)", **flags: Any) -> Experiment:
        for name in ("one", "two"):
            (tmp_path / f"{name}.py").write_text(LOSS.format(grid=grid))
        paths = [str(tmp_path / f"{name}.py") for name in ("one", "two")]
        return resolve({"task": "t", "algorithms": paths, **flags}, None, Defaults(algorithms=("x",), model="tiny-64"))

    return make


class World:
    """Runs trials by a formula and remembers them: what the engine does, without a model."""

    def __init__(self, measured: Measured) -> None:
        self.measured, self.ran = measured, list[Cell]()

    def __call__(self, wanted: Sequence[Cell]) -> list[Trial]:
        self.ran += wanted
        return [self.trial(cell) for cell in wanted]

    def trial(self, cell: Cell) -> Trial:
        about = dict(cell.trial or {})
        found = {"status": "finished", "score": 0.0, "gold": None, "outcome": 0.0, "kl": 1.0, "flops": 5.0, **self.measured(cell.setting)}
        return Trial(cell.algorithm.name, label(about["grid"]), about.get("index", AIMED), cell.setting, fingerprint=cell.label, **found)


def settings_of(experiment: Experiment, name: str) -> list[dict[str, Any]]:
    return [dict(cell.setting) for cell in cells(experiment) if cell.algorithm.name == name]


def test_every_algorithm_gets_the_default_and_the_same_number_of_points_at_every_grid_value(asked: Callable[..., Experiment]) -> None:
    every = list(trials(asked(tune=3), "2epochs"))
    assert Counter((cell.algorithm.name, cell.setting["beta"]) for cell in every) == Counter(
        {(name, beta): 4 for name in ("one", "two") for beta in (2.0, 0.5)}
    )
    defaults = [cell for cell in every if (cell.trial or {})["index"] == 0]
    assert all(set(cell.setting) == {"beta"} for cell in defaults)
    drawn = [cell for cell in every if cell not in defaults]
    assert all(1 <= float(cell.setting["gap"]) <= 9 and 2.5e-4 <= float(cell.setting["learning_rate"]) <= 4e-3 for cell in drawn)
    assert len({cell_fingerprint(asked(tune=3), cell, 1.0) for cell in every}) == len(every)


def test_points_repeat_with_their_seed_differ_with_another_and_a_longer_draw_begins_with_them(asked: Callable[..., Experiment]) -> None:
    def drawn(**flags: Any) -> list[dict[str, Any]]:
        return [
            dict(cell.setting) for cell in trials(asked(**flags), "2epochs") if cell.algorithm.name == "one" and cell.setting["beta"] == 2
        ]

    assert drawn(tune=3) == drawn(tune=3)
    assert drawn(tune=5)[:4] == drawn(tune=3)
    assert drawn(tune=3, tuning_seed=7) != drawn(tune=3)


def test_a_trial_is_no_cell_of_the_same_setting(asked: Callable[..., Experiment]) -> None:
    given = asked(tune=1)
    default = next(trials(given, "2epochs"))
    cell = next(cells(given))
    assert (default.setting, default.seed) == (dict(cell.setting), cell.seed)
    assert cell_fingerprint(given, default, 1.0) != cell_fingerprint(given, cell, 1.0)


def test_the_winner_of_the_common_judge_runs_with_every_seed_and_says_where_it_comes_from(asked: Callable[..., Experiment]) -> None:
    world = World(lambda setting: {"score": -abs(float(setting.get("gap", 2.0)) - 8.0)})
    found = tuned(asked(tune=6, seeds="2"), "2epochs", world)
    ran = [cell for cell in world.ran if cell.algorithm.name == "one" and cell.setting["beta"] == 2]
    best = min(ran, key=lambda cell: abs(float(cell.setting.get("gap", 2.0)) - 8.0))
    first = [cell for cell in cells(found) if cell.algorithm.name == "one" and cell.setting["beta"] == 2]
    assert [cell.seed for cell in first] == [0, 1]
    assert all(dict(cell.setting) == dict(best.setting) for cell in first)
    note = dict(first[0].tuning or {})
    assert (note["tuned"], note["trial"], note["trials"], note["flops"], note["grid"]) == (True, best.label, 14, 70.0, {"beta": 2.0})
    assert list(first[0].setting) == ["beta", *[name for name in ("learning_rate", "clip", "gap")]]


def test_a_grid_value_that_lost_every_trial_keeps_its_declared_setting_and_says_so(asked: Callable[..., Experiment]) -> None:
    world = World(lambda setting: {"status": "diverged", "score": None} if setting["beta"] == 2 else {})
    found = tuned(asked(tune=2), "2epochs", world)
    lost = next(cell for cell in cells(found) if cell.setting["beta"] == 2)
    assert dict(lost.setting) == {"beta": 2.0}
    assert (lost.tuning or {})["tuned"] is False
    assert (lost.tuning or {})["reason"] == "every trial was lost"


def test_what_is_not_asked_for_is_not_run(asked: Callable[..., Experiment]) -> None:
    given, world = asked(), World(lambda setting: {})
    assert tuned(given, "2epochs", world) == given
    assert world.ran == []
    assert (tunes(given), has_tuner(given), has_tuner(asked(checkpoint="best")), tunes(asked(checkpoint="best"))) == (
        False,
        False,
        True,
        False,
    )
    assert (trial_seed(asked(seeds="4,5")), trial_seed(asked(tuning_seed=9))) == (4, 9)


def test_kl_targets_become_the_grid(asked: Callable[..., Experiment]) -> None:
    """KL = 1 / beta: .8 is at beta 1.25 and 4 at .25, beyond the grid's end."""
    world = World(lambda setting: {"kl": 1 / float(setting["beta"])})
    found = tuned(asked(kl_targets=[0.8, 4]), "2epochs", world)
    first, second = settings_of(found, "one")
    assert float(first["beta"]) == pytest.approx(1.25, rel=0.1)
    assert float(second["beta"]) == pytest.approx(0.25, rel=0.1)
    note = next(cells(found)).tuning or {}
    assert [each["reached"] for each in note["targets"]] == [True, True]
    assert note["kl_trials"] == sum(cell.algorithm.name == "one" for cell in world.ran)


def test_a_target_out_of_reach_is_a_finding_and_the_nearest_knob_runs(asked: Callable[..., Experiment]) -> None:
    world = World(lambda setting: {"kl": 1.2 + math.log(float(setting["beta"]) / 2) ** 2})
    found = tuned(asked(kl_targets=[0.5]), "2epochs", world)
    (only,) = settings_of(found, "one")
    assert only == {"beta": 2.0}
    (target,) = (next(cells(found)).tuning or {})["targets"]
    assert (target["reached"], target["words"]) == (False, "not reached: lowest KL 1.20 at beta 2")


def test_targets_after_tuning_are_looked_for_at_the_tuned_settings(asked: Callable[..., Experiment]) -> None:
    world = World(lambda setting: {"kl": 1 / float(setting["beta"]), "score": float(setting.get("gap", 2.0))})
    found = tuned(asked(tune=4, kl_targets=[0.8]), "2epochs", world)
    (only,) = settings_of(found, "one")
    assert set(only) == {"beta", "learning_rate", "clip", "gap"}
    note = next(cells(found)).tuning or {}
    assert note["tuned"] is True
    assert note["grid"] == {"beta": only["beta"]}


def test_an_algorithm_without_a_knob_keeps_its_grid(asked: Callable[..., Experiment], tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text('"""Plain."""\ncontrol = True\n\n\ndef algorithm(chosen):\n    return chosen\n')
    given = resolve(
        {"task": "t", "algorithms": [str(tmp_path / "plain.py")], "kl_targets": [1.0]}, None, Defaults(algorithms=("x",), model="tiny-64")
    )
    world = World(lambda setting: {})
    assert settings_of(tuned(given, "2epochs", world), "plain") == [{}]
    assert world.ran == []
