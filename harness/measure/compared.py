"""What a policy's forwards say beside the reference's: KL both ways, k1, entropy, and the log-perplexity of what the data set says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.measure.yardstick import Yardstick, first
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.models.readings import Divergence, TokenValues
from harness.types import Array, Group

HELD_BYTES = 1 << 26  # of distributions over the vocabulary that are held at a time, a model's at every token of the frozen responses


def compared(policy: Metered, yard: Yardstick, groups: Sequence[Group], past: Past | None = None) -> dict[str, Array]:
    """KL(policy || reference), k1 and entropy on the policy's own response to each of the first evaluation prompts, in ``groups``.

    And KL(reference || policy) on the reference's first frozen one, and held-out log-perplexity, -log pi per token (EOS included, nats)
    of the data set's own. Of a policy that has no log-probs its bound on KL alone. ``past`` are the prompts where the policy has read them.
    """
    if policy.kl_bound is not None:
        return {"kl": np.full(len(groups), policy.kl_bound)}
    frozen = [Group(group.prompt, (row[0].ids,)) for group, row in zip(groups, yard.opponents, strict=False)]
    held = yard.demonstrated[: len(groups)]
    apart = past is not None and _bytes(policy, frozen) <= HELD_BYTES
    own, reverse, logps = (_apart if apart else _together)(policy, yard, groups, frozen, held, past)
    lengths = np.array([len(group.responses[0]) for group in groups], dtype=float)
    kl = _array(own.kl)
    columns = {"kl": kl, "k1": _array(own.log_ratio), "kl_per_token": kl / lengths, "entropy": _array(own.entropy)}
    written = np.array([len(group.responses[0]) for group in held], dtype=float)
    return columns | {"forward_kl": _array(reverse), "demonstration_nll": -_array(logps) / written}


_Found = tuple[Divergence, torch.Tensor, torch.Tensor]  # of the policy's own responses, of the frozen ones, of the data set's


def _together(
    policy: Metered, yard: Yardstick, own: Sequence[Group], frozen: Sequence[Group], held: Sequence[Group], past: Past | None
) -> _Found:
    """From one forward of the policy and one of the reference, each prompt read once for three responses to it."""
    rows = [Group(a.prompt, (*a.responses, *b.responses, *c.responses)) for a, b, c in zip(own, frozen, held, strict=True)]
    found = policy.divergence(yard.reference, rows, past, first(yard.reference_past, len(rows)))
    mine, theirs, written = ([column.view(-1, 3)[:, place] for column in found] for place in range(3))
    return Divergence(*mine), Divergence(*theirs).reverse, Divergence(*written).logps


def _apart(
    policy: Metered, yard: Yardstick, own: Sequence[Group], frozen: Sequence[Group], held: Sequence[Group], past: Past | None
) -> _Found:
    """The same where prompts were read before: what the reference says of its own responses never changes, and of the data's none asks."""
    found = policy.divergence(yard.reference, own, past, first(yard.reference_past, len(own)))
    theirs, lengths = yard.distributions(frozen)
    mine, _ = policy.distributions(frozen, past)
    reverse = TokenValues((theirs.exp() * (theirs - mine)).sum(-1), lengths).sums()
    return found, reverse, policy.logps(held, past)


def _bytes(model: Metered, groups: Sequence[Group]) -> int:
    return 4 * int(model.model.config.vocab_size) * sum(len(response) for group in groups for response in group.responses)


def _array(values: torch.Tensor) -> Array:
    return values.double().cpu().numpy()
