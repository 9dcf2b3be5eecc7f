"""The closed set of names that a preference loss may ask for, and what may be asked for together. No torch, no numpy."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError, near

LENGTHS = ("chosen_lengths", "rejected_lengths")
PAIRED = ("chosen", "rejected", "ref_chosen", "ref_rejected", *LENGTHS, "margin", "agreement", "tokens", "ref_tokens")
UNPAIRED = ("logps", "ref_logps", "desirable", "lengths", "z0")
LISTED = ("ranked", "ref_ranked")
EITHER = ("batch", "progress", "state", "reward")
NAMES = PAIRED + UNPAIRED + LISTED + EITHER


def illegal_default(value: Any) -> bool:
    """Whether a value is none that a hyperparameter may have."""
    return not isinstance(value, (int, float, str, bool))


def check_names(arguments: tuple[str, ...], name: str) -> None:
    """Raises HarnessError where the loss ``name`` may not ask for these: one is outside the closed set, or they do not go together."""
    for argument in arguments:
        if argument not in NAMES:
            raise HarnessError(f"loss '{name}': unknown argument '{argument}'.{near(argument, NAMES)} Available: {', '.join(NAMES)}.")
    _check_combination(arguments, name)


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
