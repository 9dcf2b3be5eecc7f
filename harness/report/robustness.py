"""``robustness/``: studies of one comparison under different assumptions side by side, and the order that survives all of them.

Studies are never pooled: each keeps its own numbers, intervals and seeds, and a sentence about all of them is one about every one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.report import declared, drawing, figure_robustness, findings
from harness.report.drawing import Drawing
from harness.report.escape import templates, visible
from harness.report.palette import Look, looks
from harness.report.points import Loaded, Point, load, points
from harness.report.section_judges import ABOVE, BELOW, difference, side
from harness.store.records import studies, write_bytes

OWN = ("algorithms", "seeds", "fingerprint", "study", "notes", "plan", "budgets", "budget_flops", "safety_margin", "baseline", "threads")
KEYS = {"win_sft": "win rate against SFT samples", "gold": "mean gold reward"}


class Assumed(NamedTuple):
    """A study, what it assumes otherwise than the first of its group, and its points at one setting per algorithm."""

    name: str
    study: Loaded
    points: Mapping[str, Point]


def write(results: Path) -> Path | None:
    """Write ``robustness/index.html`` below a folder of studies and return its path; None where no two differ only in assumptions."""
    if len(studies(results)) < 2:
        return None  # before a study is read a second time
    groups = [group for group in _groups(_loaded(results)) if len(group) > 1]
    if not groups:
        return None
    folder = results / "robustness"
    parts = [_part(group, number, folder) for number, group in enumerate(groups)]
    page = folder / "index.html"
    write_bytes(page, _render(parts).encode())
    return page


def _loaded(results: Path) -> Iterator[Loaded]:
    """Every study that can be read and shows a finished cell; one that cannot be read has been complained about by its own report."""
    for folder in studies(results):
        try:
            study = load(folder)
        except HarnessError:
            continue
        if points(study) and _assumptions(study):
            yield study


def _assumptions(study: Loaded) -> Mapping[str, Any]:
    return next((cell.record["assumptions"] for cell in study.cells if isinstance(cell.record.get("assumptions"), Mapping)), {})


def _groups(found: Iterable[Loaded]) -> list[list[Assumed]]:
    """Studies that are alike in all but their assumptions, the one that departs least from the commonest values first."""
    alike: dict[str, list[Loaded]] = {}
    for study in found:
        left_out = {*OWN, *_assumptions(study)}
        key = json.dumps({name: value for name, value in study.experiment.items() if name not in left_out}, sort_keys=True, default=str)
        alike.setdefault(key, []).append(study)
    return [_named(group) for group in alike.values()]


def _named(group: Sequence[Loaded]) -> list[Assumed]:
    every = [_flat(_assumptions(study)) for study in group]
    names = sorted({name for each in every for name in each})
    common = {name: _commonest([each.get(name, "default") for each in every]) for name in names}
    apart = [{name: each.get(name, "default") for name in names if each.get(name, "default") != common[name]} for each in every]
    told = [", ".join(f"{name} = {value}" for name, value in each.items()) or "as given" for each in apart]
    order = sorted(range(len(group)), key=lambda i: (len(apart[i]), told[i]))
    return [Assumed(told[i], group[i], declared.settings(points(group[i]))) for i in order]


def _flat(assumptions: Mapping[str, Any]) -> dict[str, str]:
    """Assumptions as texts by name, the task's own options among them."""
    options = assumptions.get("task_options") or {}
    return {name: str(value) for name, value in {**assumptions, **options}.items() if name != "task_options"}


def _commonest(values: Sequence[str]) -> str | None:
    """The value that more studies have than any other, which goes without saying; None where there is none, so that all are told."""
    (first, most), *rest = Counter(values).most_common(2)
    return first if not rest or most > rest[0][1] else None


