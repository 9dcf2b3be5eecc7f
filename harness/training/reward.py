"""A Bradley-Terry reward model: a language model with a scalar head, fitted on pairs by -log sigma(r_w - r_l).

Christiano et al. 2017 (arXiv 1706.03741), Ouyang et al. 2022 (arXiv 2203.02155, equation 1), Huang et al. 2024 (arXiv 2403.17031:
last-token reward, head initialised with standard deviation 1/sqrt(d + 1), rewards centred on the supervised policy's responses).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.data.pairs import prompts_of
from harness.measure.statistics.ordering import auc
from harness.training.batches import cycle
from harness.types import Group, TokenPair, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered
    from harness.models.packing import Past
    from harness.models.readings import TokenValues
    from harness.training.ledger import Ledger, Shape

Pooling = Literal["last", "sum", "mean"]
QUALITY_VERSION = 2  # of what ``heldout_quality`` says; raised when its numbers are defined otherwise
CENTRING_PAIRS = 64  # 128 responses: the mean is known to about a tenth of the scores' standard deviation


@dataclass(frozen=True)
class RewardModel:
    """A fitted reward model. ``pooling`` reads the score off the last token (EOS where there is one), or sums or averages one per token.

    Summing learns to bind facts in a model of two layers (held-out accuracy .748 against .672 in a prototype, results/LOG.md); pretrained
    models use ``last``. ``offset`` is the mean score of SFT responses, taken off every score.
    """

    model: Metered
    pooling: Pooling
    offset: float = 0.0

    def scores(self, groups: Sequence[Group], past: Past | None = None) -> Tensor:
        """The centred score of each response, (responses,), in nats of preference; charges one forward to the current phase.

        ``past`` are the groups' prompts where this model has read them.
        """
        with torch.no_grad():
            return pooled(self.model.scalars(groups, at="token", past=past), self.pooling) - self.offset


def pooled(values: TokenValues, pooling: Pooling) -> Tensor:
    """One score per response, (responses,), from one scalar per token."""
    if pooling == "sum":
        return values.sums()
    if pooling == "mean":
        return values.sums() / values.lengths
    return values.values[values.lengths.cumsum(0) - 1]


def pair_group(pair: TokenPair) -> Group:
    """The pair's prompt with its chosen and its rejected response, in this order; with the one response of a label."""
    return pair.group


def margins(scores: Tensor) -> Tensor:
    """r_w - r_l per pair, (pairs,), from the scores of ``pair_group``s in order, (2 pairs,)."""
    chosen, rejected = scores.view(-1, 2).unbind(1)
    return chosen - rejected


def sided(scores: Tensor, pairs: Sequence[TokenPair]) -> Tensor:
    """What is to be positive per row, (rows,): r_w - r_l of pairs; of single labelled responses r, or -r of an undesirable one."""
    if not pairs[0].single:
        return margins(scores)
    return torch.where(torch.tensor([bool(pair.chosen) for pair in pairs], device=scores.device), scores, -scores)


def balanced(pairs: Sequence[TokenPair]) -> list[TokenPair]:
    """Single labelled responses weighted so that both labels count alike, the mean weight being 1; pairs as they are."""
    if not pairs[0].single:
        return list(pairs)
    desirable = sum(bool(pair.chosen) for pair in pairs)
    each = {True: len(pairs) / (2 * max(desirable, 1)), False: len(pairs) / (2 * max(len(pairs) - desirable, 1))}
    return [pair._replace(weight=pair.weight * each[bool(pair.chosen)]) for pair in pairs]


