"""The scores of a study's points against KL, on either axis: one board of per-prompt numbers, one draw of resamples for all scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.measure import frontier_scores
from harness.measure.frontier_scores import Half, Steps, envelope, mean_value, optimal_gain, value_at
from harness.measure.statistics import Array, Interval, replicated_all
from harness.report.numbers import marked
from harness.report.optimum import WIN, Optimum, frontier_rows
from harness.report.points import Point, by_algorithm, per_prompt, resampler
from harness.store.records import Reference

AT = (0.5, 1.0, 2.0, 4.0)  # nats at which envelopes are read
LEAST_PROMPTS = 4  # two for each half

Statistic = Callable[[Half, Half], Array]


class Board(NamedTuple):
    """What is scored: per-prompt KL and value of every point, (points, seeds, prompts), and the reference's own value, (seeds, prompts).

    ``seeds`` and ``prompts`` are the ids along those axes; ``left_out`` names the points that other seeds or prompts keep from being
    compared with the rest.
    """

    key: str
    points: Sequence[Point]
    kl: Array
    value: Array
    start: Array
    left_out: Sequence[str]
    seeds: tuple[int, ...]
    prompts: tuple[int, ...]

    def ends(self, places: Sequence[int]) -> tuple[float, float]:
        """The least and the largest KL of some of the points."""
        found = [float(self.kl[place].mean()) for place in places]
        return min(found), max(found)


class Scores(NamedTuple):
    """Of each algorithm: its envelope's mean over [0, top], its envelope at each KL among its points, its share of dominated points.

    ``ends`` are the least and largest KL of the points that an envelope is made of: it says nothing beyond them. ``pairs`` hold the
    difference of two envelopes' means over the range that both reach, with that range's end. Without rivals nothing is dominated.
    """

    points: int
    ends: Mapping[str, tuple[float, float]]
    area: Mapping[str, Interval]
    at: Mapping[tuple[str, float], Interval]
    dominated: Mapping[str, Interval]
    pairs: Mapping[tuple[str, str], tuple[Interval, float]]


def ranked(point: Point) -> bool:
    """Whether a point takes part in comparisons: controls, oracles and what trains nothing do not."""
    return point.ranked


def board(points: Sequence[Point], references: Sequence[Reference], key: str) -> Board | None:
    """The finished runs that can be scored on one axis; None where no two prompts are measured everywhere."""
    found = [(point, point.table("kl", None), point.table(key, None)) for point in points]
    kinds = Counter(_kind(point) for point, kl, value in found if kl is not None and value is not None)
    if not kinds:
        return None
    usual = max(kinds, key=lambda kind: (kinds[kind], kind))
    start = _start(references, key, *usual)
    kept = [(p, kl, value) for p, kl, value in found if kl is not None and value is not None and _kind(p) == usual]
    if start is None or start.shape[1] < LEAST_PROMPTS:
        return None
    out = [f"{point.algorithm} {point.setting}" for point in points if point not in [each for each, *_ in kept]]
    kl, values = np.array([kl for _, kl, _ in kept]), np.array([each for *_, each in kept])
    return Board(key, [p for p, *_ in kept], kl, values, start, out, *usual)


def _kind(point: Point) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds and the prompts of a point."""
    return point.seeds, tuple(per_prompt(point.rows[0], "kl", float(point.cells[0].record["checkpoints"][-1]["mark"])))


def _start(references: Sequence[Reference], key: str, seeds: tuple[int, ...], prompts: tuple[int, ...]) -> Array | None:
    """The reference's own value per prompt: one half by definition, or the mean gold of as many of its samples as there are."""
    if key == WIN:
        return np.full((len(seeds), len(prompts)), 0.5)
    known = {int(reference.record.get("seed", 0)): _means(reference, key) for reference in references}
    if not all(set(prompts) <= set(known.get(seed, ())) for seed in seeds):
        return None
    return np.array([[known[seed][prompt] for prompt in prompts] for seed in seeds])


