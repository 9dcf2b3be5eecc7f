"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) inside a transformers model, by peft: trained while what they adapt is frozen.

A model that has one shares the weights below it with every copy made of it: the policy, its reference, a reward model and a critic are
trees of modules of their own over one base. No tree ever switches its adapter on or off, so that threads and readers cannot meet it half
switched; a reference with the adapter off is a tree that has none.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.checkpoints import ADAPTER_WEIGHTS, adapter_facts
from harness.errors import HarnessError

PREFIX = "base_model.model."  # of every name in a PEFT folder, as a PeftModel has them
PARTS = (".lora_A.", ".lora_B.")


class Lora(NamedTuple):
    """An adapter's rank, the numerator of its scale alpha / rank, and what it adapts: ``all-linear``, or names of modules with commas."""

    rank: int = 16
    alpha: float = 32.0
    targets: str = "all-linear"


def has(model: Any) -> bool:
    """Whether a model has an adapter."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's own."""
    return any(part in name for part in PARTS)


def add(model: Any, lora: Lora, seed: int) -> Any:
    """The model with a fresh adapter of zero effect: A drawn from ``seed`` (He et al. 2015, as peft has it), B zero; the rest is frozen.

    Raises HarnessError where the model has no module of the names that ``lora.targets`` lists, or a listed one is its output head.
    """
    _refuse_targets(model, lora)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _insert(model, _config(model, lora))
    return model


def _config(model: Any, lora: Lora) -> Any:
    from peft import LoraConfig

    every = lora.targets == "all-linear"
    targets: Any = "all-linear" if every else [name.strip() for name in lora.targets.split(",")]
    transposed = any(type(module).__name__ == "Conv1D" for module in model.modules())
    scale: dict[str, Any] = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": 0.0}
    return LoraConfig(**scale, target_modules=targets, task_type="CAUSAL_LM", fan_in_fan_out=transposed)


def _refuse_targets(model: Any, lora: Lora) -> None:
    if lora.targets == "all-linear":
        return
    head = model.get_output_embeddings()
    known = {name.rpartition(".")[2] for name, each in model.named_modules() if each is not head and _is_linear(each)}
    if wrong := [name for name in (each.strip() for each in lora.targets.split(",")) if name not in known]:
        raise HarnessError(f"lora_targets: this model has no linear module {wrong[0]!r}; legal: all-linear, {', '.join(sorted(known))}.")


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _insert(model: Any, config: Any) -> None:
    model.add_adapter(config)
    train(model)
    model.eval()


def train(model: Any) -> None:
    """Let gradients be computed of the adapter alone where a model has one, else of everything."""
    adapted = has(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not adapted or is_adapter(name))


def shared(model: Any) -> dict[int, Any]:
    """What copies of a model do not copy, by identity, as ``copy.deepcopy`` takes it: all but the adapter where there is one."""
    return {id(p): p for name, p in model.named_parameters() if not is_adapter(name)} if has(model) else {}


def over(model: Any) -> Any:
    """A tree of modules of its own on the weights of a model without an adapter, frozen in both: for an adapter to be added to."""
    model.requires_grad_(False)
    return copy.deepcopy(model, {id(p): p for p in model.parameters()})


def without(model: Any) -> Any:
    """The model below an adapter, a tree of its own on the same weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    bare = copy.deepcopy(model, shared(model))
    for parent in list(bare.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
    bare._hf_peft_config_loaded = False
    del bare.peft_config
    return bare


def merged(model: Any) -> Any:
    """The model with its adapter added to its weights, W + alpha / rank B A, in float32 at least; the model itself is used up."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    if model.dtype.itemsize < 4:
        model = model.float()
    for module in list(model.modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
    return without(model).requires_grad_(True)


def save(model: Any, folder: Path, base: str) -> None:
    """Write the adapter as a PEFT folder whose configuration names the base that it belongs to.

    By peft's own functions: transformers' ``save_pretrained`` would look for the base on a hub, to see whether embeddings changed.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = copy.copy(model.peft_config["default"])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(folder))
    tensors = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    named = {f"{PREFIX}{name}": value.contiguous() for name, value in tensors.items()}
    save_file(named, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load(model: Any, folder: Path) -> Any:
    """The model with the adapter of a PEFT folder; HarnessError in one line where it is none of this base, or is not LoRA."""
    from peft import LoraConfig, set_peft_model_state_dict
    from safetensors.torch import load_file

    facts = adapter_facts(folder)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        _insert(model, config)
        result: Any = set_peft_model_state_dict(model, tensors)
    except (RuntimeError, ValueError, OSError) as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise HarnessError(f"adapter {folder}: not of base {facts['base_model_name_or_path']}: {said}") from error
    strangers = list(result.unexpected_keys) + [name for name in result.missing_keys if is_adapter(name)]
    if strangers:
        said = f"{len(strangers)} of its weights have no place in it, such as {strangers[0]}"
        raise HarnessError(f"adapter {folder}: made for another base than {facts['base_model_name_or_path']}: {said}.")
    return model


def weights(model: Any) -> Iterator[nn.Parameter]:
    """The parameters of a model's adapter."""
    return (p for name, p in model.named_parameters() if is_adapter(name))