def fit_reward_model(
    model: Metered,
    pairs: Sequence[TokenPair],
    *,
    generator: torch.Generator,
    budget: float = math.inf,
    epochs: float = 1.0,
    pooling: Pooling = "sum",
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    batch_pairs: int = 32,
    margin: float = 0.0,
) -> Generator[Update, None, RewardModel]:
    """Yield an update per optimiser step and return the reward model fitted on ``pairs``; ``model`` has a fresh scalar head.

    Stops after ``epochs`` reshuffled passes or when ``budget``, in the unit that the ledger matches, is spent, whichever comes first,
    centring included; the last batch shrinks to what fits. Everything is charged to the phase ``reward``. The schedule runs over what
    will be spent. ``margin``, in nats per unit of what pairs bring as theirs, asks for so much of a gap: -log sigma(r_w - r_l - m)
    (Touvron et al. 2023, arXiv 2307.09288, equation 2); 0 leaves margins out. Single labelled responses are classified by their score,
    -log sigma(r) or -log sigma(-r), both labels counting alike. Raises HarnessError where not one step fits.
    """
    pairs = balanced(pairs)
    sample = pairs[:CENTRING_PAIRS]
    room = _Room(model, budget, _training_cost(model.shape.scalar(), pairs) * epochs, [pair_group(pair) for pair in sample])
    if pooling == "sum" and model.head is not None:
        # A sum over tokens of the usual random head is noise of many nats that training would first have to undo (results/LOG.md).
        torch.nn.init.zeros_(model.head.weight)
    model.optimise(learning_rate=learning_rate, weight_decay=weight_decay)
    step = 0
    for step, batch in enumerate(_batches(pairs, batch_pairs, room, generator), 1):
        with model.ledger.phase("reward"):
            _count(model.ledger, batch, len(pairs))
            metrics = _step(model, batch, pooling, room.progress, margin)
        yield Update("reward", step, metrics)
    if not step:
        raise model.ledger.too_small(f"the reward model, for {epochs:g} passes", budget)
    with model.ledger.phase("reward"):
        offset = float(RewardModel(model, pooling).scores([pair_group(pair) for pair in sample]).mean())
    return RewardModel(model, pooling, offset)


def fitted(updates: Generator[Update, None, RewardModel]) -> RewardModel:
    """Run a fit to its end and return its reward model, for callers who do not log it."""
    while True:
        try:
            next(updates)
        except StopIteration as end:
            model: RewardModel = end.value
            return model


def _training_cost(shape: Shape, pairs: Sequence[TokenPair]) -> float:
    """FLOPs of one pass of forward and backward over the pairs."""
    return shape.learning([pair_group(pair) for pair in pairs])


class _Room:
    """What a fit may still spend: a part of the run's budget, and passes over the pairs, counted in ``flops``."""

    def __init__(self, model: Metered, budget: float, flops: float, centring: Sequence[Group]) -> None:
        self.ledger, self.shape, self.budget, self.flops = model.ledger, model.shape.scalar(), budget, flops
        self.start, self.before = self.ledger.spent, self.ledger.canonical["reward"]
        self.centring = self.shape.scoring(centring)

    def affords(self, flops: float, pairs: int) -> bool:
        """Whether one more step of this price fits beside the centring that follows the last."""
        price = self.ledger.price(flops + self.centring, pairs=pairs, steps=1)
        return price <= self.budget - (self.ledger.spent - self.start)

    def progress(self) -> float:
        """Share of what will be spent, be it the passes or the budget that ends first."""
        spent, passed = self.ledger.spent - self.start, self.ledger.canonical["reward"] - self.before
        return max(spent / max(self.budget - self.ledger.price(self.centring), 1e-300), passed / self.flops)


def _batches(pairs: Sequence[TokenPair], size: int, room: _Room, generator: torch.Generator) -> Iterator[list[TokenPair]]:
    """Reshuffled passes in batches of ``size`` until the next pair would cost more than the passes or the budget have room for."""
    batch: list[TokenPair] = []
    price, left = 0.0, room.flops * (1 + 1e-9)  # whole passes cost exactly this, but for rounding
    for index in cycle(len(pairs), generator):
        cost = _training_cost(room.shape, [pairs[index]])
        left, price = left - cost, price + cost
        if left < 0 or not room.affords(price, len(batch) + 1):
            break
        batch.append(pairs[index])
        if len(batch) == size:
            yield batch
            batch, price = [], 0.0
    if batch:
        yield batch


def _count(ledger: Ledger, batch: Sequence[TokenPair], per_epoch: int) -> None:
    """The second page of the step to come: its pairs, those not seen before (which are labels), and what part of a pass it is."""
    fresh = ledger.distinct(pairs=(pair.row for pair in batch))
    ledger.distinct(prompts=(pair.prompt for pair in batch))
    ledger.count(steps=1, pairs=len(batch), labels=fresh, epochs=len(batch) / per_epoch)


