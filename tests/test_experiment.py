"""Precedence, grids, seeds, budgets and fingerprints of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.planning import budget as spending
from harness.planning import settings
from harness.planning.assumptions import departures
from harness.planning.experiment import QUICK, Experiment, budget_flops, cell_fingerprint, cells, fingerprint, read, resolve, study_key
from harness.plugins import registry
from harness.training.ledger import Shape
from harness.types import Defaults

ALPHA = '''"""A loss for tests."""
ALIASES = ("first_letter",)
grid = {"beta": (0.5, 0.1, 0.03)}
optimiser = {"learning_rate": 1e-3}


@declare(positive=("gap",))
def algorithm(chosen, *, beta: float = 0.1, gap: float = 1.0, mode: Literal["sum", "mean"] = "sum", repeats: int = 2, strict: bool = False):
    return chosen
'''
PLAIN = '"""A control without knobs."""\n\n\ndef algorithm(chosen):\n    return chosen\n'


@pytest.fixture
def alpha(tmp_path: Path) -> str:
    path = tmp_path / "alpha.py"
    path.write_text(ALPHA)
    return str(path)


@pytest.fixture
def defaults(tmp_path: Path, alpha: str) -> Defaults:
    plain = tmp_path / "plain.py"
    plain.write_text(PLAIN)
    return Defaults(algorithms=(alpha, str(plain)), model="tiny-128")


def settings_of(experiment: Experiment, name: str = "alpha") -> list[dict[str, Any]]:
    return [dict(setting) for plan in experiment.algorithms if plan.name == name for setting in plan.settings]


def with_set(defaults: Defaults, *texts: str, **flags: Any) -> Experiment:
    return resolve({"task": "t", "set": list(texts), **flags}, None, defaults)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(text)
    return path


def test_the_first_judge_decides_unless_another_is_named_and_it_is_part_of_the_study(defaults: Defaults) -> None:
    first, second = (resolve({"task": "t", **flag}, None, defaults, judges=("gold", "gold_b")) for flag in ({}, {"judge": "gold-b"}))
    assert (first.judge, second.judge) == ("gold", "gold_b")
    assert study_key(first) != study_key(second)
    with pytest.raises(HarnessError, match=r"Unknown judge 'gold'.*has: judge"):
        resolve({"task": "t", "judge": "gold"}, None, defaults, judges=("judge",))


def test_assumptions_are_part_of_the_study_and_of_the_pairs_cache_only_where_they_depart(defaults: Defaults) -> None:
    plain, other = (resolve({"task": "t", **flags}, None, defaults) for flags in ({}, {"labels": "flip", "pairs_from": "mixture"}))
    assert departures(plain) == {}
    assert departures(other) == {"labels": "flip", "pairs_from": "mixture"}
    assert study_key(plain) != study_key(other)
    assert study_key(plain) != study_key(resolve({"task": "t", "task_options": {"share": 0.1}}, None, defaults))


def test_data_with_pairs_of_its_own_labels_itself(defaults: Defaults) -> None:
    found = resolve({"task": "t"}, None, defaults, available_pairs=100)
    assert (found.labels, found.pairs_from, departures(found)) == ("data", "data", {})
    with pytest.raises(HarnessError, match=r"labels 'flip': this data brings its own labelled pairs"):
        resolve({"task": "t", "labels": "flip"}, None, defaults, available_pairs=100)


def test_task_options_are_told_from_settings_of_algorithms() -> None:
    """Declared by the keyword-only parameters of the task's function; a value that equals the default is no departure."""
    entry = registry.find("tasks", "tldr")
    flags = ["tldr.safety_pairs=0.1", "alpha.beta=0.5", "tldr.seed=0"]
    assert settings.of_task(entry, {"safety_demonstrations": 0.2}, flags, "") == (
        {"safety_demonstrations": 0.2, "safety_pairs": 0.1},
        ["alpha.beta=0.5"],
    )
    with pytest.raises(HarnessError, match="takes: safety_demonstrations, safety_pairs, seed"):
        settings.of_task(entry, {"limit": 3}, [], "")


def test_defaults_are_the_task_s_and_the_grid_is_the_algorithm_s(defaults: Defaults) -> None:
    experiment = with_set(defaults)
    assert (experiment.pairs, experiment.model, experiment.seeds, experiment.budget) == (2000, "tiny-128", (0,), ("2epochs",))
    assert settings_of(experiment) == [{"beta": 0.5}, {"beta": 0.1}, {"beta": 0.03}]
    assert settings_of(experiment, "plain") == [{}]
    assert experiment.cell_count == 4


