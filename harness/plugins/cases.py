"""Batches drawn for a loss to be tried on: values for every name of the closed set, the loss on them, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.training.loss_signature import BatchStatistics, TokenLogps
from harness.training.preference import PreferenceLoss
from harness.types import Setting

Case = Mapping[str, Any]

CHOSEN, REJECTED = ("chosen", "ref_chosen"), ("rejected", "ref_rejected")
FURTHER = tuple((place, f"ref_{place}") for place in ("third", "fourth", "fifth"))
SINGLE = ("logps", "ref_logps")
LONGEST, LARGEST = 40, 2 + len(FURTHER)  # tokens of a response, responses of a list


def draw_case(seed: int, *, rows: int = 6, spread: float = 5.0, places: int | None = None) -> dict[str, Any]:
    """Values for every name of the closed set: log-ratios in [-spread, spread], both ends among them, all log-probs below 0.

    Tokens and lists are made of the sums when they are asked for (``evaluate``): ``chosen_shares`` and ``rejected_shares`` say what part
    of a response's log-prob each token has. Lists are of ``places`` responses, 2 to 5, where it is None as the seed says.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, dtype=torch.float64, generator=generator)

    case: dict[str, Any] = {"desirable": torch.arange(rows) % 2 == 0, "progress": 0.5, "state": {}}
    for policy, reference in (CHOSEN, REJECTED, SINGLE):
        ratio = uniform(-spread, spread)
        ratio[:2] = torch.tensor([-spread, spread])[torch.randperm(2, generator=generator)]
        case[reference] = uniform(-2 * spread, -spread) - 0.01
        case[policy] = case[reference] + ratio
    for name in ("chosen_lengths", "rejected_lengths", "lengths"):
        case[name] = uniform(1, LONGEST).round()
    case |= {"margin": uniform(-1, 1), "agreement": uniform(0.5, 1), "z0": uniform(-spread, spread)[0]}
    for side in ("chosen", "rejected"):
        parts = (0.1 + torch.rand(rows, LONGEST, dtype=torch.float64, generator=generator)) * _mask(case[f"{side}_lengths"])
        case[f"{side}_shares"] = parts / parts.sum(1, keepdim=True)
    asked = torch.stack([uniform(0, spread), uniform(-spread, 0)], 1)  # labels as the reward model has them
    for policy, reference in FURTHER:
        case[reference] = uniform(-2 * spread, -spread) - 0.01
        case[policy] = case[reference] + uniform(-spread, spread)
    below = asked[:, 1:] - torch.stack([uniform(0, spread) for _ in FURTHER], 1).cumsum(1)
    listed = {"places": 2 + seed % (LARGEST - 1) if places is None else places, "list_reward": torch.cat([asked, below], 1)}
    return case | listed | {"batch": _statistics(case), "reward": asked}


def evaluate(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting], state: dict[str, Any] | None = None) -> Tensor:
    """The loss's values on a case, (rows,). The loss may change ``state``; where none is given its state is a copy of the case's."""
    known = {**case, **{name: make(case) for name, make in MADE.items() if name in loss.signature.arguments}}
    named = {name: known[name] for name in loss.signature.arguments}
    if "state" in named:
        named["state"] = dict(case["state"]) if state is None else state
    if loss.signature.reads_reward and loss.signature.unpaired:
        named["reward"] = torch.where(case["desirable"], case["reward"][:, 0], case["reward"][:, 1])
    if loss.signature.reads_reward and loss.signature.listed:
        named["reward"] = case["list_reward"][:, : case["places"]]
    return loss.loss(**named, **{**loss.hyperparameters, **settings})


def gradients(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting], state: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """Gradient of the summed loss in each policy log-prob that it reads, (rows,) each; zeros where it has none. Of a list in order."""
    sides = [("chosen", "rejected")[side] for side in loss.signature.policy_sides]
    read = ["logps"] if loss.signature.unpaired else _listed(case, 0) if loss.signature.listed else sides
    leaves: dict[str, Any] = {name: case[name].clone().requires_grad_() for name in read}
    total = evaluate(loss, {**case, **leaves}, settings, state).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def at_reference(case: Case) -> dict[str, Any]:
    """The case with every log-prob of the policy that of the reference."""
    start = {**case, **{policy: case[reference] for policy, reference in (CHOSEN, REJECTED, SINGLE, *FURTHER)}}
    return start | {"z0": torch.zeros((), dtype=torch.float64), "batch": _statistics(start)}


def _statistics(case: Case) -> BatchStatistics:
    chosen, rejected = case["chosen"] - case["ref_chosen"], case["rejected"] - case["ref_rejected"]
    gap = chosen - rejected
    lengths = case["chosen_lengths"].mean(), case["rejected_lengths"].mean()
    return BatchStatistics(chosen.mean(), rejected.mean(), gap.mean(), gap.std(correction=0), *lengths, len(gap))


def _mask(lengths: Tensor) -> Tensor:
    return torch.arange(LONGEST) < lengths[:, None]


def _tokens(case: Case, prefix: str = "") -> TokenLogps:
    """A response's log-prob dealt to its tokens: the policy's, or with the prefix ``ref_`` the reference's."""
    dealt = [case[f"{side}_shares"] * case[f"{prefix}{side}"][:, None] for side in ("chosen", "rejected")]
    return TokenLogps(*dealt, *(_mask(case[f"{side}_lengths"]) for side in ("chosen", "rejected")))


def _listed(case: Case, which: int) -> list[str]:
    """Names of a list's responses in order, as many as the case has places: the policy's log-probs, 0, or the reference's, 1."""
    return [names[which] for names in (CHOSEN, REJECTED, *FURTHER)[: case["places"]]]


MADE: Mapping[str, Callable[[Case], Any]] = {
    "tokens": _tokens,
    "ref_tokens": lambda case: _tokens(case, "ref_"),
    "ranked": lambda case: torch.stack([case[name] for name in _listed(case, 0)], 1),
    "ref_ranked": lambda case: torch.stack([case[name] for name in _listed(case, 1)], 1),
}
