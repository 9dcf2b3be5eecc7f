"""The page's room on what a judge is worth: its agreement with labels where it was held against some, and what its answers took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.report.escape import deeply
from harness.report.points import Loaded, Point
from harness.report.rejudged import Again, judges
from harness.report.section import Grid, Looks, Section
from harness.store import calibrations, judgements

COLUMNS = {
    "agreement": "agrees with the labels",
    "kappa": "Cohen's kappa",
    "ties": "ties",
    "consistency": "same verdict both ways round",
    "position": "prefers the first place by",
    "longer": "chooses the longer",
    "labels_longer": "labels choose the longer",
    "length_bias": "prefers the longer by",
}
SIGNED = ("position", "length_bias")
MEANING = (
    "Judges of this page that were held against labels of other responses. A tie counts one half in the agreement and none in kappa, "
    "which counts every pair in both orders: 0 is chance. Lengths are in words, of pairs that differ in them. Who labelled the data it "
    "does not say; agreement with a model's labels is agreement with that model."
)
NOTHING = "The judges of this page were held against no labels: 'harness judge RESULTS --calibrate DATA --judge JUDGE' does it."


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """How judges of this study agree with labels, and what those behind a URL took; None where all judges are the task's own."""
    asked = judges(study)
    keys = _keys(study, asked)
    if not keys:
        return None
    known = [deeply(each) for each in calibrations.read(study.folder.parent) if each["judge"].get("key") in keys]
    grids = [_agreement(known)] if known else []
    return Section(
        "calibration",
        "What the judges are worth",
        paragraphs=[MEANING if known else NOTHING],
        tables=[*grids, *_took(study, asked)],
    )


def _keys(study: Loaded, asked: Sequence[Again]) -> set[str]:
    """Keys of the judges of any task that judged this study, when it was made or later; a task's own scores are held against nothing."""
    brought = {str((cell.record.get("judge") or {}).get("brought", {}).get("key", "")) for cell in study.cells}
    later = {str(each.facts.get("key")) for each in asked if "unit" in each.facts or "template" in each.facts}
    return (brought | later) - {""}


def _agreement(known: Sequence[Mapping[str, Any]]) -> Grid:
    rows = []
    for each in known:
        once = each["judge"].get("asked") == "once"
        metrics = [_said(each["metrics"].get(name), name, once) for name in COLUMNS]
        rows.append([str(each["judge"].get("name")), str(each["data"].get("name")), f"{each['data'].get('pairs')}", *metrics])
    caption = "95 % bootstrap over prompts; n counts prompts."
    return Grid(["judge", "labels of", "pairs", *COLUMNS.values()], rows, caption)


def _took(study: Loaded, asked: Sequence[Again]) -> Iterator[Grid]:
    """Answers, tokens and cost of every judge behind a URL, each question counted once."""
    rows = [_row(again, answers) for again in asked if (answers := list(judgements.answered(study.folder, again.key).values()))]
    if rows:
        headings = ["judge", "answers", "without a verdict", "tokens read", "tokens written", "not counted", "cost"]
        yield Grid(
            headings, rows, "What the answers took, as the judge counted; the cost is in the currency of the price that was given.", 1
        )


def _row(again: Again, answers: Sequence[judgements.Answer]) -> list[str]:
    counted = [(each.read, each.written) for each in answers if each.read is not None and each.written is not None]
    read, written = (sum(each[place] for each in counted) for place in (0, 1))
    price = again.facts.get("price")
    cost = f"{(read * price['read'] + written * price['written']) / 1e6:.4g}" if isinstance(price, Mapping) else "no price given"
    silent = sum(each.value is None for each in answers)
    return [again.name, *(f"{n:,}" for n in (len(answers), silent, read, written, len(answers) - len(counted))), cost]


def _said(number: Mapping[str, Any] | None, name: str, once: bool) -> str:
    if number is None:
        return "cannot matter" if once and name in ("consistency", "position") else "no such pairs"
    sign = "+" if name in SIGNED else ""
    if number.get("lower") is None or number.get("upper") is None:
        return f"{number['value']:{sign}.3f} [no bounds] n={number['n']}"
    return f"{number['value']:{sign}.3f} [{number['lower']:{sign}.3f}, {number['upper']:{sign}.3f}] n={number['n']}"
