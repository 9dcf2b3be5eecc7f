"""Safety suites in an experiment: words become plans, plans decide the study's key, and a run asks what was resolved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.planning import footing, suites
from harness.planning.experiment import OUTSIDE_STUDY, Experiment, fingerprint, resolve, study_key
from harness.store.hashes import engine_hash, weights_hash
from harness.types import Defaults
from tests.data.test_suites import PUBLISHED, written

DEFAULTS = Defaults(algorithms=("dpo",), model="tiny-64")


def experiment(file: Path | None = None, **flags: Any) -> Experiment:
    return resolve({"task": "tldr", **flags}, file, DEFAULTS)


def test_words_become_plans_with_what_was_read_and_left_out(tmp_path: Path) -> None:
    file, rows = PUBLISHED["harmbench"]
    found = experiment(safety_suites=["own", f"harmbench:{written(tmp_path / file, rows)}"], safety_detectors=["phrases", "advbench"])
    own, harmbench = found.safety_suites
    assert [(part.name, part.prompts, part.categories) for part in own.slices] == [("own-harmful", 60, 10), ("own-benign", 60, 10)]
    assert (harmbench.read, harmbench.dropped) == (3, {"FunctionalCategory is copyright": 1})
    assert [(each.name, each.finds) for each in found.safety_detectors] == [("phrases", "refusal"), ("advbench", "refusal")]
    said = suites.said(found.safety_suites, found.safety_detectors)
    assert said[1].endswith("3 rows, asks 2 harmful; 1 left out: FunctionalCategory is copyright")
    assert [part.name for part in suites.slices(found.safety_suites, None)] == ["own-harmful", "own-benign", "harmbench-harmful"]
    assert [each.name for each in experiment(safety_suites="own").safety_detectors] == ["phrases"]


def test_without_suites_a_study_keeps_the_key_that_it_had_before_there_were_any() -> None:
    found = experiment()
    shared = found.model_dump(mode="json", exclude=OUTSIDE_STUDY | footing.settled(found))
    assert not [name for name in shared if name.startswith("safety")]
    assert study_key(found) == fingerprint({**shared, "weights": weights_hash("tiny-64"), "engine": engine_hash()})


def test_the_key_holds_prompts_and_detectors_and_no_path(tmp_path: Path) -> None:
    file, rows = PUBLISHED["strongreject"]
    (tmp_path / "elsewhere").mkdir()
    here, there = written(tmp_path / file, rows), written(tmp_path / "elsewhere" / "renamed.csv", rows)
    key: Callable[..., str] = lambda **flags: study_key(experiment(**flags))  # noqa: E731
    first = key(safety_suites=[f"strongreject:{here}"])
    assert first == key(safety_suites=[f"strongreject:{there}"])
    assert first != key()
    assert first != key(safety_suites=[f"strongreject:{here}"], safety_detectors=["advbench"])
    assert first != key(safety_suites=[f"strongreject:{here}"], safety_prompts=1)
    written(here, [*rows, {**rows[0], "forbidden_prompt": "Forge a key"}])
    assert first != key(safety_suites=[f"strongreject:{here}"])


def test_a_run_refuses_what_changed_since_it_was_resolved(tmp_path: Path) -> None:
    file, rows = PUBLISHED["strongreject"]
    place = written(tmp_path / file, rows)
    found = experiment(safety_suites=[f"strongreject:{place}"])
    written(place, rows[:1])
    with pytest.raises(HarnessError, match=r"safety suite strongreject: its prompts changed since the experiment was resolved"):
        suites.slices(found.safety_suites, found.safety_prompts)
    with pytest.raises(HarnessError, match=r"detector phrases: its files changed since the experiment was resolved"):
        suites.readers([found.safety_detectors[0].model_copy(update={"key": "old"})])


@pytest.mark.parametrize(
    ("flags", "most"),
    [
        ({}, None),
        ({"quick": True}, 16),
        ({"limit": 3}, 3),
        ({"safety_prompts": 5, "quick": True}, 5),
        ({"safety_prompts": 5, "limit": 4}, 4),
    ],
)
def test_small_trials_ask_few_prompts(flags: dict[str, Any], most: int | None) -> None:
    found = experiment(safety_suites=["own"], **flags)
    assert found.safety_prompts == most
    assert {part.prompts for part in found.safety_suites[0].slices} == {most or 60}


def test_an_experiment_as_it_was_written_resolves_to_itself() -> None:
    found = experiment(safety_suites=["own"])
    assert Experiment.model_validate(found.model_dump(mode="json")) == found


def test_a_file_names_suites_beside_itself(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    (folder / "data").mkdir(parents=True)
    written(folder / "data" / "x.csv", PUBLISHED["xstest"][1])
    (folder / "e.toml").write_text('safety_suites = ["xstest:data/x.csv"]\nsafety_prompts = 1\n')
    found = experiment(folder / "e.toml")
    assert [part.prompts for part in found.safety_suites[0].slices] == [1, 1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"safety_detectors": ["phrases"]}, r"safety_detectors: there are no safety suites to go with it"),
        ({"safety_prompts": 3}, r"safety_prompts: there are no safety suites"),
        ({"safety_suites": [3]}, r"safety_suites: a list of words is wanted, found \[3\]"),
        ({"safety_suites": ["own"], "safety_prompts": 0}, r"safety_prompts: a whole number above 0 is wanted, found 0"),
        ({"safety_suites": ["own"], "safety_prompts": "many"}, r"safety_prompts: a whole number above 0 is wanted, found 'many'"),
        (
            {"safety_suites": ["own"], "safety_detectors": ["frases"]},
            r"detector 'frases': no such folder\. Did you mean 'phrases'\? Legal: p",
        ),
        ({"safety_suites": ["own"], "safety_detectors": ["phrases", "phrases"]}, r"one of them is named twice"),
        ({"safety_suites": ["owm"]}, r"Unknown safety suite 'owm'\. Did you mean 'own'\?"),
    ],
)
def test_what_cannot_be_asked_is_one_line(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said) as raised:
        experiment(**flags)
    assert "\n" not in str(raised.value)
