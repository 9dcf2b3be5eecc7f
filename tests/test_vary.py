"""One command, several studies: one change at a time, each a study of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import cli
from harness.errors import HarnessError
from harness.planning import vary


def test_one_assumption_changes_at_a_time() -> None:
    varied = vary.asked(["labels=bt,flip", "toy.share=.1"], {"agreement": [0.7], "labels": ["shuffled"]})
    assert varied == {"labels": ["bt", "flip"], "agreement": [0.7], "toy.share": [".1"]}
    found = list(vary.variations({"task": "toy", "set": ["a.beta=1"]}, varied))
    given = {"task": "toy", "set": ["a.beta=1"]}
    assert found == [
        given,
        {**given, "agreement": 0.7},
        {**given, "labels": "bt"},
        {**given, "labels": "flip"},
        {**given, "set": ["a.beta=1", "toy.share=.1"]},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("labels", "is not NAME=VALUE"), ("labels=", "is not NAME=VALUE"), ("label=bt", "Did you mean 'labels'?"), ("seeds=1", "TASK.OPTION")],
)
def test_what_cannot_vary_is_one_line(text: str, said: str) -> None:
    with pytest.raises(HarnessError) as error:
        vary.asked([text], {})
    assert said in str(error.value)


def test_a_dry_run_names_a_study_for_each_value_and_the_one_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e.toml").write_text('task = "tldr"\nalgorithms = ["dpo"]\n[vary]\nagreement = [0.7]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["harness", "compare", "e.toml", "--vary", "labels=bt,flip", "--vary", "tldr.safety_pairs=0.1", "--dry-run"]
    )
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    studies = [line.split(":")[0] for line in printed.splitlines() if line.startswith("Study tldr-")]
    assert len(studies) == len(set(studies)) == 4
    assert 'labels = "flip"' in printed and "agreement = 0.7" in printed and '"safety_pairs": 0.1' in printed
