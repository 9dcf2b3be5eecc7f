"""Best of n: the answer that scores best among n samples of the SFT model (Nakano et al. 2021, arXiv 2112.09332; Beirami et al. 2024).

No policy is trained. ``by`` is what scores the samples: ``model``, a reward model fitted on the pairs as PPO's; ``implicit``,
log pi - log ref of a policy that dpo (algorithms/dpo.py) has trained from most of the budget; ``gold``, the task's own score, an oracle. An
answer costs n samples and n scores, and this is measured and charged on ``answered`` training prompts; the rest of a budget is left
unspent, so it is ranked with nothing. Its KL stands at its bound, log n - (n - 1)/n (arXiv 2401.01879; 2404.01730): the true one is less.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from algorithms.dpo import algorithm as dpo
from harness import HarnessError
from harness.training.answers import serve, typical
from harness.training.ledger import CHARGED
from harness.training.sampled import RewardFit
from harness.types import Group, Sample, Setup, Update

Scoring = Generator[Update, None, Callable[[Sequence[Group], Sequence[Sample]], Tensor]]

grid = {"n": (2, 4, 16)}
family = "reranking"
oracle = {"by": "gold"}
source = "Nakano et al. 2021, arXiv 2112.09332; Beirami et al. 2024, arXiv 2401.01879"
untrained = True
bounded = True  # its KL, not known but bounded
optimum = "none known"
cost = "4 n N an answer"  # sampled and scored; 6 n N by implicit reward, 2 n N by gold
APART = 0.01  # nats: KL of what is sampled from to the reference, beyond which a bound on the one is none on the other


@dataclass(frozen=True)
class BestOfN(RewardFit):
    """Hyperparameters beside those of ``RewardFit``; ``beta`` and ``learning_rate`` are dpo's."""

    name: ClassVar[str] = "best_of_n"

    n: int = 4
    by: Literal["model", "implicit", "gold"] = "model"
    answered: int = 64  # training prompts
    beta: float = 0.1
    learning_rate: float = 1e-3

    def updates(self, setup: Setup) -> Iterator[Update]:
        """Updates of what scores (phase ``reward``), and one that says what an answer takes."""
        mine = self.told(setup)
        if mine.n < 2 or mine.answered < 1:
            raise HarnessError(f"best_of_n.n = {mine.n}, answered = {mine.answered}: n must be 2 at least, and one prompt be answered.")
        if mine.by == "gold" and setup.score is None:
            raise HarnessError("best_of_n.by = 'gold': this task has no gold score; legal here: model, implicit.")
        prompt, response = typical(setup)
        shape, responses = setup.policy.shape, mine.n * [response]
        scorings = {"model": 1, "implicit": 2, "gold": 0}[mine.by]  # forwards over every sample
        price = shape.sampling(prompt, responses) + scorings * shape.group(prompt, responses)
        scores = yield from {"model": mine._model, "implicit": mine._implicit, "gold": mine._gold}[mine.by](setup, price)
        refuse_apart(setup)
        yield serve(setup, setup.policy.best_of(mine.n, scores), mine.answered, price)

    def _model(self, setup: Setup, price: float) -> Scoring:
        """A reward model's scores."""
        reward = yield from self.fitted(setup)
        return lambda groups, samples: reward.scores(groups)

    def _implicit(self, setup: Setup, price: float) -> Scoring:
        """Log pi - log ref of a policy that dpo trains until what is left is for answers."""
        trained, ledger = setup.policy.fork(), setup.ledger
        settings = {**setup.settings, "beta": self.beta, "learning_rate": self.learning_rate}
        kept, spent = ledger.price(2 * self.answered * price, steps=1), ledger.spent
        for update in dpo.updates(replace(setup, policy=trained, settings=settings)):
            yield replace(update, phase="reward")
            if ledger.remaining - kept < ledger.spent - spent:  # another step like the last would be paid by the answers
                break
            spent = ledger.spent

        def scores(groups: Sequence[Group], samples: Sequence[Sample]) -> Tensor:
            with torch.no_grad():
                return trained.logps(groups) - setup.policy.logps(groups)

        return scores

    def _gold(self, setup: Setup, price: float) -> Scoring:
        """The task's own score; a label for every sample that the run pays for."""
        yield from ()
        gold, ledger = setup.score, setup.ledger

        def scores(groups: Sequence[Group], samples: Sequence[Sample]) -> Tensor:
            assert gold is not None
            if ledger.current in CHARGED:
                ledger.count(labels=len(samples))
            return torch.as_tensor(gold([group.prompt for group in groups for _ in group.responses], samples))

        return scores


def refuse_apart(setup: Setup) -> None:
    """HarnessError where what is sampled from is not the reference: the bound is on KL to the former."""
    groups = [Group(pair.prompt, (pair.chosen,)) for pair in setup.pairs[:8]]
    with setup.ledger.phase("evaluation"):
        apart = float(setup.policy.divergence(setup.reference, groups).kl.mean())
    if apart > APART:
        said = f"samples come from a model at KL {apart:.3g} to the reference, so log n - (n - 1)/n bounds no KL to it"
        raise HarnessError(f"best_of_n: {said}; let it start from the reference (init = sft).")


algorithm = BestOfN
