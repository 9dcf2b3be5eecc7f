"""Studies of several folders and machines as one: what is the same comparison is joined, and what contradicts itself is named.

Two folders hold the same comparison where their study keys agree. Their cells are united by fingerprint, their references by seed; times
belong to a machine and may differ, records and samples may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.report.escape import visible
from harness.report.points import Loaded, load
from harness.store.records import SAMPLES, Cell, Row, studies

# What two studies of one comparison may say otherwise; what is asked of the report alone is the first one's.
OWN = ("algorithms", "seeds", "fingerprint", "study", "notes", "plan", "budget", "budgets", "budget_flops", "safety_margin", "baseline")
OWN_PATHS = ("threads", "model", "source", "task_path", "keep_policies", "temperatures", "kl_range", "checkpointing")


class Combined(NamedTuple):
    """The studies that can be reported, each with its label, what contradicts itself, and what was left out without contradiction."""

    studies: Sequence[tuple[str, Loaded]]
    problems: Sequence[HarnessError]
    left_out: Sequence[str]


def combined(roots: Sequence[Path]) -> Combined:
    """Every study at or below the folders, those of one comparison joined. HarnessError where a folder is none or holds no study."""
    found, problems = _loaded(list(dict.fromkeys(folder for root in roots for folder in below(root))))
    apart = list(_apart(found)) if len(roots) > 1 else []
    refused = {id(study) for each in apart for study in each[1:]}
    kept, left_out = [], []
    for group in _groups([study for study in found if id(study) not in refused]):
        wrong = list(_contradictions(group))
        problems += wrong
        if not wrong:
            kept.append(_joined(group))
            left_out += [f"{study.folder.name}: {line}" for study in group for line in study.skipped]
    return Combined(list(zip(labels(kept), kept, strict=True)), [*problems, *(each[0] for each in apart)], left_out)


def labels(found: Sequence[Loaded]) -> list[str]:
    """A name for each study, no two alike: its task's, with the assumptions in which studies of that task differ."""
    tasks = [_task(study) for study in found]
    flat = [_assumed(study) for study in found]
    names = []
    for study, task, own in zip(found, tasks, flat, strict=True):
        peers = [each for each, other in zip(flat, tasks, strict=True) if other == task]
        apart = [name for name in own if len({str(each.get(name)) for each in peers}) > 1]
        names.append(_plain("-".join([task, *(f"{name}-{own[name]}" for name in sorted(apart))])))
        if not apart and len(peers) > 1:
            names[-1] += f"-{str(study.experiment.get('study') or study.folder.name)[:8]}"
    return [name if names.count(name) == 1 else f"{name}-{number + 1}" for number, name in enumerate(names)]


def below(root: Path) -> list[Path]:
    """The study at or the studies below a folder: those that hold an experiment.json."""
    if not root.is_dir():
        raise HarnessError(f"Results folder {root} does not exist.")
    found = studies(root)
    if not found:
        raise HarnessError(f"No study at or below {root}: a folder with an experiment.json is wanted; 'harness compare' makes one.")
    return found


def _loaded(folders: Sequence[Path]) -> tuple[list[Loaded], list[HarnessError]]:
    found: list[Loaded] = []
    problems = []
    for folder in folders:
        try:
            found.append(load(folder))
        except HarnessError as error:  # of one study; the others have their report all the same
            problems.append(error)
    return found, problems


def _groups(found: Sequence[Loaded]) -> list[list[Loaded]]:
    """Studies of one comparison together, in the order given; one whose key nobody saved stays alone."""
    groups: dict[tuple[str, str], list[Loaded]] = {}
    for study in found:
        groups.setdefault((_task(study), str(study.experiment.get("study") or study.folder.resolve())), []).append(study)
    return list(groups.values())


def _apart(found: Sequence[Loaded]) -> Iterator[tuple[HarnessError, Loaded, Loaded]]:
    """Pairs of studies that would be one comparison but for the task's version or data, or for the engine or weights behind them."""
    first = {id(group[0]): group[0] for group in _groups(found)}
    for one, other in combinations(first.values(), 2):
        if _task(one) != _task(other) or _comparison(one) != _comparison(other):
            continue
        versions = [str(study.experiment.get("task_version") or "") for study in (one, other)]
        what = "engine or weights (their experiments agree)"
        if versions[0] != versions[1]:
            what = f"task version or data ({versions[0] or 'none said'} and {versions[1] or 'none said'})"
        said = f"{one.folder} and {other.folder} are of another {what}: never pooled; report them apart."
        yield HarnessError(said), one, other


def _comparison(study: Loaded) -> Mapping[str, Any]:
    return {key: value for key, value in study.experiment.items() if key not in (*OWN, *OWN_PATHS, "task_version")}