def _means(reference: Reference, key: str) -> dict[int, float]:
    """The mean of a metric over the reference's samples of each prompt, over its one evaluated response where there are no others."""
    several = {int(row["prompt_id"]): float(np.mean(row[key])) for row in frontier_rows(reference.samples())}
    return several or per_prompt(marked(reference), key, 0.0)


def scores(found: Board, top: float) -> Scores:
    """Every score of the board with its interval over seeds and prompts."""
    groups = _even(found)
    ends = {name: found.ends(places) for name, places in groups.items()}
    ranks = [name for name in groups if _ranked(found, name)]
    recipe: dict[tuple[object, ...], Statistic] = {}
    for name, chosen in groups.items():
        recipe["area", name] = _area(chosen, top)
        recipe |= {("at", name, kl): _at(chosen, kl) for kl in AT if ends[name][0] <= kl <= ends[name][1]}
        if rivals := [place for rival in ranks if rival != name for place in groups[rival]]:
            recipe["dominated", name] = _dominated(chosen, rivals)
    shared = {pair: end for pair in combinations(ranks, 2) if (end := min(ends[name][1] for name in pair)) > 0}
    recipe |= {("pair", *pair): _pair(groups[pair[0]], groups[pair[1]], end) for pair, end in shared.items()}
    made = {name: _possible(found.key, name, each) for name, each in zip(recipe, _replicated(found, list(recipe.values())), strict=True)}
    return Scores(
        min((len(groups[name]) for name in ranks), default=0),
        ends,
        {name: made["area", name] for name in groups},
        {(name, kl): made["at", name, kl] for name in groups for kl in AT if ("at", name, kl) in made},
        {name: made["dominated", name] for name in groups if ("dominated", name) in made},
        {pair: (made["pair", *pair], end) for pair, end in shared.items()},
    )


def _possible(key: str, name: tuple[object, ...], interval: Interval) -> Interval:
    """The interval cut to what its number can be: with two seeds the t-factor reaches beyond shares' 0 and 1."""
    if name[0] == "pair" or (name[0] != "dominated" and key != WIN):
        return interval
    return interval._replace(lower=max(interval.lower, 0.0), upper=min(interval.upper, 1.0))


def _ranked(found: Board, algorithm: str) -> bool:
    return all(ranked(point) for point in found.points if point.algorithm == algorithm)


def _even(found: Board) -> dict[str, list[int]]:
    """The points of each algorithm that are scored, as places on the board: as many for each as the fewest has, spread along KL."""
    groups = {name: [found.points.index(point) for point in group] for name, group in by_algorithm(found.points).items()}
    fewest = min((len(group) for name, group in groups.items() if _ranked(found, name)), default=1)
    along = {name: sorted(group, key=lambda place: float(found.kl[place].mean())) for name, group in groups.items()}
    return {name: _spread(group, min(fewest, len(group))) for name, group in along.items()}


