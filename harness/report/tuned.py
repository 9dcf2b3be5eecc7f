"""The trials of a study as a report reads them: who was chosen, what it took, what was aimed at, and which checkpoint was preferred."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.measure.statistics import Interval
from harness.measure.tuning import SCORE, Effort, Trial, Winners, efforts, label, trial, winners
from harness.report.numbers import interval_of, metrics, short
from harness.report.points import NOT_CONVERGED, Point
from harness.report.section import Grid
from harness.store.records import Row, Study

Z = 1.96


class Tried:
    """The trials of a study with their records: read once, asked by every part of the section."""

    def __init__(self, study: Study) -> None:
        """``records`` are by fingerprint, so that a trial's intervals can be found again."""
        self.trials: list[Trial] = [trial(cell.record) for cell in study.trials]
        self.records: dict[str, Row] = {each.fingerprint: cell.record for each, cell in zip(self.trials, study.trials, strict=True)}
        self.chosen: dict[tuple[str, str], Winners] = winners(self.trials)
        self.spent: dict[str, Effort] = efforts(self.trials)
        self.scored_by = [each.record["tuner"] for each in (*study.trials, *study.cells) if each.record.get("tuner")]

    def measured(self, each: Trial | None, key: str) -> str:
        """A trial's metric with its interval, empty where it has none; n is the tuning prompts, said once in the caption."""
        found = interval_of(metrics(self.records[each.fingerprint], None).get(key)) if each is not None else None
        return "" if found is None else interval_text(found)

    @property
    def prompts(self) -> int:
        """Tuning prompts on which the trials were measured; 0 where none finished."""
        found = [interval_of(metrics(record, None).get(SCORE)) for record in self.records.values()]
        return max((each.n for each in found if each is not None), default=0)

    @property
    def judge(self) -> Mapping[str, Any]:
        """What the records say of the tuning judge of the first seed that had one; empty where nothing was chosen by one."""
        return dict(self.scored_by[0]) if self.scored_by else {}

    def winner_rows(self, rising: Collection[tuple[str, str]] = ()) -> Grid:
        """Who won at every grid value, under the three selections; ``rising``: the (algorithm, grid value) that have not converged."""
        rows = [list(self._winner_row(*key, each)) for key, each in self.chosen.items()]
        for row in rows:
            row[0] += NOT_CONVERGED * ((row[0], row[1]) in rising)
        headings = ["algorithm", "grid value", "chosen by the tuning judge", "its score, nats", "its gold", "gold at declared defaults"]
        text = (
            f"Winners at every grid value, on {self.prompts} tuning prompts with 95 % prompt intervals; what runs is the tuning judge's. "
        )
        text += "The largest of several noisy numbers is too large: read the evaluation, not these, for how good a setting is."
        return Grid([*headings, "chosen by gold", "its gold"], rows, text, numeric=3)

    def _winner_row(self, algorithm: str, grid: str, each: Winners) -> Iterator[str]:
        yield algorithm
        yield grid
        yield self._setting(each.proxy)
        yield self.measured(each.proxy, SCORE)
        yield self.measured(each.proxy, "gold")
        yield self.measured(each.defaults, "gold")
        yield self._setting(each.gold)
        yield self.measured(each.gold, "gold")

    def _setting(self, each: Trial | None) -> str:
        if each is None:
            return "none finished"
        known = set(self.records[each.fingerprint]["trial_of"].get("grid") or {})
        own = {name: value for name, value in each.setting.items() if name not in known}
        return label(own) if each.index else f"declared default{f' ({label(own)})' if own else ''}"

    def effort_rows(self) -> Grid:
        """What tuning took, by algorithm; the share that diverged has its Wilson interval."""
        rows = [
            [name, str(each.trials), f"{each.diverged}", wilson_text(each.diverged, each.trials), f"{each.flops:.3e}"]
            for name, each in self.spent.items()
        ]
        return Grid(
            ["algorithm", "trials", "diverged", "share diverged", "FLOPs"],
            rows,
            "Tuning effort: every trial's whole budget, charged to tuning and to no cell.",
            1,
        )


