"""A study as tidy rows, one per algorithm, setting and budget, in the same columns for every study: table.csv and ``harness.load``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.measure.statistics import Interval
from harness.report import alarms
from harness.report.numbers import charged
from harness.report.points import Point, points
from harness.store.records import Study

Z = 1.959963984540054  # half the width of a 95 % interval in standard errors
WIN = "win_sft"
METRICS = (
    *("kl", "tie_sft", "win_reference", "gold", "preference_accuracy", "rouge_l", "k1", "forward_kl", "length", "eos_rate"),
    *("repetition", "refusal_mass_delta", "over_refusal_mass_delta"),
    *("coverage", "unsupported", "distractors", "ungrammatical", "repetition_gold", "filler", "ending"),
)


class Column(NamedTuple):
    """A column: its name, the type of its values (any may be None: not defined or not measured), and what it holds."""

    name: str
    type: type
    meaning: str


def _of_metric(key: str) -> tuple[Column, ...]:
    return (
        Column(key, float, f"`{key}`"),
        Column(f"{key}_lower", float, f"lower bound of `{key}`"),
        Column(f"{key}_upper", float, f"upper bound of `{key}`"),
        Column(f"{key}_n", int, f"prompts behind `{key}`"),
    )


COLUMNS = (
    Column("study", str, "the study's folder"),
    Column("task", str, "the task"),
    Column("algorithm", str, "the algorithm, as the page names it"),
    Column("setting", str, "its setting, such as `beta=0.1`"),
    Column("budget", str, "the budget as it was written"),
    Column("win_rate", float, "`win_sft`: win rate against SFT samples, a tie counting 1/2"),
    Column("win_rate_se", float, "half the width of its 95 % interval over 1.96"),
    Column("lower", float, "lower bound of `win_rate`, 95 %"),
    Column("upper", float, "upper bound of `win_rate`, 95 %"),
    Column("prompts", int, "prompts behind `win_rate`"),
    Column("seeds", int, "training seeds"),
    Column("seed_ids", str, "the seeds, separated by spaces"),
    Column("control", int, "1 for a control, which is ranked with nothing"),
    Column("oracle", int, "1 where it trained on what judges it, which is ranked with nothing"),
    Column("not_converged", int, "1 where the win rate still rose over the last quarter of the budget"),
    *(column for key in METRICS for column in _of_metric(key)),
    Column("alarms", str, "names of the alarms that its runs raised, separated by spaces; `none` without"),
    Column("flops", float, "charged canonical FLOPs, mean over seeds"),
    Column("wall_seconds", float, "wall seconds of a run, mean over seeds"),
)


def rows(study: Study, found: Sequence[Point] | None = None) -> list[dict[str, Any]]:
    """One row per point, those of the largest budget where none are given, with every one of ``COLUMNS``; shares are in [0, 1]."""
    return [_row(study, point) for point in (points(study) if found is None else found)]


def _row(study: Study, point: Point) -> dict[str, Any]:
    point.ask((WIN, *METRICS))
    head, win = point.head, point.get(WIN)
    known: dict[str, Any] = {"study": study.folder.name, "task": (head.get("task") or {}).get("name")}
    known |= {"algorithm": point.algorithm, "setting": point.setting, "budget": point.budget}
    known |= dict(zip(("win_rate", "lower", "upper", "prompts"), _numbers(win), strict=True))
    known |= {"win_rate_se": standard_error(win), "seeds": len(point.cells), "seed_ids": " ".join(map(str, point.seeds))}
    known |= {"control": int(point.control), "oracle": int(point.oracle)}
    known["not_converged"] = None if point.rise is None else int(point.rising)
    for key in METRICS:
        known |= dict(zip((key, f"{key}_lower", f"{key}_upper", f"{key}_n"), _numbers(point.get(key)), strict=True))
    known["alarms"] = alarms.named(point.cells, study.experiment)
    known["flops"] = _mean([charged(cell.record) for cell in point.cells])
    known["wall_seconds"] = _mean([float(cell.times.get("total_wall") or math.nan) for cell in point.cells])
    return {column.name: known[column.name] for column in COLUMNS}


def standard_error(found: Interval | None) -> float | None:
    """The standard error that an interval stands for, as if it were a normal one; None where it has no bounds."""
    return None if found is None else _known((found.upper - found.lower) / (2 * Z))


def _numbers(found: Interval | None) -> tuple[float | None, float | None, float | None, int | None]:
    """Value, bounds and n, what is not a number as None."""
    return (None, None, None, None) if found is None else (_known(found.value), _known(found.lower), _known(found.upper), found.n)


def _mean(values: Sequence[float]) -> float | None:
    return _known(sum(values) / len(values))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
