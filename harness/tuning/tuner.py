"""The common tuning judge of a seed: a reward model on pairs held out from every algorithm, which picks trials and checkpoints.

It is neither the reward model that an algorithm trains on nor the judge of the final evaluation, and it scores on tuning prompts only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.data.pairs import read_pairs, write_pairs
from harness.errors import HarnessError
from harness.measure.chance import generator_for
from harness.measure.lineage import Lineage
from harness.measure.statistics import Interval, prompt_interval
from harness.measure.yardstick import Yardstick
from harness.models import storage
from harness.models.metered import Metered
from harness.planning.experiment import Experiment
from harness.planning.origins import labels
from harness.running.graded import quality_of
from harness.running.pairing import sampled
from harness.running.stages import Report, Shared, fit_reward, pair_models, reward_key, shared
from harness.running.yardstick import yardstick
from harness.store.cache import stage
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel
from harness.tuning.trials import has_tuner
from harness.types import Group, TokenPair

STREAM = 500_000  # added to a seed for the draws of tuning pairs, so that no algorithm's pairs are among them
KEPT = 2.0  # the mark of the kept checkpoint's final evaluation, behind the last one's 1


@dataclass(frozen=True)
class Tuner:
    """The tuning judge of a seed with the tuning prompts, as token ids, on which it is asked."""

    reward: RewardModel
    folder: Path
    prompts: Sequence[tuple[int, ...]]
    max_tokens: int
    seed: int

    def score(self, policy: Metered, mark: float) -> Interval:
        """The mean score (nats) of one sample per tuning prompt with its prompt interval; charged to ``tuning``, which no budget holds."""
        with torch.no_grad(), policy.ledger.phase("tuning"):
            drawn = policy.sample(self.prompts, max_tokens=self.max_tokens, generator=generator_for(self.seed, "tuning", mark))
            groups = [Group(prompt, (row[0].ids,)) for prompt, row in zip(self.prompts, drawn, strict=True)]
            scores = self.reward.scores(groups).double().cpu().numpy()
        return prompt_interval(scores, generator=np.random.default_rng(self.seed))


def tuner(experiment: Experiment, shared: Shared, ledger: Ledger, report: Report) -> Tuner:
    """The tuning judge of a seed, fitted where the cache has none; it charges ``ledger``, in phases that no budget holds."""
    folder = stage("tuner", tuner_key(experiment, shared), lambda path: _fit(path, experiment, shared, report))
    prompts = [ids for ids in shared.tokens.prompts([d.prompt for d in shared.task.tuning]) if len(ids) <= shared.tokens.max_prompt]
    reward, _ = storage.load_reward(folder, ledger)
    return Tuner(reward, folder, prompts[: experiment.tuning_prompts], shared.tokens.max_response, shared.seed)


def tuner_key(experiment: Experiment, shared: Shared) -> dict[str, Any]:
    """What the cache knows a tuning judge by: how reward models are fitted, the pairs it may not have, its own, the SFT model, the task."""
    own = {"stage": "tuner", "version": 1, "tuning_pairs": experiment.tuning_pairs, "sft": shared.sft.name, "task": shared.task.version}
    return {**own, "reward": reward_key(shared.pair_folder.name)}


class Scene(NamedTuple):
    """What a run is measured in: the experiment and the stages as it sees them, its yardstick, and the seed's tuning judge if any."""

    experiment: Experiment
    shared: Shared
    yard: Yardstick
    tuner: Tuner | None


def scene(experiment: Experiment, seed: int, ledger: Ledger, report: Report, *, trial: bool = False) -> Scene:
    """The scene of a run: a trial is measured on the tuning prompts, at its end only, without probes, and scored by the tuning judge."""
    both = shared(experiment, seed, report)
    judge = tuner(experiment, both, ledger, report) if has_tuner(experiment) else None
    if judge is None or not trial:
        return Scene(experiment, both, yardstick(experiment, both, ledger, report), judge)
    sizes = {"evaluation_prompts": experiment.tuning_prompts, "probe_prompts": 0, "marks": (), "safety_suites": ()}
    seen, both = experiment.model_copy(update=sizes), replace(both, task=replace(both.task, evaluation=both.task.tuning, probes=()))
    return Scene(seen, both, replace(yardstick(seen, both, ledger, report), tuner=judge.reward), judge)


