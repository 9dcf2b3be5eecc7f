"""Algorithms that train on what judges them: none can do so undeclared, and what is declared is drawn apart and ranked with nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.planning import settings
from harness.plugins import registry
from harness.plugins.declaration import read
from tests.test_ppo import prompts, setup

sys.path.append(str(Path(__file__).parent / "report"))
import synthetic

from harness.report import findings, matching, page
from harness.report.palette import looks
from harness.report.points import load, points

ENTRIES = [entry for entry in registry.describe("algorithms") if not entry.problem]
CLASSES = [entry for entry in ENTRIES if not entry.declaration.loss]
CHOSEN = [
    (entry, {each.name: choice})
    for entry in CLASSES
    for each in entry.declaration.hyperparameters
    for choice in (each.choices or (each.default,) * (each is entry.declaration.hyperparameters[0]))
]


def weights(entry: registry.Entry, chosen: dict[str, Any], *, sign: float) -> torch.Tensor:
    """What a toy run trains to, and what is measured says, where the judge's scores are multiplied by ``sign``."""
    few = {"iterations": min(4, entry.defaults["iterations"])} if "iterations" in entry.defaults else {}
    given = setup(2e8, **few, **chosen)  # the reward model gets a share of it that must pay for a step
    score = given.score
    assert score is not None
    bound = registry.load_entry(entry).algorithm
    algorithm = bound() if isinstance(bound, type) else bound
    served = [given.policy]
    judged = replace(given, score=lambda prompts, samples: sign * score(prompts, samples), serve=served.append)
    list(algorithm.updates(judged))
    rows = served[-1].sample(prompts(20, 5), max_tokens=8, generator=torch.Generator().manual_seed(0))
    said = [float(hash(row[0].ids)) for row in rows]
    return torch.cat([*(p.detach().flatten() for p in given.policy.parameters()), torch.tensor(said)])


@pytest.mark.parametrize(("entry", "chosen"), CHOSEN, ids=lambda value: value.name if isinstance(value, registry.Entry) else str(value))
def test_whoever_learns_from_the_judge_says_so(entry: registry.Entry, chosen: dict[str, Any]) -> None:
    """Judge the same run by the opposite reward: what it learns must change where it is declared an oracle, and only there."""
    same = torch.equal(weights(entry, chosen, sign=1.0), weights(entry, chosen, sign=-1.0))
    assert settings.oracle(entry, {**entry.defaults, **chosen}) is not same


def test_a_loss_sees_no_judge() -> None:
    assert not any(settings.oracle(entry, entry.defaults) for entry in ENTRIES if entry.declaration.loss)


@pytest.mark.parametrize("kind", ["tasks"])
def test_no_task_compares_an_oracle_unasked(kind: str) -> None:
    for entry in registry.describe(kind):
        for name in registry.load_entry(entry).task(None).defaults.algorithms:
            named = registry.find("algorithms", name)
            assert not settings.oracle(named, named.defaults)


def test_a_class_takes_the_settings_of_its_base_and_a_hash_of_its_file(tmp_path: Path) -> None:
    base = '"""Base."""\nclass A:\n    rate: float = 1.0\n    kind: Literal["x", "y"] = "x"\nalgorithm = A()\n'
    (tmp_path / "base.py").write_text(base)
    (tmp_path / "child.py").write_text(
        f'"""Child."""\nfrom {tmp_path.name}.base import A\nclass B(A):\n    kind: Literal["y"] = "y"\nalgorithm = B()\n'
    )
    found = {each.name: (each.default, each.choices) for each in read(tmp_path / "child.py", "algorithm").hyperparameters}
    assert found == {"rate": (1.0, ()), "kind": ("y", ("y",))}
    before = registry._built_in_digest(tmp_path / "child.py")
    (tmp_path / "base.py").write_text(base.replace("1.0", "2.0"))
    assert registry._built_in_digest(tmp_path / "child.py") != before


def test_an_oracle_is_shown_apart_and_in_no_family(tmp_path: Path) -> None:
    """Three algorithms make a family of two comparisons; the third as an oracle leaves one."""
    synthetic.study(tmp_path, ("dpo", "ipo", "ppo"), seeds=3, settings=1, failed=False)
    loaded = load(tmp_path)
    assert "for 2 comparisons" in findings.seeds_line(points(loaded))
    for file in tmp_path.glob("cells/ppo-*/record.json"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "algorithm": {**record["algorithm"], "oracle": True}}))
    loaded = load(tmp_path)
    found = points(loaded)
    assert [(point.algorithm, point.ranked) for point in found] == [("dpo", True), ("ipo", True), ("ppo (oracle)", False)]
    assert "for 1 comparisons" in findings.seeds_line(found)
    assert any(said.startswith("Not ranked: ppo (oracle), trained on the reward") for said in findings.cautions(loaded))
    look = page._looks(found)["ppo (oracle)"]
    assert (look.line, look.face) == ("--", "white")
    assert all(each.face == each.colour for name, each in looks([("dpo", False), ("ipo", False)]).items())


def test_what_trains_nothing_is_shown_apart_and_matched_with_nothing(tmp_path: Path) -> None:
    """It has spent a tenth of the others' budget; compute is matched without it, and its name says what its KL is."""
    synthetic.study(tmp_path, ("dpo", "ipo", "kto"), seeds=3, settings=1, failed=False)
    for file in tmp_path.glob("cells/kto-*/record.json"):
        record = json.loads(file.read_text())
        record["compute"]["canonical"] = {phase: flops / 10 for phase, flops in record["compute"]["canonical"].items()}
        file.write_text(json.dumps({**record, "algorithm": {**record["algorithm"], "untrained": True, "bounded": True}}))
    loaded = load(tmp_path)
    found = points(loaded)
    named = [("dpo", True), ("ipo", True), ("kto (KL at its bound)", False)]
    assert [(point.algorithm, point.ranked) for point in found] == named
    assert matching.matching(found).startswith("Compute is matched")
    assert any(said.startswith("Not ranked: kto (KL at its bound); no policy is trained") for said in findings.cautions(loaded))
    look = page._looks(found)["kto (KL at its bound)"]
    assert (look.line, look.face) == ("--", "white")
