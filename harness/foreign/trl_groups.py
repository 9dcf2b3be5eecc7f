"""TRL's ``GRPOTrainer`` on rollouts of ours: its loss, loop and optimiser step, given samples, rewards and log-probs as they come.

Sampling, reward model, advantages and what a rollout may cost stay the harness's own, so that both see the same prompts and random draws;
of TRL's trainer only its generation and scoring are not used. Tried with TRL 1.16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness.foreign.stepped import Left, stepped
from harness.foreign.trainer import BETAS, common, package, refuse, run, twin, undisturbed, words
from harness.training.groups import GroupRun, columns
from harness.types import Group, Setup, Update

ROWS, STEPS = 64, 10**9  # of a data set that is never read, and more steps than a budget pays for
Advantages = Callable[[Tensor], Tensor]


def grpo(
    setup: Setup,
    name: str,
    rollouts: GroupRun,
    advantages: Advantages,
    *,
    beta: float,
    ratio_clip: float,
    loss: str,
    weighted_kl: bool,
    learning_rate: float,
    clip: float,
) -> Iterator[Update]:
    """An update per optimiser step of ``GRPOTrainer`` with its loss of this name, until no rollout fits any more.

    ``beta`` weighs k3, which ``weighted_kl`` multiplies by the ratio of policy to sampling: TRL's own default, and not equation 4.
    """
    refuse(setup, name)
    feed = Feed(setup, rollouts, advantages, learning_rate)
    settings = {
        "epsilon": ratio_clip,
        "loss_type": loss,
        "use_bias_correction_kl": weighted_kl,
        "num_generations": rollouts.samples_per_prompt,
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(setup, feed, settings, folder, clip)
        trainer.beta = beta  # after it was made: with a beta it would load a reference, whose log-probs are given instead
        running = stepped(lambda tell: run(trainer, tell, feed.charged))
        for told in running:
            found = {"loss": float(told["loss"]), "gradient_norm": float(told["grad_norm"]), "learning_rate": feed.rate}
            yield Update("rollout", int(setup.ledger.counts["steps"]), {**feed.metrics, **found})


@dataclass
class Feed:
    """What a trainer learns from, drawn when it asks; it charges and counts each step, and sets its rate, just before it is taken."""

    setup: Setup
    rollouts: GroupRun
    advantages: Advantages
    peak: float
    metrics: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    groups: Sequence[Group] = ()

    def __post_init__(self) -> None:
        self.parts = self._parts()

    def _parts(self) -> Iterator[tuple[list[Group], list[Tensor], dict[str, float]]]:
        for rollout in self.rollouts.sample():
            known, metrics = columns(rollout, self.advantages(rollout.scores)), rollout.metrics
            for part in self.rollouts.parts(len(rollout.groups)):
                yield [rollout.groups[i] for i in part], [known[i] for i in part], metrics
                metrics = {}

    def inputs(self) -> dict[str, Tensor]:
        """The next part as TRL has a batch: prompts padded on the left, responses on the right. Leaves the loop where there is none."""
        found = next(self.parts, None)
        if found is None:
            raise Left
        self.groups, known, self.metrics = found
        return batch(self.groups, known, self.setup.policy.pad)

    def charged(self, optimiser: Any) -> None:
        """Charge a forward and a backward of the part, and set the rate that follows from what is spent with it."""
        ledger, responses = self.setup.ledger, sum(len(group.responses) for group in self.groups)
        with ledger.phase("update"):
            ledger.charge(self.setup.policy.shape.learning(self.groups))
        ledger.count(steps=1, pairs=responses / 2)
        self.rate = self.peak * self.rollouts.rate()
        for each in optimiser.param_groups:
            each["lr"] = self.rate


def batch(groups: Sequence[Group], known: Sequence[Tensor], pad: int) -> dict[str, Tensor]:
    """A part's tensors, (responses, tokens) each but for the advantages, (responses,), which are one number at every token of ours."""
    device = known[0].device
    prompts = [torch.tensor(group.prompt, device=device) for group in groups for _ in group.responses]
    responses = [torch.tensor(ids, device=device) for group in groups for ids in group.responses]
    lengths = [len(ids) for ids in responses]
    old, reference, advantages, _ = (torch.split(column, lengths) for column in torch.cat(list(known), dim=1))

    def padded(rows: Sequence[Tensor], value: float = 0, side: str = "right") -> Tensor:
        return pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=side)

    return {
        "prompt_ids": padded(prompts, pad, "left"),
        "prompt_mask": padded([torch.ones_like(ids) for ids in prompts], side="left"),
        "completion_ids": padded(responses, pad),
        "completion_mask": padded([torch.ones_like(ids) for ids in responses]),
        "advantages": torch.stack([each[0] for each in advantages]),
        "old_per_token_logps": padded(old),
        "ref_per_token_logps": padded(reference),
    }


def _trainer(setup: Setup, feed: Feed, settings: dict[str, Any], folder: str, clip: float) -> Any:
    from datasets import Dataset

    trl = package()
    model = twin(setup.policy)
    adam = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad], lr=feed.peak, betas=BETAS, weight_decay=0.0, fused=True
    )
    plan = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: 1.0)  # the rate is set before every step
    options = {
        **common(setup, folder, clip),
        **settings,
        "per_device_train_batch_size": settings["num_generations"],
        "beta": 0.0,
    }
    with undisturbed():
        made = _given(trl.GRPOTrainer)(
            model=model,
            reward_funcs=_unasked,
            args=trl.GRPOConfig(**options, max_steps=STEPS, gradient_accumulation_steps=1),
            train_dataset=Dataset.from_list([{"prompt": ""}] * ROWS),
            processing_class=words(setup.policy),
            optimizers=(adam, plan),
        )
    made.feed = feed
    return made


def _unasked(**named: Any) -> list[float]:
    raise AssertionError("rewards are given with the rollout")


@cache
def _given(base: Any) -> Any:
    class Given(base):  # type: ignore[misc]
        """TRL's trainer, which is given what it learns from."""

        feed: Feed

        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(self.train_dataset, batch_size=1, collate_fn=list)

        def _prepare_inputs(self, generation_batch: Any) -> dict[str, Tensor]:
            return self.feed.inputs()

    return Given
