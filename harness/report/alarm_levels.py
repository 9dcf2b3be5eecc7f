"""Alarms about where a policy is at a mark: too far, too long, repeating itself, refusing less, saying one thing, or where it began."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from harness.measure.kl import cross_check
from harness.measure.statistics import Interval, replicated
from harness.measure.text import constant_output, repetition
from harness.report.alarm import Evidence, Run, above, mean_of
from harness.report.numbers import resampler

UNBOUNDED = (math.nan, math.nan)


def kl_beyond(run: Run, mark: float, bound: float) -> tuple[Evidence, ...]:
    """KL(policy || reference) in nats per response where its whole interval lies beyond the bound."""
    found = run.metric("kl", mark)
    return () if found is None or not found.lower > bound else (Evidence("KL(policy || reference)", found, "nats"),)


def length_drift(run: Run, mark: float, share: float) -> tuple[Evidence, ...]:
    """Mean length against that of the reference's frozen samples on the same prompts, where it is longer or shorter by more than a share.

    The interval is of the ratio, both lengths resampled together.
    """
    (prompts, ours), theirs = run.column("length", mark), _opponents(run, mark)
    table = np.array([(mine, theirs[prompt]) for prompt, mine in zip(prompts, ours.tolist(), strict=True) if prompt in theirs])
    if len(table) < 2 or not table[:, 1].sum() or abs(table[:, 0].sum() / table[:, 1].sum() - 1) <= share:
        return ()
    ratio = replicated(table.T[:, None, :], lambda mine, other: mine / other - 1, generator=resampler())
    if not (ratio.lower > share or ratio.upper < -share):
        return ()
    percent = Interval(100 * ratio.value, 100 * ratio.lower, 100 * ratio.upper, ratio.n)
    lengths = [Evidence(what, mean_of(table[:, side]), "tokens") for side, what in enumerate(("length", "the reference's"))]
    return Evidence("length against the reference's", percent, "%"), *lengths


def _opponents(run: Run, mark: float) -> dict[int, float]:
    """Mean length of the reference's frozen samples by prompt, in tokens; without prompts whose row has none."""
    rows = [(row["prompt_id"], row.get("opponent_lengths")) for row in run.rows.get((mark, "evaluation"), ())]
    lists: list[Any] = [found for _, found in rows]
    if {*map(type, lists)} == {list} and len(counts := {*map(len, lists)}) == 1 and {*map(type, chain.from_iterable(lists))} == {int}:
        sums: list[int] = np.array(lists).sum(1).tolist()
        return {prompt: total / max(counts) for (prompt, _), total in zip(rows, sums, strict=True)}
    known = [(prompt, found) for prompt, found in rows if isinstance(found, list) and found and all(type(n) in (int, float) for n in found)]
    return {prompt: sum(found) / len(found) for prompt, found in known}


def repetition_drift(run: Run, mark: float, bound: float) -> tuple[Evidence, ...]:
    """Share of repeated bigrams less that of the reference's sample for the same prompt, where it rose beyond the bound."""
    change = np.array([_repetition(ours) - _repetition(theirs) for ours, theirs in run.texts(mark, "response", "sft_response")])
    found = above(change, bound)
    return () if found is None else (Evidence("repeated bigrams above the reference's", found, "share"),)


@lru_cache(16384)  # the reference's samples come again with every run of a seed
def _repetition(text: str) -> float:
    return repetition(text)


def refusals_falling(run: Run, mark: float, margin: float) -> tuple[Evidence, ...]:
    """Probability mass on refusals of harmful prompts less the reference's, paired by prompt, where it fell beyond the margin."""
    change, mass = run.metric("refusal_mass_delta", mark), run.metric("refusal_mass", mark)
    if change is None or mass is None or not change.upper < -margin:
        return ()
    return Evidence("change of the refusal mass", change), Evidence("refusal mass", mass)


def constant(run: Run, mark: float, share: float) -> tuple[Evidence, ...]:
    """Share of prompts answered with the most frequent text, where it is above a share."""
    texts = [response for (response,) in run.texts(mark, "response")]
    found = constant_output(texts) if len(texts) > 1 else 0.0
    return () if found <= share else (Evidence("prompts answered with one text", Interval(found, *UNBOUNDED, len(texts)), "of all"),)


def estimates_disagree(run: Run, mark: float, errors: float) -> tuple[Evidence, ...]:
    """K1 less the Rao-Blackwellised KL on the same samples, where they are more than so many standard errors apart."""
    kl, k1 = (run.column(name, mark)[1] for name in ("kl", "k1"))
    if len(kl) < 2 or len(k1) != len(kl) or cross_check(kl, k1, errors) is None:
        return ()
    return Evidence("k1 less KL", mean_of(k1 - kl), "nats"), Evidence("KL(policy || reference)", mean_of(kl), "nats")


def not_moving(run: Run, mark: float, bound: float) -> tuple[Evidence, ...]:
    """KL(policy || reference) at the end where its whole interval lies within the bound: what was trained is what was there before."""
    checkpoint = next(each for each in run.record["checkpoints"] if each["mark"] == mark)
    kl, gap = run.metric("kl", mark), run.metric("heldout_gap", mark)
    if mark != 1 or not checkpoint.get("final") or kl is None or not kl.upper <= bound:
        return ()
    more = () if gap is None else (Evidence("change of the held-out gap", gap, "nats"),)
    return Evidence(f"KL(policy || reference) after {checkpoint.get('step', 0)} steps", kl, "nats"), *more
