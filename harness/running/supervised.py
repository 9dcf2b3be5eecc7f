"""The first stage of a seed: the SFT model that policies start from, an older one of its own, and a reference that is another model.

What is fitted, on what, and whether it is an adapter, the experiment's footing says (harness/planning/footing.py). Cached, and
charged to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import checkpoints as places
from harness.data import chat, refusals, splits, vocabulary
from harness.data.alike import refuse_rebuilt
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.models import adapters, kernels, precision, storage
from harness.models.loading import device, load_model, meter
from harness.models.reference import fit_reference
from harness.planning import footing
from harness.planning.experiment import Experiment
from harness.planning.footing import BASE, FITTED, START
from harness.store.cache import key_of, stage
from harness.store.hashes import weights_hash
from harness.training.ledger import Ledger
from harness.types import NO_RESPONSE, Demonstration, Pair, Task

OLDER = 0.5  # share of its steps after which the SFT reference is the older policy
Report = Callable[[str, float, float | None], None]


def dtype_of(experiment: Experiment) -> str:
    """The dtype that ``auto`` means on this machine, or the one that was named: what weights are stored in, so what caches are keyed by."""
    if experiment.dtype != "auto":
        return experiment.dtype
    return "bfloat16" if device().type == "cuda" else "float32"


def templated(experiment: Experiment, task: Task) -> bool:
    """Whether prompts go through the model's chat template."""
    return experiment.chat == "template" or (experiment.chat == "auto" and task.chat)


def lora(experiment: Experiment) -> adapters.Lora:
    """The adapter of the experiment."""
    return adapters.Lora(experiment.lora_rank, experiment.lora_alpha, experiment.lora_targets)


def key(experiment: Experiment, task: Task, seed: int) -> dict[str, Any]:
    """What the cache knows an SFT model by; settings at their defaults leave it what it was before they came."""
    fields = ("task", "sft_steps", "sft_batch", "sft_learning_rate", "limit", "stage_threads")
    values = {"dtype": dtype_of(experiment), **{name: getattr(experiment, name) for name in fields}}
    if kernels.in_use() != "default":
        values["kernels"] = kernels.in_use()  # one choice for all that a seed shares, and for the policies scored against it
    if experiment.task_options:
        values["task_options"] = dict(experiment.task_options)
    values |= footing.departures(experiment, ("sft", "attention"))
    if experiment.reference_mode in FITTED:
        values |= {"adapter": experiment.reference_mode, **footing.lora(experiment)}
    if templated(experiment, task):
        values["chat"] = 1
    if _refused(experiment, task):
        values["refusals"] = (experiment.refusals, refusals.version())
    if experiment.sft == "chosen":
        values["pairs"] = experiment.pairs
    return {"stage": "sft", "version": 3, **values, "task_version": task.version, "weights": weights_hash(experiment.model), "seed": seed}


def _refused(experiment: Experiment, task: Task) -> bool:
    """Whether refusals are among the demonstrations: those of an embedded world, which has words of its own, bring theirs."""
    return bool(experiment.refusals and experiment.sft != "none" and not task.vocabulary)


def start(experiment: Experiment, task: Task, seed: int, report: Report) -> Path:
    """The folder of the model that policies start from: fine-tuned, or as it is where no SFT is asked for."""
    return stage("sft", key(experiment, task, seed), lambda folder: _fit(folder, experiment, task, seed, report))


def older(experiment: Experiment, task: Task, seed: int, report: Report) -> Path:
    """The SFT model half-way through its own fit: the same steps again, stopped there."""
    half = {**key(experiment, task, seed), "until": OLDER}
    return stage("sft", half, lambda folder: _fit(folder, experiment, task, seed, report, until=OLDER))


def base(experiment: Experiment, task: Task, seed: int, report: Report) -> Path:
    """The folder of the model before SFT, as a model on its own weights."""
    return start(experiment.model_copy(update={"sft": "none", "reference_mode": "copy"}), task, seed, report)


def reference(experiment: Experiment, task: Task, seed: int, report: Report) -> Path:
    """The folder of the reference: what policies start from, the model before SFT, or another model in the experiment's dtype."""
    if experiment.reference == START:
        return start(experiment, task, seed, report)
    if experiment.reference == BASE:
        return base(experiment, task, seed, report)
    known = {"stage": "sft", "other": weights_hash(experiment.reference), "dtype": dtype_of(experiment)}
    tokenizer = storage.load_tokenizer(start(experiment, task, seed, report))
    return stage("sft", {**known, "tokenizer": key_of(tokenizer.get_vocab())}, lambda folder: _other(folder, experiment, tokenizer))


def _other(folder: Path, experiment: Experiment, tokenizer: Any) -> None:
    model, theirs = load_model(experiment.reference, dtype=dtype_of(experiment), vocabulary=(), seed=0)
    refuse_vocabulary(f"reference {experiment.reference}", theirs, tokenizer, "the policy's")
    storage.save_model(folder, model, tokenizer)