def _step(
    model: Metered, batch: Sequence[TokenPair], pooling: Pooling, progress: Callable[[], float], margin: float = 0.0
) -> dict[str, float]:
    """One optimiser step on the mean loss of the batch, in slices that fit memory; loss in nats, accuracy a share."""
    groups = [pair_group(pair) for pair in batch]
    weights = torch.tensor([pair.weight for pair in batch])
    wanted = torch.tensor([margin * (pair.margin or 0.0) for pair in batch])

    def one(model: Metered, part: slice) -> tuple[float, float]:
        gap = sided(pooled(model.scalars(groups[part], at="token"), pooling), batch[part])
        loss = -(logsigmoid(gap - wanted[part].to(gap)) * weights[part].to(gap)).sum() / len(batch)
        model.backward(loss)
        return float(loss.detach()), float((gap.detach() > 0).sum())

    losses, wins = (sum(column) for column in zip(*model.in_parts(groups, one), strict=True))
    stats = model.step(progress())
    return {"loss": losses, "accuracy": wins / len(batch), "gradient_norm": stats.gradient_norm, "learning_rate": stats.learning_rate}


def heldout_quality(reward: RewardModel, pairs: Sequence[TokenPair], *, bins: int = 5) -> dict[str, Any]:
    """Quality on held-out pairs, charged to ``evaluation``: accuracy, confidence, calibration error, log loss (nats) and n.

    All are means over prompts of a prompt's pairs; where several pairs ask one, the prompts are counted too.
    Confidence is the mean predicted probability of the preferred side, max(p, 1 - p); annotators side with a calibrated model as
    often as it is confident. How often they do is each pair's ``agreement``, where known, not the order that accuracy is counted on.
    The calibration error is the mean |agreement - confidence| over ``bins`` equally filled bins of confidence, in which a pair weighs one
    over the number of its prompt's pairs. Of single labelled
    responses there is ``reward_auc`` in their place, the share of couples of both labels that the scores order so, ties one half, as
    ``{value, lower, upper, n}`` with its interval over prompts.
    """
    if pairs[0].single:
        return _ordered(reward, pairs)
    with reward.model.ledger.phase("evaluation"):
        gap = margins(reward.scores([pair_group(pair) for pair in pairs])).double()
    confidence = gap.abs().sigmoid()
    right = (gap > 0).double() + 0.5 * (gap == 0).double()
    sided = torch.tensor([1.0 if pair.agreement is None else pair.agreement for pair in pairs], dtype=torch.float64)
    agreed = right.cpu() * sided + (1 - right.cpu()) * (1 - sided)
    asked = torch.tensor(prompts_of(pairs))
    prompts = int(asked.max()) + 1
    parts = [part for part in confidence.cpu().argsort().chunk(bins) if len(part)]
    return {
        "reward_accuracy": _over_prompts(right, asked),
        "reward_confidence": _over_prompts(confidence, asked),
        "reward_calibration_error": _calibration_error(agreed, confidence.cpu(), 1.0 / torch.bincount(asked)[asked], parts),
        "reward_log_loss": _over_prompts(-logsigmoid(gap), asked),
        "reward_heldout_pairs": float(len(pairs)),
        **({"reward_heldout_prompts": float(prompts)} if prompts < len(pairs) else {}),
    }


def _calibration_error(agreed: Tensor, confidence: Tensor, shares: Tensor, parts: Sequence[Tensor]) -> float:
    """The mean over bins of |agreement - confidence|, a bin weighing as its pairs' ``shares`` do together."""
    shares = shares.double()

    def mean(values: Tensor, part: Tensor) -> Tensor:
        return (values[part] * shares[part]).sum() / shares[part].sum()

    apart = [float((mean(agreed, part) - mean(confidence, part)).abs()) * float(shares[part].sum()) for part in parts]
    return sum(apart) / float(shares.sum())


def _over_prompts(values: Tensor, asked: Tensor) -> float:
    """The mean over prompts of the mean over a prompt's pairs, ``asked`` the prompt of each."""
    return float((torch.bincount(asked, values.cpu()) / torch.bincount(asked)).mean())


def _ordered(reward: RewardModel, pairs: Sequence[TokenPair]) -> dict[str, Any]:
    """How scores order held-out responses that were labelled one by one; how many there are. No AUC where all have one label."""
    with reward.model.ledger.phase("evaluation"):
        scores = reward.scores([pair_group(pair) for pair in pairs]).double().cpu()
    desirable = [bool(pair.chosen) for pair in pairs]
    found = auc(scores.numpy(), desirable, prompts_of(pairs), generator=np.random.default_rng(0))
    return {**({} if found is None else {"reward_auc": found._asdict()}), "reward_heldout_responses": float(len(pairs))}
