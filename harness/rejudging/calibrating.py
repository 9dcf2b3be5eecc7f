"""``harness judge --calibrate DATA``: a judge against those who labelled the pairs of a data set.

Who they were the data does not say: where a model labelled them, this is agreement with that model.

A record of it stands in ``calibrations/`` below the results folder, ``KEY.json`` with the numbers and ``KEY.jsonl.gz`` with every pair's
outcome; reports of studies that the same judge judged show it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import sources
from harness.errors import HarnessError
from harness.judges.calibration import Calibration, calibration
from harness.measure.endpoint import EndpointJudge
from harness.measure.pairwise import PairwiseJudge, ask
from harness.measure.statistics import Interval
from harness.plural import plural
from harness.rejudging.appointed import Asking, described, general, in_words, slug, spent
from harness.rejudging.judging import Say
from harness.store.calibrations import FOLDER, write
from harness.store.judgements import Answers
from harness.types import Array, Response

LINES = (
    ("agreement", "agrees with the labels, ties one half"),
    ("kappa", "Cohen's kappa"),
    ("ties", "ties"),
    ("consistency", "same verdict both ways round"),
    ("position", "prefers the first place by"),
    ("longer", "chooses the longer of two"),
    ("labels_longer", "labels choose the longer of two"),
    ("length_bias", "prefers the longer by, against the labels"),
    ("where_longer", "agrees where labels chose the longer"),
    ("where_shorter", "agrees where labels chose the shorter"),
)
SEEN_ALONE, UNDECIDED = "cannot matter: asked once", "no verdict both ways round"


def calibrate(data: Path, word: str, results: Path, *, limit: int | None = None, say: Say = print, asking: Asking | None = None) -> Path:
    """Hold the judge that ``word`` means against the labels of a data file, write the record and say what is in it; its path.

    ``limit`` takes the first labelled pairs only. Raises HarnessError in one line; what a judge behind a URL answered until then is kept.
    """
    asking = asking or Asking()
    source = sources.read_rows(data)
    rows = [row for row in source.rows if row.chosen and row.rejected][:limit]
    if not rows:
        raise HarnessError(f"{data}: no labelled pair in it ({source.counts()}).")
    references = {row.prompt: [row.reference] for row in rows if row.reference}
    judge = general(word, references, asking)
    folder = results / FOLDER
    with ExitStack() as stack:
        if isinstance(judge, EndpointJudge):
            judge = replace(judge, answers=stack.enter_context(Answers(folder, slug(judge))))
        wins, places = _verdicts(judge, rows)
        heard = _heard(judge, rows)
        texts = [text for row in rows for text in _texts(row)]
        took, said = spent(judge, texts, asking.price), in_words(judge, texts, asking.price)
    lengths = np.array([[len(str(text).split()) for text in (row.chosen, row.rejected)] for row in rows], dtype=np.float64)
    prompts = [row.prompt for row in rows]
    found = calibration(wins, places, lengths, prompts, make=lambda: np.random.default_rng(0), decided=_both(heard))
    about = {"name": data.name, "sha256": source.sha256, "layout": source.layout, "rows": source.counts(), "pairs": len(rows)}
    facts = {"judge": {**described(judge), **took}, "data": about, "metrics": _plain(found)}
    path = write(folder, f"{slug(judge)}-{_key(source.sha256, limit)}", facts, _outcomes(wins, places, lengths, heard))
    shown = table(facts["metrics"], once=places is None)
    say(f"{judge.name} against the labels of {data.name}: {plural(len(rows), 'pair')}{said}.\n{shown}\nRecord: {path}")
    return path


def _verdicts(judge: PairwiseJudge, rows: Sequence[sources.Row]) -> tuple[Array, tuple[Array, Array] | None]:
    """Outcomes for the chosen responses, and where order can matter those of either place."""
    prompts, chosen, rejected = [r.prompt for r in rows], [Response(str(r.chosen)) for r in rows], [Response(str(r.rejected)) for r in rows]
    wins = ask(judge, prompts, chosen, rejected, generator=np.random.default_rng(0)).wins
    if not judge.order_sensitive:
        return wins, None
    return wins, (judge(prompts, chosen, rejected), judge(prompts, rejected, chosen))  # all of it is answered by now


def _heard(judge: PairwiseJudge, rows: Sequence[sources.Row]) -> Array:
    """Whether the judge gave a verdict to each pair in either order, (pairs, 2)."""
    if not isinstance(judge, EndpointJudge):
        return np.ones((len(rows), 2), dtype=bool)
    return np.array([judge.decided(_texts(row)) for row in rows])


def _both(heard: Array) -> Array:
    """Which pairs got a verdict both ways round, (pairs,)."""
    return np.logical_and(heard[:, 0], heard[:, 1])


def _texts(row: sources.Row) -> list[tuple[str, str, str]]:
    chosen, rejected = str(row.chosen), str(row.rejected)
    return [(row.prompt, chosen, rejected), (row.prompt, rejected, chosen)]


def _outcomes(wins: Array, places: tuple[Array, Array] | None, lengths: Array, heard: Array) -> list[dict[str, float | None]]:
    """A row for every pair, in the order of the file; None where there was no verdict."""
    columns = {"win": np.where(_both(heard), wins, np.nan), "chosen_words": lengths[:, 0], "rejected_words": lengths[:, 1]}
    if places is not None:
        columns |= {name: np.where(heard[:, way], places[way], np.nan) for way, name in enumerate(("forward", "backward"))}
    numbers = [{name: float(each[index]) for name, each in columns.items()} for index in range(len(wins))]
    return [{"pair": pair, **{k: None if np.isnan(v) else v for k, v in row.items()}} for pair, row in enumerate(numbers)]


def _plain(found: Calibration) -> dict[str, Any]:
    return {name: each._asdict() if isinstance(each, Interval) else None for name, each in found._asdict().items()}


def _key(sha256: str, limit: int | None) -> str:
    """The data and how much of it, as part of a file's name."""
    return hashlib.sha256(f"{sha256}:{limit}".encode()).hexdigest()[:8]


def table(metrics: dict[str, Any], *, once: bool) -> str:
    """The numbers for a terminal, each with its interval and n, prompts; ``once`` says that the judge was asked one way round."""
    wide = max(len(words) for _, words in LINES)
    rows = [f"  {words:<{wide}}  {_said(metrics[name], name, once)}" for name, words in LINES]
    return "\n".join([*rows, "  95 % bootstrap over prompts; n counts prompts. Lengths are in words."])


def _said(number: dict[str, Any] | None, name: str, once: bool) -> str:
    if number is None:
        if name in ("consistency", "position"):
            return SEEN_ALONE if once else UNDECIDED
        return UNDECIDED if name in ("agreement", "kappa", "ties") else "no such pairs"
    sign = "+" if name in ("position", "length_bias") else ""
    value, lower, upper = (float(number[each]) for each in ("value", "lower", "upper"))
    bounds = f"[{lower:{sign}.3f}, {upper:{sign}.3f}]" if np.isfinite(lower + upper) else "[no bounds]"
    return f"{value:{sign}.3f} {bounds} n={number['n']}"
