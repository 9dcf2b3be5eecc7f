"""The page's room on compute: what was matched and what was not, what other accounts would say, and whether they reorder anything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from harness.measure.accounting import AMOUNTS, Accounts, Column, accounts, consumption
from harness.measure.statistics import Interval, label
from harness.report import comparing, figure_compute, matching
from harness.report.points import Loaded, Point, every_point
from harness.report.section import Grid, Looks, Section

NOT_RECORDED = "not recorded"


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Compute by phase, the table of everything that was or was not matched, the accounts, and the order under each match."""
    everything = every_point(study)
    if not everything:
        return None
    drawn, (order, levels) = figure_compute.draw(found), _orders(everything, found)
    return Section(
        "compute",
        "What was matched and what was not",
        paragraphs=[matching.matching(everything), *_shared(study), *order],
        figures=[drawn] if drawn else [],
        tables=[_amounts(study, everything), *_accounts(study, everything), *levels],
    )


def _amounts(study: Loaded, found: Sequence[Point]) -> Grid:
    """One row per point, means over its seeds with their range; trials are all that the algorithm's settings were tuned by."""
    trials = Counter(str(trial.record["algorithm"]["name"]) for trial in study.trials)
    shown = [amount for amount in AMOUNTS if amount.key != "device_seconds" or _one_device(found)]
    rows = [[point.title, *_where(point, found), *(_amount(point, amount) for amount in shown), _tried(point, trials)] for point in found]
    relative = matching.widest(found)
    matched = matching.unit(found) if relative is not None and relative <= matching.MATCHED else ""
    said = f"Matched: {matched}. Everything else differs as the algorithms do." if matched else "Nothing here is matched."
    caption = f"{said} Means over seeds, their range in brackets where there are several; memory is of the process that ran the cell."
    if len(shown) < len(AMOUNTS):
        caption += " Device-seconds are left out: the cells ran on several kinds of device, whose seconds are not compared."
    headings = [
        "algorithm",
        "setting",
        *["budget"] * _several(found),
        "seeds",
        *(f"{each.heading} ({each.unit})" for each in shown),
        "trials (of tuning)",
    ]
    return Grid(headings, rows, caption, numeric=3 + _several(found))


def _tried(point: Point, trials: Mapping[str, int]) -> str:
    return str(trials.get(str(point.head["algorithm"]["name"]), 0))


def _one_device(found: Sequence[Point]) -> bool:
    return len({str(cell.times.get("device", "")) for point in found for cell in point.cells if cell.times}) <= 1


def _several(found: Sequence[Point]) -> bool:
    """Whether budgets have to be told apart."""
    return len({point.limit for point in found}) > 1


def _where(point: Point, found: Sequence[Point]) -> list[str]:
    return [point.setting, *[point.budget] * _several(found), str(len(point.cells))]


def _amount(point: Point, amount: Column) -> str:
    return _ranged([consumption(cell.record, cell.times)[amount.key] for cell in point.cells])


def _ranged(values: Sequence[float]) -> str:
    """The mean with the range over seeds where they differ."""
    if not np.isfinite(values).all():
        return NOT_RECORDED
    mean, low, high = _short(float(np.mean(values))), _short(min(values)), _short(max(values))
    return mean if low == high else f"{mean} [{low}, {high}]"


def _short(value: float) -> str:
    """Large amounts with four digits, small ones as they are."""
    if value >= 1e7:
        return f"{value:.3e}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _shared(study: Loaded) -> Iterator[str]:
    """What every algorithm starts from and none is charged with."""
    sft = [float(flops) for each in study.references if (flops := (each.record.get("sft") or {}).get("flops"))]
    pairs = [float(flops) for each in study.references if (flops := (each.record.get("pairs") or {}).get("flops"))]
    said = [f"{name} {_ranged(values)} FLOPs" for name, values in (("SFT", sft), ("sampling the pairs", pairs)) if values]
    if said:
        yield f"Shared by all algorithms of a seed and charged to none: {', '.join(said)} per seed."


def _accounts(study: Loaded, found: Sequence[Point]) -> list[Grid]:
    """The table of accounts where some cell fits a reward model or the price of pairs is known."""
    drawn = {int(each.record.get("seed", 0)): each.record.get("pairs") or {} for each in study.references}
    cells = [cell for point in found for cell in point.cells]
    made = dict(zip(cells, accounts([cell.record for cell in cells], drawn), strict=True))
    grouped = [(point, [made[cell] for cell in point.cells]) for point in found]
    if all(each.full == each.excluded and each.with_pairs is None for each in made.values()):
        return []
    rows = [[point.title, *_where(point, found), *_accounted(each)] for point, each in grouped]
    columns = ["reward model in full", "amortised over the grid", "reward model excluded", "in full, and the pairs' sampling"]
    caption = (
        "Canonical FLOPs in four accounts. A budget charges the first. Amortised: cells of one algorithm, seed and budget with the same "
        "reward settings could share one fit. The last also charges what sampling the pairs cost, by the pairs that a run met."
    )
    return [Grid(["algorithm", "setting", *["budget"] * _several(found), "seeds", *columns], rows, caption, numeric=3 + _several(found))]


