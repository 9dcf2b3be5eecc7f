"""What a plug-in's file may declare: each thing of a wrong kind is one line with file and line, before anything is imported or run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.checking.check import check
from harness.errors import HarnessError
from harness.plugins import registry
from harness.plugins.effort import learns_from_single, needs
from harness.training.preference import PreferenceLoss

LOSS = """
import torch
from harness import preference_loss

%s
@preference_loss%s
def algorithm(chosen, rejected, *, beta: float = 1.0):
    return beta * (rejected - chosen)
"""
CLASS = """
class Mine:
    name = "mine"
    %s

    def updates(self, setup):
        yield from []


algorithm = Mine
"""
ALONE = """
def single(logps, desirable, *, beta: float = 1.0):
    return {body}

"""


def write(folder: Path, text: str, name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return str(folder / f"{name}.py")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(HarnessError) as caught:
        registry.find("algorithms", write(folder, text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("grid = {5: (1.0,)}", "grid must be a literal dictionary with names as keys, found {5: (1.0,)}"),
        ("grid = {[1]: 2}", "grid must be a literal, for files are read without being run; found {[1]: 2}"),
        (
            "VALUES = (1.0,)\ngrid = {'beta': VALUES}",
            "grid must be a literal, for files are read without being run; found {'beta': VALUES}",
        ),
        ("ALIASES = 5", "ALIASES must be a name or several, found 5"),
        ("optimiser = {'learning_rate': 'high'}", "optimiser: learning_rate: 'high' is not a finite number of 0 or more."),
        ("optimiser = {'clip': -1.0}", "optimiser: clip: -1.0 is not a finite number of 0 or more."),
        ("source = 5", "source must be a text, found 5"),
        ("family = None", "family must be a text, found None"),
        ("control = 'yes'", "control must be True or False, found 'yes'"),
        ("oracle = ['gold']", "oracle must be True, False, or a dictionary of a setting and its value, found ['gold']"),
        ("conventions = {'reduction': 1}", "conventions must be a dictionary of texts, found {'reduction': 1}"),
        ("optimum = 5", "optimum must be a text, found 5"),
        ("init = 'bse'", "init: 'bse' is not one of sft, base. Did you mean 'base'?"),
        ("requires = 'no.such'", "requires must be the name that a package is imported by, found 'no.such'"),
        ("needs = ('refrence',)", "needs: 'refrence' is not one of reference, "),
    ],
)
def test_what_a_file_declares_of_a_wrong_kind_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    found = refused(tmp_path, LOSS % (line, ""))
    assert found.partition("mine.py")[2].startswith(f":{5 + line.count(chr(10))}: {said}"), found


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ("(positive=5)", "positive must be several names, such as ('beta',), found 5"),
        ("(positive='beta')", "positive must be several names, such as ('beta',), found 'beta'"),
        ("(knob=3)", "knob must be a text, found 3"),
        ("(has_nll='no')", "has_nll must be True or False, found 'no'"),
        ("(knob='bta')", "loss 'mine': 'bta' is not one of its hyperparameters. Did you mean 'beta'?"),
        ("(conventions='sum')", "conventions must be a dictionary of texts, found 'sum'"),
    ],
)
def test_what_a_decorator_says_of_a_wrong_kind_is_refused_with_its_line(tmp_path: Path, keywords: str, said: str) -> None:
    assert f"mine.py:6: {said}" in refused(tmp_path, LOSS % ("", keywords))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("chosen, rejectd, *, beta: float = 1.0", "unknown argument 'rejectd'. Did you mean 'rejected'?"),
        ("chosen, ranked", "'chosen' is per pair and 'ranked' per list"),
        ("chosen, *, beta: float", "hyperparameter 'beta' needs a default that is a number, a string or a bool."),
        ("chosen, *, beta: list = [1]", "hyperparameter 'beta' needs a default that is a number, a string or a bool, found [1]."),
        ("chosen, *, beta: float = 'high'", "hyperparameter 'beta' is declared float, and its default is 'high'."),
    ],
)
def test_a_signature_is_refused_before_it_is_imported(tmp_path: Path, parameters: str, said: str) -> None:
    text = (LOSS % ("", "")).replace("chosen, rejected, *, beta: float = 1.0", parameters)
    assert f"mine.py:6: loss 'mine': {said}" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("needs = 5", "mine.py:4: needs must be several texts, such as ('reference',), found 5"),
        ("family = 5", "mine.py:4: family must be a text, found 5"),
        ("cost = 12", "mine.py:4: cost must be a text, found 12"),
        ("untrained = 'no'", "mine.py:4: untrained must be True or False, found 'no'"),
        ("betas: tuple = (0.9, 0.99)", "mine.py:2: class 'Mine': hyperparameter 'betas' needs a default that is a number"),
        ("rate: float = 'high'", "mine.py:2: class 'Mine': hyperparameter 'rate' is declared float, and its default is 'high'."),
    ],
)
def test_what_a_class_declares_of_a_wrong_kind_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(tmp_path, CLASS % line)


def test_a_setting_of_a_class_may_be_called_as_metadata_are(tmp_path: Path) -> None:
    declared = registry.find("algorithms", write(tmp_path, CLASS % "control: float = 0.5\n    needs = ('sampling',)")).declaration
    assert [each.name for each in declared.hyperparameters] == ["control"]
    assert (dict(declared.metadata), needs(declared)) == ({"needs": ("sampling",)}, ("sampling",))


def test_a_class_that_takes_its_base_s_name_is_no_base_of_itself(tmp_path: Path) -> None:
    text = "from elsewhere import Mine\n" + (CLASS % "rate: float = 0.5").replace("class Mine:", "class Mine(Mine):")
    assert [each.name for each in registry.find("algorithms", write(tmp_path, text)).declaration.hyperparameters] == ["rate"]


def test_a_file_beside_it_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("x =\n")
    text = f"from {tmp_path.name}.base import Base\n" + CLASS % "rate: float = 0.5"
    assert re.search(r"base\.py:1: not a Python file", refused(tmp_path, text))


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ("single = 3\n", "single must be a function of this file, the loss of a response that was labelled alone"),
        ("from math import sqrt as single\n", "single must be a function of this file"),
        ("def single(logps, desirable):\n    return logps\n", "single: its settings must be those of the loss"),
        ("def single(logps, desirable, *, beta: float = 2.0):\n    return logps\n", "with the same defaults; they differ in 'beta'."),
        (
            "def single(logps, desirabel, *, beta: float = 1.0):\n    return logps\n",
            "unknown argument 'desirabel'. Did you mean 'desirable'?",
        ),
        (
            "def single(chosen, rejected, *, beta: float = 1.0):\n    return chosen\n",
            "a response labelled alone has no 'chosen'. Available: logps,",
        ),
        ("def single(logps, desirable, reward, *, beta: float = 1.0):\n    return logps\n", "a response labelled alone has no 'reward'."),
    ],
)
def test_a_name_single_that_does_not_go_with_the_loss_is_refused(tmp_path: Path, bound: str, said: str) -> None:
    found = refused(tmp_path, LOSS % (bound, ""))
    assert "mine.py:5: " in found or bound.startswith("from")
    assert said in found


def test_a_loss_per_response_has_no_other_for_single_responses(tmp_path: Path) -> None:
    text = (LOSS % (ALONE.format(body="-logps"), "")).replace("chosen, rejected,", "logps, desirable,")
    assert "mine.py:6: single: the loss is one per response already" in refused(tmp_path, text)


@pytest.mark.parametrize("value", [True, False])
def test_a_class_says_whether_it_learns_from_single_responses(tmp_path: Path, value: bool) -> None:
    declared = registry.find("algorithms", write(tmp_path, f"single = {value}\n" + CLASS % "")).declaration
    assert learns_from_single(declared) is value
    assert "mine.py:1: single must be True or False" in refused(tmp_path, "def single():\n    ...\n" + CLASS % "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("logps.mean()", r"mine\.py:6: algorithm 'mine' must return one value per row, shape \(6,\), not \(\)"),
        ("0 * logps", r"mine\.py:6: algorithm 'mine' is constant"),
        ("logps.detach()", r"mine\.py:6: algorithm 'mine' returns values that nothing can be learnt from"),
        ("logps[9]", r"mine\.py:6: algorithm 'mine' raised IndexError"),
    ],
)
def test_check_tries_single_as_it_tries_the_loss(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        list(check(write(tmp_path, LOSS % (ALONE.format(body=body), "")), tmp_path))


def test_check_holds_single_to_the_laws(tmp_path: Path) -> None:
    """Raising the undesirable response breaks one law of ``single`` and none of the loss."""
    found = check(write(tmp_path, LOSS % (ALONE.format(body="-logps"), "")), tmp_path)
    said = next(line for line in found if "BROKEN" in line or "price" in line)
    assert said.startswith("  BROKEN  first step prefers chosen: the first step does not lower the rejected log-prob")


def test_a_state_holds_tensors(tmp_path: Path) -> None:
    text = (LOSS % ("", "")).replace("rejected, *,", "rejected, state, *,").replace("    return", "    state['n'] = 1\n    return 0 *")
    with pytest.raises(HarnessError, match=r"mine\.py:6: algorithm 'mine' keeps tensors in its state; 'n' is of type int"):
        list(check(write(tmp_path, text), tmp_path))


def test_what_is_bound_is_what_runs(tmp_path: Path) -> None:
    """A sound ``single`` is what trains where responses were labelled alone, under the settings of the loss."""
    loss = registry.load("algorithms", write(tmp_path, LOSS % (ALONE.format(body="beta * logps"), ""))).algorithm
    assert isinstance(loss, PreferenceLoss) and loss.single is not None
    assert (loss.single.signature.arguments, loss.single.hyperparameters) == (("logps", "desirable"), {"beta": 1.0})
