"""What a model's forward is read into: values per response token, a divergence, a scalar head, and the shape that prices it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.models import adapters
from harness.training.ledger import Shape


class TokenValues(NamedTuple):
    """One float per response token, (tokens,), in order of groups and of responses within them; ``lengths`` is (responses,)."""

    values: Tensor
    lengths: Tensor

    def sums(self) -> Tensor:
        """Sum over each response, (responses,)."""
        owner = torch.arange(len(self.lengths), device=self.lengths.device).repeat_interleave(self.lengths)
        return self.values.new_zeros(len(self.lengths)).index_add(0, owner, self.values)

    def padded(self) -> tuple[Tensor, Tensor]:
        """(responses, longest) values with 0 where absent, and the mask of what is present."""
        mask = torch.arange(int(self.lengths.max()), device=self.lengths.device) < self.lengths.unsqueeze(1)
        return self.values.new_zeros(mask.shape).masked_scatter(mask, self.values), mask


class Divergence(NamedTuple):
    """Of responses, each (responses,), nats per sequence: exact per-step KL(pi || other), KL(other || pi), entropy, sums over steps.

    ``logps`` is log pi of the response, ``log_ratio`` log pi - log other. A KL is one of sequences where its first model sampled them.
    """

    kl: Tensor
    log_ratio: Tensor
    entropy: Tensor
    reverse: Tensor
    logps: Tensor


def divergence(mine: Tensor, theirs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """The columns of ``Divergence`` for every token, (tokens,), of two models' log-probs (tokens, vocabulary)."""
    probs, apart, target = mine.exp(), mine - theirs, targets.unsqueeze(1)
    kl, reverse, entropy = (probs * apart).sum(-1), -(theirs.exp() * apart).sum(-1), -(probs * mine).sum(-1)
    return kl, apart.gather(1, target).squeeze(1), entropy, reverse, mine.gather(1, target).squeeze(1)


class TokenReadings(NamedTuple):
    """Of every response token: its log-prob and the distribution's entropy, nats, and the value of the state that predicts it."""

    logps: TokenValues
    entropies: TokenValues
    values: TokenValues


class Cost(NamedTuple):
    """FLOPs of a forward, canonical and executed, of what its backward will compute a second time, and of what frozen weights spare it.

    What is spared is canonical and executed too.
    """

    canonical: float
    executed: float
    again: float
    unlearnt: float = 0.0
    unlearnt_executed: float = 0.0


def chosen(log_probs: Tensor, targets: Tensor, entropies: bool) -> tuple[Tensor, Tensor]:
    """The log-prob of each target and the entropy of its distribution, (tokens,); the latter detached, zeros where not asked for."""
    logps, detached = log_probs.gather(1, targets.unsqueeze(1)).squeeze(1), log_probs.detach()
    return logps, -(detached.exp() * detached).sum(-1) if entropies else torch.zeros_like(logps).detach()


def scalar_head(hidden: int, device: torch.device, dtype: torch.dtype) -> nn.Linear:
    """A fresh Linear(d, 1), std 1/sqrt(d + 1), bias 0 (the N+ details of Huang et al. 2024, arXiv 2403.17031); always the same one."""
    head = nn.Linear(hidden, 1, device=device, dtype=dtype)
    nn.init.normal_(head.weight, std=1 / math.sqrt(hidden + 1), generator=torch.Generator(device).manual_seed(0))
    nn.init.zeros_(head.bias)
    return head


def shape_of(model: Any) -> Shape:
    """What FLOPs depend on, read from the weights: matmul weights of the blocks, the output head, layers and attention width.

    Under an adapter all other weights are frozen.
    """
    config, head = model.config, model.get_output_embeddings()
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)} | {id(head.weight)}
    blocks = sum(p.numel() for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    adapted = sum(p.numel() for p in adapters.weights(model))
    frozen, frozen_head = (blocks - adapted, head.weight.numel()) if adapted else (0, 0)
    return Shape(blocks, head.weight.numel(), config.num_hidden_layers, config.num_attention_heads * size, frozen, frozen_head)
