"""Saving and loading what stages share: a transformers folder, and a scalar head beside it where there is one. Safetensors only."""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from harness import checkpoints as places
from harness.models import adapters, precision
from harness.models.loading import device, load_folder, meter, prepare
from harness.models.loading import load_tokenizer as load_tokenizer  # of a saved folder, beside what loads its weights
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.training.reward import QUALITY_VERSION, RewardModel

FACTS = "harness.json"  # beside an adapter: the dtype that its base was multiplied in


def save_model(folder: Path, model: Any, tokenizer: Any, base: Path | str | None = None) -> None:
    """Write a transformers folder that ``load_model`` and any other tool can read, or a PEFT adapter over ``base``, a folder or an id.

    A model whose base lies nowhere else brings it along.
    """
    if model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    if not adapters.has(model):
        model.save_pretrained(folder, safe_serialization=True)
    else:
        adapters.save(model, folder, str(base or places.OWN_BASE))
        (folder / FACTS).write_text(json.dumps({"dtype": precision.named(model)}))
        if base is None:
            save_model(folder / places.OWN_BASE, adapters.without(model), tokenizer)
    tokenizer.save_pretrained(folder)


def load_model(folder: Path, ledger: Ledger) -> tuple[Metered, Any]:
    """The model of a folder, charging ``ledger``, in the dtype it was saved in, and its tokenizer.

    An adapter lies over weights that every adapter of the same base shares.
    """
    if places.is_adapter(folder):
        return load_over(folder, ledger)
    model, tokenizer = load_folder(folder)
    return meter(prepare(model.to(device())), tokenizer, ledger), tokenizer


def load_merged(folder: Path, ledger: Ledger) -> tuple[Metered, Any]:
    """The model of a folder as one on its own weights, an adapter merged into them."""
    if not places.is_adapter(folder):
        return load_model(folder, ledger)
    over, tokenizer = load_over(folder, ledger)
    model = adapters.merged(copy.deepcopy(over.model))
    return meter(precision.store(model, precision.named(over.model), device()), tokenizer, ledger), tokenizer


def load_over(folder: Path, ledger: Ledger, lora: adapters.Lora | None = None, seed: int = 0) -> tuple[Metered, Any]:
    """A model on frozen weights that are held once: an adapter's folder, or a model's with a fresh adapter where ``lora`` says which."""
    adapter = places.is_adapter(folder)
    below = (places.base_of(folder) if adapter else folder).resolve()
    model = adapters.over(_base(below, (_dtype(folder) if adapter else None) or _stored(below)))
    if adapter:
        adapters.load(model, folder)
    elif lora is not None:
        adapters.add(model, lora, seed)
    tokenizer = load_tokenizer(folder)
    return meter(model, tokenizer, ledger), tokenizer


@lru_cache(maxsize=1)
def _base(folder: Path, dtype: str) -> Any:
    """The model of a folder, held for as long as no other is asked for."""
    model, _ = load_folder(folder)
    return prepare(precision.store(model, dtype, device()))


def _stored(folder: Path) -> str:
    """The dtype that a model's folder was saved in, as an experiment names it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return "mixed" if config.get(precision.MIXED) else str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _dtype(folder: Path) -> str | None:
    """The dtype that an adapter was trained over, where it says so."""
    facts = folder / FACTS
    return str(json.loads(facts.read_text())["dtype"]) if facts.is_file() else None


def save_reward(folder: Path, reward: RewardModel, tokenizer: Any, extra: dict[str, Any], base: Path | None = None) -> None:
    """Write a reward model: trunk (over ``base`` where it is an adapter), head, pooling, offset, and what was measured of it."""
    assert reward.model.head is not None
    save_model(folder, reward.model.model, tokenizer, base)
    save_file({k: v.contiguous() for k, v in reward.model.head.state_dict().items()}, folder / "head.safetensors")
    facts = {"pooling": reward.pooling, "offset": reward.offset, "quality": extra, "measured": QUALITY_VERSION}
    (folder / "reward.json").write_text(json.dumps(facts))


def load_reward(folder: Path, ledger: Ledger) -> tuple[RewardModel, dict[str, Any]]:
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
