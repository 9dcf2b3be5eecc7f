"""The checkpoint rule on a toy policy, and what a record says of the judge that chose."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.data.pairs import write_pairs
from harness.measure.statistics import Interval
from harness.planning.footing import Footing
from harness.report import section_tuning
from harness.running import stages, supervised
from harness.training.ledger import CHARGED, Ledger
from harness.training.reward import QUALITY_VERSION
from harness.tuning.tuner import Keeper, Tuner, tuner_facts, tuner_key
from harness.types import TokenPair


class Judge:
    """Scores by the policy's only weight: what is asked of a tuning judge, without a language model."""

    def score(self, policy: Any, mark: float) -> Interval:
        value = float(policy.model.weight.detach().sum())
        return Interval(value, value - 1, value + 1, 16)


def policy() -> Any:
    return SimpleNamespace(model=torch.nn.Linear(1, 1, bias=False))


def followed(rule: str, weights: dict[float, float]) -> tuple[Keeper, Any]:
    """A keeper that saw the policy's weight at every mark, in order."""
    keeper, one = Keeper(Judge(), rule), policy()  # type: ignore[arg-type]
    for mark, weight in weights.items():
        with torch.no_grad():
            one.model.weight.fill_(weight)
        keeper.look(one, mark)
    return keeper, one


def test_best_puts_back_the_weights_that_scored_highest() -> None:
    keeper, one = followed("best", {0.25: 1.0, 0.5: 3.0, 0.75: 2.0, 1.0: 2.5})
    assert keeper.restore(one)
    assert float(one.model.weight.detach()) == 3.0
    facts = keeper.facts()
    assert (facts["rule"], facts["best"], [each["mark"] for each in facts["scores"]]) == ("best", 0.5, [0.25, 0.5, 0.75, 1.0])
    assert facts["scores"][1]["value"] == 3.0


def test_the_end_stays_where_it_is_best_or_the_rule_is_last() -> None:
    keeper, one = followed("best", {0.5: 1.0, 1.0: 2.0})
    assert not keeper.restore(one)
    assert float(one.model.weight.detach()) == 2.0
    keeper, one = followed("last", {0.5: 3.0, 1.0: 2.0})
    assert not keeper.restore(one)
    assert (float(one.model.weight.detach()), keeper.facts()["best"]) == (2.0, 0.5)


def test_kept_weights_do_not_move_with_the_policy_and_of_equal_marks_the_first_is_kept() -> None:
    keeper, one = followed("best", {0.25: 2.0, 0.5: 2.0, 1.0: 1.0})
    assert keeper.best == 0.25
    assert keeper.restore(one)
    assert float(one.model.weight.detach()) == 2.0


class Asked:
    """A policy that samples nothing but token 1, and a reward model that counts tokens."""

    def __init__(self) -> None:
        self.ledger = Ledger(100.0)

    def sample(self, prompts: Any, *, max_tokens: int, generator: torch.Generator) -> list[list[Any]]:
        self.ledger.charge(7.0)
        return [[SimpleNamespace(ids=(1,) * (1 + index))] for index in range(len(prompts))]

    def scores(self, groups: Any) -> torch.Tensor:
        self.ledger.charge(5.0)
        return torch.tensor([float(len(group.responses[0])) for group in groups])


def test_asking_the_judge_is_charged_to_tuning_and_to_no_budget() -> None:
    one = Asked()
    judge = Tuner(one, Path(), [(1,), (2,), (3,)], 8, seed=0)  # type: ignore[arg-type]
    found = judge.score(one, 0.5)  # type: ignore[arg-type]
    assert (found.value, found.n) == (2.0, 3)
    assert one.ledger.canonical == {"tuning": 12.0}
    assert one.ledger.spent == 0.0
    assert "tuning" not in CHARGED


def test_a_judge_fitted_the_old_way_is_not_taken_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = SimpleNamespace(tuning_pairs=96)
    shared = SimpleNamespace(sft=Path("sft-folder"), pair_folder=Path("pairs-folder"), task=SimpleNamespace(version="1-abc"))
    keys = [tuner_key(experiment, shared), stages.reward_key("pairs-folder")]  # type: ignore[arg-type]
    monkeypatch.setattr(stages, "REWARD_VERSION", stages.REWARD_VERSION + 1)
    after = [tuner_key(experiment, shared), stages.reward_key("pairs-folder")]  # type: ignore[arg-type]
    assert all(old != new for old, new in zip(keys, after, strict=True))


