"""The model card beside a reward model: what it is and was made of, what was measured of it, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.checkpoints import public
from harness.rewards.measured import Measured
from harness.running.card import plain

USE = """```python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model, tokenizer = AutoModelForSequenceClassification.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
text = {text}
with torch.no_grad():
    score = model(**tokenizer(text, return_tensors="pt"{more})).logits.item()
```"""
PLAIN = 'f"{prompt} {response}{tokenizer.eos_token}"'
CHAT = 'tokenizer.apply_chat_template([{"role": "user", "content": prompt}, {"role": "assistant", "content": response}], tokenize=False)'


def text(facts: Mapping[str, Any], found: Measured | None, *, chat: bool) -> str:
    """The card as Markdown with the front matter that model hubs read; ``facts`` are those of ``reward.json``."""
    return "\n".join((*_front(facts), *_body(facts, found, chat), ""))


def _front(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from ("---", "library_name: transformers", "pipeline_tag: text-classification")
    if base := public(str(facts.get("base") or "")):
        yield f"base_model: {json.dumps(base)}"
    yield f"tags: {json.dumps(['reward-model', 'preference-harness'])}"
    yield "---"


def _body(facts: Mapping[str, Any], found: Measured | None, chat: bool) -> Iterator[str]:
    yield from (f"# Reward model of {plain(facts['name'])}", "")
    yield "A Bradley-Terry reward model trained by preference-harness: -log sigma(r_w - r_l) per pair. Every weight is a safetensors file."
    yield ""
    yield from (f"- {name}: {plain(value)}" for name, value in _listed(facts))
    if found is not None:
        yield from ("", "## Measured on held-out pairs", "", "| number | value | 95 % interval | n |", "|---|---|---|---|")
        for words, number in found.numbers():
            yield f"| {words} | {number.value:.4g} | {number.lower:.4g} to {number.upper:.4g} | {number.n} |"
        yield from ("", "n counts prompts, and intervals are over them: they say nothing of other seeds. The curve is `calibration.svg`.")
    yield from ("", "## Use", "", *_use(facts, chat), "")
    yield "Only differences of scores on one prompt mean something. A policy trained against them leaves what they know."


def _listed(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if facts.get("base"):
        yield "Base", f"{facts['base']}, weights {str(facts.get('base_sha256', ''))[:16]} (sha256)"
    yield "Pairs", f"{facts['pairs']} to train on, {facts['heldout']} held out; left out: {facts['dropped'] or 'none'}"
    yield "From", ", ".join(f"{name} {value}" for name, value in facts["source"].items())
    yield "Pooling", facts["pooling"]
    yield "Training", ", ".join(f"{name} {value}" for name, value in facts["training"].items())
    yield "Cost", f"{facts['flops']:.4g} FLOPs"


def _use(facts: Mapping[str, Any], chat: bool) -> Iterator[str]:
    if facts["pooling"] == "last":
        yield USE.replace("{text}", CHAT if chat else PLAIN).replace("{more}", ", add_special_tokens=False" if chat else "")
    else:
        yield "`harness reward score FOLDER ROWS`: the score pools all tokens of a response, which transformers' classifiers do not."
