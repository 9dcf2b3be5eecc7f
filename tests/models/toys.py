"""Small random models of the four layouts, real transformers classes, for tests."""

from __future__ import annotations

from typing import Any

import torch

from harness.models.loading import prepare
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.types import Group

VOCABULARY = 60
LAYOUTS = ("llama", "qwen2", "gpt_neox", "gpt2")


def plain_model(layout: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, hidden: int = 32) -> Any:
    """A random model of a layout with transformers' own attention, grouped keys where the layout has them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {"hidden_size": hidden, "intermediate_size": 3 * hidden // 2, "num_hidden_layers": 2, "num_attention_heads": 4}
    if layout in ("llama", "qwen2"):
        sizes["num_key_value_heads"] = 2
    if layout == "gpt2":
        sizes = {"n_embd": hidden, "n_layer": 2, "n_head": 4}
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(layout, vocab_size=VOCABULARY, initializer_range=0.3, **sizes, **tokens)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def metered(layout: str = "llama", *, seed: int = 0, dtype: torch.dtype = torch.float32, pad: int = 2, limit: float = 1e15) -> Metered:
    """A Metered around ``plain_model``; ``pad`` equals EOS unless asked otherwise, so that nothing is masked."""
    return Metered(prepare(plain_model(layout, seed=seed, dtype=dtype)), eos=2, pad=pad, ledger=Ledger(limit))


GROUPS = [
    Group((1, 7, 9, 11), ((5, 6, 2), (8, 2), (12, 13, 14, 15, 2))),
    Group((1, 3), ((4, 5, 6, 7, 8, 2),)),
    Group((1, 20, 21, 22, 23, 24), ((30, 2), (31, 32, 33))),
]
