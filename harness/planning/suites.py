"""Safety suites and detectors of an experiment: words become plans that the study's key holds, and plans become prompts again in a run.

A comparison asks the policies of every cell and the SFT references a suite's prompts at the end; the detectors say what was answered.
Nothing here imports torch; a classifier is loaded when it is first asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.suites import chosen
from harness.data.suites.chosen import Slice, Suite
from harness.errors import HarnessError
from harness.measure import detectors
from harness.measure.detectors import Detector
from harness.planning.plan import Frozen

DETECTORS = ("phrases",)  # what reads the responses where nobody says otherwise
QUICK_PROMPTS = 16  # of each half under ``--quick``


class SlicePlan(Frozen):
    """One half of a suite: its name in rows and metrics, and how many prompts of how many categories it asks."""

    name: str
    half: str
    prompts: int
    categories: int


class SuitePlan(Frozen):
    """A suite as it was resolved. ``word`` is what was typed, ``sha256`` of the prompts asked; ``dropped`` counts rows by reason."""

    word: str
    name: str
    title: str
    version: str
    licence: str
    source: str
    revision: str
    sha256: str
    read: int
    dropped: dict[str, int]
    slices: tuple[SlicePlan, ...]


class DetectorPlan(Frozen):
    """A detector as it was resolved: the word typed, its name, what it finds, and the key of what its answers depend on."""

    word: str
    name: str
    finds: str
    key: str


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings about suites with words made plans; nothing where no suite is asked for. Reads every suite.

    Raises HarnessError in one line for a suite or detector that cannot be had, and for detectors or a cap without a suite.
    """
    words = _words(values, "safety_suites")
    if not words:
        for name in ("safety_detectors", "safety_prompts"):
            if values.get(name) not in (None, (), []):
                raise HarnessError(f"{name}: there are no safety suites to go with it; name some, such as --safety own.")
        return {}
    most = _most(values)
    found = chosen.suites(words, most)
    named = _words(values, "safety_detectors") or DETECTORS
    readers = [_detector_plan(word) for word in named]
    if len({each.name for each in readers}) < len(readers):
        raise HarnessError(f"safety_detectors {','.join(named)}: one of them is named twice.")
    plans = tuple(_suite_plan(word, suite) for word, suite in zip(words, found, strict=True))
    return {"safety_suites": plans, "safety_detectors": tuple(readers), "safety_prompts": most}


def _words(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of words, also typed as one with commas; plans of an experiment that was resolved before are their words again."""
    given = values.get(name) or ()
    if isinstance(given, str):
        given = [word.strip() for word in given.split(",") if word.strip()]
    found = [each.word if isinstance(each, SuitePlan | DetectorPlan) else each for each in given]
    if not all(isinstance(each, str) for each in found):
        raise HarnessError(f"{name}: a list of words is wanted, found {given!r}.")
    return tuple(found)


def _most(values: Mapping[str, Any]) -> int | None:
    """Prompts of each half: as asked, else few under ``--quick``, never more than ``--limit``."""
    asked = values.get("safety_prompts")
    if asked is None and values.get("quick"):
        asked = QUICK_PROMPTS
    if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise HarnessError(f"safety_prompts: a whole number above 0 is wanted, found {asked!r}.")
    bounds = [each for each in (asked, values.get("limit")) if isinstance(each, int)]
    return min(bounds, default=None)


def _suite_plan(word: str, suite: Suite) -> SuitePlan:
    declared = suite.word.suite
    slices = [
        SlicePlan(name=part.name, half=part.half, prompts=len(part.prompts), categories=len(set(part.categories))) for part in suite.slices
    ]
    return SuitePlan(
        word=word,
        name=declared.name,
        title=declared.title,
        version=declared.version,
        licence=declared.licence,
        source=declared.source,
        revision=suite.revision,
        sha256=suite.sha256,
        read=suite.read,
        dropped=dict(suite.dropped),
        slices=tuple(slices),
    )


def _detector_plan(word: str) -> DetectorPlan:
    found = detectors.named(word)
    return DetectorPlan(word=word, name=found.name, finds=found.finds, key=found.key)


def keyed(suites: Sequence[SuitePlan], readers: Sequence[DetectorPlan]) -> dict[str, Any]:
    """What a study's key holds of them: prompts and detectors by what they are, not by where they lie; nothing where none are asked."""
    if not suites:
        return {}
    return {"safety": {"suites": [(each.name, each.sha256) for each in suites], "detectors": [(each.name, each.key) for each in readers]}}


def slices(suites: Sequence[SuitePlan], most: int | None) -> list[Slice]:
    """The prompts again, in a run; HarnessError where a suite is no longer what the experiment was resolved with."""
    found = chosen.suites([each.word for each in suites], most)
    for plan, suite in zip(suites, found, strict=True):
        if suite.sha256 != plan.sha256:
            raise HarnessError(f"safety suite {plan.name}: its prompts changed since the experiment was resolved; start it again.")
    return [part for suite in found for part in suite.slices]


def readers(plans: Sequence[DetectorPlan]) -> list[Detector]:
    """The detectors again, in a run; HarnessError where one is no longer what the experiment was resolved with."""
    found = [detectors.named(plan.word) for plan in plans]
    for plan, detector in zip(plans, found, strict=True):
        if detector.key != plan.key:
            raise HarnessError(f"detector {plan.name}: its files changed since the experiment was resolved; start it again.")
    return found


def said(suites: Sequence[SuitePlan], readers: Sequence[DetectorPlan]) -> list[str]:
    """A line for each suite and one for the detectors, for a preview: what is asked, what was left out and why, licence and commit."""
    lines = []
    for plan in suites:
        asked = ", ".join(f"{part.prompts} {part.half}" for part in plan.slices)
        left = ", ".join(f"{count} left out: {reason}" for reason, count in sorted(plan.dropped.items()))
        commit = f", commit {plan.revision[:12]}" if plan.revision else ""
        lines.append(
            f"safety suite {plan.name} (version {plan.version}, {plan.licence}{commit}): {plan.read} rows, asks {asked}"
            + f"{'; ' if left else ''}{left}"
        )
    return [*lines, f"safety detectors: {', '.join(each.name for each in readers)}"] if lines else []
