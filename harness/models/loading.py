"""From a name or a folder to a model and its tokenizer, with the layout attention in place and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness import checkpoints as places
from harness.errors import HarnessError
from harness.models import adapters, precision
from harness.models.enumerable import Enumerable
from harness.models.metered import Metered
from harness.models.packing import ATTENTION, register_attention
from harness.models.tiny import ENUMERABLE, PRESETS, enumerable_model, tiny_model, tiny_tokenizer
from harness.training.ledger import Ledger
from harness.types import Group


def load_model(name: str, *, dtype: str, vocabulary: Sequence[str], seed: int, responses: int = 0) -> tuple[Any, Any]:
    """The model and tokenizer of a preset (initialised from ``seed``), of a local transformers folder or of a hub id in the cache.

    Safetensors only; an adapter is merged into its base. ``responses`` are how many words of the vocabulary, the last, may be said at all,
    where they can be enumerated.
    """
    if name in ENUMERABLE:
        model, tokenizer = enumerable_model(name, vocabulary, responses, seed), tiny_tokenizer(vocabulary)
    elif name in PRESETS:
        model, tokenizer = tiny_model(name, vocabulary, seed), tiny_tokenizer(vocabulary)
    else:
        model, tokenizer = load_folder(places.place(name) or Path(name))
    return prepare(precision.store(model, dtype, device())), tokenizer


def device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_folder(folder: Path) -> tuple[Any, Any]:
    """A local transformers folder as (model, tokenizer), an adapter merged; HarnessError in one line where it cannot be read."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if places.is_adapter(folder):
        base, tokenizer = load_folder(places.base_of(folder))
        own = tokenizer if places.tokenizer_of(folder) != folder else load_tokenizer(folder)
        return adapters.merged(adapters.load(base, folder)), own
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise HarnessError(f"model folder {folder}: {str(error).splitlines()[0]}") from error
    if tokenizer.eos_token_id is None and not tokenizer.chat_template:
        raise HarnessError(f"model folder {folder}: the tokenizer has no EOS token, so no response can end")
    return model, tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder, or of the base of an adapter that brings none, without any weights."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(places.tokenizer_of(folder), local_files_only=True, trust_remote_code=False)


def prepare(model: Any) -> Any:
    """The model with the layout attention, checked once against its own attention on two short responses.

    Both in what the weights are stored in: products in half precision differ by more than a layout that is wrong may. A model of ours
    without attention has no layout to check.
    """
    if isinstance(model, Enumerable):
        return model
    register_attention()
    ids = (torch.arange(5, 12).unsqueeze(0) % model.config.vocab_size).to(model.device)
    with torch.no_grad():
        expected = model(input_ids=ids).logits[0].double().log_softmax(-1)  # a log-prob of -20 in bfloat16 is a multiple of an eighth
    try:
        model.set_attn_implementation(ATTENTION)
        metered = Metered(model, eos=0, pad=0, ledger=Ledger(1.0))
        row = ids[0].tolist()
        with torch.no_grad(), precision.unmixed(model):
            seen = metered.token_logps([Group(tuple(row[:3]), (tuple(row[3:]), tuple(row[3:5])))]).values
        wanted = torch.stack([expected[t - 1, row[t]] for t in (3, 4, 5, 6, 3, 4)])
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise HarnessError(f"models of type {model.config.model_type} do not take the packed layout: {error}") from error
    absolute, relative = (1e-3, 0.0) if model.dtype in (torch.float32, torch.float64) else (0.2, 0.02)  # logits of 60 are rounded to halves
    if not torch.allclose(seen.double(), wanted.double(), atol=absolute, rtol=relative):
        raise HarnessError(f"models of type {model.config.model_type} give other log-probs under the packed layout; not supported")
    return model


def meter(model: Any, tokenizer: Any, ledger: Ledger) -> Metered:
    """The model as a Metered; where the tokenizer has no pad token, EOS stands in and nothing is masked."""
    if tokenizer.eos_token_id is None:
        raise HarnessError("the tokenizer has no EOS token, so no response can end; name a model whose tokenizer has one.")
    eos = int(tokenizer.eos_token_id)
    pad = eos if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
    return Metered(model, eos=eos, pad=pad, ledger=ledger)