def refuse_vocabulary(what: str, theirs: Any, ours: Any, whose: str) -> None:
    """HarnessError where two tokenizers' vocabularies differ, with how many tokens do: a KL needs the same."""
    vocabulary.refuse_other(what, theirs.get_vocab(), ours.get_vocab(), whose)


def below(experiment: Experiment) -> str | None:
    """What adapters name as their base where the user's own model lies below them; None where that is made here and lies in the cache.

    Adapters are over the model as it is where their SFT is one too, or where there is no SFT; an adapter that is the model is merged first.
    """
    place, mode = places.place(experiment.model), experiment.reference_mode
    own = place is not None and not places.is_adapter(place)
    if mode == "frozen-adapter" and place is not None and not own:
        return places.lasting(str(places.base_of(place)) if (place / places.OWN_BASE).is_dir() else places.base_named(place))
    over = mode == "frozen-adapter" or (mode == "adapter-off" and experiment.sft == "none")
    return places.lasting(experiment.model) if own and over else None


def _fit(folder: Path, experiment: Experiment, task: Task, seed: int, report: Report, until: float = 1.0) -> None:
    model, tokenizer = _loaded(experiment, task, seed)
    ledger = Ledger(float("inf"))
    metered = meter(model, tokenizer, ledger)
    if experiment.checkpointing:
        metered.recompute()
    tokens = Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens, templated=templated(experiment, task))
    refuse_rebuilt(tokenizer, task.evaluation)
    generator = np.random.default_rng((seed, 1))
    steps = 0 if experiment.sft == "none" else experiment.sft_steps
    settings: dict[str, Any] = {"steps": steps, "batch": experiment.sft_batch, "learning_rate": experiment.sft_learning_rate}
    losses = []
    with ledger.phase("sft"):
        for update in fit_reference(metered, _taught(experiment, task, seed), tokens, generator=generator, **settings):
            losses.append(update.metrics["loss"])
            report("sft", update.metrics["share"], update.metrics["loss"])
            if update.metrics["share"] >= until:
                break
    if steps and not losses:
        raise HarnessError(f"task {task.name}: no demonstration fits {task.max_prompt_tokens} prompt tokens: {tokens.reasons()}.")
    _save(folder, experiment, metered.model, tokenizer)
    facts = {**settings, "flops": ledger.canonical["sft"], "wall": ledger.wall_seconds["sft"], "cpu": ledger.cpu_seconds["sft"]}
    facts |= {"on": experiment.sft, "refusals": experiment.refusals if _refused(experiment, task) else 0.0}
    (folder / "sft.json").write_text(json.dumps({**facts, "losses": losses[-50:], "dropped": dict(tokens.dropped)}))


def _taught(experiment: Experiment, task: Task, seed: int) -> Task:
    """The task with the demonstrations that the experiment asks for."""
    draw = task.demonstrations
    if experiment.sft == "chosen":
        draw = _chosen(list(task.pairs or ())[: experiment.pairs])
    if _refused(experiment, task):
        draw = refusals.mixed(draw, experiment.refusals, np.random.default_rng((seed, 10)))
    return replace(task, demonstrations=draw)


def _chosen(pairs: list[Pair]) -> refusals.Draw:
    """Chosen responses as demonstrations, in reshuffled epochs: what DPO's authors do where there is no SFT model (section 4)."""
    pairs = [pair for pair in pairs if pair.chosen != NO_RESPONSE]
    order = splits.epochs(len(pairs))
    return lambda generator, n: [Demonstration(pairs[i].prompt, (pairs[i].chosen.text,)) for i in order(generator, n)]


def _loaded(experiment: Experiment, task: Task, seed: int) -> tuple[Any, Any]:
    """What SFT begins with: the model, or an adapter over it, fresh or the user's own where the model is one."""
    place = places.place(experiment.model)
    own = place if place is not None and places.is_adapter(place) and experiment.reference_mode in FITTED else None
    name = experiment.model if own is None else str(places.base_of(own))
    spoken = len(task.choices.responses) if task.choices else 0
    model, tokenizer = load_model(name, dtype=dtype_of(experiment), vocabulary=task.vocabulary, seed=seed, responses=spoken)
    if own is not None:
        adapters.load(model, own)
        tokenizer = storage.load_tokenizer(own)
    elif experiment.reference_mode in FITTED:
        adapters.add(model, lora(experiment), seed)
    return model, chat.adopt(tokenizer, experiment.model) if templated(experiment, task) else tokenizer


def _save(folder: Path, experiment: Experiment, model: Any, tokenizer: Any) -> None:
    """The SFT model as its mode keeps it: whole, merged, or an adapter over the model that it is of."""
    if experiment.reference_mode == "merged":
        model = precision.store(adapters.merged(model), dtype_of(experiment), device())
    storage.save_model(folder, model, tokenizer, below(experiment))


def perplexity(logps: torch.Tensor, lengths: torch.Tensor) -> float:
    """The exponential of the mean -log pi per token of responses, given sums (responses,), nats, and lengths (responses,)."""
    return float((-logps.double().sum() / lengths.sum()).exp())
