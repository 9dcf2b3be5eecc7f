"""``harness judge``: stored samples judged again, without the policy and without a GPU, by any judge that needs the texts alone.

Every run's final samples meet the SFT sample that is stored beside them, one comparison for each prompt, so that two judges can be held
against each other on the same comparisons. What was judged is not judged again; what is missing is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.judges.scored import Scored
from harness.measure import endpoint
from harness.measure.endpoint import EndpointJudge, Price
from harness.measure.pairwise import ask
from harness.plural import plural
from harness.rejudging.appointed import Asking, Judge, ScoreRule, described, in_words, judge_of, slug, spent
from harness.rejudging.stored import Comparison, comparisons, final, found_studies, stored, task_of
from harness.store import judgements, records
from harness.store.judgements import Answers
from harness.store.records import Cell, Study
from harness.types import Array

__all__ = ["Comparison", "Judge", "Say", "ScoreRule", "comparisons", "final", "found_studies", "judge_again", "slug", "stored", "task_of"]

CHARACTERS = 4  # of English in a token, roughly
Say = Callable[[str], None]
Todo = Sequence[tuple[Cell, Sequence[Comparison]]]


def judge_again(
    results: Path, word: str, *, limit: int | None = None, dry_run: bool = False, say: Say = print, asking: Asking | None = None
) -> None:
    """Judge the stored samples of every study at or directly below a folder by ``word`` (``appointed.judge_of``), or only price it.

    ``limit`` takes the first prompts of each run only. Raises HarnessError in one line; what was answered until then is kept.
    """
    asking = asking or Asking()
    held = {folder: records.read(folder) for folder in found_studies(results)}
    known = {folder: study for folder, study in held.items() if any(comparisons(cell) for cell in stored(study))}
    if not known:
        raise HarnessError(f"{results}: no record holds responses with single SFT samples that they met: nothing to judge again.")
    for folder in held.keys() - known.keys():
        say(f"{folder.name}: left out, for it holds no responses with single SFT samples that they met.")
    for folder, study in known.items():
        judge = judge_of(word, study, connected=not dry_run, asking=asking)
        todo = _todo(study, judge, limit)
        say(_price(folder, judge, todo, asking.price) if dry_run else _study(folder, judge, todo, asking.price))


def _todo(study: Study, judge: Judge, limit: int | None) -> Todo:
    """Every run with what there is to judge of it."""
    cap = judge.task.max_response_tokens if isinstance(judge, ScoreRule) else math.inf
    return [(cell, rows) for cell in stored(study) if (rows := comparisons(cell, cap)[:limit])]


def _study(folder: Path, judge: Judge, todo: Todo, price: Price | None) -> str:
    """Judge what is left of a study, with its own store of answers where the judge is asked over a network; one line on it."""
    with ExitStack() as stack:
        kept = stack.enter_context(Answers(folder, slug(judge))) if isinstance(judge, EndpointJudge) else None
        asked = replace(judge, answers=kept) if isinstance(judge, EndpointJudge) and kept is not None else judge
        done = sum(_judge(cell, asked, rows, price) for cell, rows in todo)
        took = in_words(asked, [each for _, rows in todo for each in _texts(rows)], price)
    return f"{folder.name}: {judge.name} judged {done} of {plural(len(todo), 'record')} now, {len(todo) - done} before{took}."


def _texts(rows: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    """What is asked about these comparisons, both ways round."""
    return [each for row in rows for each in (row.texts, row.turned)]


def _judge(cell: Cell, judge: Judge, rows: Sequence[Comparison], price: Price | None) -> bool:
    """Judge one run and write it; False where all of it was judged before."""
    if _judged(cell, judge, rows):
        return False
    prompts, ours, theirs = [row.prompt for row in rows], [row.ours for row in rows], [row.theirs for row in rows]
    found = ask(judge, prompts, ours, theirs, generator=np.random.default_rng(0)).wins
    columns = {"win": found}
    if judge.order_sensitive:  # all of it is answered by now
        columns |= {"forward": judge(prompts, ours, theirs), "backward": judge(prompts, theirs, ours)}
    columns |= _heard(judge, rows, columns)
    said = [{"prompt_id": row.prompt_id, **{name: _plain(each[i]) for name, each in columns.items()}} for i, row in enumerate(rows)]
    facts = {
        "kind": "judge",
        **described(judge),
        "mark": float(cell.record["checkpoints"][-1]["mark"]),
        **spent(judge, _texts(rows), price),
    }
    judgements.write(cell.folder, slug(judge), facts, said)
    return True


def _heard(judge: Judge, rows: Sequence[Comparison], columns: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of a judge that may give no verdict, NaN where it gave none: a silence is no tie."""
    if not isinstance(judge, EndpointJudge):
        return {}
    forward, backward = judge.decided([row.texts for row in rows]), judge.decided([row.turned for row in rows])
    known = {"forward": forward, "backward": backward, "win": np.logical_and(forward, backward)}
    return {name: np.where(heard, columns[name], np.nan) for name, heard in known.items()}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _judged(cell: Cell, judge: Judge, rows: Sequence[Comparison]) -> bool:
    """Whether the judge's verdicts on all of these stand beside the record."""
    before = judgements.read(cell.folder).get(slug(judge))
    return before is not None and {row["prompt_id"] for row in before.rows} >= {row.prompt_id for row in rows}


def _price(folder: Path, judge: Judge, todo: Todo, price: Price | None) -> str:
    """How much is left to judge, from records alone; HarnessError where the judge would refuse some of it."""
    unjudged = [rows for cell, rows in todo if not _judged(cell, judge, rows)]
    left = [row for rows in unjudged for row in rows]
    for rows in unjudged:
        if isinstance(judge, Scored):
            judge.refuse([row.prompt for row in rows] * 2, [*(row.ours for row in rows), *(row.theirs for row in rows)])
    every = plural(sum(len(rows) for _, rows in todo), "comparison")
    said = f"{folder.name}: {every} of {plural(len(todo), 'record')}, {len(left):,} not judged yet"
    if not isinstance(judge, EndpointJudge):
        return f"{said}; by {'a rule of the task' if isinstance(judge, ScoreRule) else judge.name}, on this machine. Nothing was run."
    known = judgements.answered(folder, slug(judge)) if judge.model else {}
    new = [each for each in dict.fromkeys(_texts(left)) if endpoint.question(*each) not in known]
    unnamed = "" if judge.model else " Name the model (URL#MODEL) to count what it has answered already."
    read = sum(len(judge.asked(*each)) for each in new) / CHARACTERS
    tokens = f"about {plural(round(read), 'token')} to read and {len(new):,} to write"
    cost = f", at least {(read * price.read + len(new) * price.written) / 1e6:.4g} in the price's currency" if price else ""
    asked = f"{plural(len(new), 'question')}, both ways round, {tokens} ({CHARACTERS} characters a token){cost}"
    return f"{said}; {asked}.{unnamed} Nothing was run."
