"""The assumptions about the world that a comparison is made under: who judges, who labels, whose responses, which prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt

from harness.errors import HarnessError, near
from harness.planning.plan import Frozen
from harness.plugins.registry import canonical
from harness.types import FITTED_JUDGE, Setting

Labels = Literal["bt", "flip", "annotators", "length-biased", "shuffled", "data", "single"]
Origin = Literal["sft", "older-policy", "references", "mixture", "data"]
BROUGHT = "data"  # labels and responses of a data set that brings its own pairs
SINGLE = "single"  # labels of a data set in which responses were labelled one by one, so that there are no pairs


class Assumptions(Frozen):
    """What is taken to be true of the world. All of it is in the study's key: studies that differ in it are compared, never pooled."""

    judge: str = "gold"  # the column that decides; the task's other judges are recorded beside it
    labels: Labels = "bt"  # who labels pairs: harness/data/labels.py
    agreement: Annotated[float, Field(gt=0.5, lt=1)]
    length_weight: NonNegativeFloat = 0.15  # reward per token that length-biased annotators add
    pairs: PositiveInt
    pairs_from: Origin = "sft"  # whose responses: the SFT reference's, its checkpoint half-way, the data's writer's, half and half
    prompts: Literal["fresh", "pairs"] = "fresh"  # what algorithms that sample are prompted with
    task_options: dict[str, Setting] = Field(default_factory=dict)  # the task's own settings where they differ from its defaults


NAMES = tuple(Assumptions.model_fields)


def recorded(given: Assumptions) -> dict[str, Any]:
    """The assumptions as a record holds them."""
    return {name: getattr(given, name) for name in NAMES}


def departures(given: Assumptions) -> dict[str, Any]:
    """What differs from the defaults among the assumptions that decide how pairs are made; their cache is keyed by it."""
    names = ("labels", "pairs_from", *(("length_weight",) if given.labels == "length-biased" else ()))
    values = {name: getattr(given, name) for name in names}
    return {name: value for name, value in values.items() if value not in (Assumptions.model_fields[name].default, BROUGHT)}


def of_data(values: Mapping[str, Any], brings_pairs: bool, single: bool = False) -> dict[str, Any]:
    """Labels and responses as they are where the data brings pairs of its own; HarnessError where something else is asked of it.

    ``single`` says that it brings labels of single responses.
    """
    found = {}
    for name, kind in (("labels", Labels), ("pairs_from", Origin)):
        brought = SINGLE if single and name == "labels" else BROUGHT
        asked = values.get(name, brought if brings_pairs else Assumptions.model_fields[name].default)
        if brings_pairs and asked != brought:
            own = "labelled responses" if single else "labelled pairs"
            raise HarnessError(f"{name} {asked!r}: this data brings its own {own}, so none are drawn; leave {name} out.")
        legal = [brought] if brings_pairs else [each for each in get_args(kind) if each not in (BROUGHT, SINGLE)]
        if asked not in legal:
            raise HarnessError(f"{name}: unknown value {asked!r}.{near(str(asked), legal)} Legal: {', '.join(legal)}.")
        found[name] = asked
    return found


def judging(word: str, judges: Sequence[str]) -> dict[str, str]:
    """The judge that a word means: one of the task's, dashes equal underscores, or where the task has no gold one by a scorer of its own.

    The latter's name holds the beginning of a hash of what scores, and ``judge_word`` is what it is made from. HarnessError otherwise.
    """
    found = canonical(word)
    if found in judges:
        return {"judge": found}
    if "://" in word:
        raise HarnessError(f"judge {word!r}: a URL judges stored samples only: leave it out, then run 'harness judge RESULTS --judge URL'.")
    from harness.judges import find

    if not find.is_general(word):
        raise HarnessError(f"Unknown judge {word!r}.{near(found, [*judges, *find.NAMES])} This task has: {', '.join(judges)}.")
    if tuple(judges) != (FITTED_JUDGE,):
        own = ", ".join(judges)
        raise HarnessError(f"judge {word!r}: this task is judged by its own {own}; others judge stored samples ('harness judge').")
    if word == find.ROUGE:
        raise HarnessError(f"judge {word!r}: every run records it as rouge_l, and its reference would always win; judge stored samples.")
    return {"judge": find.scored(word, {}).column, "judge_word": word}
