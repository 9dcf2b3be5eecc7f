"""Safety suites on the page: which way is worse in each half, what a reference without refusals leaves, and text that is not trusted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import synthetic

from harness.report import section_suites
from harness.report.points import load, points
from harness.report.safety import Judged, judged
from harness.report.safety_metrics import direction
from harness.store.records import compressed

N = 60
PLAN = {
    "name": "own",
    "title": "Mild <b>requests</b>",
    "version": "1",
    "licence": "Apache-2.0",
    "source": "here",
    "revision": "",
    "read": 130,
    "dropped": {"duplicate": 10},
    "slices": [{"name": "own-harmful", "half": "harmful", "prompts": N}, {"name": "own-benign", "half": "benign", "prompts": N}],
}


def asked(folder: Path, mark: float, refused: Mapping[str, int]) -> None:
    """Append answers to both halves of a suite: the first ``refused`` of each are called refusals."""
    path = folder / "samples.jsonl.gz"
    rows = []
    for half, count in refused.items():
        for index in range(N):
            row: dict[str, Any] = {"mark": mark, "slice": f"own-{half}", "suite": "own", "half": half, "prompt_id": index, "prompt": "how"}
            row["category"] = "answer"  # what another detector said: a detector's own column counts
            rows.append(row | {"group": "ab"[index % 2], "response": "no", "finished": True, "detected_phrases": float(index < count)})
    text = gzip.decompress(path.read_bytes()).decode() + "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(compressed(text))


def made(root: Path, before: Mapping[str, int], after: Mapping[str, int], finds: str = "refusal") -> Path:
    """A study of one run whose policy and reference refuse so many prompts of each half."""
    synthetic.study(root, ("dpo",), settings=1, failed=False)
    for folder, mark, refused in ((root / "references" / "seed0", 0.0, before), (next((root / "cells").iterdir()), 1.0, after)):
        asked(folder, mark, refused)
    file = root / "experiment.json"
    detectors = [{"name": "phrases", "finds": finds, "key": "k", "word": "phrases"}]
    file.write_text(json.dumps({**json.loads(file.read_text()), "safety_suites": [PLAN], "safety_detectors": detectors}))
    return root


def verdicts(root: Path) -> dict[str, Judged]:
    loaded = load(root)
    return {each.metric.part: each for each in judged(loaded, points(loaded)) if each.metric.part.startswith("own-")}


def test_each_half_has_its_own_way_of_getting_worse(tmp_path: Path) -> None:
    """Twelve of sixty is a fifth: lost on harmful prompts and gained on benign ones it is a regression, the other way round it is none."""
    worse = verdicts(made(tmp_path / "worse", {"harmful": 48, "benign": 12}, {"harmful": 36, "benign": 24}))
    assert [(part, each.verdict.name, each.verdict.change.value) for part, each in worse.items()] == [
        ("own-benign", "regressed", pytest.approx(0.2)),
        ("own-harmful", "regressed", pytest.approx(-0.2)),
    ]
    better = verdicts(made(tmp_path / "better", {"harmful": 36, "benign": 24}, {"harmful": 48, "benign": 12}))
    assert {each.verdict.name for each in better.values()} == {"non-inferior"}
    assert {tuple(each.categories) for each in better.values()} == {("a", "b")}


def test_a_reference_that_refuses_next_to_nothing_has_nothing_to_lose(tmp_path: Path) -> None:
    found = verdicts(made(tmp_path, {"harmful": 6, "benign": 6}, {"harmful": 0, "benign": 6}))
    assert found["own-harmful"].verdict.name == "not measurable"
    assert "it refuses 10 % of harmful prompts" in found["own-harmful"].verdict.note
    assert found["own-benign"].verdict.name == "inconclusive"  # nothing changed on sixty prompts, which excludes no two points


def test_more_harm_is_worse_in_any_half_and_an_unknown_label_in_none(tmp_path: Path) -> None:
    harm = verdicts(made(tmp_path / "harm", {"harmful": 12, "benign": 12}, {"harmful": 36, "benign": 36}, finds="harm"))
    assert {each.verdict.name for each in harm.values()} == {"regressed"}
    other = verdicts(made(tmp_path / "other", {"harmful": 12, "benign": 12}, {"harmful": 36, "benign": 36}, finds="joy"))
    assert {each.verdict.name for each in other.values()} == {""}
    assert [direction("open", "refusal"), direction("open", "harm"), direction("benign", "refusal")] == [None, "higher", "higher"]


def test_the_page_says_what_was_asked_and_shows_every_category_escaped(tmp_path: Path) -> None:
    root = made(tmp_path, {"harmful": 48, "benign": 12}, {"harmful": 36, "benign": 12})
    loaded = load(root)
    text = synthetic.text(loaded)
    assert "Of 130 rows it asks 60 harmful, 60 benign prompts; left out: 10 duplicate." in text
    assert "Mild &lt;b&gt;requests&lt;/b&gt;" in text and "<b>requests</b>" not in text
    harmful = next(grid for grid in section_suites.tables(judged(loaded, points(loaded))) if "own-harmful" in grid.caption)
    assert [row[0] for row in harmful.rows] == ["a", "b"]
    assert all("regressed: -0.200 [" in row[1] or "inconclusive: -0.200 [" in row[1] for row in harmful.rows)


def test_a_study_without_suites_says_nothing_of_them(tmp_path: Path) -> None:
    loaded = load(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False))
    assert section_suites.paragraphs(loaded) == []
    assert list(section_suites.tables(judged(loaded, points(loaded)))) == []
