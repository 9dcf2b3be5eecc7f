"""Which judge a word means where stored samples or labelled pairs are judged: a score of the task, a judge of any task, or a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import HarnessError, near
from harness.judges import find, templates
from harness.judges.scored import Scored
from harness.judges.words import References
from harness.measure import endpoint
from harness.measure.endpoint import AT_ONCE, SILENT, EndpointJudge, Price
from harness.measure.lineage import Lineage
from harness.measure.statistics.strengths import outcomes
from harness.plugins import registry
from harness.plural import plural
from harness.rejudging.stored import final, references_of, stored, task_of
from harness.store.cache import key_of
from harness.store.records import Study
from harness.types import Array, Response, Task

SAME = 1e-6  # two scores nearer than this are one
URL = "a URL such as http://localhost:8000/v1#MODEL"


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


Judge = ScoreRule | Scored | EndpointJudge


@dataclass(frozen=True)
class Asking:
    """How a judge behind a URL is asked: by which template, at which price, and how often it may give no verdict."""

    template: str = templates.DEFAULT
    price: Price | None = None
    silent: float = SILENT
    at_once: int = AT_ONCE


def price_of(text: str | None) -> Price | None:
    """``READ,WRITTEN`` as a price of a million tokens; HarnessError where it is no such pair of numbers."""
    if text is None:
        return None
    try:
        read, written = (float(each) for each in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read < np.inf and 0 <= written < np.inf):
        raise HarnessError(f"--price {text!r}: two prices of a million tokens are wanted, read and written, such as 0.15,0.6.")
    return Price(read, written)


def judge_of(word: str, study: Study, *, connected: bool = True, asking: Asking | None = None) -> Judge:
    """The judge that a word means for a study. Only one behind a URL that is connected has been asked for its model.

    Raises:
        HarnessError: there is none such, it cannot be reached, or it is a score of the task that gave other scores when it was recorded.
    """
    if "://" in word:
        return behind(word, asking or Asking(), connected=connected)
    names = _scores_of(study, needed=not find.is_general(word))
    if registry.canonical(word) in names:
        task = task_of(study)
        _refuse_other_rules(task, study)
        return ScoreRule(task, names[registry.canonical(word)])
    if find.is_general(word):
        return find.scored(word, references_of(study))
    raise HarnessError(_unknown(word, names, str(study.experiment.get("task"))))


def general(word: str, references: References, asking: Asking) -> Scored | EndpointJudge:
    """The judge that a word means where there is no task; HarnessError where there is none such."""
    return behind(word, asking) if "://" in word else find.scored(word, references)


def behind(word: str, asking: Asking, *, connected: bool = True) -> EndpointJudge:
    """The judge behind a URL, asked as is said."""
    template = templates.template_of(asking.template)
    judge = endpoint.connect(word) if connected else endpoint.named(word)
    return replace(judge, template=template, silent=asking.silent, at_once=asking.at_once)


def _scores_of(study: Study, *, needed: bool) -> Mapping[str, str]:
    """The names of the task's own judges as they are compared; none where its judge is a model that was fitted and has said all it says.

    Nor where the task cannot be had, its data not being on this machine, and another judge may be meant that needs neither.
    """
    try:
        task = task_of(study)
    except HarnessError:
        if needed:
            raise
        return {}
    return {registry.canonical(name): name for name in task.judges} if task.score is not None else {}


def _unknown(word: str, names: Mapping[str, str], task: str) -> str:
    own = [*names.values()]
    said = f"is none of task {task}" if own else f"is unknown, and task {task} is judged by a fitted model that has said all it has to say"
    near_by = near(word, [*own, *find.NAMES])
    return f"judge {word!r} {said}.{near_by} Legal: {', '.join([*own, *find.NAMES])}, {find.FORMS}, or {URL}."


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
            raise HarnessError(
                f"{said}; the installed {task.version} scores {wrong:,} of {plural(len(rows), 'stored response')} otherwise by {name}."
            )


def slug(judge: Judge) -> str:
    """The judge as a file's name: its own, and the beginning of its key."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', judge.name).strip('._') or 'judge'}-{judge.key[:8]}"


def described(judge: Judge) -> dict[str, object]:
    """Who judges, as a record holds it; no address, for a host is nobody's business."""
    found: dict[str, object] = {"name": judge.name, "key": judge.key, "asked": "both ways round" if judge.order_sensitive else "once"}
    if isinstance(judge, EndpointJudge):
        return found | {"template": templates.named(judge.template), "lineage": Lineage(judge.name).plain()}
    if isinstance(judge, Scored):
        return found | {"unit": judge.unit, **judge.facts, "lineage": Lineage(f"{judge.name} {judge.key[:8]}").plain()}
    return found | {"lineage": Lineage(f"{judge.name} of {judge.task.name}, version {judge.task.version}").plain()}


def spent(judge: Judge, texts: Sequence[tuple[str, str, str]], price: Price | None) -> dict[str, object]:
    """What a judge took to answer these questions, as a record holds it; of one that scores, what it read and had to cut."""
    if not isinstance(judge, EndpointJudge):
        counts = dict(judge.counts()) if isinstance(judge, Scored) else {}
        return {"read": counts} if counts else {}
    usage = judge.usage(texts)
    cost = {"price": price._asdict(), "cost": usage.cost(price)} if price else {}
    return {"usage": usage._asdict(), **cost}


def in_words(judge: Judge, texts: Sequence[tuple[str, str, str]], price: Price | None) -> str:
    """The same for a reader, as the end of a sentence; empty where a judge costs nothing and cut nothing."""
    if isinstance(judge, EndpointJudge):
        usage = judge.usage(texts)
        said = f"; {plural(usage.questions, 'answer')}, {usage.silent:,} without a verdict, {plural(usage.read, 'token')} read, "
        said += f"{usage.written:,} written"
        uncounted = f" ({plural(usage.uncounted, 'answer')} came without a count)" * bool(usage.uncounted)
        return said + uncounted + (f", cost {usage.cost(price):.4g}" if price else "")
    cut = judge.counts().get("cut", 0) if isinstance(judge, Scored) else 0
    return f"; {cut:,} of {plural(judge.counts()['read'], 'text')} too long and cut" if isinstance(judge, Scored) and cut else ""
