"""``harness judge``: stored samples judged again, without the policy and without a GPU, by a judge of the task or one behind a URL.

Every run's final samples meet the SFT sample that is stored beside them, one comparison for each prompt, so that two judges can be held
against each other on the same comparisons. What was judged is not judged again; what is missing is added.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness import registry
from harness.errors import HarnessError, near
from harness.measure import endpoint
from harness.measure.endpoint import EndpointJudge
from harness.measure.lineage import Lineage
from harness.measure.pairwise import ask
from harness.measure.statistics.strengths import outcomes
from harness.store import judgements, records
from harness.store.cache import key_of
from harness.store.judgements import Answers
from harness.store.records import Cell, Row, Study
from harness.types import Array, Response, Task

SAME = 1e-6  # two scores nearer than this are one
CHARACTERS = 4  # of English in a token, roughly
Say = Callable[[str], None]


class Comparison(NamedTuple):
    """A stored response and the SFT sample that it met on one prompt."""

    prompt_id: int
    prompt: str
    ours: Response
    theirs: Response

    @property
    def texts(self) -> tuple[str, str, str]:
        """What a judge reads."""
        return self.prompt, self.ours.text, self.theirs.text


@dataclass(frozen=True)
class ScoreRule:
    """A ``PairwiseJudge`` by one of a task's own scores: the higher wins; it sees no order."""

    task: Task
    name: str
    order_sensitive: bool = False

    @property
    def key(self) -> str:
        """What its answers depend on besides the texts."""
        return key_of({"judge": self.name, "task": self.task.name, "version": self.task.version})

    def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
        """1 where the first response has the higher score, 0 where the second has, 1/2 for a tie, (prompts,)."""
        assert self.task.score is not None
        one, other = (self.task.score(prompts, responses)[self.name] for responses in (first, second))
        return outcomes(one, other)


Judge = ScoreRule | EndpointJudge


def judge_again(results: Path, word: str, *, limit: int | None = None, dry_run: bool = False, say: Say = print) -> None:
    """Judge the stored samples of every study at or below a folder by ``word``, a judge of the task or a URL; ``dry_run`` only prices it.

    ``limit`` takes the first prompts of each run only. Raises HarnessError in one line; what was answered until then is kept.
    """
    held = {folder: records.read(folder) for folder in found_studies(results)}
    known = {folder: study for folder, study in held.items() if any(comparisons(cell) for cell in stored(study))}
    if not known:
        raise HarnessError(f"{results}: no record holds responses with single SFT samples that they met: nothing to judge again.")
    for folder in held.keys() - known.keys():
        say(f"{folder.name}: left out, for it holds no responses with single SFT samples that they met.")
    for folder, study in known.items():
        judge = judge_of(word, study, connected=not dry_run)
        todo = [(cell, rows) for cell in stored(study) if (rows := comparisons(cell, judge)[:limit])]
        say(_price(folder, judge, todo) if dry_run else _study(folder, judge, todo))


def _study(folder: Path, judge: Judge, todo: Sequence[tuple[Cell, Sequence[Comparison]]]) -> str:
    """Judge what is left of a study, with its own store of answers where the judge is asked over a network; one line on it."""
    with ExitStack() as stack:
        asked = judge if isinstance(judge, ScoreRule) else replace(judge, answers=stack.enter_context(Answers(folder, slug(judge))))
        done = sum(_judge(cell, asked, rows) for cell, rows in todo)
    return f"{folder.name}: {judge.name} judged {done} of {len(todo)} records now, {len(todo) - done} before."


def _judge(cell: Cell, judge: Judge, rows: Sequence[Comparison]) -> bool:
    """Judge one run and write it; False where all of it was judged before."""
    if _judged(cell, judge, rows):
        return False
    prompts, ours, theirs = [row.prompt for row in rows], [row.ours for row in rows], [row.theirs for row in rows]
    found = ask(judge, prompts, ours, theirs, generator=np.random.default_rng(0)).wins
    columns = {"win": found}
    if judge.order_sensitive:  # all of it is answered by now
        columns |= {"forward": judge(prompts, ours, theirs), "backward": judge(prompts, theirs, ours)}
    said = [{"prompt_id": row.prompt_id, **{name: float(each[i]) for name, each in columns.items()}} for i, row in enumerate(rows)]
    judgements.write(cell.folder, slug(judge), _facts(judge, cell), said)
    return True


def _judged(cell: Cell, judge: Judge, rows: Sequence[Comparison]) -> bool:
    """Whether the judge's verdicts on all of these stand beside the record."""
    before = judgements.read(cell.folder).get(slug(judge))
    return before is not None and {row["prompt_id"] for row in before.rows} >= {row.prompt_id for row in rows}


def _facts(judge: Judge, cell: Cell) -> dict[str, object]:
    """Who judged, and from where; no address, for a host is nobody's business."""
    own = Lineage(judge.name if isinstance(judge, EndpointJudge) else f"{judge.name} of {judge.task.name}, version {judge.task.version}")
    asked = "both ways round" if judge.order_sensitive else "once"
    mark = float(cell.record["checkpoints"][-1]["mark"])
    return {"kind": "judge", "name": judge.name, "key": judge.key, "asked": asked, "mark": mark, "lineage": own.plain()}


