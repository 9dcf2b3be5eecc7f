"""What all cells of a seed share, computed once and cached by the hash of what went in: SFT, pairs, reference log-probs, reward models.

None of it is charged to an algorithm. Each seed has its own SFT model, pairs and opponents: the unit of every claim is the seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import checkpoints as places
from harness.data.pairs import read_pairs, write_pairs
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.models import adapters, storage
from harness.models.metered import Metered
from harness.models.resting import Resting
from harness.planning import footing
from harness.planning.assumptions import departures
from harness.planning.experiment import Experiment
from harness.planning.footing import FITTED, START
from harness.plugins import registry
from harness.running import supervised
from harness.running.pairing import HELDOUT, Models, by_side, enumerated, sampled
from harness.running.supervised import Report, dtype_of
from harness.store.cache import key_of, stage
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel, fit_reward_model, heldout_quality
from harness.types import Group, Task, TokenPair, Update

__all__ = ["Report", "Shared", "dtype_of", "load_task", "shared"]

DISTANCE, DISTANCE_PAIRS = "distance.json", 256  # pairs that say how far a reference is from what policies start from
REWARD_VERSION = 4  # of how a reward model is fitted; raised when that moves a number, so that no cache holds a judge of the old way


@dataclass(frozen=True)
class Shared:
    """Everything that the cells of one seed start from: ``sft`` is what policies start from, ``other`` the reference where it is not that.

    ``mode`` and ``lora`` say how both are held in memory (harness/planning/footing.py).
    """

    task: Task
    tokens: Tokens
    sft: Path
    pairs: list[TokenPair]
    heldout: list[TokenPair]
    pair_folder: Path
    reference_logps: torch.Tensor
    proxy: Path | None
    judge: Path | None
    seed: int

    mode: str = "copy"
    lora: adapters.Lora | None = None
    other: Path | None = None
    own: str | None = None  # the user's model, where adapters are over it as it is

    @property
    def origin(self) -> Path:
        """The folder of the reference."""
        return self.other or self.sft

    @property
    def below(self) -> Path | None:
        """The folder of what policies' adapters are over; None where policies are whole models."""
        if self.mode in FITTED and places.is_adapter(self.sft):
            return places.base_of(self.sft)
        return self.sft if self.mode in footing.ADAPTED else None

    @property
    def base(self) -> str | None:
        """What saved adapters name as their base: the user's model where it is that, else its folder in the cache; None of whole models."""
        return self.own or (None if self.below is None else str(self.below))

    def reference(self, ledger: Ledger) -> Metered:
        """The reference charging ``ledger``: a fresh copy, or on weights that policies share where they are adapters."""
        if self.below is not None:
            return storage.load_over(self.sft, ledger)[0]
        return storage.load_model(self.origin, ledger)[0]

    def frozen(self, ledger: Ledger) -> Metered:
        """The reference without gradients; where log-probs are cached, in memory only while something asks it."""
        model = Resting(lambda: self.reference(ledger)) if self.mode == "cached" else self.reference(ledger)
        if not isinstance(model, Resting):
            model.model.requires_grad_(False)
        return model

    def policy(self, ledger: Ledger) -> Metered:
        """A fresh policy charging ``ledger``, where the SFT model is: a copy of it, an adapter over it, or another of its adapter."""
        if self.below is not None:
            return storage.load_over(self.sft, ledger, self.lora, self.seed)[0]
        return storage.load_model(self.sft, ledger)[0]


_tasks: dict[str, Task] = {}


def load_task(experiment: Experiment) -> Task:
    """The experiment's task, its data read; once in a process for as long as its version, which hashes files and data, is the same."""
    options = {"options": dict(experiment.task_options), "path": experiment.task_path, "source": experiment.source}
    key = key_of({"task": experiment.task, "version": experiment.task_version, **options})
    if not experiment.task_version or key not in _tasks:
        module = registry.load("tasks", experiment.task_path or experiment.task)
        _tasks[key] = module.task(experiment.source, **experiment.task_options)
    return _tasks[key]


def shared(experiment: Experiment, seed: int, report: Report) -> Shared:
    """The shared stages of a seed, computed where the cache has none. ``report(stage, share, loss)`` hears of progress.

    A task with gold gets a proxy reward model fitted on the training pairs, a meter of over-optimisation; one without gets its judge.
    """
    task = load_task(experiment)
    sft = supervised.start(experiment, task, seed, report)
    other = None if experiment.reference == START else supervised.reference(experiment, task, seed, report)
    templated = supervised.templated(experiment, task)
    tokens = Tokens(storage.load_tokenizer(sft), task.max_prompt_tokens, task.max_response_tokens, templated=templated)
    pairs_key = {
        "stage": "pairs",
        "version": 5,
        "sft": key_of(supervised.key(experiment, task, seed)),
        "pairs": experiment.pairs,
        "agreement": experiment.agreement,
        "limit": experiment.limit,
        **departures(experiment),
        **({} if other is None else {"reference": other.name}),
    }
    pairs = stage("pairs", pairs_key, lambda folder: _make_pairs(folder, experiment, task, tokens, sft, seed, report, other))
    train, heldout = read_pairs(pairs / "pairs.jsonl"), read_pairs(pairs / "heldout.jsonl")
    fitted = reward_key(key_of(pairs_key))
    proxy = judge = None
    if task.score is not None:
        proxy = stage("reward", fitted, lambda folder: fit_reward(folder, "proxy", train, heldout, sft, seed, report))
    else:
        judged = tokens.pairs(task.judge_pairs)[: 2 * (experiment.limit or len(task.judge_pairs))]
        judge = stage(
            "judge", {**fitted, "judge": len(judged)}, lambda folder: fit_reward(folder, "judge", judged, heldout, sft, seed, report)
        )
    logps = storage.load_tensor(pairs / "reference_logps.safetensors")
    mode, lora = experiment.reference_mode, supervised.lora(experiment)
    return Shared(task, tokens, sft, train, heldout, pairs, logps, proxy, judge, seed, mode, lora, other, supervised.below(experiment))


