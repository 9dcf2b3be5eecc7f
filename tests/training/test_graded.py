"""The quality of a reward model that lies in a cache from before its definition changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.models import storage
from harness.models.tiny import tiny_tokenizer
from harness.running.graded import quality_of
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel, heldout_quality
from harness.types import TokenPair
from tests.test_footing import VOCABULARY, model

ONE = [TokenPair(row, (1, 4 + row), (6 + row, 2), (7, 2)) for row in range(4)]
SEVERAL = [TokenPair(row, (1, 4 + row // 3), (6 + row, 2), (7, 2)) for row in range(4)]
SINGLE = [TokenPair(row, (1, 4 + row), *(((8, 2), ()) if row % 2 else ((), (9, 2)))) for row in range(4)]


def saved(folder: Path, pairs: list[TokenPair]) -> dict[str, float]:
    """A reward model in a folder, with its quality as it is measured now."""
    start, _ = storage.load_model(model(folder.parent / "base"), Ledger(float("inf")))
    reward = RewardModel(start.fork(scalar_head=True), "sum")
    with torch.no_grad():
        found = heldout_quality(reward, pairs)
    storage.save_reward(folder, reward, tiny_tokenizer(VOCABULARY), found)
    return found


@pytest.mark.parametrize("pairs", [SEVERAL, SINGLE])
def test_an_old_quality_is_measured_again_where_its_definition_changed(tmp_path: Path, pairs: list[TokenPair]) -> None:
    found = saved(tmp_path / "reward", pairs)
    file = tmp_path / "reward" / "reward.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "quality": {"reward_accuracy": 0.123}}))
    assert quality_of(tmp_path / "reward", pairs) == {"reward_accuracy": 0.123}, "by today's definition it is believed"
    old = {name: value for name, value in facts.items() if name != "measured"}
    file.write_text(json.dumps({**old, "quality": {"reward_accuracy": 0.123}}))
    again = quality_of(tmp_path / "reward", pairs)
    assert again and str(again) == str(json.loads(json.dumps(found))), "as text, where a bound that is not there equals itself"
    assert quality_of(tmp_path / "reward", ONE) == {"reward_accuracy": 0.123}, "a pair to a prompt is measured as it always was"
