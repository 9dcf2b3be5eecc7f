"""Saving and loading what stages share: a transformers folder, and a scalar head beside it where there is one. Safetensors only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from harness.models.loading import device, load_folder, meter, prepare
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel


def save_model(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write a transformers folder that ``load_model`` and any other tool can read."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def load_model(folder: Path, ledger: Ledger) -> tuple[Metered, Any]:
    """The model of a folder, charging ``ledger``, in the dtype it was saved in, and its tokenizer."""
    model, tokenizer = load_folder(folder)
    return meter(prepare(model.to(device())), tokenizer, ledger), tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a saved folder, without its weights."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def save_reward(folder: Path, reward: RewardModel, tokenizer: Any, extra: dict[str, float]) -> None:
    """Write a reward model: trunk, head, pooling, offset, and what was measured of it."""
    assert reward.model.head is not None
    save_model(folder, reward.model.model, tokenizer)
    save_file({k: v.contiguous() for k, v in reward.model.head.state_dict().items()}, folder / "head.safetensors")
    (folder / "reward.json").write_text(json.dumps({"pooling": reward.pooling, "offset": reward.offset, "quality": extra}))


def load_reward(folder: Path, ledger: Ledger) -> tuple[RewardModel, dict[str, float]]:
    """The reward model of ``save_reward`` and its measured quality."""
    model, _ = load_model(folder, ledger)
    facts = json.loads((folder / "reward.json").read_text())
    head = nn.Linear(model.model.config.hidden_size, 1, device=model.device, dtype=next(model.model.parameters()).dtype)
    head.load_state_dict(load_file(folder / "head.safetensors"))
    model.head = head.requires_grad_(False)
    model.model.requires_grad_(False)
    return RewardModel(model, facts["pooling"], facts["offset"]), facts["quality"]


def save_tensor(path: Path, tensor: torch.Tensor) -> None:
    """One tensor as a safetensors file."""
    save_file({"values": tensor.contiguous()}, path)


def load_tensor(path: Path) -> torch.Tensor:
    """The tensor of ``save_tensor``."""
    return load_file(path)["values"]