def survives(group: Sequence[Assumed]) -> tuple[list[str], list[str]]:
    """Pairs of ranked, converged algorithms whose difference of win rate is on one side of 0 in every study, and those reversed."""
    holding, reversed_ = [], []
    ranked = [{name for name, point in each.points.items() if point.ranked and not point.rising} for each in group]
    for first, second in combinations(sorted(set.intersection(*ranked)), 2):
        sides = {side(difference(each.points[first], each.points[second], "win_sft")) for each in group}
        if sides in ({ABOVE}, {BELOW}):
            holding.append(f"{first} above {second}" if sides == {ABOVE} else f"{second} above {first}")
        elif {ABOVE, BELOW} <= sides:
            reversed_.append(f"{first} and {second}")
    return holding, reversed_


def sentence(group: Sequence[Assumed]) -> str:
    """What is the same under every assumption, in one sentence that claims no more than the intervals of each study."""
    holding, reversed_ = survives(group)
    if min(len(point.cells) for each in group for point in each.points.values()) < 2:
        return (
            f"1 seed in some study: no order is said to survive. By intervals that leave the seed out, {len(holding)} pairs lie on one "
            f"side of 0 in all {len(group)} studies and {len(reversed_)} are reversed between two."
        )
    said = f"No order survives: no two algorithms have an interval of their difference on one side of 0 in all {len(group)} studies."
    if holding:
        said = f"In all {len(group)} studies the interval of the difference of win rates lies on one side of 0: {'; '.join(holding)}."
    return said + (f" Reversed between two studies: {'; '.join(reversed_)}." if reversed_ else "")


def drawings(found: Sequence[Loaded], shown: Mapping[str, Look]) -> Iterator[Drawing]:
    """A figure for every group of studies that differ only in what they assume, its sentence in the caption; none where no two do."""
    groups = _groups(study for study in found if points(study) and _assumptions(study))
    for number, group in enumerate(each for each in groups if len(each) > 1):
        drawn = _drawn(group, number, shown)
        yield drawn._replace(caption=f"{drawn.caption} {sentence(group)}")


def _drawn(group: Sequence[Assumed], number: int, shown: Mapping[str, Look]) -> Drawing:
    name = "robustness" if not number else f"robustness-{number + 1}"
    drawn = figure_robustness.draw(name, [(each.name, each.points) for each in group], shown, KEYS)
    drawing.watermark(drawn.figure, next((mark for each in group if (mark := findings.watermark(each.study))), ""))
    return drawn


def _part(group: Sequence[Assumed], number: int, folder: Path) -> dict[str, Any]:
    """One group as the template wants it, its figure saved."""
    every = [point for each in group for point in each.points.values()]
    with drawing.style():
        shown = looks([(point.algorithm, point.control) for point in every], {point.algorithm for point in every if point.hollow})
        drawn = _drawn(group, number, shown)
        svg = drawing.save(drawn, folder / "figures")
    return {
        "title": f"{group[0].study.experiment.get('task', 'a task')}, {group[0].study.experiment.get('model', 'a model')}",
        "sentence": sentence(group),
        "cautions": [text for text in (findings.seeds_line(every), findings.interval_line(every)) if text],
        "figure": {"svg": drawing.inline(svg, drawn.name, visible(drawn.alternative)), "caption": drawn.caption, "name": drawn.name},
        "rows": [row for each in group for row in _rows(each)],
    }


def _rows(each: Assumed) -> Iterator[tuple[str, ...]]:
    for point in each.points.values():
        numbers = [point.get(key) for key in ("win_sft", "gold", "kl")]
        said = [f"{found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}] n={found.n}" if found else "not defined" for found in numbers]
        yield (each.name, point.title, point.setting, str(len(point.seeds)), *said, each.study.folder.name)


def _render(parts: Sequence[Mapping[str, Any]]) -> str:
    return templates().get_template("robustness.html").render(parts=parts, kl_caveat=findings.KL_CAVEAT, kl_source=findings.KL_SOURCE)
