"""Which trials a tuned comparison runs and what their winners become, played against worlds whose best setting is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.commands import preview
from harness.data.shapes import shape
from harness.measure.tuning import AIMED, Trial, label
from harness.planning.experiment import Cell, Experiment, cell_fingerprint, cells, resolve
from harness.tuning.search import tuned
from harness.tuning.trials import caveat, has_tuner, trial_seed, trials, tunes
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
    def make(grid: str = "(2.0, 0.5)", names: Sequence[str] = ("one", "two"), **flags: Any) -> Experiment:
        for name in names:
            (tmp_path / f"{name}.py").write_text(LOSS.format(grid=grid))
        paths = [str(tmp_path / f"{name}.py") for name in names]
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
    given = asked(tune=3)
    every = list(trials(given, "2epochs"))
    assert Counter((cell.algorithm.name, cell.setting["beta"]) for cell in every) == Counter(
        {(name, beta): 4 for name in ("one", "two") for beta in (2.0, 0.5)}
    )
    defaults = [cell for cell in every if (cell.trial or {})["index"] == 0]
    assert all(set(cell.setting) == {"beta"} for cell in defaults)
    drawn = [cell for cell in every if cell not in defaults]
    assert all(1 <= float(cell.setting["gap"]) <= 9 and 2.5e-4 <= float(cell.setting["learning_rate"]) <= 4e-3 for cell in drawn)
    assert len({cell_fingerprint(given, cell, 1.0) for cell in every}) == len(every)


def test_points_repeat_with_their_seed_differ_with_another_and_a_longer_draw_begins_with_them(asked: Callable[..., Experiment]) -> None:
    def drawn(**flags: Any) -> list[dict[str, Any]]:
        return [
            dict(cell.setting) for cell in trials(asked(**flags), "2epochs") if cell.algorithm.name == "one" and cell.setting["beta"] == 2
        ]

    three = drawn(tune=3)
    assert drawn(tune=3) == three
    assert drawn(tune=5)[:4] == three
    assert drawn(tune=3, tuning_seed=7) != three


def test_a_trial_is_no_cell_of_the_same_setting(asked: Callable[..., Experiment]) -> None:
    given = asked(tune=1, tuning_seed=0)
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


def test_trials_run_on_a_seed_that_no_result_comes_from_unless_one_is_named_and_then_it_is_said(asked: Callable[..., Experiment]) -> None:
    assert (trial_seed(asked(seeds="5,4")), trial_seed(asked(seeds="5,4", tuning_seed=9))) == (6, 9)
    assert {cell.seed for cell in trials(asked(tune=1, seeds="5,4"), "2epochs")} == {6}
    assert caveat(asked(tune=1, seeds="5,4")) == caveat(asked(tune=1, seeds="5,4", tuning_seed=9)) == ""
    assert caveat(asked(seeds="5,4", tuning_seed=4)) == ""  # nothing is tuned
    assert caveat(asked(tune=1, seeds="5,4", tuning_seed=4)).startswith("Settings were chosen on seed 4, which the results include")


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


def test_a_second_setting_of_the_grid_has_a_curve_of_its_own(asked: Callable[..., Experiment]) -> None:
    """KL = gap / beta: .8 is at beta 1.25 for a gap of 1 and at beta 5 for one of 4; both run, and neither is taken for the other."""
    world = World(lambda setting: {"kl": float(setting["gap"]) / float(setting["beta"])})
    found = tuned(asked(kl_targets=[0.8], set=["one.gap=1,4"], names=("one",)), "2epochs", world)
    narrow, wide = settings_of(found, "one")
    assert (narrow["gap"], wide["gap"]) == (1.0, 4.0)
    assert float(narrow["beta"]) == pytest.approx(1.25, rel=0.1)
    assert float(wide["beta"]) == pytest.approx(5.0, rel=0.1)
    notes = [dict(cell.tuning or {}) for cell in cells(found)]
    assert [note["grid"] for note in notes] == [narrow, wide]
    assert [note["targets"][0]["words"].partition(":")[0] for note in notes] == ["gap=1", "gap=4"]
    grids = [dict(cell.trial or {})["grid"] for cell in world.ran]
    assert all(set(grid) == {"beta", "gap"} for grid in grids)


def test_a_dry_run_says_on_which_seed_and_counts_the_trials_of_every_curve(asked: Callable[..., Experiment]) -> None:
    """Four grid values are scanned, and each of two curves may take six more trials for the one target."""

    def said(**flags: Any) -> str:
        given = asked(names=("one",), kl_targets=[0.8], set=["one.gap=1,4"], **flags)
        return preview.text(given, shape("tiny-64", 300), (40.0, 15.0), 1)

    assert "0 trials and at most 16 for the KL targets, on seed 1 and tuning prompts" in said()
    assert "12 trials and at most 12 for the KL targets" in said(tune=2)
    assert "chosen on seed" not in said()
    assert "Settings were chosen on seed 0" in said(tuning_seed=0)


def test_nothing_is_concluded_from_a_trial_without_a_kl(asked: Callable[..., Experiment]) -> None:
    def lost_at_two(setting: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": "failed", "kl": None} if setting["beta"] == 2 else {"kl": 1 / float(setting["beta"])}

    found = tuned(asked(kl_targets=[0.3]), "2epochs", World(lost_at_two))
    (target,) = (next(cells(found)).tuning or {})["targets"]
    assert (target["reached"], target["words"]) == (False, "not reached: lowest KL 2.00 at beta 0.5")


def test_a_search_whose_trials_were_all_lost_keeps_the_grid_and_says_so(asked: Callable[..., Experiment]) -> None:
    found = tuned(asked(kl_targets=[0.3]), "2epochs", World(lambda setting: {"status": "diverged", "kl": None}))
    assert settings_of(found, "one") == [{"beta": 2.0}, {"beta": 0.5}]
    said = [each["words"] for cell in cells(found) for each in (cell.tuning or {})["targets"]]
    assert said == ["not reached: no trial gave a KL"] * 4


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