def test_flags_win_over_the_file_which_wins_over_quick_which_wins_over_defaults(defaults: Defaults, tmp_path: Path) -> None:
    file = toml(tmp_path, 'task = "t"\npairs = 500\nsft_steps = 7\nseeds = 2\nquick = true\n')
    experiment = resolve({"pairs": 40}, file, defaults)
    assert (experiment.pairs, experiment.sft_steps, experiment.seeds) == (40, 7, (0, 1))
    assert experiment.evaluation_prompts == QUICK["evaluation_prompts"]
    assert experiment.opponent_samples == defaults.opponent_samples


def test_settings_of_the_file_replace_the_grid_and_flags_replace_those(defaults: Defaults, tmp_path: Path) -> None:
    file = toml(tmp_path, 'task = "t"\n[algorithms."./alpha.py"]\nbeta = [0.2, 0.3]\nrepeats = 5\n')
    assert settings_of(resolve({}, file, defaults)) == [{"beta": 0.2, "repeats": 5}, {"beta": 0.3, "repeats": 5}]
    assert settings_of(resolve({"set": ["alpha.beta=1"]}, file, defaults)) == [{"beta": 1.0, "repeats": 5}]


def test_several_settings_multiply(defaults: Defaults) -> None:
    experiment = with_set(defaults, "alpha.beta=0.05,0.1", "first-letter.mode=sum,mean")
    assert settings_of(experiment) == [{"beta": beta, "mode": mode} for beta in (0.05, 0.1) for mode in ("sum", "mean")]


def test_values_have_their_declared_type(defaults: Defaults) -> None:
    (setting,) = settings_of(with_set(defaults, "alpha.beta=1", "alpha.repeats=3", "alpha.strict=true", "alpha.batch_pairs=8"))
    assert {name: type(value) for name, value in setting.items()} == {"beta": float, "repeats": int, "strict": bool, "batch_pairs": int}


def test_a_task_s_settings_for_all_algorithms_reach_each(defaults: Defaults) -> None:
    common = Defaults(algorithms=defaults.algorithms, model="m/", settings={"*": {"learning_rate": 5e-6}, "plain": {"clip": 2.0}})
    experiment = with_set(common, "alpha.beta=1")
    assert settings_of(experiment) == [{"beta": 1.0, "learning_rate": 5e-6}]
    assert settings_of(experiment, "plain") == [{"learning_rate": 5e-6, "clip": 2.0}]


@pytest.mark.parametrize(("given_", "seeds"), [("3", (0, 1, 2)), ("0,4", (0, 4)), ("4,", (4,)), ([5], (5,)), (2, (0, 1))])
def test_seeds(defaults: Defaults, given_: Any, seeds: tuple[int, ...]) -> None:
    assert with_set(defaults, seeds=given_).seeds == seeds


def test_quick_keeps_the_middle_of_each_grid_and_never_enlarges(defaults: Defaults) -> None:
    small = Defaults(algorithms=defaults.algorithms, model="tiny-128", pairs=20)
    experiment = with_set(small, quick=True)
    assert settings_of(experiment) == [{"beta": 0.1}]
    assert (experiment.pairs, experiment.model, experiment.marks) == (20, QUICK["model"], QUICK["marks"])


def test_limit_and_what_there_is_cap_the_sizes(defaults: Defaults) -> None:
    limited = with_set(defaults, limit=50)
    assert (limited.pairs, limited.evaluation_prompts, limited.mark_prompts) == (50, 50, 50)
    assert resolve({"task": "t"}, None, defaults, available_pairs=123).pairs == 123


def test_cells_are_every_setting_with_every_seed_and_their_labels_differ(defaults: Defaults) -> None:
    every = list(cells(with_set(defaults, seeds="2")))
    assert len({cell.label for cell in every}) == len(every) == 8
    assert every[0].label == "alpha-beta=0.5-seed0"


def test_several_budgets_are_cells_of_one_grid_whose_labels_name_them(defaults: Defaults) -> None:
    experiment = with_set(defaults, budget="1x,2x,1e13")
    assert experiment.budget == ("2epochs", "4epochs", "1e+13")
    every = list(cells(experiment))
    assert len({cell.label for cell in every}) == len(every) == experiment.cell_count == 12
    assert [cell.label for cell in every[:3]] == [f"alpha-beta=0.5-{spec}-seed0" for spec in experiment.budget]
    prints = [cell_fingerprint(experiment, cell, limit) for cell in every[:1] for limit in (1.0, 2.0)]
    assert len(set(prints)) == 2


