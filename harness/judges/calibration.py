"""How a judge agrees with whoever labelled pairs of responses: agreement, kappa, and two biases. Pure functions, no torch.

A pair's outcome is 1 where the judge sides with the label, 0 where it does not, 1/2 for a tie. Which response stands first in a file is
no property of either rater, so kappa counts every pair in both orders: labels are then one half each way, a judge with a share t of
ties (1 - t) / 2, and ``kappa = (p_o - p_e) / (1 - p_e)`` with ``p_e = (1 - t) / 2`` (Cohen 1960, doi 10.1177/001316446002000104).
Position as Zheng et al. 2023 (arXiv 2306.05685, section 3.3) measure it, by asking both ways round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Interval, paired_difference, prompt_interval, prompt_means, replicated
from harness.types import Array


class Calibration(NamedTuple):
    """A judge against labels, each number with its interval over prompts; the pairs of one prompt are averaged first.

    All is of pairs with a verdict, both ways round where it was asked so: a silence is no tie. None where there are no such pairs.
    ``agreement`` counts ties one half, ``ties`` is their share, ``kappa`` counts a tie as no agreement. ``consistency`` is the share of
    verdicts that stay when the two responses change places and ``position`` by how much more often than one half the first place wins,
    None for a judge that no order can sway.
    ``longer`` and ``labels_longer`` are how often judge and labels choose the longer of two responses of different length in words,
    ``length_bias`` the first less the second, ``where_longer`` and ``where_shorter`` the agreement where labels chose the longer and the
    shorter; None where there are no such pairs.
    """

    agreement: Interval | None
    kappa: Interval | None
    ties: Interval | None
    consistency: Interval | None
    position: Interval | None
    longer: Interval | None
    labels_longer: Interval | None
    length_bias: Interval | None
    where_longer: Interval | None
    where_shorter: Interval | None


def calibration(
    wins: Array,
    places: tuple[Array, Array] | None,
    lengths: Array,
    prompts: Sequence[str],
    *,
    make: Callable[[], np.random.Generator],
    decided: Array | None = None,
) -> Calibration:
    """Of a judge's outcomes for the chosen responses, (pairs,), and the words of what was chosen and rejected, (pairs, 2).

    ``places`` are the outcomes with the chosen response shown first and with it shown second, each for the response shown first;
    None for a judge that no order can sway. ``prompts`` are those of the pairs. ``make`` gives the generator of every interval.
    ``decided`` says which pairs got a verdict both ways round, (pairs,); None: all of them.
    """
    clusters = np.unique(np.array(prompts), return_inverse=True)[1].reshape(-1).astype(np.float64)
    heard = np.ones(len(wins), dtype=bool) if decided is None else decided
    differ = heard & (lengths[:, 0] != lengths[:, 1])
    chose_longer = lengths[:, 0] > lengths[:, 1]
    judged_longer = np.where(chose_longer, wins, 1 - wins)

    def share(values: Array, rows: Array = heard) -> Interval | None:
        return prompt_interval(values[rows], clusters=clusters[rows], generator=make()) if rows.any() else None

    bias = (
        paired_difference(judged_longer[differ], chose_longer[differ], clusters=clusters[differ], generator=make())
        if differ.any()
        else None
    )
    return Calibration(
        share(wins),
        _kappa(wins[heard], clusters[heard], make()) if heard.any() else None,
        share((wins == 0.5).astype(float)),
        None if places is None else share((places[0] == 1 - places[1]).astype(float)),
        None if places is None else share((places[0] + places[1]) / 2 - 0.5),
        share(judged_longer, differ),
        share(chose_longer.astype(float), differ),
        bias,
        share(wins, differ & chose_longer),
        share(wins, differ & ~chose_longer),
    )


def _kappa(wins: Array, clusters: Array, generator: np.random.Generator) -> Interval:
    """Kappa of the pairs in both orders, by the means over prompts of agreement and of ties."""
    tables = [[prompt_means((wins == answer).astype(float), clusters)] for answer in (1.0, 0.5)]
    return replicated(tables, lambda agreed, ties: (agreed - (1 - ties) / 2) / (1 - (1 - ties) / 2), generator=generator)
