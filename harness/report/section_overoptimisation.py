"""The page's room on over-optimisation: best-of-n, how far the proxy runs ahead of gold, where gold peaks, and the forms of Gao et al."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.measure.overoptimisation import Fit
from harness.measure.statistics import label
from harness.report import figure_best
from harness.report.once import once
from harness.report.optimum import GOLD
from harness.report.overoptimisation import AT, RANKINGS, Best, Course, Courses, Scale, best, best_fit, courses, scale
from harness.report.points import Loaded, Point, every_point
from harness.report.section import Grid, Looks, Section
from harness.report.section_frontier import number
from harness.store.records import Reference

NAMES = {GOLD: "gold", "proxy": "the proxy"}


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Best-of-n and over-optimisation; None where the records hold no reference samples with gold and proxy."""
    made = _computed(every_point(study), study.references, frozenset(looks))
    if made is None:
        return None
    measured, ranked, along = made
    return Section(
        "over-optimisation",
        "Best-of-n and over-optimisation",
        paragraphs=[_meaning(measured), *([f"Left out: {'; '.join(along.left_out)}."] if along.left_out else [])],
        figures=[figure_best.draw(ranked, along.by_name, measured, looks)],
        tables=[_best(ranked, measured), _gaps(along.by_name), _fits(ranked, along.by_name, measured)],
    )


@once
def _computed(
    everything: Sequence[Point], references: tuple[Reference, ...], names: frozenset[str]
) -> tuple[Scale, Sequence[Best], Courses] | None:
    """The reference's samples, best-of-n from them, and the courses of these algorithms; None without such samples."""
    measured = scale(references)
    if measured is None:
        return None
    return measured, best(measured), courses([point for point in everything if point.algorithm in names], measured)


def _meaning(found: Scale) -> str:
    samples, gold, proxy = found.tables[GOLD].shape[2], found.spread(GOLD), found.spread("proxy")
    return (
        f"Best-of-n is estimated from {samples} samples of the reference per prompt, averaged over all their subsets of n. Its opponent in "
        f"the win rate is none of the n. The gap is the gain of the proxy minus that of gold, both in standard deviations of the "
        f"reference within a prompt (gold {gold:.2f}, proxy {proxy:.2f}): above 0 the proxy promises more than gold keeps. The proxy is "
        f"the common one, the reward model fitted on the training pairs, whatever an algorithm trained on."
    )


def _best(found: Sequence[Best], measured: Scale) -> Grid:
    rows = []
    for each in found:
        win = number(each.win, 3) if each.win else "(no opponent left)"
        kl = f"\N{LESS-THAN OR EQUAL TO} {each.kl:.2f}"
        rows.append([f"by {NAMES[each.ranking]}", str(each.n), kl, number(each.gold, 2), number(each.proxy, 2), win])
    seeds, prompts = measured.centre(GOLD).shape
    caption = f"Best-of-n of the reference's samples; {label(seeds)}; {prompts} prompts. KL is a bound, not an estimate. A win rate whose "
    caption += (
        "interval has no width is counted, not estimated: it is one half at n = 1, and by gold n / (n + 1) on every prompt without ties."
    )
    return Grid(["ranked", "n", "KL, nats", "gold", "proxy", "win rate vs SFT"], rows, caption, 1)


def _gaps(found: Mapping[str, Course]) -> Grid:
    """Proxy minus gold at matched KL, and the peak of gold."""
    rows = []
    for name, course in found.items():
        ends = min(s.kl for s in course.spots), max(s.kl for s in course.spots)
        gaps = [number(course.gaps.get(kl), 2, f"measured from {ends[0]:.2f} to {ends[1]:.2f}") for kl in AT]
        last = " (its last)" if course.peak.value >= ends[1] else ""
        rows.append([name, *gaps, number(course.peak, 2) + last, number(course.drop, 2)])
    caption = "Gap at matched KL, linear between an algorithm's measurements (finished runs and marks of all settings), never beyond "
    caption += "them; the KL of the measurement with the most gold, its interval where resamples have theirs; and gold's drop from a peak "
    caption += "to the largest KL, in standard deviations. Each seed and prompt's drop is read from the peak that the other seeds have on "
    caption += "the other half of the prompts: chosen on the same numbers it would be too large. Where the other seeds peak at the end it "
    caption += "is 0; below 0 says that gold went on rising. 95 % intervals over the seeds and prompts that were "
    caption += "measured."
    return Grid(["algorithm", *(f"gap at KL {kl:g}" for kl in AT), "gold peaks at KL", "drop from the peak"], rows, caption, 1)


def _fits(ranked: Sequence[Best], along: Mapping[str, Course], measured: Scale) -> Grid:
    start = float(measured.centre(GOLD).mean())
    rows = []
    for ranking in RANKINGS:
        fit = best_fit([each for each in ranked if each.ranking == ranking], start)
        rows.append([f"best of n by {NAMES[ranking]}", "d (a - b d)", *_fitted(fit, max(each.kl for each in ranked))])
    for name, course in along.items():
        values = _fitted(course.fit, max(spot.kl for spot in course.spots))
        if course.a is not None and course.b is not None:
            values = [number(course.a, 2), number(course.b, 2), *values[2:]]
        rows.append([name, "d (a - b ln d)", *values])
    caption = "Forms of Gao et al. 2022 for gold's gain over the reference, d = sqrt(KL), fitted by least squares to 8 or more distinct "
    caption += "KL values from 0.1 nats on, marks included; the residual is its root mean square in units of gold. Best-of-n stands at its "
    caption += "bound on KL, its a and b without intervals, for its points are made of the same samples. The peak is the form's, named "
    caption += "where it lies among the measurements."
    return Grid(["what", "form", "a", "b", "residual", "points", "peak at KL"], rows, caption, 2)


def _fitted(fit: Fit | str, largest: float) -> list[str]:
    if isinstance(fit, str):
        return [f"({fit})", "", "", "", ""]
    inside = f"{fit.peak:.2f}" if fit.peak <= largest else f"(beyond {largest:.2f}, where measurements end)"
    peak = inside if fit.peak == fit.peak else "(none: it rises throughout)"
    return [f"{fit.a:.2f}", f"{fit.b:.2f}", f"{fit.rms:.3f}", str(len(fit.residuals)), peak]
