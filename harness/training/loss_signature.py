"""What a preference loss asks for by the positional names of its signature, read when the file is loaded; and what these hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import HarnessError
from harness.training.names import LISTED, UNPAIRED, check_names, illegal_default
from harness.types import Setting

if TYPE_CHECKING:
    from torch import Tensor

# Which names read which response of a pair, 0 chosen and 1 rejected, by the policy and by the reference. A list of two is a pair.
POLICY = (("chosen", "tokens", "ranked"), ("rejected", "tokens", "ranked"))
REFERENCE = (("ref_chosen", "ref_tokens", "ref_ranked"), ("ref_rejected", "ref_tokens", "ref_ranked"))


class TokenLogps(NamedTuple):
    """Log-probs of every token of both responses, (pairs, longest), nats, 0 beyond a response's end, and which tokens there are."""

    chosen: Tensor
    rejected: Tensor
    chosen_mask: Tensor
    rejected_mask: Tensor


@dataclass(frozen=True)
class BatchStatistics:
    """Detached scalars over the whole optimiser batch, whatever the micro-batches: means in nats, lengths in tokens.

    A ratio is log pi - log ref where the loss names that side's reference, else log pi itself. ``gap_std`` is the population
    standard deviation (0 for one pair). Of an unpaired loss chosen are the desirable responses and rejected the undesirable ones, a gap
    is that of every couple of both, and ``pairs`` is half of the responses.
    """

    chosen_ratio: Tensor
    rejected_ratio: Tensor
    gap: Tensor
    gap_std: Tensor
    chosen_length: Tensor
    rejected_length: Tensor
    pairs: float


@dataclass(frozen=True)
class LossSignature:
    """The positional names that a loss asks for and its keyword-only hyperparameters with their defaults."""

    arguments: tuple[str, ...]
    hyperparameters: Mapping[str, Setting]

    @property
    def unpaired(self) -> bool:
        """True for a loss over single responses with a desirable / undesirable label."""
        return any(name in UNPAIRED for name in self.arguments)

    @property
    def listed(self) -> bool:
        """True for a loss over rankings."""
        return any(name in LISTED for name in self.arguments)

    @property
    def policy_sides(self) -> tuple[int, ...]:
        """Which responses of a pair the policy scores: 0 chosen, 1 rejected. Never read for an unpaired loss."""
        return tuple(side for side, names in enumerate(POLICY) if any(name in self.arguments for name in names))

    @property
    def reference_sides(self) -> tuple[int, ...]:
        """Which responses of a pair the loss reads reference log-probs of."""
        return tuple(side for side, names in enumerate(REFERENCE) if any(name in self.arguments for name in names))

    @property
    def reads_reference(self) -> bool:
        """Whether the loss names anything of the reference."""
        return bool(self.reference_sides) or "ref_logps" in self.arguments

    @property
    def reads_reward(self) -> bool:
        """Whether the loss names the scores of a reward model."""
        return "reward" in self.arguments

    @property
    def least(self) -> int:
        """Smallest batch that means anything: 2 where a statistic over the batch is asked for, else 1."""
        return 2 if self.unpaired or "batch" in self.arguments else 1


def read_signature(loss: Callable[..., Any], name: str) -> LossSignature:
    """What ``loss`` declares; raises HarnessError at load for a name outside the closed set or a hyperparameter without default."""
    parameters = inspect.signature(loss).parameters.values()
    arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    check_names(arguments, name)
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    for keyword in keywords:
        if illegal_default(keyword.default):
            raise HarnessError(f"loss '{name}': hyperparameter '{keyword.name}' needs a default that is a number, a string or a bool.")
    return LossSignature(arguments, {p.name: p.default for p in keywords})