def best_rows(drawn: Sequence[Mapping[str, Any]]) -> Grid | None:
    """The figure's curves as a table, at every k that has a bar in it."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for row in drawn:
        if row["bar"]:
            text = interval_text(Interval(row["value"], row["lower"], row["upper"], row["trials"]))
            rows.setdefault((row["algorithm"], row["k"]), {})[row["panel"]] = text
    table = [[name, str(k), found.get("score", ""), found.get("gold", "")] for (name, k), found in rows.items()]
    headings = ["algorithm", "k", "score of the judge's pick, nats", "gold of the judge's pick"]
    return Grid(headings, table, "Expected best of k trials, with 95 % bootstrap intervals over trials.", 1) if table else None


def search_rows(experiment: Mapping[str, Any]) -> Grid | None:
    """Where settings were searched, as the study's experiment holds it."""
    rows = []
    for plan in experiment.get("algorithms") or ():
        for name, found in (plan.get("search") or {}).items():
            low, high, scale, source = found
            rows.append([str(plan.get("name")), str(name), f"{low:g} to {high:g}", str(scale), str(source)])
    return Grid(["algorithm", "setting", "range", "scale", "source"], rows, "Where settings were searched.", 9) if rows else None


def target_rows(found: Sequence[Point]) -> Grid | None:
    """What every KL target came to, by algorithm; a target that no trial came near is a row like any other."""
    rows: dict[tuple[str, float, str], list[str]] = {}
    for point in found:
        for each in (point.head.get("tuning") or {}).get("targets") or ():
            said = str(each["words"])  # names the curve, of which an algorithm with a second setting in its grid has several
            rows[point.algorithm, float(each["target"]), said] = [point.title, f"{each['target']:g}", said]
    headings = ["algorithm", "target, nats", "what the search found on tuning prompts"]
    return Grid(headings, list(rows.values()), "KL targets: the knob was searched until its KL was within 10 %.", 9) if rows else None


def checkpoint_rows(found: Sequence[Point]) -> Grid | None:
    """The mark that the tuning judge prefers for every run, with the final evaluation of the last and, where it was kept, of that mark."""
    rows = [row for point in found for cell in point.cells if (row := _checkpoint_row(point, cell.record)) is not None]
    headings = ["algorithm", "setting", "seed", "preferred mark", "its score", "score at the end", "win rate, last", "win rate, best"]
    text = "Checkpoints: the tuning judge's scores (nats, tuning prompts) at the mark it prefers and at the end; win rates on evaluation "
    return (
        Grid(headings, rows, text + "prompts. An empty last column: the preferred mark was not kept, so it was not measured.", 3)
        if rows
        else None
    )


def _checkpoint_row(point: Point, record: Row) -> list[str] | None:
    rule = record.get("checkpoint") or {}
    scores = {float(each["mark"]): found for each in rule.get("scores") or () if (found := interval_of(each)) is not None}
    if rule.get("best") is None or not scores:
        return None
    best, ends = float(rule["best"]), [each for each in record.get("checkpoints") or () if each.get("final")]
    wins = [interval_of(each["metrics"].get("win_sft")) for each in ends]
    last = "" if not wins or wins[0] is None else interval_text(wins[0])
    kept = last if best >= 1 else "" if len(wins) < 2 or wins[1] is None else interval_text(wins[1])
    names = [point.title, point.setting, str(record.get("seed", 0)), f"{best:g}"]
    return [*names, *(interval_text(scores[mark]) if mark in scores else "" for mark in (best, 1.0)), last, kept]


def interval_text(found: Interval) -> str:
    """A number with its bounds, ``0.61 [0.55, 0.66]``."""
    if math.isnan(found.lower + found.upper):
        return f"{found.value:.2f} [no bounds]"
    return f"{found.value:.2f} [{found.lower:.2f}, {found.upper:.2f}]"


def wilson_text(count: float, n: int, digits: int = 2) -> str:
    """A share of ``n`` with its 95 % Wilson interval (Wilson 1927), empty where n is 0; ``count`` may hold halves of ties."""
    if not n:
        return ""
    share, room = count / n, Z * math.sqrt(count * (n - count) / n**3 + Z * Z / (4 * n * n))
    low, high = ((share + Z * Z / (2 * n) + side * room) / (1 + Z * Z / n) for side in (-1, 1))
    return f"{share:.{digits}f} [{max(0.0, low):.{digits}f}, {min(1.0, high):.{digits}f}], n={n}"


__all__ = ["Tried", "checkpoint_rows", "interval_text", "search_rows", "short", "target_rows", "wilson_text"]
