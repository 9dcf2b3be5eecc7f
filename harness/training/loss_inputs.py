"""From log-probs of a batch to what a loss asked for by name, and to what every run logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness.errors import HarnessError
from harness.training.batches import Example
from harness.training.loss_signature import BatchStatistics, LossSignature, TokenLogps
from harness.types import ROUNDING, TokenPair


def loss_inputs(
    examples: Sequence[Example], logps: Tensor, reference: Tensor, signature: LossSignature, shared: Mapping[str, Any]
) -> dict[str, Any]:
    """The named arguments for these rows.

    ``logps`` is (rows, sides scored), ``reference`` (rows, 2) for chosen and rejected, both (rows, K) for lists of one length, the best
    response first; ``shared`` holds z0, batch, tokens, ref_tokens, reward, progress and state, those of them that the loss names.
    """
    tensor = logps.new_tensor
    values: dict[str, Any] = dict(shared)
    if signature.unpaired:
        values |= {"logps": logps[:, 0], "ref_logps": same_sides(examples, reference)[:, 0]}
        values["desirable"] = torch.tensor([e.sides[0] == 0 for e in examples], device=logps.device)
        values["lengths"] = tensor([len(e.group().responses[0]) for e in examples])
    else:
        for place, side in enumerate(signature.policy_sides):
            values[("chosen", "rejected")[side]] = logps[:, place]
        values |= {"ranked": logps, "ref_ranked": reference}
        values |= {"ref_chosen": reference[:, 0], "ref_rejected": reference[:, 1]}
        values |= {"chosen_lengths": tensor([len(e.pair.chosen) for e in examples])}
        values |= {"rejected_lengths": tensor([len(e.pair.rejected) for e in examples])}
        for name in {"margin", "agreement"} & set(signature.arguments):
            values[name] = tensor([getattr(e.pair, name) for e in examples])
    return {name: values[name] for name in signature.arguments}


def paired_tokens(responses: Sequence[Tensor]) -> TokenLogps:
    """Per-token log-probs of pairs from those of their responses, each (tokens,), chosen and rejected in turn."""
    padded = pad_sequence(list(responses), batch_first=True)
    lengths = torch.tensor([len(each) for each in responses], device=padded.device)
    mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
    return TokenLogps(padded[0::2], padded[1::2], mask[0::2], mask[1::2])


def compared(examples: Sequence[Example], values: Tensor) -> tuple[list[Example], Tensor]:
    """Lists as their comparisons: of (rows, K) values every two of a row, the better first, (comparisons, 2), and the example of each."""
    if values.shape[1] < 3:
        return list(examples), values
    first, second = torch.triu_indices(values.shape[1], values.shape[1], 1, device=values.device)
    both = torch.stack([values[:, first], values[:, second]], 2)
    return [example for example in examples for _ in range(len(first))], both.flatten(0, 1)


def same_sides(examples: Sequence[Example], reference: Tensor) -> Tensor:
    """Of (rows, 2) reference log-probs those of the sides that each row scores, (rows, sides)."""
    return reference.gather(1, torch.tensor([e.sides for e in examples], device=reference.device))


def batch_statistics(examples: Sequence[Example], logps: Tensor, reference: Tensor, signature: LossSignature) -> BatchStatistics:
    """Statistics of the whole optimiser batch; of pairs both are (pairs, 2), of an unpaired loss ``logps`` (responses, 1). No gradient."""
    if signature.unpaired:
        return _apart(examples, logps, reference, signature)
    named = [side in signature.reference_sides for side in (0, 1)]
    ratios = logps.detach() - reference * logps.new_tensor(named)
    gap = ratios[:, 0] - ratios[:, 1]
    lengths = logps.new_tensor([[len(e.pair.chosen), len(e.pair.rejected)] for e in examples]).mean(0)
    return BatchStatistics(
        ratios[:, 0].mean(), ratios[:, 1].mean(), gap.mean(), gap.std(correction=0), lengths[0], lengths[1], len(examples)
    )


def _apart(examples: Sequence[Example], logps: Tensor, reference: Tensor, signature: LossSignature) -> BatchStatistics:
    """Statistics of single responses: the variance of all couples' gaps is the sum of both variances."""
    ratios = logps.detach() - same_sides(examples, reference) * float("ref_logps" in signature.arguments)
    lengths = logps.new_tensor([len(e.group().responses[0]) for e in examples])
    desirable = torch.tensor([e.sides[0] == 0 for e in examples], device=logps.device)
    good, bad = ratios[desirable, 0], ratios[~desirable, 0]
    spread = (good.var(correction=0) + bad.var(correction=0)).sqrt()
    means = good.mean(), bad.mean(), good.mean() - bad.mean(), spread
    return BatchStatistics(*means, lengths[desirable].mean(), lengths[~desirable].mean(), len(examples) / 2)


def check_annotations(pairs: Sequence[TokenPair], signature: LossSignature, name: str) -> None:
    """Raises HarnessError where the loss asks for an annotation that a pair lacks."""
    for wanted in {"margin", "agreement"} & set(signature.arguments):
        for pair in pairs:
            if getattr(pair, wanted) is None:
                raise HarnessError(f"algorithm '{name}' needs '{wanted}', which pair {pair.row} of these data does not have.")


def metrics(examples: Sequence[Example], logps: Tensor, reference: Tensor) -> dict[str, float]:
    """Means over the batch in nats: log pi of chosen and rejected, their change against the reference, the gap, implicit accuracy.

    ``accuracy`` is the share of pairs with a positive gap; over single responses, the share of (desirable, undesirable) couples of
    the batch ordered that way; ties count one half. What the policy did not score is absent.
    """
    sides = torch.tensor([e.sides for e in examples], device=logps.device)
    changes = logps - same_sides(examples, reference)
    found: dict[str, float] = {}
    for side, name in enumerate(("chosen", "rejected")):
        if (sides == side).any():
            found |= {name: float(logps[sides == side].mean()), f"{name}_change": float(changes[sides == side].mean())}
    if {"chosen", "rejected"} <= found.keys():
        chosen, rejected = changes[sides == 0], changes[sides == 1]
        gaps = chosen - rejected if sides.shape[1] == 2 else (chosen[:, None] - rejected[None]).flatten()
        found["gap"] = found["chosen_change"] - found["rejected_change"]
        found["accuracy"] = float((gaps > ROUNDING).double().mean() + 0.5 * (gaps.abs() <= ROUNDING).double().mean())
    return found
