"""What all cells of a seed share, computed once and cached by the hash of what went in: SFT, pairs, reference log-probs, reward models.

None of it is charged to an algorithm. Each seed has its own SFT model, pairs and opponents: the unit of every claim is the seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.assumptions import departures
from harness.data.pairs import read_pairs, write_pairs
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.models import kernels, storage
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.models.reference import fit_reference
from harness.pairing import HELDOUT, Models, sampled
from harness.store.cache import key_of, stage
from harness.store.hashes import weights_hash
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel, fit_reward_model, heldout_quality
from harness.types import Group, Task, TokenPair, Update

OLDER = 0.5  # share of its steps after which the SFT reference is the older policy
REWARD_VERSION = 4  # of how a reward model is fitted; raised when that moves a number, so that no cache holds a judge of the old way
Report = Callable[[str, float, float | None], None]


@dataclass(frozen=True)
class Shared:
    """Everything that the cells of one seed start from. ``key`` changes when anything upstream does."""

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

    def reference(self, ledger: Ledger) -> Metered:
        """A fresh copy of the SFT model charging ``ledger``."""
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
    sft_key = _sft_key(experiment, task, seed)
    sft = stage("sft", sft_key, lambda folder: _fit_sft(folder, experiment, task, seed, report))
    tokenizer = storage.load_tokenizer(sft)
    tokens = Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens)
    pairs_key = {
        "stage": "pairs",
        "version": 5,
        "sft": key_of(sft_key),
        "pairs": experiment.pairs,
        "agreement": experiment.agreement,
        "limit": experiment.limit,
        **departures(experiment),
    }
    pairs = stage("pairs", pairs_key, lambda folder: _make_pairs(folder, experiment, task, tokens, sft, seed, report))
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
    return Shared(task, tokens, sft, train, heldout, pairs, logps, proxy, judge, seed)


def reward_key(pairs: str) -> dict[str, Any]:
    """What the cache knows a reward model by that was fitted beside these pairs; part of the key of every judge and of the tuning judge."""
    return {"stage": "reward", "version": REWARD_VERSION, "pairs": pairs}


def dtype_of(experiment: Experiment) -> str:
    """The dtype that ``auto`` means on this machine, or the one that was named: what weights are stored in, so what caches are keyed by."""
    if experiment.dtype != "auto":
        return experiment.dtype
    return "bfloat16" if torch.cuda.is_available() else "float32"


def _sft_key(experiment: Experiment, task: Task, seed: int) -> dict[str, Any]:
    fields = ("task", "sft_steps", "sft_batch", "sft_learning_rate", "limit", "stage_threads")
    values = {"dtype": dtype_of(experiment), **{name: getattr(experiment, name) for name in fields}}
    if kernels.in_use() != "default":
        values["kernels"] = kernels.in_use()  # one choice for all that a seed shares, and for the policies scored against it
    if experiment.task_options:
        values["task_options"] = dict(experiment.task_options)
    return {"stage": "sft", "version": 3, **values, "task_version": task.version, "weights": weights_hash(experiment.model), "seed": seed}


def pair_models(experiment: Experiment, task: Task, reference: Metered, seed: int, report: Report) -> Models:
    """The policies that pairs may be sampled from, by name: the reference of the seed and an older one of its own."""

    def model(name: str) -> Metered:
        older = name == "older-policy"
        return storage.load_model(_older(experiment, task, seed, report), reference.ledger)[0] if older else reference

    return model


def _older(experiment: Experiment, task: Task, seed: int, report: Report) -> Path:
    """The SFT model half-way through its own fit: the same steps again, stopped there."""
    key = {**_sft_key(experiment, task, seed), "until": OLDER}
    return stage("sft", key, lambda folder: _fit_sft(folder, experiment, task, seed, report, until=OLDER))


def _fit_sft(folder: Path, experiment: Experiment, task: Task, seed: int, report: Report, until: float = 1.0) -> None:
    model, tokenizer = load_model(experiment.model, dtype=dtype_of(experiment), vocabulary=task.vocabulary, seed=seed)
    ledger = Ledger(float("inf"))
    metered = meter(model, tokenizer, ledger)
    if experiment.checkpointing:
        metered.recompute()
    tokens = Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens)
    generator = np.random.default_rng((seed, 1))
    settings: dict[str, Any] = {"steps": experiment.sft_steps, "batch": experiment.sft_batch, "learning_rate": experiment.sft_learning_rate}
    losses = []
    with ledger.phase("sft"):
        for update in fit_reference(metered, task, tokens, generator=generator, **settings):
            losses.append(update.metrics["loss"])
            report("sft", update.metrics["share"], update.metrics["loss"])
            if update.metrics["share"] >= until:
                break
    if not losses:
        raise HarnessError(f"task {task.name}: no demonstration fits {task.max_prompt_tokens} prompt tokens: {dict(tokens.dropped)}")
    storage.save_model(folder, metered.model, tokenizer)
    facts = {**settings, "flops": ledger.canonical["sft"], "wall": ledger.wall_seconds["sft"], "cpu": ledger.cpu_seconds["sft"]}
    (folder / "sft.json").write_text(json.dumps({**facts, "losses": losses[-50:], "dropped": dict(tokens.dropped)}))


def _make_pairs(folder: Path, experiment: Experiment, task: Task, tokens: Tokens, sft: Path, seed: int, report: Report) -> None:
    report("pairs", 0.0, None)
    reference = storage.load_model(sft, Ledger(float("inf")))[0]
    if task.pairs is None:
        train, heldout = sampled(experiment, task, tokens, pair_models(experiment, task, reference, seed, report), seed)
    else:
        train, heldout = tokens.pairs(task.pairs[: experiment.pairs]), tokens.pairs(task.heldout_pairs)[: 2 * (experiment.limit or HELDOUT)]
    if not train:
        raise HarnessError(f"task {task.name}: no pair is left to train on: {dict(tokens.dropped)}")
    write_pairs(folder / "pairs.jsonl", train)
    write_pairs(folder / "heldout.jsonl", heldout)
    report("reference log-probs", 0.5, None)
    with torch.no_grad():
        logps = reference.logps([Group(p.prompt, (p.chosen, p.rejected)) for p in train])
    storage.save_tensor(folder / "reference_logps.safetensors", logps.view(-1, 2).cpu())
    (folder / "dropped.json").write_text(json.dumps(dict(tokens.dropped)))
    spent = None if task.pairs is not None else reference.ledger.canonical["pairs"]  # None: drawn by whoever made the data
    (folder / "cost.json").write_text(json.dumps({"flops": spent, "pairs": len(train)}))


def fit_reward(
    folder: Path, name: str, pairs: Sequence[TokenPair], heldout: Sequence[TokenPair], sft: Path, seed: int, report: Report
) -> None:
    """A Bradley-Terry reward model on ``pairs``: the common proxy meter, or the judge of a task without a gold reward."""
    model, tokenizer = storage.load_model(sft, Ledger(float("inf")))
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
