"""When DPO and its kin are a poor choice for some data: four numbers, each held against a threshold that is printed beside it.

The thresholds are conventions of this project, not results: each says where a known weakness of learning from fixed pairs begins to
matter. A verdict needs its interval on one side of the threshold; else it is unknown, which is not to say that all is well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.measure.statistics import Interval

PAIRS = 5000  # below it a reward model and DPO alike fit noise: Gao et al. 2022 (arXiv 2210.10760) saw little gain below 2000 comparisons
AGREEMENT = 0.70  # below it more than three labels in ten side with the worse response, and DPO fits each of them as certain
SURPRISE = math.log(2)  # nats per token: the data's perplexity is twice what the model expects of text of its own
COLLAPSED = 0.5  # share of ratings that tell no two responses apart
POOR, FINE, UNKNOWN = "poor", "fine", "unknown"


class Verdict(NamedTuple):
    """What was measured, what it was held against, and what follows."""

    name: str
    verdict: str
    measured: str
    threshold: str
    advice: str

    def __str__(self) -> str:
        """One line; the advice where the verdict is poor."""
        return f"{self.name}: {self.verdict}; {self.measured}; {self.threshold}" + (f"; {self.advice}" if self.verdict == POOR else "")


def pairs(n: int) -> Verdict:
    """Whether there are enough pairs."""
    advice = "a method that samples (an online one, or one with a reward model) gets more out of few labels"
    return Verdict("number of pairs", POOR if n < PAIRS else FINE, f"{n} pairs", f"poor below {PAIRS}", advice)


def agreement(found: Interval | None, by: str) -> Verdict:
    """Whether labels agree with anything that can be learnt often enough; ``by`` says who was asked, '' where nobody was."""
    advice = "clean the labels or collect several per pair; a loss that allows for wrong labels (label smoothing) suits better"
    if found is None:
        return Verdict("agreement of labels", UNKNOWN, by or "nobody was asked: give --model", f"poor below {AGREEMENT:.0%}", advice)
    said = f"{found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}] n={found.n} ({by})"
    return Verdict("agreement of labels", _against(found, AGREEMENT, above=True), said, f"poor below {AGREEMENT:.0%}", advice)


def distance(found: Interval | None) -> Verdict:
    """Whether the responses are such as the reference would write."""
    advice = "fine-tune the reference on the chosen responses first, or sample the pairs from it"
    threshold = f"poor above {SURPRISE:.2f} nats, twice the perplexity that it expects of its own text"
    if found is None:
        return Verdict("distance of the reference", UNKNOWN, "no model was given", threshold, advice)
    said = f"{found.value:+.2f} [{found.lower:+.2f}, {found.upper:+.2f}] nats per token above its own entropy, n={found.n}"
    return Verdict("distance of the reference", _against(found, SURPRISE, above=False), said, threshold, advice)


def ratings(alike: int, of: int) -> Verdict:
    """Whether ratings tell responses apart."""
    advice = "rate on a finer scale, or compare responses directly"
    said = f"{alike} of {of} ratings tell nothing apart" if of else "the data have no ratings"
    verdict = UNKNOWN if not of else POOR if alike > COLLAPSED * of else FINE
    return Verdict("collapsed ratings", verdict, said, f"poor above {COLLAPSED:.0%}", advice)


def _against(found: Interval, threshold: float, *, above: bool) -> str:
    """``fine`` where the whole interval is on the good side, ``poor`` where it is on the other; bounds that are unknown decide nothing."""
    if math.isnan(found.lower + found.upper):
        return UNKNOWN
    good, bad = found.lower >= threshold, found.upper < threshold
    if not above:
        good, bad = found.upper <= threshold, found.lower > threshold
    return FINE if good else POOR if bad else UNKNOWN
