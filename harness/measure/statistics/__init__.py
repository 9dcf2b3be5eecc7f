"""Statistics of a comparison: pure functions on arrays, no torch. The definitions are in docs/statistics.md.

``intervals`` (bootstrap over prompts, over seeds and prompts), ``significance`` (sign-flip test, Holm), ``strengths`` (head to head,
Bradley-Terry), ``tasks`` (several tasks at once), ``power`` (the smallest difference that would be seen), ``coverage`` (how often the
intervals hold the truth, by simulation).
"""

from harness.measure.statistics.intervals import (
    Interval,
    label,
    paired_difference,
    paired_two_way,
    prompt_interval,
    prompt_intervals,
    prompt_means,
    replicated,
    replicated_all,
    replicates,
    reweighted,
    two_way_interval,
    two_way_intervals,
)
from harness.measure.statistics.resampling import Array

__all__ = [
    "Array",
    "Interval",
    "label",
    "paired_difference",
    "paired_two_way",
    "prompt_interval",
    "prompt_intervals",
    "prompt_means",
    "replicated",
    "replicated_all",
    "replicates",
    "reweighted",
    "two_way_interval",
    "two_way_intervals",
]
