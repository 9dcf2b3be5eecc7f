"""Outcomes of other systems as a study: ordinary records, so that every statistic and room of a page takes them as it takes its own.

An outcome stands where a win rate against the SFT reference stands; the study's notes and its caveats say so. What a file does not say
is not invented: no KL, no frontier; no compute, no match; no reference of its own, no safety verdicts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, near
from harness.measure.statistics import prompt_interval
from harness.outside.outcomes import Outcome, Table, read
from harness.store import records
from harness.store.writer import CellWriter

MARK = 1.0
UNSAID = "as imported"
MEANING = (
    "Imported from {file}: where this page says win rate against the SFT reference or samples, read the mean outcome of that file, in "
    "[0, 1], against whatever it was judged."
)
NO_REFERENCE = "Categories were imported and no reference: safety verdicts compare with one, named with --reference."


def study(file: Path, results: Path, *, task: str | None = None, baseline: str | None = None, reference: str | None = None) -> Path:
    """Write the outcomes in a CSV file as a study below ``results``; its folder comes back, the same for the same file and names.

    ``reference`` names the algorithm that the others are measured against: its outcomes become the reference of each seed, its lengths
    those of the opponents. ``baseline`` is what every other algorithm is tested against; the first in the file where none is named.

    Raises:
        HarnessError: the file cannot be imported (``outcomes.read``), or a name is not among its algorithms.
    """
    table = read(file)
    names = list(dict.fromkeys(each.algorithm for each in table.outcomes))
    for name in (baseline, reference):
        if name is not None and name not in names:
            raise HarnessError(f"{name!r} is not among the algorithms of {file} ({', '.join(names)}).{near(name, names)}")
    compared = [name for name in names if name != reference]
    if not compared:
        raise HarnessError(f"{file}: {reference!r} is its only algorithm; nothing is left to compare with it.")
    if baseline is not None and baseline == reference:
        raise HarnessError(f"{baseline!r} cannot be both the reference and the baseline, which is one of those compared.")
    digest = hashlib.sha256(file.read_bytes() + repr((task, baseline, reference)).encode()).hexdigest()
    name = re.sub(r"[^\w.-]", "_", task or file.stem)
    folder = results / f"{name}-{digest[:8]}"
    facts = {"task": {"name": name, "version": digest[:8], "source": file.name}, "study": digest}
    _write_experiment(folder, file, table, facts, compared, baseline or compared[0], reference)
    _write_runs(folder, table.outcomes, facts, reference)
    return folder


def said(folder: Path) -> str:
    """What was imported, in a few lines: how many outcomes of what, and what cannot be said for want of columns or answers."""
    found = records.read(folder)
    facts = found.experiment["imported"]
    prompts = [{row["prompt_id"] for row in cell.samples()} for cell in found.cells]
    outcomes = sum(len(cell.samples()) for cell in (*found.cells, *found.references))
    shared, every = len(set.intersection(*prompts)), len(set.union(*prompts))
    lines = [f"{outcomes} outcomes of {len(found.cells) + len(found.references)} runs on {every} prompts from {facts['file']}."]
    if shared < every:
        lines.append(f"Only {shared} prompts were answered in every run: comparisons use what both sides answered.")
    if facts["unused"]:
        lines.append(f"Columns not used: {', '.join(facts['unused'])}.")
    return "\n".join([*lines, *found.experiment["notes"][1:]])


def _write_experiment(
    folder: Path, file: Path, table: Table, facts: Mapping[str, Any], names: Sequence[str], baseline: str, reference: str | None
) -> None:
    seeds = sorted({each.seed for each in table.outcomes})
    categories = any(each.category for each in table.outcomes)
    plan = {"algorithms": list(names), "seeds": seeds}
    value = {
        "task": facts["task"]["name"],
        "study": facts["study"],
        "fingerprint": facts["study"],
        "seeds": seeds,
        "budget": UNSAID,
        "algorithms": [{"name": name} for name in names],
        "baseline": baseline,
        "plan": plan,
        "notes": [MEANING.format(file=file.name), *([NO_REFERENCE] if categories and reference is None else [])],
        "imported": {"file": file.name, "reference": reference, "unused": table.unused},
    }
    records.write_json(folder / records.EXPERIMENT, value)


def _write_runs(folder: Path, outcomes: Sequence[Outcome], facts: Mapping[str, Any], reference: str | None) -> None:
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(each.prompt for each in outcomes))}
    opponents = {(each.seed, each.prompt): each for each in outcomes if each.algorithm == reference}
    runs: dict[tuple[str, str, int], list[Outcome]] = {}
    for each in outcomes:
        runs.setdefault(each.run, []).append(each)
    for (algorithm, setting, seed), found in runs.items():
        rows = [_row(each, prompts[each.prompt], opponents.get((seed, each.prompt))) for each in found]
        ended = {"status": "finished", "failure": None, "imported": True, "checkpoints": [_checkpoint(rows)]}
        record = {**facts, **ended, "kind": "cell", "seed": seed}
        if algorithm == reference:
            _write(folder / "references" / f"seed{seed}", {**record, "kind": "reference"}, rows)
        else:
            named = re.sub(r"[^\w.=+-]", "_", "-".join(filter(None, [algorithm, setting, f"seed{seed}"])))
            mark = hashlib.sha256(repr((algorithm, setting, seed)).encode()).hexdigest()
            _write(folder / "cells" / f"{named}-{mark[:8]}", {**record, "fingerprint": mark, **_run(found)}, rows)


def _run(found: Sequence[Outcome]) -> dict[str, Any]:
    """What a record says of the run itself: its name, its setting, and its price where the file gives one."""
    head, price = found[0], next((each.numbers["flops"] for each in found if "flops" in each.numbers), None)
    setting = setting_of(head.setting)
    return {
        "algorithm": {"name": head.algorithm, "family": "imported", "control": False, "knob": next(iter(setting), None)},
        "setting": setting,
        "settings": setting,
        "budget": {"spec": UNSAID, "match": "flops"},
        "compute": {"declared": True, "canonical": {} if price is None else {"update": price}, "executed": {}, "counts": {}},
    }


def setting_of(text: str) -> dict[str, Any]:
    """``beta=0.1, steps=3`` as a table of numbers and words; a text of another form is the value of ``setting``."""
    parts = [part.partition("=") for part in text.split(",")]
    if not text or any(not name.strip() or not sign for name, sign, _ in parts):
        return {"setting": text} if text else {}
    return {name.strip(): _value(value.strip()) for name, _, value in parts}


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _row(each: Outcome, prompt: int, opponent: Outcome | None) -> dict[str, Any]:
    """A sample row as an evaluation writes it; keys that the file says nothing of are absent."""
    row: dict[str, Any] = {"mark": MARK, "slice": "evaluation", "prompt_id": prompt, "prompt": each.prompt}
    row |= {"win_sft": each.outcome} | ({"response": each.response} if each.response else {})
    row |= {name: each.numbers[name] for name in ("kl", "length") if name in each.numbers}
    row |= {"group": each.category, "outcome": each.outcome} if each.category else {}
    theirs = each.numbers.get("opponent_length", None if opponent is None else opponent.numbers.get("length"))
    if theirs is not None and "length" in row:
        row |= {"wins_each": [each.outcome], "opponent_lengths": [theirs]}
    return row


def _checkpoint(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The end of a run: every number that all of its rows have, with its prompt interval."""
    shared = [name for name in ("win_sft", "kl", "length") if all(name in row for row in rows)]
    found = {name: prompt_interval([row[name] for row in rows], generator=np.random.default_rng(0))._asdict() for name in shared}
    return {"mark": MARK, "share": 1.0, "step": 0, "final": True, "started": True, "alarms": [], "metrics": found}


def _write(folder: Path, record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    with CellWriter(folder) as writer:
        writer.samples(rows)
        writer.finish(record, {})
