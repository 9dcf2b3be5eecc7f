"""What a preference loss may ask for: the closed set of positional names, read from its signature when the file is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import HarnessError, near
from harness.types import Setting

if TYPE_CHECKING:
    from torch import Tensor

LENGTHS = ("chosen_lengths", "rejected_lengths")
PAIRED = ("chosen", "rejected", "ref_chosen", "ref_rejected", *LENGTHS, "margin", "agreement", "tokens", "ref_tokens")
UNPAIRED = ("logps", "ref_logps", "desirable", "lengths", "z0")
LISTED = ("ranked", "ref_ranked")
EITHER = ("batch", "progress", "state", "reward")
NAMES = PAIRED + UNPAIRED + LISTED + EITHER
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
    for argument in arguments:
        _check_argument(argument, name)
    _check_combination(arguments, name)
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    for keyword in keywords:
        if not isinstance(keyword.default, (int, float, str, bool)):
            raise HarnessError(f"loss '{name}': hyperparameter '{keyword.name}' needs a default that is a number, a string or a bool.")
    return LossSignature(arguments, {p.name: p.default for p in keywords})


def _check_argument(argument: str, name: str) -> None:
    if argument not in NAMES:
        raise HarnessError(f"loss '{name}': unknown argument '{argument}'.{near(argument, NAMES)} Available: {', '.join(NAMES)}.")


def _check_combination(arguments: tuple[str, ...], name: str) -> None:
    kinds = {"per pair": PAIRED, "per response": UNPAIRED, "per list": LISTED}
    found = {kind: [a for a in arguments if a in names] for kind, names in kinds.items()}
    used = [kind for kind, named in found.items() if named]
    if len(used) > 1:
        one, other = used[:2]
        said = f"'{found[one][0]}' is {one} and '{found[other][0]}' {other}; a loss takes one or the other."
        raise HarnessError(f"loss '{name}': {said}")
    if found["per response"] and not {"logps", "desirable"} <= set(arguments):
        raise HarnessError(f"loss '{name}': an unpaired loss names 'logps' and 'desirable'.")
    if not {"logps", "chosen", "rejected", "tokens", "ranked"} & set(arguments):
        said = "a loss names 'chosen', 'rejected' or 'tokens' (pairs), 'logps' and 'desirable' (unpaired), or 'ranked' (lists)."
        raise HarnessError(f"loss '{name}': {said}")
    if "batch" in arguments and not (found["per response"] or {"chosen", "rejected"} <= set(arguments)):
        raise HarnessError(f"loss '{name}': 'batch' holds statistics of both responses, so 'chosen' and 'rejected' must be named.")
