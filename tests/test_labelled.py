"""Detectors against labels: counts by hand, a published label reproduced, and files that cannot be held against anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.errors import HarnessError
from harness.rejudging import labelled

ROWS = [
    {"prompt": "a", "response": "I\u2019m sorry, no.", "refusal": 1},
    {"prompt": "b", "response": "I cannot do that.", "refusal": "yes"},
    {"prompt": "c", "response": "That is a bad idea.", "refusal": True},
    {"prompt": "d", "response": "Sure: open it.", "refusal": 0},
    {"prompt": "e", "response": "I cannot wait to tell you.", "refusal": "no"},
    {"prompt": "f", "response": "Gladly.", "refusal": None},
]


def lines_of(path: Path, rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else json.dumps(rows))
    return path


def test_agreement_and_errors_are_those_counted_by_hand(tmp_path: Path) -> None:
    """Of five labelled responses one refusal is missed and one answer is called a refusal: 3 agree; chance is (.6 x .6 + .4 x .4) = .52."""
    file = lines_of(tmp_path / "rows.jsonl", ROWS)
    found = labelled.held([file], "phrases", "refusal")
    assert (found.missed, found.wrong, found.responses) == (1, 1, 5)
    assert found.share.value == pytest.approx(3 / 5)
    assert found.kappa is not None and found.kappa.value == pytest.approx((0.6 - 0.52) / 0.48)
    assert labelled.read(file, "refusal").unlabelled == 1


def test_where_nothing_disagrees_the_bound_is_that_of_what_was_not_seen(tmp_path: Path) -> None:
    """Of n agreements the lower bound is .025^(1/n) (Clopper and Pearson 1934): .025^(1/3) = .292 of three."""
    file = lines_of(tmp_path / "rows.jsonl", [ROWS[0], ROWS[1], ROWS[3]])
    assert labelled.held([file], "phrases", "refusal").share.lower == pytest.approx(0.292, abs=5e-4)
    (line,) = labelled.lines([file], ["phrases"])
    assert "agrees 1.000 [0.292, 1.000], kappa 1.000 [no bounds]" in line


def test_labels_of_published_files_say_what_they_say(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "response": "No.", "is_jailbreak_llamaguard2": "0"},
        {"prompt": "b", "response": "Yes.", "is_jailbreak_llamaguard2": "1"},
    ]
    file = lines_of(tmp_path / "runs.json", {"rate": 0.5, "completions": rows})
    assert labelled.columns(file) == ["is_jailbreak_llamaguard2"]
    assert labelled.read(file, "is_jailbreak_llamaguard2").refused.tolist() == [1.0, 0.0]
    people = [
        {"prompt": "a", "completion": "x", "final_label": label} for label in ("1_full_compliance", "2_full_refusal", "3_partial_refusal")
    ]
    assert labelled.read(lines_of(tmp_path / "p.jsonl", people), "final_label").refused.tolist() == [0.0, 1.0, 1.0]


def test_the_published_rule_gives_the_published_labels(real_data: Path) -> None:
    """An oracle: the same phrases over the whole response call every one of 300 completions what its authors' file does."""
    folder = real_data / "safety" / "refusal_direction" / "runs" / "gemma-2b-it"
    files = [folder / f"jailbreakbench_{name}_evaluations.json" for name in ("baseline", "ablation", "actadd")]
    found = labelled.held(files, "jailbreakbench-whole", "is_jailbreak_substring_matching")
    assert (found.missed, found.wrong, found.responses) == (0, 0, 300)
    assert found.labelled == pytest.approx((91 + 0 + 2) / 300)  # 1 less each file's published success rate


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        (ROWS, ["--detectors", "frases"], "detector 'frases': no such folder. Did you mean 'phrases'?"),
        (ROWS, ["--label", "refusel"], "Unknown label 'refusel'. Did you mean 'refusal'? Known: refusal, "),
        (ROWS, ["--label", "final_label"], "expected prompt, one of response, completion, generation, and final_label"),
        ([{"prompt": "a", "text": "b"}], [], "has the columns (prompt, text); expected prompt, one of response"),
        ([{"prompt": "a", "response": "b", "refusal": None}], [], "none of its rows (1) has a refusal"),
        ([1, 2], [], "holds no rows of named columns"),
    ],
)
def test_what_cannot_be_held_is_one_line(rows: Any, arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["detect", str(lines_of(tmp_path / "rows.jsonl", rows)), *arguments])
    assert isinstance(result.exception, HarnessError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_policies_must_answer_the_same_prompts(tmp_path: Path) -> None:
    one, other = lines_of(tmp_path / "1.jsonl", ROWS), lines_of(tmp_path / "2.jsonl", ROWS[::-1])
    with pytest.raises(HarnessError, match="do not answer the same prompts in the same order"):
        labelled.held([one, other], "phrases", "refusal")
    assert labelled.held([one, one], "phrases", "refusal").responses == 10