def _contradictions(group: Sequence[Loaded]) -> Iterator[HarnessError]:
    """Records of one identity that say different things: the same fingerprint, or the same seed's reference or data."""
    for one, other in combinations(group, 2):
        for ours, theirs in ((one.cells, other.cells), (one.trials, other.trials)):
            same = {str(cell.record.get("fingerprint")): cell for cell in theirs}
            pairs = ((cell, same.get(str(cell.record.get("fingerprint")))) for cell in ours)
            for cell, copy in pairs:
                if copy is not None and not _alike(cell, copy):
                    yield _differ(f"the same fingerprint {str(cell.record.get('fingerprint'))[:8]} and different content", cell, copy)
        yield from _references(one, other)
        yield from _data(one, other)


def _references(one: Loaded, other: Loaded) -> Iterator[HarnessError]:
    """Seeds whose SFT reference came out otherwise in the two folders: their cells do not start from one model."""
    ours, theirs = ({int(each.record.get("seed", 0)): each for each in study.references} for study in (one, other))
    for seed in sorted(ours.keys() & theirs.keys()):
        if not _alike(ours[seed], theirs[seed]):
            yield _differ(f"another SFT reference for seed {seed}", ours[seed], theirs[seed])


def _differ(what: str, one: Cell, other: Cell) -> HarnessError:
    return HarnessError(f"{one.folder} and {other.folder} have {what}: not merged; remove one, or report them apart.")


def _alike(one: Cell, other: Cell) -> bool:
    """Whether two folders hold the same record and the same samples; a name for the same machine's times is not asked for."""
    files = [folder / SAMPLES for folder in (one.folder, other.folder)]
    same = len({file.read_bytes() if file.exists() else b"" for file in files}) == 1 or one.samples() == other.samples()
    return one.record == other.record and same


def _data(one: Loaded, other: Loaded) -> Iterator[HarnessError]:
    """Seeds whose cells were trained on other pairs or from another SFT model in the two folders, by the hashes in their lineage."""
    ours, theirs = (dict(_lineages(study)) for study in (one, other))
    for seed in sorted(ours.keys() & theirs.keys()):
        if ours[seed][0] != theirs[seed][0]:
            said = f"{ours[seed][0]} and {theirs[seed][0]}"
            yield _differ(f"another data hash for seed {seed} ({said})", ours[seed][1], theirs[seed][1])


def _lineages(study: Loaded) -> Iterator[tuple[int, tuple[str, Cell]]]:
    for cell in study.cells:
        lineage = (cell.record.get("judge") or {}).get("lineage") or {}
        data = (lineage.get("pairs") or {}).get("data") or ()
        if data:
            yield int(cell.record.get("seed", 0)), (", ".join(map(str, data)), cell)


def _joined(group: Sequence[Loaded]) -> Loaded:
    """One study of all, in the first one's folder; every record once."""
    if len(group) == 1:
        return group[0]
    first = group[0]
    references = {int(each.record.get("seed", 0)): each for study in reversed(group) for each in study.references}
    frontiers = {int(each.record.get("seed", 0)): each for study in reversed(group) for each in study.frontiers}
    return replace(
        first,
        experiment=_experiment([study.experiment for study in group]),
        cells=_once([cell for study in group for cell in study.cells]),
        references=tuple(references[seed] for seed in sorted(references)),
        skipped=tuple(line for study in group for line in study.skipped),
        unfinished=_waiting(group),
        trials=_once([cell for study in group for cell in study.trials]),
        frontiers=tuple(frontiers[seed] for seed in sorted(frontiers)),
    )


def _once(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Each fingerprint once, in the order of the folders' names, which no machine decides."""
    kept = {str(cell.record.get("fingerprint")): cell for cell in reversed(cells)}
    return tuple(sorted(kept.values(), key=lambda cell: cell.folder.name))


def _waiting(group: Sequence[Loaded]) -> tuple[str, ...]:
    """Unfinished folders that finished nowhere."""
    done = {cell.folder.name for study in group for cell in (*study.cells, *study.trials)}
    return tuple(sorted({name for study in group for name in study.unfinished} - done))


def _experiment(found: Sequence[Row]) -> Row:
    """The first experiment with the algorithms, seeds and plans of all."""
    plans = [each.get("plan") or {} for each in found]
    algorithms = {str(each.get("name")): each for one in reversed(found) for each in one.get("algorithms") or ()}
    joined: Row = {"algorithms": list(algorithms.values()), "seeds": _union(each.get("seeds") or () for each in found)}
    if any(plans):
        joined["plan"] = {key: _union(plan.get(key) or () for plan in plans) for key in ("algorithms", "seeds")}
    return {**found[0], **joined}


def _union(lists: Any) -> list[Any]:
    return list(dict.fromkeys(each for one in lists for each in one))


def _task(study: Loaded) -> str:
    named = next((cell.record.get("task") or {} for cell in study.cells), {}).get("name")
    return str(named or study.experiment.get("task") or "study")


def _assumed(study: Loaded) -> dict[str, Any]:
    """Assumptions by name, the task's own options among them."""
    every = (cell.record.get("assumptions") for cell in study.cells)
    own: Mapping[str, Any] = next((each for each in every if isinstance(each, Mapping)), {})
    return {**own, **(own.get("task_options") or {})}


def _plain(text: str) -> str:
    """The text with letters, digits, dots and dashes alone: it is a file's name and a LaTeX label."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", visible(text)).strip("-.") or "study"
