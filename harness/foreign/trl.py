"""TRL's trainers on our batches: ``DPOTrainer`` and ``KTOTrainer`` as they are, given token ids, an order, an optimiser and a schedule.

The trainer computes its loss, runs its loop and steps; what it is given is what the offline loop would have used: AdamW with the same
betas over the same weights, the same clipped norm, the rate of every step (``planned``). Its model shares its weights with the run's
policy, so that what is measured at a mark is what it has trained. Canonical FLOPs are those of the same batches in the offline loop; what
its kernels executed is not known. Tried with TRL 1.16.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch

from harness.foreign.planned import PAIRED, UNPAIRED, Step, charge, planned, tokens
from harness.foreign.stepped import Told, stepped
from harness.foreign.trainer import BETAS, common, package, refuse, run, twin, undisturbed, words
from harness.training.loss_signature import LossSignature
from harness.types import Setup, Update

Row = Mapping[str, Any]


def dpo(setup: Setup, name: str, *, beta: float, learning_rate: float, clip: float, weight_decay: float) -> Iterator[Update]:
    """An update per optimiser step of ``DPOTrainer`` with the loss ``sigmoid``."""

    def row(step: Step, place: int) -> Row:
        pair = step.batch.examples[place].pair
        return {"prompt_ids": list(pair.prompt), "chosen_ids": list(pair.chosen), "rejected_ids": list(pair.rejected)}

    settings = {"beta": beta, "loss_type": ["sigmoid"]}
    return _updates(setup, name, PAIRED, row, settings, learning_rate=learning_rate, clip=clip, weight_decay=weight_decay)


def kto(
    setup: Setup,
    name: str,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
    learning_rate: float,
    clip: float,
    weight_decay: float,
) -> Iterator[Update]:
    """An update per optimiser step of ``KTOTrainer``; its mismatched rows are ours, for its own are drawn once and never again."""

    def row(step: Step, place: int) -> Row:
        example, stranger = step.batch.examples[place], step.batch.mismatched[place].responses[0]
        response = example.group().responses[0]
        rows = {"prompt_ids": list(example.pair.prompt), "completion_ids": list(response)}
        return {**rows, "KL_completion_ids": list(stranger), "label": example.sides == (0,)}

    settings = {"beta": beta, "desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight}
    return _updates(setup, name, UNPAIRED, row, settings, learning_rate=learning_rate, clip=clip, weight_decay=weight_decay)


def _updates(
    setup: Setup,
    name: str,
    signature: LossSignature,
    row: Callable[[Step, int], Row],
    settings: Mapping[str, Any],
    *,
    learning_rate: float,
    clip: float,
    weight_decay: float,
) -> Iterator[Update]:
    """Plan the run, train it by TRL and charge every step as it was planned; ends after a loss that is not finite."""
    refuse(setup, name)
    steps = planned(setup, signature, name)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(setup, signature, steps, row, dict(settings), folder, (learning_rate, clip, weight_decay))
        seen = 0
        running = stepped(lambda tell: run(trainer, tell))
        for number, step in enumerate(steps, 1):
            with setup.ledger.phase("update"):
                told = next(running)
            charge(setup.ledger, setup, step.batch, signature)
            seen += tokens([step])
            found = {"learning_rate": learning_rate * step.rate, "tokens": float(seen), "progress": setup.ledger.share}
            yield Update("update", number, {**_metrics(told, settings["beta"]), **found, "epoch": setup.ledger.counts["epochs"]})
            if not math.isfinite(told["loss"]):
                break
        running.close()  # type: ignore[attr-defined]


def _trainer(
    setup: Setup,
    signature: LossSignature,
    steps: Sequence[Step],
    row: Callable[[Step, int], Row],
    settings: dict[str, Any],
    folder: str,
    optimiser: tuple[float, float, float],
) -> Any:
    from datasets import Dataset

    trl = package()
    base, config = (trl.KTOTrainer, trl.KTOConfig) if signature.unpaired else (trl.DPOTrainer, trl.DPOConfig)
    rate, clip, decay = optimiser
    rows = [row(step, place) for step in steps for place in range(len(step.batch.examples))]
    model = twin(setup.policy)
    adam = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad], lr=rate, betas=BETAS, weight_decay=decay, fused=True
    )
    rates = [step.rate for step in steps]
    plan = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: rates[min(done, len(rates) - 1)])
    largest = max(len(step.batch.examples) for step in steps)
    options = {"max_steps": len(steps), "per_device_train_batch_size": largest, "max_length": None, **settings}
    reference = twin(setup.reference).requires_grad_(False)
    with undisturbed():
        made = _given(base)(
            model=model,
            ref_model=reference,
            args=config(**common(setup, folder, clip), **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=words(setup.policy),
            optimizers=(adam, plan),
        )
    made.batches = _places(steps)
    return made


def _places(steps: Sequence[Step]) -> list[list[int]]:
    """The rows of every batch, as they lie behind one another."""
    found: list[list[int]] = []
    for step in steps:
        start = found[-1][-1] + 1 if found else 0
        found.append(list(range(start, start + len(step.batch.examples))))
    return found


@cache
def _given(base: Any) -> Any:
    """The trainer with rows that are token ids already and batches that are given."""

    class Given(base):  # type: ignore[misc]
        """TRL's trainer; only what it reads, and in which order, is not its own."""

        batches: Sequence[list[int]] = ()

        def _prepare_dataset(self, dataset: Any, *arguments: Any, **named: Any) -> Any:
            return dataset

        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)

    return Given


def _metrics(told: Told, beta: float) -> dict[str, float]:
    """What TRL logs of a step, under the names of the offline loop; its rewards are beta times changes of log-probs."""
    found = {"loss": float(told["loss"]), "gradient_norm": float(told.get("grad_norm", math.nan))}
    for side in ("chosen", "rejected"):
        if f"logps/{side}" in told:
            found[side] = float(told[f"logps/{side}"])
        if f"rewards/{side}" in told:
            found[f"{side}_change"] = float(told[f"rewards/{side}"]) / beta
    if {"chosen_change", "rejected_change"} <= found.keys():
        found["gap"] = found["chosen_change"] - found["rejected_change"]
    return found
