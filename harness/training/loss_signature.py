"""What a preference loss may ask for: the closed set of positional names, read from its signature when the file is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, near
from harness.types import Setting

if TYPE_CHECKING:
    from torch import Tensor

PAIRED = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_lengths", "rejected_lengths", "batch", "margin", "agreement")
UNPAIRED = ("logps", "ref_logps", "desirable", "lengths", "z0")
EITHER = ("progress", "state")
PLANNED = ("tokens", "reward")
NAMES = PAIRED + UNPAIRED + EITHER


@dataclass(frozen=True)
class BatchStatistics:
    """Detached scalars over the whole optimiser batch of pairs, whatever the micro-batches: means in nats, lengths in tokens.

    A ratio is log pi - log ref where the loss names that side's reference, else log pi itself. ``gap_std`` is the population
    standard deviation (0 for one pair).
    """

    chosen_ratio: Tensor
    rejected_ratio: Tensor
    gap: Tensor
    gap_std: Tensor
    chosen_length: Tensor
    rejected_length: Tensor
    pairs: int


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
    def policy_sides(self) -> tuple[int, ...]:
        """Which responses of a pair the policy scores: 0 chosen, 1 rejected. Never read for an unpaired loss."""
        return tuple(side for side, name in enumerate(("chosen", "rejected")) if name in self.arguments)

    @property
    def reference_sides(self) -> tuple[int, ...]:
        """Which responses of a pair the loss reads reference log-probs of."""
        return tuple(side for side, name in enumerate(("ref_chosen", "ref_rejected")) if name in self.arguments)

    @property
    def least(self) -> int:
        """Smallest batch that means anything: 2 where a statistic over the batch is asked for, else 1."""
        return 2 if self.unpaired or "batch" in self.arguments else 1


def read_signature(loss: Callable[..., Any], name: str) -> LossSignature:
    """What ``loss`` declares; raises HarnessError at load for a name outside the closed set or a hyperparameter without default."""
    parameters = inspect.signature(loss).parameters.values()
    arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    for argument in arguments:
        _check_argument(argument, name)
    _check_combination(arguments, name)
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    for keyword in keywords:
        if not isinstance(keyword.default, (int, float, str, bool)):
            raise HarnessError(f"loss '{name}': hyperparameter '{keyword.name}' needs a default that is a number, a string or a bool.")
    return LossSignature(arguments, {p.name: p.default for p in keywords})


def _check_argument(argument: str, name: str) -> None:
    if argument in PLANNED:
        raise HarnessError(f"loss '{name}': '{argument}' is not computed in this version. Available: {', '.join(NAMES)}.")
    if argument not in NAMES:
        raise HarnessError(f"loss '{name}': unknown argument '{argument}'.{near(argument, NAMES)} Available: {', '.join(NAMES)}.")


def _check_combination(arguments: tuple[str, ...], name: str) -> None:
    paired = [a for a in arguments if a in PAIRED]
    unpaired = [a for a in arguments if a in UNPAIRED]
    if paired and unpaired:
        raise HarnessError(f"loss '{name}': '{paired[0]}' is per pair and '{unpaired[0]}' per response; a loss takes one or the other.")
    if unpaired and not {"logps", "desirable"} <= set(unpaired):
        raise HarnessError(f"loss '{name}': an unpaired loss names 'logps' and 'desirable'.")
    if not unpaired and not {"chosen", "rejected"} & set(paired):
        raise HarnessError(f"loss '{name}': a loss names 'chosen' or 'rejected' (pairs), or 'logps' and 'desirable' (unpaired).")
    if "batch" in arguments and not {"chosen", "rejected"} <= set(paired):
        raise HarnessError(f"loss '{name}': 'batch' holds statistics of both responses, so 'chosen' and 'rejected' must be named.")
