"""TRL's trainers on our batches: ``DPOTrainer`` and ``KTOTrainer`` as they are, given token ids, an order, an optimiser and a schedule.

The trainer computes its loss, runs its loop and steps; what it is given is what the offline loop would have used: AdamW with the same
betas over the same weights, the same clipped norm, the rate of every step (``planned``). Its model shares its weights with the run's
policy, so that what is measured at a mark is what it has trained. Canonical FLOPs are those of the same batches in the offline loop; what
its kernels executed is not known. Tried with TRL 1.16.
"""

from __future__ import annotations

import copy
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import HarnessError
from harness.foreign.planned import PAIRED, UNPAIRED, Step, charge, planned, tokens
from harness.foreign.stepped import Told, stepped
from harness.training.loss_signature import LossSignature
from harness.types import Setup, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered

BETAS = (0.9, 0.99)  # of the offline loop
NEVER = -1e4  # nats: e to this is 0 in float32, and 0 times it is no NaN
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


def refuse(setup: Setup, name: str) -> None:
    """HarnessError in one line where TRL is absent, or the policy is not one that it can be given as it is."""
    from harness.models import adapters

    package()
    model = setup.policy.model
    if adapters.has(model) or model.dtype != torch.float32:
        held = "an adapter" if adapters.has(model) else f"stored in {str(model.dtype).removeprefix('torch.')}"
        raise HarnessError(f"algorithm '{name}': trains whole models in float32, and the policy is {held}; say --dtype float32.")


@contextmanager
def undisturbed() -> Iterator[None]:
    """No word of what TRL does that transformers will do otherwise one day: nobody here can change it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@cache
def package() -> Any:
    """TRL, or HarnessError that says how to get it; it sends no telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with undisturbed():
            import trl
    except ImportError as error:
        raise HarnessError("TRL is not installed; pip install trl==1.16.0, or the extra 'trl' of this project.") from error
    return trl


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


def common(setup: Setup, folder: str, clip: float) -> dict[str, Any]:
    """What every trainer is told: float32 on the run's device, a log of every step, nothing kept and nothing sent."""
    return {
        "output_dir": folder,
        "max_grad_norm": clip,
        "use_cpu": setup.policy.device.type == "cpu",
        "bf16": False,
        "activation_checkpointing": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "seed": setup.seed,
    }


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


def twin(policy: Metered) -> Any:
    """The model as transformers builds it, with its own attention, on the same weights in memory.

    Its distribution is the policy's too: padding that is no EOS is never said, which a bias of the output head tells TRL.
    """
    from transformers import AutoModelForCausalLM

    model = policy.model
    config = copy.deepcopy(model.config)
    config._attn_implementation = None
    made = AutoModelForCausalLM.from_config(config, dtype=model.dtype).to(model.device)  # type: ignore[no-untyped-call]
    theirs = dict(model.named_parameters())
    for name, parameter in made.named_parameters():
        parameter.data = theirs[name].data
    if policy.pad != policy.eos:
        head = made.get_output_embeddings()
        bias = torch.zeros(len(head.weight), device=model.device, dtype=model.dtype)
        bias[policy.pad] = NEVER
        head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return made


def words(policy: Metered) -> Any:
    """A tokenizer that knows the special ids and is asked for nothing else, for rows are ids."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pad, eos = f"<{policy.pad}>", f"<{policy.eos}>"
    core = Tokenizer(models.WordLevel({f"<{place}>": place for place in range(policy.model.config.vocab_size)}, unk_token=pad))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, eos_token=eos)  # type: ignore[no-untyped-call]


def run(trainer: Any, tell: Callable[[Told], None], before: Callable[[Any], None] = lambda optimiser: None) -> None:
    """Train, telling what is logged of every step once its weights have moved; ``before`` sees the optimiser just before each."""
    from transformers import PrinterCallback, TrainerCallback

    class Telling(TrainerCallback):
        """Stands between the trainer and whoever waits for its steps."""

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **named: Any) -> None:
            before(optimizer)

        def on_log(self, args: Any, state: Any, control: Any, logs: Told | None = None, **named: Any) -> None:
            if logs is not None and "loss" in logs:
                tell(logs)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Telling())
    with undisturbed():
        trainer.train()


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