def tuner_facts(experiment: Experiment, shared: Shared, folder: Path) -> dict[str, Any]:
    """What a record says of the tuning judge: its pairs, its held-out accuracy with the Wilson interval (Wilson 1927), its lineage.

    n counts prompts. Where several pairs ask one, the Wilson interval of so many prompts is too wide rather than too narrow: the mean of
    a prompt's pairs lies in [0, 1], and nothing in there varies more than 0 and 1 of the same mean do. Of a judge that learnt from single
    labelled responses the pairs are those, and ``auc`` stands in the accuracy's place.
    """
    quality = quality_of(folder, shared.heldout)
    pairs = len(read_pairs(folder / "pairs.jsonl"))
    origin = Lineage(folder.name, shared.sft.name, (f"tuning pairs {folder.name}",), labels(experiment, shared.task))
    ordering = {"auc": quality["reward_auc"]} if "reward_auc" in quality else {}
    return {"pairs": pairs, "accuracy": _accuracy(quality, shared.heldout), **ordering, "lineage": origin.plain()}


def _accuracy(quality: dict[str, Any], heldout: Sequence[TokenPair]) -> dict[str, float] | None:
    if not quality.get("reward_heldout_pairs"):
        return None
    from scipy.stats import binomtest

    n = len({pair.prompt for pair in heldout})
    right = round(quality["reward_accuracy"] * n, 6)  # no whole number where prompts have several pairs: then both bounds go outward
    lower, upper = (binomtest(int(count), n).proportion_ci(method="wilson") for count in (math.floor(right), math.ceil(right)))
    return Interval(quality["reward_accuracy"], float(lower.low), float(upper.high), n)._asdict()


def _fit(folder: Path, experiment: Experiment, shared: Shared, report: Report) -> None:
    report("tuning pairs", 0.0, None)
    pairs = _pairs(experiment, shared, report)
    write_pairs(folder / "pairs.jsonl", pairs)
    fit_reward(folder, "tuning", pairs, shared.heldout, shared.sft, shared.seed + STREAM, report)


def _pairs(experiment: Experiment, shared: Shared, report: Report) -> list[TokenPair]:
    """Pairs that no algorithm sees: a draw of their own, less prompts that the training pairs hold, or the file's part for tuning."""
    n, task = experiment.tuning_pairs, shared.task
    if task.brought_pairs is None:
        own = experiment.model_copy(update={"pairs": n})
        models = pair_models(experiment, task, shared.reference(Ledger(float("inf"))), shared.seed, report)
        drawn, _ = sampled(own, task, shared.tokens, models, shared.seed + STREAM)
    else:
        drawn = shared.tokens.pairs(task.tuning_pairs[:n])
    seen = {pair.prompt for pair in shared.pairs}
    kept = [pair for pair in drawn if pair.prompt not in seen]
    if not kept:
        raise HarnessError(f"task {task.name}: no pair is left for the tuning judge; give more rows, or leave out --tune and --checkpoint.")
    return kept


class Keeper:
    """Scores a policy at every mark by the tuning judge and, under the rule ``best``, keeps a copy of the weights that score highest."""

    def __init__(self, tuner: Tuner, rule: str) -> None:
        self.tuner, self.rule = tuner, rule
        self.scores: dict[float, Interval] = {}
        self.best: float | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def look(self, policy: Metered, mark: float) -> None:
        """Score the policy at a mark; of equal marks the first counts as the best."""
        found = self.scores[mark] = self.tuner.score(policy, mark)
        if self.best is not None and found.value <= self.scores[self.best].value:
            return
        self.best = mark
        if self.rule == "best" and mark < 1:
            trained = [(name, value) for name, value in policy.model.named_parameters() if value.requires_grad]
            self._weights = {name: value.detach().to("cpu", copy=True) for name, value in trained}

    def restore(self, policy: Metered) -> bool:
        """Put the kept weights back; False where the last checkpoint is the best or the rule keeps none."""
        if self.rule != "best" or self.best is None or self.best >= 1:
            return False
        policy.model.load_state_dict(self._weights, strict=False)
        return True

    def facts(self) -> dict[str, Any]:
        """The rule, the mark that it prefers, and the score at every mark, as a record holds them."""
        scores = [{"mark": mark, **interval._asdict()} for mark, interval in self.scores.items()]
        return {"rule": self.rule, "best": self.best, "scores": scores}