@pytest.mark.parametrize("given_", ["1x,1x", ["2epochs", "1x"]])
def test_one_budget_given_twice_is_refused(defaults: Defaults, given_: Any) -> None:
    with pytest.raises(HarnessError, match=r"budget: .*every budget once is wanted"):
        with_set(defaults, budget=given_)


def test_two_names_of_one_amount_are_refused(defaults: Defaults) -> None:
    shape = Shape(blocks=100, head=10, layers=1, width=4)
    with pytest.raises(HarnessError, match=r"Budgets '2epochs' and '29904000' are the same 2\.99e\+07 FLOPs"):
        spending.budgets(with_set(defaults, budget="2epochs,29904000"), shape, (3.0, 2.0))


def test_the_fingerprint_is_of_the_value_and_not_of_its_order() -> None:
    assert fingerprint({"a": 1, "b": [1.5, None]}) == fingerprint({"b": [1.5, None], "a": 1})
    # printf '{"a":1}' | sha256sum
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)), st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_different_values_have_different_fingerprints(left: dict[str, float], right: dict[str, float]) -> None:
    if all(abs(value) != float("inf") for value in right.values()):
        assert (fingerprint(left) == fingerprint(right)) == (repr(sorted(left.items())) == repr(sorted(right.items())))


def test_the_study_is_what_cells_share(defaults: Defaults, alpha: str) -> None:
    key = study_key(with_set(defaults))
    assert key == study_key(with_set(defaults, "alpha.beta=9", seeds="5", algorithms=[alpha], budget="1x,3epochs"))
    for change in ({"pairs": 10}, {"model": "tiny-64"}, {"dtype": "bfloat16"}, {"quick": True}):
        assert key != study_key(with_set(defaults, **change)), change


def test_an_edited_algorithm_has_another_plan(defaults: Defaults, alpha: str) -> None:
    before = with_set(defaults)
    Path(alpha).write_text(ALPHA + "# edited\n")
    assert with_set(defaults).algorithms[0].sha256 != before.algorithms[0].sha256


def test_an_experiment_survives_json(defaults: Defaults) -> None:
    experiment = with_set(defaults, "alpha.repeats=1,2")
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


def test_the_budget_in_epochs_is_what_dpo_costs(defaults: Defaults) -> None:
    """blocks 100, head 10, 1 layer, width 4; prompt 3, responses 2 and 2: 7 tokens, contexts 9 + 2 (5*5 - 9) = 41, 4 outputs.

    F = 2*100*7 + 4*1*4*41 + 2*10*4 = 1400 + 656 + 80 = 2136; one epoch of n pairs is n (3F + F), two are n (6F + F).
    """
    shape, experiment = Shape(blocks=100, head=10, layers=1, width=4), with_set(defaults)
    assert budget_flops("1epoch", experiment, shape, (3.0, 2.0)) == 2000 * 4 * 2136
    assert budget_flops("2epochs", experiment, shape, (3.0, 2.0)) == 2000 * 7 * 2136
    assert budget_flops("1.2e12", experiment, shape, (3.0, 2.0)) == 1.2e12
    assert budget_flops(spending.absolute_budget("2x", "2epochs"), experiment, shape, (3.0, 2.0)) == 2000 * 13 * 2136
    assert spending.absolute_budget("0.5x", "1e12") == "500000000000"


def test_the_smallest_budget_is_one_batch(defaults: Defaults) -> None:
    shape, experiment = Shape(blocks=100, head=10, layers=1, width=4), with_set(defaults)
    step = 32 * 4 * 2136
    assert budget_flops(f"{step}", experiment, shape, (3.0, 2.0)) == step
    with pytest.raises(HarnessError, match=r"too small for one step: a batch of 32 pairs costs 2\.73e\+05 FLOPs"):
        budget_flops(f"{step - 1}", experiment, shape, (3.0, 2.0))


@pytest.mark.parametrize("spec", ["30 minutes", "", "-1", "0", "nan", "two", "1e400", "2 epochs of it"])
def test_an_illegal_budget_says_what_is_legal(defaults: Defaults, spec: str) -> None:
    with pytest.raises(HarnessError, match="legal are 2epochs"):
        with_set(defaults, budget=spec)


