"""Where settings are searched: what files declare, laws over the registry, what a task moves, and one clear line for what is illegal."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.planning import settings
from harness.planning.experiment import Experiment, resolve
from harness.plugins import registry
from harness.plugins.legal import Range
from harness.types import Defaults

LOSS = '''"""A loss."""
grid = {{"beta": (0.5, 0.1)}}
search = {search}
optimiser = {{"learning_rate": 1e-3}}


@declare(positive=("gap",))
def algorithm(chosen, *, beta: float = 0.1, gap: float = 1.0, repeats: int = 2, mode: str = "sum"):
    return chosen
'''


def loss(folder: Path, search: str = "{}", text: str = LOSS) -> registry.Entry:
    path = folder / "mine.py"
    path.write_text(text.format(search=search))
    return registry.find("algorithms", str(path))


def planned(entry: registry.Entry, **flags: object) -> Experiment:
    return resolve({"task": "t", "algorithms": [str(entry.path)], **flags}, None, Defaults(algorithms=("a",), model="tiny-64"))


TRAINED = [entry for entry in registry.describe("algorithms") if not entry.declaration.metadata.get("untrained")]


@pytest.mark.parametrize("entry", TRAINED, ids=lambda entry: entry.name)
def test_every_algorithm_searches_rate_and_clip_around_its_default_and_never_its_knob(entry: registry.Entry) -> None:
    found = settings.search(entry, entry.declaration.grid, {})
    assert {"learning_rate", "clip"} <= set(found)
    assert entry.declaration.knob not in found
    for name, each in found.items():
        assert each.low < entry.defaults[name] < each.high, name
        assert each.source.strip()
        assert each.low <= settings.drawn(settings.legal(entry)[name], 0.5, each) <= each.high


def test_a_file_without_ranges_is_searched_around_what_the_shared_loop_would_use(tmp_path: Path) -> None:
    found = settings.search(loss(tmp_path), (), {})
    assert (found["learning_rate"].low, found["learning_rate"].high, found["learning_rate"].scale) == (2.5e-4, 4e-3, "log")
    assert (found["clip"].low, found["clip"].high) == (0.25, 4.0)  # the loop's default 1, of which the file says nothing


def test_a_declared_range_is_read_without_running_the_file(tmp_path: Path) -> None:
    entry = loss(tmp_path, '{"gap": (1, 3, "linear", "a paper"), "learning_rate": (1e-4, 1e-2, "log", "mine")}')
    assert entry.declaration.search["gap"] == Range(1.0, 3.0, "linear", "a paper")
    assert settings.search(entry, (), {})["learning_rate"] == Range(1e-4, 1e-2, "log", "mine")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("3", r"mine\.py:\d+: search must be a literal dictionary with names as keys, found 3"),
        ('{"gap": (1, 2)}', r"mine\.py: search: gap: \(low, high, 'linear' or 'log', source\) is wanted, found \(1, 2\)"),
        ('{"gap": (2, 1, "log", "x")}', r"gap: two numbers, the lower first, are wanted, found 2 and 1"),
        ('{"gap": ("a", 1, "log", "x")}', r"gap: two numbers"),
        ('{"gap": (1, 1e999, "log", "x")}', r"gap: two numbers"),
        ('{"gap": (1, 2, "logg", "x")}', r"gap: 'logg' is not one of linear, log\. Did you mean 'log'\?"),
        ('{"gap": (0, 2, "log", "x")}', r"gap: a log range must lie above 0, found 0"),
        ('{"gap": (1, 2, "log", " ")}', r"gap: the fourth entry says where the range comes from"),
    ],
)
def test_an_illegal_range_is_one_clear_line(tmp_path: Path, search: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        loss(tmp_path, search)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ('{"gop": (1, 2, "log", "x")}', r"search: gop: not a number among the settings\. Did you mean 'gap'\?"),
        ('{"mode": (1, 2, "log", "x")}', r"search: mode: not a number among the settings"),
        ('{"beta": (1, 2, "log", "x")}', r"search: beta: the grid moves it already"),
        ('{"gap": (-1, 2, "linear", "x")}', r"search: gap: -1 is not positive"),
    ],
)
def test_a_range_of_no_legal_setting_stops_a_comparison_before_it_starts(tmp_path: Path, search: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        planned(loss(tmp_path, search))


def test_what_the_user_sets_is_not_searched_and_what_a_task_moves_takes_its_range_along(tmp_path: Path) -> None:
    entry = loss(tmp_path)
    (plan,) = planned(entry, set=["mine.learning-rate=1e-4"]).algorithms
    assert set(plan.search) == {"clip"}
    moved = Defaults(algorithms=("a",), model="m", settings={"*": {"learning_rate": 5e-6}})
    (plan,) = resolve({"task": "t", "algorithms": [str(entry.path)]}, None, moved).algorithms
    assert plan.search["learning_rate"].low == pytest.approx(5e-6 / 4)
    assert plan.search["learning_rate"].high == pytest.approx(5e-6 * 4)
    assert "5e-06" in plan.search["learning_rate"].source


def test_a_drawn_setting_lies_on_its_scale_and_is_whole_where_the_setting_is(tmp_path: Path) -> None:
    """Half way on a log scale is the geometric mean: sqrt(1e-4 1e-2) = 1e-3; on a linear one (1 + 3) / 2 = 2."""
    known = settings.legal(loss(tmp_path))
    assert settings.drawn(known["learning_rate"], 0.5, Range(1e-4, 1e-2, "log", "x")) == 1e-3
    assert settings.drawn(known["gap"], 0.5, Range(1.0, 3.0, "linear", "x")) == 2.0
    whole = settings.drawn(known["repeats"], 0.7, Range(1.0, 9.0, "linear", "x"))
    assert whole == 7
    assert isinstance(whole, int)


def test_keys_of_tuning_are_part_of_the_study_and_checked(tmp_path: Path) -> None:
    entry = loss(tmp_path)
    with pytest.raises(HarnessError, match="ascending order"):
        planned(entry, kl_targets=["2", "1"])
    with pytest.raises(HarnessError, match=r"tune: .*greater than or equal to 0, found -1"):
        planned(entry, tune=-1)
    with pytest.raises(HarnessError, match="'last' or 'best'"):
        planned(entry, checkpoint="first")