def _accounted(found: Sequence[Accounts]) -> list[str]:
    columns = [[math.nan if value is None else value for value in column] for column in zip(*found, strict=True)]
    return [_ranged(column) for column in columns]


Stops = Mapping[str, Sequence[tuple[Point, float | None]]]


def _orders(everything: Sequence[Point], found: Sequence[Point]) -> tuple[list[str], list[Grid]]:
    """What equal canonical FLOPs, executed FLOPs and device-seconds say of the order, and the win rates at each."""
    chosen = comparing.chosen(found)
    stops = {name: _stops(point, everything) for name, point in chosen.items()}
    ranked = {name: each for name, each in stops.items() if not chosen[name].rising}
    accounts = {name: spent for name, spent in matching.ACCOUNTS.items() if name != "device-seconds" or _one_device(found)}
    if len(stops) < 2:
        return [], []
    levels = {name: matching.level(stops, spent) for name, spent in accounts.items()}
    ordered = {name: matching.level(ranked, spent) for name, spent in accounts.items()} if len(ranked) > 1 else {}
    return list(_said(ordered, {name: chosen[name] for name in ranked})), [_levels(levels, chosen)]


def _stops(point: Point, everything: Sequence[Point]) -> Sequence[tuple[Point, float | None]]:
    """The finished budgets of this setting where there are several with its seeds, else the marks of its one run and its end."""
    same = [each for each in everything if (each.algorithm, each.setting, each.seeds) == (point.algorithm, point.setting, point.seeds)]
    if len(same) > 1:
        return [(each, None) for each in sorted(same, key=lambda each: each.limit)]
    return [*((point, mark) for mark in point.marks), (point, None)]


def _said(levels: Mapping[str, matching.Level], chosen: Mapping[str, Point]) -> Iterator[str]:
    """Which pairs turn round between two accounts, and how many differences their intervals support; never an order of its own."""
    for name, each in levels.items():
        if each.reason:
            yield f"The order at equal {name} is not computable: {each.reason}."
    known = [name for name, each in levels.items() if each.rates]
    if len(known) < 2:
        return
    swapped = matching.swaps(levels)
    if not swapped:
        yield _agreed({name: levels[name] for name in known}, chosen)
    for swap in swapped:
        first, second = (_difference(each) for each in swap.differences)
        sure = all(each.lower > 0 or each.upper < 0 for each in swap.differences)
        support = "both intervals lie off 0" if sure else "not both intervals lie off 0, so chance alone can turn it round"
        yield (
            f"{swap.first} less {swap.second} by win rate changes its sign: {first} at equal {swap.accounts[0]} and {second} at equal "
            f"{swap.accounts[1]}; {support}. Intervals: {label(_fewest(chosen))}."
        )


def _agreed(levels: Mapping[str, matching.Level], chosen: Mapping[str, Point]) -> str:
    """That no pair turns round, with how many of the pairs the intervals order at all."""
    pairs = list(combinations(next(iter(levels.values())).rates, 2))
    found = [[matching.difference(each, *pair) for each in levels.values()] for pair in pairs]
    sure = sum(all(each.lower > 0 for each in row) or all(each.upper < 0 for each in row) for row in found)
    return (
        f"No difference of win rate between two algorithms changes its sign between equal {', '.join(levels)}; of {len(pairs)} pairs "
        f"{sure} {'has' if sure == 1 else 'have'} its interval off 0 in all of them ({label(_fewest(chosen))})."
    )


def _fewest(chosen: Mapping[str, Point]) -> int:
    return min(len(point.cells) for point in chosen.values())


def _difference(found: Interval) -> str:
    bounds = "no bounds" if math.isnan(found.lower) else f"{found.lower:+.3f}, {found.upper:+.3f}"
    return f"{found.value:+.3f} [{bounds}], n={found.n}"


def _levels(levels: Mapping[str, matching.Level], chosen: Mapping[str, Point]) -> Grid:
    rows = [
        [point.title, point.setting, str(len(point.cells)), *(_rate(each, name) for each in levels.values())]
        for name, point in sorted(chosen.items())
    ]
    headings = [f"at equal {name}" + (f" ({each.amount:.3g})" if each.rates else "") for name, each in levels.items()]
    caption = (
        "Win rate against the SFT reference where every algorithm has spent what the one that spent least did in all, on the prompts that "
        "every mark measured. Between marks it is read off a line over the logarithm; marks of one run are not annealed. "
        f"{label(_fewest(chosen))}."
    )
    return Grid(["algorithm", "setting", "seeds", *headings], rows, caption, numeric=3)


def _rate(each: matching.Level, name: str) -> str:
    if name not in each.rates:
        return "not computable"
    value, lower, upper, n = each.rates[name]
    return f"{value:.3f} [{lower:.3f}, {upper:.3f}] n={n}"