@pytest.mark.parametrize(
    ("given_", "match", "limit"),
    [
        ({"budget": "90s"}, "device-seconds", 90),
        ({"budget": "30min"}, "device-seconds", 1800),
        ({"budget": "2h", "match": "device-seconds"}, "device-seconds", 7200),
        ({"budget": "5000pairs"}, "pairs", 5000),
        ({"budget": "200steps"}, "steps", 200),
        ({"match": "pairs"}, "pairs", 4000),  # two epochs of 2000 pairs
        ({"match": "steps", "budget": "2x"}, "steps", 250),  # 4 x 2000 / 32
        ({"budget": "1epoch,1000pairs"}, "pairs", 2000),
    ],
)
def test_a_unit_says_what_is_matched_and_epochs_follow(defaults: Defaults, given_: dict[str, str], match: str, limit: float) -> None:
    experiment = with_set(defaults, **given_)
    found = spending.budgets(experiment, Shape(blocks=100, head=10, layers=1, width=4), (3.0, 2.0))
    first = found[experiment.budget[0]]
    assert (experiment.match, first.match, first.limit, first.flops) == (match, match, limit, None)
    assert study_key(experiment) != study_key(with_set(defaults))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"budget": "30min", "match": "flops"}, "Budget '30min' counts device-seconds, the match flops; .* give 1.2e12"),
        ({"budget": "1e12", "match": "steps"}, "Budget '1e.?12' counts flops, the match steps; .* give 200steps"),
        ({"budget": "200steps,5000pairs"}, "Budget '5000pairs' counts pairs, budget '200steps' steps"),
        ({"match": "device-seconds"}, "Budget '2epochs' is no time, .* give one such as 30min"),
        ({"match": "step"}, "Match 'step' is not one. .*steps"),
    ],
)
def test_a_unit_that_contradicts_the_match_is_refused(defaults: Defaults, given_: dict[str, str], said: str) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        with_set(defaults, **given_)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["2.5steps", "0.5steps", "31pairs"])
def test_a_counted_budget_is_whole_steps(defaults: Defaults, spec: str) -> None:
    with pytest.raises(HarnessError, match="not a whole step"):
        spending.budgets(with_set(defaults, budget=spec), Shape(blocks=100, head=10, layers=1, width=4), (3.0, 2.0))


def test_paths_in_a_file_are_beside_it(tmp_path: Path) -> None:
    file = toml(tmp_path, 'data = "./rows.csv"\nmodel = "/abs/model"\nalgorithms = ["dpo", "./alpha.py"]\n')
    values = read(file)
    assert (values["data"], values["model"]) == (str(tmp_path / "rows.csv"), "/abs/model")
    assert list(values["algorithms"]) == ["dpo", str(tmp_path / "alpha.py")]


@pytest.mark.parametrize("name", [entry.name for entry in registry.describe("algorithms")])
def test_every_algorithm_can_be_run_again_as_a_replicate(name: str) -> None:
    entry = registry.find("algorithms", name)
    assert settings.choices(entry, {"replicate": ["0", "1"]}, "") == {"replicate": (0, 1)}
    with pytest.raises(HarnessError, match="replicate: -1 is negative"):
        settings.choices(entry, {"replicate": -1}, "")


def test_the_baseline_is_one_of_those_compared_and_no_part_of_the_study(defaults: Defaults) -> None:
    flags = {"task": "toy", "algorithms": ["dpo", "kto"]}
    named = resolve({**flags, "baseline": "KTO"}, None, defaults)
    assert named.baseline == "kto"
    assert study_key(named) == study_key(resolve(flags, None, defaults))
    with pytest.raises(HarnessError, match=r"baseline 'ipo' is not among the algorithms compared \(dpo, kto\)"):
        resolve({**flags, "baseline": "ipo"}, None, defaults)


@pytest.mark.parametrize("samples", [1, 2])
def test_frontier_samples_that_cannot_be_ranked_are_refused(samples: int, tmp_path: Path, defaults: Defaults) -> None:
    file = toml(tmp_path, f"frontier_samples = {samples}\n")
    with pytest.raises(HarnessError, match=r"frontier_samples: .*0, for no frontier, or 3 samples at least"):
        resolve({"task": "toy", "algorithms": ["dpo"]}, file, defaults)
