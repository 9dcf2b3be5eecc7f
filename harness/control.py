"""``harness control``: comparisons whose answer is known, run by the engine that runs every other comparison.

An algorithm against itself (A/A): one setting trained again and again as ``replicate`` 0, 1, 2, ... on the same SFT models and pairs of
every seed, and replicates 2i compared with replicates 2i + 1 as if they were two algorithms. Shuffled labels: nothing to learn. The
algorithms that declare themselves controls. A difference planted into the outcomes of A/A. No loop of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import harness.compare as engine
from harness.errors import HarnessError
from harness.measure.statistics import Array, Interval, two_way_interval
from harness.measure.statistics.controls import false_positives, planted
from harness.planning.experiment import Experiment
from harness.planning.plan import AlgorithmPlan
from harness.plugins import registry
from harness.report.comparing import outcome_table
from harness.report.numbers import within
from harness.report.points import Loaded, Point, load
from harness.store import records
from harness.types import Task

SEEDS, REPLICATES = 6, 20
SHUFFLED = "shuffled"

# Quick sizes without what no control looks at; a file or flags win over them.
SIZES: Mapping[str, Any] = {
    "quick": True,
    "pairs": 300,
    "evaluation_prompts": 192,
    "mark_prompts": 16,
    "tuning_prompts": 16,
    "probe_prompts": 0,
    "frontier_samples": 0,
    "marks": [],
    "temperatures": [],
    "keep_policies": "none",
    "stage_threads": 1,
}

Row = dict[str, Any]


def run(base: Experiment, results: Path, *, task: Task, replicates: int = REPLICATES, jobs: int | None = None) -> Path:
    """Run the controls of an experiment's first algorithm; the path of ``controls.json``, written beside their studies.

    What is finished is not run again. Raises HarnessError for fewer than 2 seeds, which no test of seeds can be checked on.
    """
    if len(base.seeds) < 2:
        raise HarnessError(f"Controls need at least 2 seeds, found {len(base.seeds)}; {SEEDS} are usual.")
    folder = results / "controls"
    same = against_itself(base, replicates)
    rows = itself(_run(same, folder, task, jobs), base.algorithms[0].name)
    if base.labels != "data":
        rows += levels(_run(without_labels(base), folder, task, jobs), "shuffled labels", expected=0.5)
    file = folder / "controls.json"
    records.write_json(file, {"experiment": base.model_dump(mode="json"), "replicates": replicates, "rows": rows})
    return file


def _run(experiment: Experiment, folder: Path, task: Task, jobs: int | None) -> list[Point]:
    """The points of a control, run where they are not finished."""
    return own(load(engine.carry_out(experiment, folder, task=task, jobs=jobs)), experiment)


def own(study: Loaded, experiment: Experiment) -> list[Point]:
    """The points that an experiment asks for, at its seeds: its study may hold replicates of other settings, budgets and seeds as well."""
    limits = [budget["limit"] for budget in study.experiment["budgets"]]
    asked = [(plan.name, dict(setting)) for plan in experiment.algorithms for setting in plan.settings]
    at = [point for point in study.every_point if point.limit in limits]
    at = [point for point in at if (point.head["algorithm"]["name"], point.head["setting"]) in asked]
    kept = [replace(point, cells=tuple(each for each in point.cells if each.record["seed"] in experiment.seeds)) for point in at]
    return [point for point in kept if point.cells]


def against_itself(base: Experiment, replicates: int) -> Experiment:
    """The first algorithm at its middle setting as twice as many replicates, and beside it once every control of the experiment."""
    subject, *others = base.algorithms
    again = [{**_middle(subject), "replicate": number} for number in range(2 * replicates)]
    controls = [plan for plan in others if registry.find("algorithms", plan.path or plan.name).declaration.metadata.get("control")]
    single = [plan.model_copy(update={"settings": (_middle(plan),)}) for plan in controls]
    return _plain(base, algorithms=(subject.model_copy(update={"settings": tuple(again)}), *single))


def without_labels(base: Experiment) -> Experiment:
    """The first algorithm at its middle setting, once, on pairs whose labels are coins."""
    subject = base.algorithms[0]
    once = subject.model_copy(update={"settings": (_middle(subject),)})
    return _plain(base, labels=SHUFFLED, algorithms=(once,))


def _plain(base: Experiment, **update: Any) -> Experiment:
    """The experiment at its first budget and as declared: tuned, replicates would become trials and then one setting, not a control."""
    return base.model_copy(update={"budget": base.budget[:1], "tune": 0, "kl_targets": (), "checkpoint": "last", **update})


def _middle(plan: AlgorithmPlan) -> dict[str, Any]:
    return dict(plan.settings[len(plan.settings) // 2])


def itself(found: Sequence[Point], subject: str) -> list[Row]:
    """What the comparisons of the subject with itself show, then the win rates of the controls and what the subject gains over each."""
    again = sorted((point for point in found if point.algorithm == subject), key=lambda point: int(point.head["setting"]["replicate"]))
    tables = [outcome_table(point) for point in again]
    kept = [table for table in tables if table is not None]
    if len(kept) < len(again) or len({table.shape for table in kept}) != 1 or len(kept) < 2:
        raise HarnessError(f"{len(again) - len(kept)} of {len(again)} replicates lack outcomes on common prompts; see their log.txt.")
    return [*_known(kept[::2], kept[1::2]), *levels([each for each in found if each.control], "control", subject=kept[0])]


def _known(first: Sequence[Array], second: Sequence[Array]) -> list[Row]:
    """Rows of A/A and of the planted difference."""
    generator = np.random.default_rng(len(first))
    wrong, power = false_positives(first, second, generator=generator), planted(first, second, generator=generator)
    rows = [
        _row("A/A", "95 % interval excludes 0", wrong.interval, "at most .05"),
        _row("A/A", "95 % interval holds 0", wrong.covered, "at least .95"),
        _row("A/A", "sign-flip test, p <= .05", wrong.sign_flip, "at most .05"),
    ]
    if power is None:
        why = "not measured: the outcomes leave no room for the stated detectable difference, or show no spread"
        return [*rows, {"control": "planted", "what": why, "value": None, "lower": None, "upper": None, "n": 0, "expected": "about .80"}]
    what = f"planted {100 * power.shift:.1f} points, the stated detectable difference, found"
    return [*rows, _row("planted", what, power.found, "about .80")]


def levels(found: Sequence[Point], name: str, *, expected: float | None = None, subject: Array | None = None) -> list[Row]:
    """The win rate of every point against the SFT reference and, where there is a subject, how much more that wins."""
    rows = []
    for point in found:
        table = outcome_table(point)
        if table is None:
            continue
        level = within("win_sft", two_way_interval(table, generator=np.random.default_rng(0)))
        rows.append(_row(name, f"win rate of {point.algorithm}", level, "" if expected is None else f"holds {expected:g}"))
        if subject is not None and subject.shape == table.shape:
            gain = two_way_interval(subject - table, generator=np.random.default_rng(0))
            rows.append(_row(name, f"win rate of the algorithm less that of {point.algorithm}", gain, ""))
    return rows


def _row(control: str, what: str, found: Interval, expected: str) -> Row:
    return {"control": control, "what": what, **found._asdict(), "expected": expected}


def table(rows: Sequence[Row]) -> str:
    """The controls as a Markdown table."""
    lines = ["| control | what | found | 95 % interval | n | expected |", "|---|---|---|---|---|---|"]
    for row in rows:
        known = row["value"] is not None
        numbers = (f"{row['value']:.3f}", f"[{row['lower']:.3f}, {row['upper']:.3f}]", row["n"]) if known else ("", "", "")
        cells = [row["control"], row["what"], *numbers, row["expected"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
