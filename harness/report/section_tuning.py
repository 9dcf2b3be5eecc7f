"""The page's room on tuning: what was searched and with how much, who won under which selection, KL targets, and the checkpoint rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.measure.tuning import EQUAL, SELECTIONS, effort_spread, label, order, reused
from harness.report import figure_tuning
from harness.report.matching import at_most
from harness.report.numbers import interval_of, shown
from harness.report.points import Loaded, Point
from harness.report.section import Grid, Looks, Section
from harness.report.tuned import Tried, best_rows, checkpoint_rows, interval_text, search_rows, target_rows
from harness.store.records import Row

UNTUNED = (
    "Untuned: every algorithm ran at its declared settings, which were not found with equal effort; a tuned comparison (--tune) may come "
    "out otherwise."
)
WORDS = {"proxy": "by the tuning judge", "defaults": "at declared defaults", "gold": "by gold"}


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room; of an untuned study one sentence, and what is known of its checkpoints."""
    if all(point.foreign for point in found):
        return None  # how they were tuned is with whoever trained them
    tried = Tried(study)
    checkpoints = [table for table in (checkpoint_rows(found),) if table is not None]
    if not tried.trials:
        return Section("tuning", "Tuning", [UNTUNED, _rule(study, bool(checkpoints)), *_judge(tried)], tables=checkpoints)
    drawn = figure_tuning.draw(tried.trials, looks)
    best = best_rows(drawn.rows) if drawn else None
    tables = [search_rows(study.experiment), tried.effort_rows(), *_chosen(tried, found), best, target_rows(found), *checkpoints]
    return Section(
        "tuning",
        "Tuning",
        paragraphs=[_what(study, tried), *_judge(tried), _effort(tried), *_order(tried), *_lost(found), _rule(study, bool(checkpoints))],
        figures=[drawn] if drawn else [],
        tables=[table for table in tables if table is not None],
        cautions=list(_cautions(study, tried)),
    )


def _what(study: Loaded, tried: Tried) -> str:
    """How settings were found."""
    experiment = study.experiment
    record = next(iter(tried.records.values()))
    where = f"on seed {record.get('seed', 0)} with the budget {(record.get('budget') or {}).get('spec', '')} each"
    if experiment.get("tune"):
        return (
            f"For every grid value of every algorithm: its declared default and {experiment['tune']} quasi-random points, {where}, "
            f"measured on {tried.prompts} tuning prompts that no evaluation uses. The trial with the highest mean score of the tuning "
            "judge was taken."
        )
    return f"Settings are declared defaults; only the knobs were searched for KL targets, {where}, on {tried.prompts} tuning prompts."


def _judge(tried: Tried) -> Iterator[str]:
    """Who chose, and how good it is; nothing where nothing was chosen."""
    if not tried.judge:
        return
    yield (
        f"The tuning judge is common to all: a reward model fitted on {tried.judge.get('pairs', '?')} pairs that no algorithm trains on "
        f"and the evaluation's judge never saw. {_quality(tried.judge)}."
    )


def _quality(judge: Mapping[str, Any]) -> str:
    """How well it ranks held-out pairs, or orders held-out responses that were labelled one by one."""
    ordering, found = judge.get("auc"), interval_of(judge.get("accuracy"))
    if isinstance(ordering, Mapping) and (area := interval_of(ordering)) is not None:
        return f"Couples of held-out responses of both labels that it orders so (AUC): {interval_text(area)}, n={area.n} prompts"
    return (
        f"Held-out pairs that it ranks as labelled: {'not measured' if found is None else f'{interval_text(found)}, n={found.n} (Wilson)'}"
    )


def _seeds(records: Iterable[Row]) -> set[int]:
    return {int(record.get("seed", 0)) for record in records}


def _effort(tried: Tried) -> str:
    """One sentence on effort; it says equal only where the spread allows it."""
    spread = effort_spread(tried.spent)
    if spread is None:
        return "Fewer than two algorithms were tuned, so there is no effort to compare."
    if spread <= EQUAL:
        return f"Tuned with equal effort: tuning FLOPs differ by at most {at_most(spread)} % between algorithms, controls left out."
    return (
        f"Tuning effort differs: tuning FLOPs are spread over {100 * spread:.3g} % between algorithms, more than the {100 * EQUAL:g} % "
        "that could be called equal."
    )


def _order(tried: Tried) -> Iterator[str]:
    """Whether the order of algorithms hangs on how settings are selected; point estimates of one seed, so no ranking."""
    names = {each: [one.algorithm for one in order(tried.chosen, each)] for each in SELECTIONS}
    known = {each: found for each, found in names.items() if len(found) > 1}
    if len(known) < 2:
        return
    said = "; ".join(f"{WORDS[each]}: {', '.join(found)}" for each, found in known.items())
    changes = len({tuple(found) for found in known.values()}) > 1
    outcome = "gold" if "gold" in known else "the win rate against SFT"
    yield (
        f"By {outcome} of the chosen trials the order of algorithms {'changes' if changes else 'does not change'} with the selection "
        f"({said}). These are point estimates of one seed on tuning prompts: they show what hangs on the selection and rank nothing."
    )


def _chosen(tried: Tried, found: Sequence[Point]) -> list[Grid]:
    rising = {(str(point.head["algorithm"]["name"]), label(shown(point.head))) for point in found if point.rising}
    return [tried.winner_rows(rising)] if tried.chosen else []


def _lost(found: Sequence[Point]) -> Iterator[str]:
    """Targets that were not reached, by name: a finding, not a gap."""
    missed: dict[str, None] = {}
    for point in found:
        for each in (point.head.get("tuning") or {}).get("targets") or ():
            if not each.get("reached"):
                missed[f"{point.algorithm} at KL {each['target']:g} ({each['words']})"] = None
    if missed:
        yield f"KL targets without a setting: {'; '.join(missed)}."


def _rule(study: Loaded, scored: bool) -> str:
    """The declared checkpoint rule, the same for all."""
    rule = study.experiment.get("checkpoint", "last")
    if rule == "best":
        return "Checkpoint rule, the same for all: best. Results are those of the mark, or the end, that the tuning judge prefers."
    also = " The table says which mark the tuning judge would have preferred." if scored else " No other was scored."
    return f"Checkpoint rule, the same for all: last. Results are those of the end of every run.{also}"


def _cautions(study: Loaded, tried: Tried) -> Iterator[str]:
    """What stands at the top of the page."""
    if said := reused(_seeds(tried.records.values()), _seeds(cell.record for cell in study.cells)):
        yield said
    spread = effort_spread(tried.spent)
    if spread is not None and spread > EQUAL:
        yield _effort(tried)
    yield from (said for said in _order(tried) if " changes with " in said)