def _spread(places: Sequence[int], n: int) -> list[int]:
    """``n`` of the places at even distances, both ends among them; the middle one where n is 1."""
    return [places[round(each)] for each in np.linspace(0, len(places) - 1, n)] if n > 1 else [places[len(places) // 2]]


def _of(half: Half, chosen: Sequence[int]) -> Half:
    return Half(half.kl[list(chosen)], half.value[list(chosen)], half.start)


def _both_ways(chosen: Sequence[int], read: Callable[[Steps], Array]) -> Statistic:
    """A number of the envelope, its points chosen on either half and scored on the other, averaged."""

    def statistic(one: Half, other: Half) -> Array:
        halves = _of(one, chosen), _of(other, chosen)
        return (read(envelope(*halves)) + read(envelope(*halves[::-1]))) / 2

    return statistic


def _area(chosen: Sequence[int], top: float) -> Statistic:
    return _both_ways(chosen, lambda steps: mean_value(steps, top))


def _at(chosen: Sequence[int], kl: float) -> Statistic:
    return _both_ways(chosen, lambda steps: value_at(steps, kl))


def _pair(first: Sequence[int], second: Sequence[int], end: float) -> Statistic:
    return lambda one, other: _area(first, end)(one, other) - _area(second, end)(one, other)


def _dominated(chosen: Sequence[int], rivals: Sequence[int]) -> Statistic:
    """The share of dominated points, the rivals' best chosen on either half and held against the points on the other, averaged."""

    def statistic(*halves: Half) -> Array:
        (one, other), (first, second) = ([_of(half, places) for half in halves] for places in (chosen, rivals))
        return (frontier_scores.dominated(one, other, first, second) + frontier_scores.dominated(other, one, second, first)) / 2

    return statistic


def _replicated(found: Board, statistics: Sequence[Statistic]) -> list[Interval]:
    """Each statistic of the two halves of the prompts (the even and the odd ones), all from the same resamples.

    A resample that draws no prompt of a half, as one in eight of four prompts does, says nothing (NaN).
    """
    seeds, prompts = found.start.shape
    masks = [np.tile(np.arange(prompts) % 2 == side, (seeds, 1)).astype(float) for side in (0, 1)]
    columns = [*found.kl, *found.value, found.start]
    tables = [column * mask for mask in masks for column in columns] + masks

    def every(*means: Array) -> Array:
        halves, drawn = [], np.array(means[2 * len(columns) :])
        shares = np.where((drawn > 0).all(0), drawn, np.nan)
        for side in (0, 1):
            own = np.array(means[side * len(columns) : (side + 1) * len(columns)]) / shares[side]
            halves.append(Half(own[: len(found.points)], own[len(found.points) : -1], own[-1]))
        return np.array([statistic(*halves) + 0 * shares[0] for statistic in statistics])

    return replicated_all(tables, every, generator=resampler())


def efficiency(found: Board, optimum: Optimum | None) -> Mapping[Point, Interval | str]:
    """Gain over the reference divided by the optimal gain at the same KL, for every point of the board, or why there is none.

    The line is taken on the board's seeds, both on the prompts that both have: pairs are made by id.
    """
    if optimum is None or optimum.kl is None or optimum.value is None:
        return dict.fromkeys(found.points, "no samples of the reference")
    prompts = sorted({*found.prompts} & {*optimum.prompts})
    if missing := [str(seed) for seed in found.seeds if seed not in optimum.seeds]:
        return dict.fromkeys(found.points, f"no samples of the reference for seed {', '.join(missing)}")
    if len(prompts) < LEAST_PROMPTS:
        return dict.fromkeys(found.points, "no samples of the reference for these prompts")
    cut = np.searchsorted(found.prompts, prompts)
    rows = np.ix_(np.array([optimum.seeds.index(seed) for seed in found.seeds]), np.searchsorted(optimum.prompts, prompts))
    line = [np.array([tilt[rows] for tilt in axis]) for axis in (optimum.kl, optimum.value)]
    return _shares(found.points, [each[..., cut] for each in (found.kl, found.value, found.start)], line)


def _shares(points: Sequence[Point], own: Sequence[Array], line: Sequence[Array]) -> Mapping[Point, Interval | str]:
    """The efficiency of points with KL, value and start in ``own`` along a line of KL and value, (tilts, seeds, prompts)."""
    count, tilts, end = len(points), len(line[0]), float(line[0][-1].mean())
    inside = [index for index in range(count) if float(own[0][index].mean()) <= end]

    def every(*means: Array) -> Array:
        rows = np.array(means)
        kl, value, start = rows[:count], rows[count : 2 * count], rows[2 * count]
        line_kl, line_value = rows[2 * count + 1 : -tilts], rows[-tilts:]
        return np.array([(value[index] - start) / optimal_gain(line_kl, line_value, kl[index]) for index in inside])

    made = replicated_all([*own[0], *own[1], own[2], *line[0], *line[1]], every, generator=resampler()) if inside else []
    known: dict[int, Interval] = dict(zip(inside, made, strict=True))
    beyond = f"beyond the line, which was estimated to KL {end:.2f}"
    return {point: known.get(index, beyond) for index, point in enumerate(points)}
