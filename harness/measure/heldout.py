"""What a policy says of held-out pairs, or of held-out responses that were labelled alone: log-probs and how it ranks them.

Several pairs may ask one prompt, as rankings give them; they share what the prompt does to them. So everything is the mean over prompts
of the mean over a prompt's pairs, and intervals resample prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.data.pairs import prompts_of
from harness.measure.chance import intervals
from harness.measure.judge import wins
from harness.measure.statistics import Interval
from harness.measure.statistics.intervals import prompt_means
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.types import ROUNDING, Array, Group

Row = dict[str, Any]


def heldout(policy: Metered, yard: Yardstick, most: int | None, mark: float) -> tuple[list[Row], dict[str, Interval]]:
    """A row for each held-out pair of the first ``most`` prompts (None: of all), and the numbers with intervals; n counts prompts.

    Nothing of a policy that has no log-probs. Where a prompt is asked by several pairs, ``sample`` tells their rows apart.
    """
    prompts = prompts_of(yard.heldout)
    some = [place for place, prompt in enumerate(prompts) if most is None or prompt < most]
    if not some or policy.kl_bound is not None:
        return [], {}
    asked = [prompts[place] for place in some]
    columns = labelled(policy, yard, some) if yard.heldout[0].single else ranked(policy, yard, some)
    values = [dict(zip(columns, map(float, each), strict=True)) for each in zip(*columns.values(), strict=True)]
    where = [{"mark": mark, "slice": "heldout", "prompt_id": prompt} for prompt in asked]
    rows: list[Row] = [{**at, **nth, **each} for at, nth, each in zip(where, _nth(asked), values, strict=True)]
    return rows, intervals({name: prompt_means(values, asked) for name, values in columns.items()})


def _nth(asked: Sequence[int]) -> list[dict[str, int]]:
    """What tells the pairs of one prompt apart; nothing where each has a prompt of its own."""
    if len(set(asked)) == len(asked):
        return [{} for _ in asked]
    seen: Counter[int] = Counter()
    found = []
    for prompt in asked:
        found.append({"sample": seen[prompt]})
        seen[prompt] += 1
    return found


def ranked(policy: Metered, yard: Yardstick, some: Sequence[int]) -> dict[str, Array]:
    """Log pi of both responses of these held-out pairs, their change against the reference and the gap of these, in nats, (pairs,) each.

    ``preference_accuracy`` is how the implicit reward log pi - log ref ranks the pair: 1 as labelled, half where the policy has not moved.
    """
    groups = [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in (yard.heldout[place] for place in some)]
    logps = _logps(policy, groups).reshape(-1, 2)
    ratios = logps - yard.heldout_logps[some]
    # The two sides of a log-ratio come from forwards of other shapes: what float32 leaves of an unmoved policy is a tie.
    right, _ = wins(ratios[:, 0], ratios[:, 1], tie=ROUNDING)
    found = {"preference_accuracy": right, "heldout_gap": ratios[:, 0] - ratios[:, 1]}
    for side, name in enumerate(("heldout_chosen", "heldout_rejected")):
        found |= {name: logps[:, side], f"{name}_change": ratios[:, side]}
    return found


def labelled(policy: Metered, yard: Yardstick, some: Sequence[int]) -> dict[str, Array]:
    """Of these held-out responses, each labelled alone, whether the sign of its implicit reward is its label's: 1, 0, or half unmoved."""
    pairs = [yard.heldout[place] for place in some]
    ratios = _logps(policy, [pair.group for pair in pairs]) - np.nansum(yard.heldout_logps[some], 1)
    right, _ = wins(np.where([bool(pair.chosen) for pair in pairs], ratios, -ratios), np.zeros(len(pairs)), tie=ROUNDING)
    return {"heldout_label_accuracy": right}


def _logps(policy: Metered, groups: Sequence[Group]) -> Array:
    found: Array = policy.logps(groups).double().cpu().numpy()
    return found
