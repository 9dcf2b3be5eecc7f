"""A policy whose distribution is a table: the next token depends on the prompt alone, so all of its responses can be enumerated.

A transformers model without attention. It starts as a reference: what is learnt is added to its logits. A table learns a number for every
prompt and response; a small network shares its weights among prompts, so that not every policy can be written. Tokens that are no
response have no probability.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from harness.models.decoding import Decoding
from harness.models.head import MASKED_LOGIT
from harness.models.packing import Packed


class EnumerableConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """Ids below ``first`` are special, then come ``prompts``, then ``responses``; ``hidden`` units of a network, or 0 for a table."""

    model_type = "enumerable"

    def __init__(self, *, first: int = 3, prompts: int = 1, responses: int = 2, hidden: int = 0, seed: int = 0, **others: Any) -> None:
        self.first, self.prompts, self.responses, self.hidden, self.seed = first, prompts, responses, hidden, seed
        self.num_hidden_layers = self.num_attention_heads = self.head_dim = 1
        self.vocab_size = self.hidden_size = first + prompts + responses
        super().__init__(**{**others, "tie_word_embeddings": False})


class Enumerable(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Logits that it starts with, plus what is learnt, of every state; a state is a prompt, or a prompt with its response.

    The latter predict nothing: a reward model reads them. So they start as features of their own, drawn from ``seed``, for a head that
    starts at zero learns nothing from states of zeros. It is its own body (``models.bodies.Body``), for it has no attention that a layout
    would arrange.
    """

    config_class = EnumerableConfig
    base_model_prefix = ""

    start: Tensor  # of each state before anything is learnt, (states, vocabulary)

    def __init__(self, config: EnumerableConfig) -> None:
        super().__init__(config)
        self.first, self.prompts, self.responses = config.first, config.prompts, config.responses
        states, size = self.prompts * (1 + self.responses), config.vocab_size
        generator = torch.Generator().manual_seed(config.seed)
        features = torch.randn(states - self.prompts, size, generator=generator)
        self.register_buffer("start", torch.cat([torch.zeros(self.prompts, size), features]))
        self.learnt = _network(states, size, config.hidden, generator) if config.hidden else _table(states, size)
        self.head = _Responses(size, self.responses)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def beginning(cls, reference: Tensor, *, first: int, hidden: int = 0, seed: int = 0) -> Enumerable:
        """A model that begins as logits of a ``reference``, (prompts, responses), in their dtype."""
        prompts, responses = reference.shape
        model = cls(EnumerableConfig(first=first, prompts=prompts, responses=responses, hidden=hidden, seed=seed))
        nn.Module.to(model, reference.dtype)
        model.start[:prompts, -responses:] = reference
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: weights are initialised where they are made."""

    def get_input_embeddings(self) -> nn.Module:
        """What is learnt of the states, which are what a token and the one before it are looked up as."""
        return self.learnt

    def get_output_embeddings(self) -> nn.Module:
        """The head that masks what is no response."""
        return self.head

    def forward(self, input_ids: Tensor, **others: Any) -> CausalLMOutput:
        """Logits of every next token, (rows, tokens, vocabulary): what any other tool calls."""
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)
        return CausalLMOutput(logits=self.head(self._states(before, input_ids)))

    def run(self, packed: Packed, places: Tensor) -> Tensor:
        """See ``Body``: states of the tokens at ``places``, (places, vocabulary); one that is a response's knows the prompt before it."""
        ids = packed.ids[0]
        before = torch.where(packed.positions[0] > 0, ids.roll(1), 0)
        before[packed.own] = ids[packed.sources]
        if packed.keep is not None:  # nothing is attended to, but a sampler expects keys and values of one layer
            rows, longest = len(packed.segments), max(map(len, packed.segments))
            packed.keep.append((self._nothing(rows, longest), self._nothing(rows, longest)))
        return self._states(before[places], ids[places])

    def say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        """See ``Body``; nothing follows a response, so this is asked only where a caller allows more than one token."""
        return self._states(torch.zeros_like(ids), ids)

    def skipped(self, packed: Packed, places: int, *, frozen: bool = False) -> float:
        """See ``Body``."""
        return 0.0

    def _nothing(self, rows: int, longest: int) -> Tensor:
        return torch.zeros(rows, 1, longest, 1, dtype=self.dtype, device=self.device)

    def _states(self, before: Tensor, ids: Tensor) -> Tensor:
        """A prompt's own row, or that of the prompt ``before`` with the response: what is neither counts as the first prompt."""
        column = ids - self.first - self.prompts
        alone, owner = ((each - self.first).clamp(0, self.prompts - 1) for each in (ids, before))
        state = torch.where(column >= 0, self.prompts + owner * self.responses + column.clamp(min=0), alone)
        found: Tensor = self.start[state] + self.learnt(state)
        return found


class _Responses(nn.Module):
    """Passes logits of responses on and masks all others; nothing of it is learnt, so it holds buffers and no parameters."""

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, responses: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(size))
        self.register_buffer("bias", torch.cat([torch.full((size - responses,), MASKED_LOGIT), torch.zeros(responses)]))

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.weight, self.bias)


def _table(states: int, size: int) -> nn.Module:
    table = nn.Embedding(states, size)
    nn.init.zeros_(table.weight)
    return table


def _network(states: int, size: int, hidden: int, generator: torch.Generator) -> nn.Module:
    """A vector per state, one hidden layer of as many units, and a last layer of zeros, so that it starts as the reference."""
    vectors, inner, last = nn.Embedding(states, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, size)
    nn.init.normal_(vectors.weight, generator=generator)
    nn.init.normal_(inner.weight, std=hidden**-0.5, generator=generator)
    for zero in (inner.bias, last.weight, last.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(vectors, inner, nn.Tanh(), last)


def log_probs(model: Any, prompts: int) -> Tensor:
    """Log pi(y | x) of every prompt and response, (prompts, responses), without gradients."""
    with torch.no_grad():
        states = torch.arange(prompts, device=model.device)
        logits = model.start[states] + model.learnt(states)
        found: Tensor = logits[:, -model.responses :].log_softmax(-1)
        return found


AutoConfig.register(EnumerableConfig.model_type, EnumerableConfig)
AutoModelForCausalLM.register(EnumerableConfig, Enumerable)