def reward_key(pairs: str) -> dict[str, Any]:
    """What the cache knows a reward model by that was fitted beside these pairs; part of the key of every judge and of the tuning judge."""
    return {"stage": "reward", "version": REWARD_VERSION, "pairs": pairs}


def pair_models(experiment: Experiment, task: Task, reference: Metered, seed: int, report: Report) -> Models:
    """The policies that pairs may be sampled from, by name: the reference of the seed and an older one of its own."""

    def model(name: str) -> Metered:
        older = name == "older-policy"
        return storage.load_model(supervised.older(experiment, task, seed, report), reference.ledger)[0] if older else reference

    return model


def _make_pairs(
    folder: Path, experiment: Experiment, task: Task, tokens: Tokens, sft: Path, seed: int, report: Report, other: Path | None = None
) -> None:
    report("pairs", 0.0, None)
    start = storage.load_model(sft, Ledger(float("inf")))[0]
    reference = start if other is None else storage.load_model(other, start.ledger)[0]
    if task.choices is not None:
        train, heldout = enumerated(task, tokens, reference, experiment.pairs, seed)
    elif task.pairs is None:
        train, heldout = sampled(experiment, task, tokens, pair_models(experiment, task, start, seed, report), seed)
    else:
        train, heldout = tokens.pairs(task.pairs[: experiment.pairs]), tokens.pairs(task.heldout_pairs)[: 2 * (experiment.limit or HELDOUT)]
    if not train:
        what = "labelled response" if experiment.single else "pair"
        raise HarnessError(f"task {task.name}: no {what} is left to train on: {tokens.reasons()}.")
    for what, side in (("desirable", 0), ("undesirable", 1)):
        if experiment.single and not any(side in pair.sides for pair in train):
            raise HarnessError(f"task {task.name}: of {len(train)} labelled responses no {what} one is left: {tokens.reasons()}.")
    write_pairs(folder / "pairs.jsonl", train)
    write_pairs(folder / "heldout.jsonl", heldout)
    report("reference log-probs", 0.5, None)
    with torch.no_grad():
        logps = by_side(train, reference.logps([pair.group for pair in train]))
    if other is not None:
        (folder / DISTANCE).write_text(json.dumps(_distance(start, train, logps)))
    storage.save_tensor(folder / "reference_logps.safetensors", logps.cpu())
    (folder / "dropped.json").write_text(json.dumps(dict(tokens.dropped)))
    spent = None if task.pairs is not None else start.ledger.canonical["pairs"]  # None: drawn by whoever made the data
    (folder / "cost.json").write_text(json.dumps({"flops": spent, "pairs": len(train)}))


def _distance(start: Metered, pairs: Sequence[TokenPair], reference: torch.Tensor) -> dict[str, float]:
    """Perplexity of the reference and of what policies start from on chosen responses of the first pairs, and how many."""
    chosen = [place for place, pair in enumerate(pairs) if pair.chosen][:DISTANCE_PAIRS]
    some = [pairs[place] for place in chosen]
    lengths = torch.tensor([len(pair.chosen) for pair in some])
    with torch.no_grad():
        own = start.logps([Group(pair.prompt, (pair.chosen,)) for pair in some]).cpu()
    found = {"reference": reference[chosen, 0].cpu(), "policy": own}
    return {**{name: supervised.perplexity(logps, lengths) for name, logps in found.items()}, "pairs": len(some)}


def fit_reward(
    folder: Path, name: str, pairs: Sequence[TokenPair], heldout: Sequence[TokenPair], sft: Path, seed: int, report: Report
) -> None:
    """A Bradley-Terry reward model on ``pairs``: the common proxy meter, or the judge of a task without a gold reward."""
    model, tokenizer = storage.load_merged(sft, Ledger(float("inf")))
    pooling: Any = "sum" if model.shape.layers < 6 else "last"  # see RewardModel: last-token heads are weak on tiny models
    rate = 2e-3 if model.shape.layers < 6 else 1e-5
    batch = min(32, max(4, len(pairs) // 20))
    fit = fit_reward_model(
        model.fork(scalar_head=True),
        pairs,
        generator=torch.Generator().manual_seed(seed * 1000 + 4),
        pooling=pooling,
        learning_rate=rate,
        batch_pairs=batch,
    )
    reward = _followed(fit, name, batch / max(1, len(pairs)), report)
    storage.save_reward(folder, reward, tokenizer, heldout_quality(reward, heldout) if heldout else {})


def _followed(fit: Any, name: str, step: float, report: Report) -> RewardModel:
    """The fit's reward model; each of its updates is ``step`` of the whole."""
    while True:
        try:
            update: Update = next(fit)
            report(f"{name} reward model", min(1.0, update.step * step), update.metrics["loss"])
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
