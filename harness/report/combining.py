"""Studies of several folders and machines as one: what is the same comparison is joined, and what contradicts itself is named.

Two folders hold the same comparison where their study keys agree. Their cells are united by fingerprint, their references by seed; times
belong to a machine and may differ, records and samples may not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.report import contradictions
from harness.report.escape import visible
from harness.report.points import Loaded, load
from harness.store.records import SCHEMA, Cell, Row, studies

SHOWN = 3  # names of records that a message lists


class Combined(NamedTuple):
    """The studies that can be reported, each with its label, what contradicts itself, and what was left out without contradiction."""

    studies: Sequence[tuple[str, Loaded]]
    problems: Sequence[HarnessError]
    left_out: Sequence[str]


def refuse_newer(study: Loaded) -> None:
    """HarnessError where a later version wrote some of a study's records: what is shown without them may be another result."""
    if study.newer:
        named = ", ".join(study.newer[:SHOWN]) + (f" and {len(study.newer) - SHOWN} more" if len(study.newer) > SHOWN else "")
        raise HarnessError(
            f"{study.folder.name} holds records of a schema newer than {SCHEMA}, which this version cannot read: {named}. Use the version "
            "that wrote them, or leave them out with --leave-out-newer."
        )


def combined(roots: Sequence[Path], *, leave_out_newer: bool = False) -> Combined:
    """Every study at or directly below the folders, those of one comparison joined. HarnessError where a folder holds none."""
    found, problems = _loaded(list(dict.fromkeys(folder for root in roots for folder in below(root))), leave_out_newer=leave_out_newer)
    apart = list(contradictions.apart(groups(found), task_of)) if len(roots) > 1 else []
    refused = {id(study) for each in apart for study in each[1:]}
    kept, left_out = [], []
    for group in groups([study for study in found if id(study) not in refused]):
        wrong = list(contradictions.within(group))
        problems += wrong
        if not wrong:
            kept.append(_joined(group))
            left_out += [f"{study.folder.name}: {line}" for study in group for line in study.skipped]
    return Combined(list(zip(labels(kept), kept, strict=True)), [*problems, *(each[0] for each in apart)], left_out)


def labels(found: Sequence[Loaded]) -> list[str]:
    """A name for each study, no two alike: its task's, with the assumptions in which studies of that task differ."""
    tasks = [task_of(study) for study in found]
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
    """The study at or the studies directly below a folder: those that hold an experiment.json."""
    if not root.is_dir():
        raise HarnessError(f"Results folder {root} does not exist.")
    found = studies(root)
    if not found:
        raise HarnessError(
            f"No study at or directly below {root}: a folder with an experiment.json is wanted; 'harness compare' makes one."
        )
    return found


def _loaded(folders: Sequence[Path], *, leave_out_newer: bool) -> tuple[list[Loaded], list[HarnessError]]:
    found: list[Loaded] = []
    problems = []
    for folder in folders:
        try:
            study = load(folder)
            if not leave_out_newer:
                refuse_newer(study)
            found.append(study)
        except HarnessError as error:  # of one study; the others have their report all the same
            problems.append(error)
    return found, problems


def groups(found: Sequence[Loaded]) -> list[list[Loaded]]:
    """Studies of one comparison together, in the order given; one whose key nobody saved stays alone."""
    groups: dict[tuple[str, str], list[Loaded]] = {}
    for study in found:
        groups.setdefault((task_of(study), str(study.experiment.get("study") or study.folder.resolve())), []).append(study)
    return list(groups.values())


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
        newer=tuple(name for study in group for name in study.newer),
        trials=_once([cell for study in group for cell in study.trials]),
        frontiers=tuple(frontiers[seed] for seed in sorted(frontiers)),
    )


def _once(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Each fingerprint once, in the order of the folders' names, which no machine decides."""
    kept = {contradictions.identity(cell): cell for cell in reversed(cells)}
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


def task_of(study: Loaded) -> str:
    """The name of a study's task."""
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