def slug(judge: Judge) -> str:
    """The judge as a file's name: its own, and the beginning of its key."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', judge.name).strip('._') or 'judge'}-{judge.key[:8]}"


def _price(folder: Path, judge: Judge, todo: Sequence[tuple[Cell, Sequence[Comparison]]]) -> str:
    """How much is left to judge, from records alone."""
    left = [row for cell, rows in todo if not _judged(cell, judge, rows) for row in rows]
    said = f"{folder.name}: {sum(len(rows) for _, rows in todo)} comparisons of {len(todo)} records, {len(left)} not judged yet"
    if isinstance(judge, ScoreRule):
        return f"{said}; by a rule of the task, on this machine. Nothing was run."
    asked = {each for row in left for each in (row.texts, (row.prompt, row.theirs.text, row.ours.text))}
    known = judgements.answered(folder, slug(judge)) if judge.model else {}
    new = [each for each in asked if endpoint.question(*each) not in known]
    characters = sum(len(judge.asked(*each)) for each in new)
    unnamed = "" if judge.model else " Name the model (URL#MODEL) to count what it has answered already."
    tokens = f"about {characters / CHARACTERS:,.0f} tokens to read and {len(new):,} to write"
    return f"{said}; {len(new)} questions, both ways round, {tokens} ({CHARACTERS} characters a token).{unnamed} Nothing was run."


def found_studies(results: Path) -> list[Path]:
    """The studies at or below a folder; HarnessError where there is none."""
    found = records.studies(results)
    if not found:
        raise HarnessError(f"No study at or below {results}: a folder with an experiment.json is wanted; 'harness compare' makes one.")
    return found


def stored(study: Study) -> list[Cell]:
    """The references and the finished cells of a study."""
    return [
        *study.references,
        *(cell for cell in study.cells if cell.record.get("status") == "finished" and cell.record.get("checkpoints")),
    ]


def task_of(study: Study) -> Task:
    """The task of a study, as it is installed."""
    experiment = study.experiment
    module = registry.load("tasks", str(experiment.get("task_path") or experiment.get("task")))
    task: Task = module.task(experiment.get("source"), **(experiment.get("task_options") or {}))
    return task


def _refuse_other_rules(task: Task, study: Study) -> None:
    """HarnessError where the installed task gives stored responses other scores than those recorded; its version alone says too much."""
    assert task.score is not None
    every = ([row for row in final(cell, "evaluation") if row.get(task.judges[0]) is not None] for cell in stored(study))
    rows = next(filter(None, every), [])
    said = f"{study.folder.name} was made with version {study.experiment.get('task_version')} of task {task.name}"
    try:
        scores = task.score([r["prompt"] for r in rows], [Response(r["response"], finished=bool(r.get("finished", True))) for r in rows])
    except ValueError as error:
        raise HarnessError(f"{said}; the installed {task.version} cannot read a stored prompt: {error}.") from error
    for name in task.judges:
        recorded = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        if wrong := int((np.abs(recorded - scores[name]) > SAME).sum()):  # what a record lacks, it cannot contradict
            raise HarnessError(f"{said}; the installed {task.version} scores {wrong} of {len(rows)} stored responses otherwise by {name}.")


def judge_of(word: str, study: Study, *, connected: bool = True) -> Judge:
    """The judge that a word means: a URL, or one of the judges of the study's task. Only a connected one has been asked for its model."""
    if "://" in word:
        return endpoint.connect(word) if connected else endpoint.named(word)
    task = task_of(study)
    if task.score is None:
        raise HarnessError(f"judge {word!r}: the judge of task {task.name} is a fitted model and has said all it has to say; give a URL.")
    names = {registry.canonical(name): name for name in task.judges}
    if registry.canonical(word) not in names:
        legal = f"{', '.join(task.judges)}, or a URL such as http://localhost:8000/v1#MODEL"
        raise HarnessError(f"judge {word!r} is none of task {task.name}.{near(word, task.judges)} Legal: {legal}.")
    _refuse_other_rules(task, study)
    return ScoreRule(task, names[registry.canonical(word)])


def comparisons(cell: Cell, judge: Judge | None = None) -> list[Comparison]:
    """A run's responses at its last mark, each with the SFT sample stored beside it; none from before single outcomes were kept."""
    cap = judge.task.max_response_tokens if isinstance(judge, ScoreRule) else math.inf
    whole = [row for row in final(cell, "evaluation") if row.get("wins_each") and row.get("sft_response") is not None and "response" in row]
    return [_comparison(row, cap) for row in whole]


def final(cell: Cell, part: str) -> list[Row]:
    """The rows of a slice at a run's last mark."""
    mark = float(cell.record["checkpoints"][-1]["mark"])
    return [row for row in cell.samples() if row.get("mark") == mark and row.get("slice") == part]


def _comparison(row: Row, cap: float) -> Comparison:
    """The sample that a response met ended by itself if it is shorter than the cap: at the cap it was cut off, or its EOS was."""
    theirs = Response(row["sft_response"], finished=row["opponent_lengths"][0] < cap)
    return Comparison(int(row["prompt_id"]), row["prompt"], Response(row["response"], finished=bool(row.get("finished", True))), theirs)
