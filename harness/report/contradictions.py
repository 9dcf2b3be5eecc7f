"""What keeps the results of two folders from being one study: named, one line each, with both places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from harness.errors import HarnessError
from harness.report.numbers import limit_of, point_label
from harness.report.points import Loaded
from harness.store.records import SAMPLES, Cell

# What two studies of one comparison may say otherwise; what is asked of the report alone is the first one's.
OWN = ("algorithms", "seeds", "fingerprint", "study", "notes", "plan", "budget", "budgets", "budget_flops", "safety_margin", "baseline")
OWN_PATHS = ("threads", "model", "source", "task_path", "keep_policies", "temperatures", "kl_range", "checkpointing")


def apart(groups: Sequence[Sequence[Loaded]], task_of: Callable[[Loaded], str]) -> Iterator[tuple[HarnessError, Loaded, Loaded]]:
    """Pairs of studies that would be one comparison but for the task's version or data, or for the engine or weights behind them."""
    for one, other in combinations([group[0] for group in groups], 2):
        if task_of(one) != task_of(other) or _comparison(one) != _comparison(other):
            continue
        versions = [str(study.experiment.get("task_version") or "none said") for study in (one, other)]
        what = "engine or weights (their experiments agree)"
        if versions[0] != versions[1]:
            what = f"task version or data ({versions[0]} and {versions[1]})"
        yield HarnessError(f"{one.folder} and {other.folder} are of another {what}: never pooled; report them apart."), one, other


def within(group: Sequence[Loaded]) -> Iterator[HarnessError]:
    """Records of one comparison that cannot stand in one study."""
    for one, other in combinations(group, 2):
        yield from _same_fingerprint(one.cells, other.cells)
        yield from _same_fingerprint(one.trials, other.trials)
        yield from _same_run(one.cells, other.cells)
        yield from _by_key("another SFT reference for seed {}", _references(one), _references(other), lambda a, b: _alike(a, b))
        yield from _by_key("another data hash for seed {}", _data(one), _data(other), lambda a, b: _pairs(a) == _pairs(b))
        yield from _by_key("another file of algorithm {}", _files(one), _files(other), lambda a, b: _file(a) == _file(b))


def identity(cell: Cell) -> str:
    """What makes a run the same run anywhere: its fingerprint, else its folder's name."""
    return str(cell.record.get("fingerprint") or cell.folder.name)


def _comparison(study: Loaded) -> Mapping[str, Any]:
    return {key: value for key, value in study.experiment.items() if key not in (*OWN, *OWN_PATHS, "task_version")}


def _same_fingerprint(ours: Sequence[Cell], theirs: Sequence[Cell]) -> Iterator[HarnessError]:
    known = {identity(cell): cell for cell in theirs}
    for cell in ours:
        copy = known.get(identity(cell))
        if copy is not None and not _alike(cell, copy):
            yield _differ(f"the same fingerprint {identity(cell)[:8]} and different content", cell, copy)


def _same_run(ours: Sequence[Cell], theirs: Sequence[Cell]) -> Iterator[HarnessError]:
    """One algorithm, setting, budget and seed under two fingerprints would count one seed twice."""
    known = {_run(cell): cell for cell in theirs}
    for cell in ours:
        copy = known.get(_run(cell))
        if copy is not None and identity(copy) != identity(cell):
            yield _differ("one algorithm, setting, budget and seed under two fingerprints (other threads or code)", cell, copy)


def _run(cell: Cell) -> tuple[Any, ...]:
    record = cell.record
    return record["algorithm"]["name"], point_label(record), limit_of(record), int(record.get("seed", 0))


def _by_key(what: str, ours: Mapping[Any, Cell], theirs: Mapping[Any, Cell], same: Callable[[Cell, Cell], bool]) -> Iterator[HarnessError]:
    for key in sorted(ours.keys() & theirs.keys()):
        if not same(ours[key], theirs[key]):
            yield _differ(what.format(key), ours[key], theirs[key])


def _references(study: Loaded) -> dict[int, Cell]:
    return {int(each.record.get("seed", 0)): each for each in study.references}


def _data(study: Loaded) -> dict[int, Cell]:
    """A run of every seed that says which pairs it was trained on."""
    return {int(cell.record.get("seed", 0)): cell for cell in study.cells if _pairs(cell)}


def _pairs(cell: Cell) -> Sequence[Any]:
    lineage = (cell.record.get("judge") or {}).get("lineage") or {}
    return (lineage.get("pairs") or {}).get("data") or ()


def _files(study: Loaded) -> dict[str, Cell]:
    """A run of every algorithm that says which file it was."""
    return {str(cell.record["algorithm"]["name"]): cell for cell in study.cells if _file(cell)}


def _file(cell: Cell) -> str:
    return str(cell.record["algorithm"].get("hash") or "")


def _alike(one: Cell, other: Cell) -> bool:
    """Whether two folders hold the same record and the same samples; times belong to a machine and may differ."""
    files = [folder / SAMPLES for folder in (one.folder, other.folder)]
    same = len({file.read_bytes() if file.exists() else b"" for file in files}) == 1 or one.samples() == other.samples()
    return one.record == other.record and same


def _differ(what: str, one: Cell, other: Cell) -> HarnessError:
    return HarnessError(f"{one.folder} and {other.folder} have {what}: not merged; remove one, or report them apart.")