@pytest.mark.parametrize(("cuda", "meant"), [(False, "float32"), (True, "bfloat16")])
def test_weights_are_cached_under_the_dtype_that_auto_means_here(monkeypatch: pytest.MonkeyPatch, cuda: bool, meant: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    sizes = {"sft_steps": 1, "sft_batch": 1, "sft_learning_rate": 1.0, "limit": None, "stage_threads": 2}
    world = {"task": "toy", "task_options": {}, "model": "tiny-64", **sizes, **Footing().model_dump()}
    auto, named = (SimpleNamespace(dtype=dtype, **world) for dtype in ("auto", meant))
    task = SimpleNamespace(version="1-abc", vocabulary=("word",), chat=False)
    assert supervised.key(auto, task, 0)["dtype"] == meant  # type: ignore[arg-type]
    assert supervised.key(auto, task, 0) == supervised.key(named, task, 0)  # type: ignore[arg-type]


def stages_with(prompts: int, each: int = 1) -> Any:
    """What a seed shares, with so many held-out prompts and pairs of each."""
    heldout = [TokenPair(row, (1, row % prompts), (2,), (3,)) for row in range(prompts * each)]
    task = SimpleNamespace(name="toy", source="embedded", judges=("gold",))
    return SimpleNamespace(sft=Path("sft-folder"), task=task, heldout=heldout)


@pytest.mark.parametrize(("share", "bounds"), [(0.75, (0.6527, 0.8272)), (0.755, (0.6527, 0.8364))])
def test_several_pairs_of_a_prompt_are_one_observation_of_the_judge_s_accuracy(
    tmp_path: Path, share: float, bounds: tuple[float, float]
) -> None:
    """Two pairs of each of 92 prompts: statsmodels proportion_confint(69, 92, method="wilson"), and for 69.46 the ends of 69 and 70."""
    write_pairs(tmp_path / "pairs.jsonl", [TokenPair(0, (1,), (2,), (3,))])
    quality = {"reward_accuracy": share, "reward_heldout_pairs": 184.0}
    (tmp_path / "reward.json").write_text(json.dumps({"pooling": "sum", "offset": 0.0, "quality": quality, "measured": QUALITY_VERSION}))
    found = tuner_facts(SimpleNamespace(labels="bt"), stages_with(92, 2), tmp_path)["accuracy"]  # type: ignore[arg-type]
    assert (found["value"], found["n"]) == (share, 92)
    assert (found["lower"], found["upper"]) == pytest.approx(bounds, abs=1e-4)


def test_a_judge_of_single_labels_has_an_auc_in_place_of_an_accuracy(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", [TokenPair(0, (1,), (2,), ())])
    area = {"value": 0.7, "lower": 0.6, "upper": 0.8, "n": 90}
    quality = {"reward_auc": area, "reward_heldout_responses": 120.0}
    (tmp_path / "reward.json").write_text(json.dumps({"pooling": "sum", "offset": 0.0, "quality": quality, "measured": QUALITY_VERSION}))
    facts = tuner_facts(SimpleNamespace(labels="single"), stages_with(1), tmp_path)  # type: ignore[arg-type]
    assert (facts["accuracy"], facts["auc"]) == (None, area)
    assert (
        section_tuning._quality(facts)
        == "Couples of held-out responses of both labels that it orders so (AUC): 0.70 [0.60, 0.80], n=90 prompts"
    )
    assert section_tuning._quality({"accuracy": area}) == "Held-out pairs that it ranks as labelled: 0.70 [0.60, 0.80], n=90 (Wilson)"
    assert section_tuning._quality({"accuracy": None}) == "Held-out pairs that it ranks as labelled: not measured"


def test_a_record_holds_the_judge_s_accuracy_with_the_wilson_interval(tmp_path: Path) -> None:
    """150 of 200: statsmodels proportion_confint(150, 200, method="wilson") = (0.6857, 0.8049)."""
    write_pairs(tmp_path / "pairs.jsonl", [TokenPair(0, (1,), (2,), (3,)), TokenPair(1, (1,), (2,), (3,))])
    quality = {"reward_accuracy": 0.75, "reward_heldout_pairs": 200.0}
    (tmp_path / "reward.json").write_text(json.dumps({"pooling": "sum", "offset": 0.0, "quality": quality, "measured": QUALITY_VERSION}))
    experiment = SimpleNamespace(labels="bt")
    facts = tuner_facts(experiment, stages_with(200), tmp_path)  # type: ignore[arg-type]
    assert facts["lineage"] == {
        "weights": tmp_path.name, "start": "sft-folder", "data": (f"tuning pairs {tmp_path.name}",), "labeller": "gold of toy",
    }  # fmt: skip
    assert facts["pairs"] == 2
    assert (facts["accuracy"]["value"], facts["accuracy"]["n"]) == (0.75, 200)
    assert (facts["accuracy"]["lower"], facts["accuracy"]["upper"]) == pytest.approx((0.6857, 0.8049), abs=1e-4)
