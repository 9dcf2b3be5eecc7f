"""What fits in memory: how much of a batch one forward and backward may hold, and how many prompts are sampled at a time.

How work is cut is never charged and changes no number: the gradients of parts add up, and every sample has random numbers of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from harness.errors import HarnessError
from harness.types import Group

# Bytes of activations that one forward and backward may hold; about what two processes leave free on a small machine.
ACTIVATION_BYTES = 2_500_000_000
SAMPLING_BYTES = 1_000_000_000  # keys, values and logits while sampling on a CPU; on an accelerator this share of what is free:
SAMPLING_SHARE = 0.3
# Bytes of one hidden layer that a core's caches hold beside what is made of them, with and without gradients (docs/performance.md).
LEARNT_BYTES, SCORED_BYTES = 1 << 20, 1 << 22


def slices(groups: Sequence[Group], layers: int, hidden: int, *, beside: int = 1) -> list[slice]:
    """How to cut a batch so that each forward and backward fits in memory, ``beside`` of them at a time; one slice where all of it fits."""
    limit, found, start, held = _token_limit(layers, hidden * beside), [], 0, 0
    for index, group in enumerate(groups):
        tokens = len(group.prompt) + sum(map(len, group.responses))
        if index > start and held + tokens > limit:
            found.append(slice(start, index))
            start, held = index, 0
        held += tokens
    return [*found, slice(start, len(groups))]


def cached(groups: Sequence[Group], hidden: int, *, learning: bool) -> int:
    """Into how many runs to cut groups so that what a layer makes of each stays in a core's caches."""
    tokens = sum(len(group.prompt) + sum(map(len, group.responses)) for group in groups)
    return max(1, math.ceil(tokens * hidden * 4 / (LEARNT_BYTES if learning else SCORED_BYTES)))


def _token_limit(layers: int, hidden: int) -> int:
    # Measured on a 135M Llama in float32: about 2.3 MB a token with gradients, that is 34 floats a layer and hidden unit.
    return max(64, int(ACTIVATION_BYTES // (layers * hidden * 34 * 4)))


def checkpoint(model: Any) -> int:
    """Let a transformers model keep the input of each layer alone; HarnessError where its layers do not know how.

    Returns the weights that a backward does not multiply with again: recomputing a layer stops before its last product, whose result
    nothing needs. transformers asks a layer whether it trains; dropout stays off, for what is inside the layers is left as it is.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise HarnessError(f"models of type {model.config.model_type} cannot recompute activations; leave checkpointing out.") from error
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = True
    return sum([p for p in layer.parameters() if p.ndim == 2][-1].numel() for layer in layers)


def sampling_rows(model: Any, *, prompt: int, samples: int, max_tokens: int) -> int:
    """How many prompts of at most ``prompt`` tokens may be sampled at once: keys and values of prompts and samples, and the logits.

    Every step of decoding reads all weights, so a model is asked for as many rows at a time as memory holds.
    """
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    return int(_sampling_bytes(model.device) // (samples * (max_tokens * token + config.vocab_size * 16) + prompt * token))


def _sampling_bytes(device: torch.device) -> float:
    return SAMPLING_BYTES if device.type != "cuda" else SAMPLING_SHARE * torch.cuda.mem_get_info(device)[0]
