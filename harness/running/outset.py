"""What a run begins with: its settings, its policy, the prompts that it may sample on, and everything else an algorithm may touch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from harness.data.prompts import PromptStream, of_pairs
from harness.models.metered import Metered
from harness.models.resting import Resting
from harness.models.storage import load_model
from harness.planning import footing, settings
from harness.planning.experiment import Cell, Experiment
from harness.plugins import registry
from harness.running import supervised
from harness.running.fits import reusing
from harness.running.stages import Shared
from harness.training.ledger import Ledger
from harness.types import Array, Response, Setup


def resolved_settings(entry: registry.Entry, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Every hyperparameter of a run: the file's defaults under what the cell sets."""
    declared = {name: p.default for name, p in settings.legal(entry).items() if p.default is not None}
    return {**declared, **setting}


def setup(
    experiment: Experiment,
    cell: Cell,
    shared: Shared,
    reference: Metered,
    ledger: Ledger,
    values: dict[str, Any],
    asked: Mapping[tuple[int, ...], str] | None = None,
) -> Setup:
    """Everything that a run's algorithm may touch; all of it charges ``ledger``.

    ``asked`` are the texts of prompts that it is measured on, for whoever answers them by their gold scores.
    """
    known = dict(asked or {})
    task, tokens = shared.task, shared.tokens
    prompts = _prompts(experiment, cell, shared, ledger)

    def score(ids: Any, samples: Any) -> Array:
        assert task.score is not None
        responses = [Response(tokens.text(s.ids), s.ids, s.finished) for s in samples]
        texts = [prompts.texts.get(p) or known.get(p) or tokens.prompt_text(p) for p in ids]
        return task.score(texts, responses)[task.judges[0]]

    policy = _policy(experiment, cell, shared, ledger, values)
    if experiment.checkpointing:
        policy.recompute()
    if isinstance(reference, Resting):
        reference.shape = policy.shape  # so that a price wakes no model
    generator = torch.Generator().manual_seed(int(values.get("replicate", 0)) * 1_000_000 + cell.seed * 1000 + 6)
    return Setup(
        policy=policy,
        reference=reference,
        pairs=shared.pairs,
        heldout=shared.heldout,
        reference_logps=shared.reference_logps,
        prompts=prompts,
        score=None if task.score is None else score,
        ledger=ledger,
        settings=values,
        generator=generator,
        batch_pairs=int(values.get("batch_pairs", experiment.batch_pairs)),
        max_response_tokens=task.max_response_tokens,
        seed=cell.seed,
        reuse=reusing(shared, ledger, generator, checkpointing=experiment.checkpointing),
    )


def _policy(experiment: Experiment, cell: Cell, shared: Shared, ledger: Ledger, values: dict[str, Any]) -> Metered:
    """What the run trains: from the SFT model, or from the model before it where the algorithm's paper or a setting says so."""
    entry = registry.find("algorithms", cell.algorithm.path or cell.algorithm.name)
    if settings.init(entry, values) != footing.BASE or experiment.sft == "none":
        return shared.policy(ledger)
    return load_model(supervised.base(experiment, shared.task, shared.seed, lambda *_: None), ledger)[0]


def _prompts(experiment: Experiment, cell: Cell, shared: Shared, ledger: Ledger) -> PromptStream:
    """The prompts of an algorithm that samples, as the experiment assumes them; those not given before are counted."""
    stream = np.random.default_rng((cell.seed, 5))
    again = experiment.prompts == "pairs"
    rows = of_pairs(shared.pairs, shared.tokens, stream) if again else lambda n: shared.task.training_prompts(stream, n)
    return PromptStream(rows, shared.tokens, lambda n: ledger.count(sampled_prompts=n))
