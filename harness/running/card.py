"""The model card beside a trained policy: what it is, how and on what it was trained, what was measured, and what that does not show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.checkpoints import public
from harness.planning.experiment import Experiment

SHOWN = (
    "win_sft",
    "win_reference",
    "gold",
    "kl",
    "entropy",
    "length",
    "eos_rate",
    "preference_accuracy",
    "heldout_label_accuracy",
    "refusal_mass",
)


def text(record: Mapping[str, Any], experiment: Experiment, *, adapted: bool) -> str:
    """The card of the policy of a run, as Markdown with the front matter that model hubs read; numbers with interval and n."""
    return "\n".join((*_front(record, experiment, adapted), *_body(record, experiment, adapted), ""))


def _front(record: Mapping[str, Any], experiment: Experiment, adapted: bool) -> Iterator[str]:
    yield from ("---", f"library_name: {'peft' if adapted else 'transformers'}", "pipeline_tag: text-generation")
    if base := public(experiment.model):
        yield f"base_model: {json.dumps(base)}"
    names = ("preference-optimisation", "preference-harness", str(record["algorithm"]["name"]))
    yield f"tags: {json.dumps(list(names))}"
    yield "---"


def _body(record: Mapping[str, Any], experiment: Experiment, adapted: bool) -> Iterator[str]:
    algorithm, task, seed = record["algorithm"], record["task"], record["seed"]
    setting = ", ".join(f"{name} = {value}" for name, value in record["setting"].items()) or "its declared defaults"
    yield f"# {plain(algorithm['name'])} on {plain(task['name'])}, seed {seed}"
    yield ""
    kind = "A LoRA adapter" if adapted else "A whole model"
    yield f"{kind} trained by preference-harness {record['versions'].get('preference-harness', '')}. Every weight is a safetensors file."
    yield ""
    start = {"demonstrations": "fine-tuned on demonstrations", "chosen": "fine-tuned on chosen responses", "none": "as it is"}
    facts = {
        "Start": f"{plain(record['model']['name'])}, {start[experiment.sft]}",
        "Reference": f"{plain(experiment.reference)}, held as {experiment.reference_mode}",
        "Algorithm": f"{plain(algorithm['name'])} ({plain(algorithm['source'])}), {plain(setting)}",
        "Data": f"{plain(task['name'])}, version {task['version']}, from {plain(task['source'])}",
        "Budget": f"{record['budget']['spec']}: {record['budget']['limit']:.3g} {record['budget']['match']}",
        "Run": str(record["fingerprint"]),
    }
    yield from (f"- {name}: {value}" for name, value in facts.items())
    yield from ("", "## Measured", "", "| metric | value | 95 % interval | n |", "|---|---|---|---|")
    yield from _measured(record)
    yield from ("", "Intervals are over prompts of this one run: they say nothing of other seeds. Metrics: docs/metrics.md of the project.")
    yield from (
        "",
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'say = pipeline("text-generation", model=FOLDER)',
        "```",
    )
    yield from ("", "Made to compare algorithms, not to be deployed: nobody has looked for harm beyond the table above.")


def _measured(record: Mapping[str, Any]) -> Iterator[str]:
    metrics = record["checkpoints"][-1]["metrics"] if record["checkpoints"] else {}
    for name in SHOWN:
        if (found := metrics.get(name)) is not None and found["value"] is not None:
            bounds = "-" if found["lower"] is None else f"{found['lower']:.4g} to {found['upper']:.4g}"
            yield f"| {name} | {found['value']:.4g} | {bounds} | {found['n']} |"


def plain(said: Any) -> str:
    """Text of somebody else's on one line, without what Markdown or HTML would read."""
    return "".join(c for c in " ".join(str(said).split()) if c not in "|<>`[]*#")
