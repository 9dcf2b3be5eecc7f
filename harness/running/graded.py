"""The held-out quality of a cached reward model, by today's definition of it: the cache knows how one is fitted, not how it is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.data.pairs import prompts_of
from harness.models import storage
from harness.training.ledger import Ledger
from harness.training.reward import QUALITY_VERSION, heldout_quality
from harness.types import TokenPair


def quality_of(folder: Path, heldout: Sequence[TokenPair]) -> dict[str, Any]:
    """What is known of the reward model in a folder on the held-out pairs, charged to nobody.

    As it was measured when it was fitted. One of an older definition is measured again where definitions differ: every pair with a prompt
    of its own has the same number under all of them.
    """
    facts = json.loads((folder / "reward.json").read_text())
    found: dict[str, Any] = facts["quality"]
    alike = len(set(prompts_of(heldout))) == len(heldout) and not any(pair.single for pair in heldout)
    if alike or facts.get("measured", 0) == QUALITY_VERSION:
        return found
    with torch.no_grad():
        return heldout_quality(storage.load_reward(folder, Ledger(float("inf")))[0], heldout)
