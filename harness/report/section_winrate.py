"""The page's room on win rates: algorithms against each other, lengths held equal, greedy decoding and other temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from harness.measure.length_control import Controlled
from harness.measure.statistics import Interval, label
from harness.report import figure_winrate
from harness.report.declared import how
from harness.report.numbers import metrics
from harness.report.points import Loaded, Point, reference_metric
from harness.report.section import Grid, Looks, Section
from harness.report.tables import value
from harness.report.winrate import Tournament, alarms, at, greedy_change, has_wins, known, length_controlled, tournament
from harness.store.records import Cell

CONSTANT = "constant output"  # how that alarm begins
ALONE = "No head-to-head matrix: fewer than two algorithms have a judge's scores on the same prompts with a seed in common."
NO_GREEDY = "Greedy decoding was not measured: these records were made without it."
MEANING = (
    "Every rate is a mean over prompts with a tie as one half; the opponents of the first table are frozen samples of the SFT reference, "
    "drawn at temperature 1, and the data's own responses. Length control is a logistic regression on the difference of lengths, read off "
    "where there is none (Dubois et al. 2024). It is an adjustment, not an experiment: where a longer response is better because it says "
    "more, that merit is taken out too. Truncated responses are those that the token cap ended."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Win rates in all their forms; None where no cell has one."""
    if not has_wins(found):
        return None
    met, drawn = tournament(found), figure_winrate.temperatures(found, study.references, looks)
    figures = [figure_winrate.matrix(met, looks)] if met else []
    tables = [_lengths(found, study), *([_matrix(met)] if met else []), *_greedy(found, study)]
    said = [MEANING, *_constant(found), *([] if met else [ALONE])]
    said += [] if any(known(point.cells) for point in found) else [NO_GREEDY]
    return Section("winrate", "Win rates", said, [*figures, *([drawn] if drawn else [])], tables)


def _constant(found: Sequence[Point]) -> list[str]:
    """One sentence about policies that say one text to most prompts, whose win rate is that text's."""
    heard = []
    for point in found:
        rings = [(temperature, seed) for seed, temperature, alarm in alarms(point.cells) if alarm.startswith(CONSTANT)]
        for temperature, group in groupby(sorted(rings), key=lambda ring: ring[0]):
            seeds = ", ".join(str(seed) for _, seed in group)
            heard.append(f"{point.algorithm} {point.setting} at temperature {temperature:g} (seed {seeds})")
    return [f"Constant output: one text answers more than half of the prompts for {'; '.join(heard)}."] if heard else []


def _lengths(found: Sequence[Point], study: Loaded) -> Grid:
    """Raw and length-controlled win rates beside what the lengths are, one row per point."""
    rates = length_controlled(found)
    own = {key: reference_metric(study.references, key) for key in ("win_sft", "tie_sft", "win_reference", "tie_reference", "length")}
    ended = reference_metric(study.references, "eos_rate")
    first = ["SFT reference", "", str(len(study.references)), _text(own["win_sft"]), "is the opponent", "", _text(own["tie_sft"])]
    rows = [[*first, _text(own["win_reference"]), _text(own["tie_reference"]), _text(own["length"], 1), _text(ended), _text(_less(ended))]]
    rows += [_length_row(point, rates[point]) for point in found]
    headings = ["algorithm", "setting", "seeds", "win rate against SFT", "length-controlled", "effect of length, nats", "ties with SFT"]
    headings += ["win rate against the data's response", "ties with it", "mean length, tokens", "EOS rate", "truncated"]
    caption = f"Win rates and lengths at temperature 1, {_prompts(found)}. {_label(found)}. The effect of length is phi of the regression, "
    caption += "the log odds that one standard deviation of extra length is worth, nearly; a mean over seeds, without an interval."
    return Grid(headings, rows, caption, numeric=3)


def _length_row(point: Point, rate: Controlled) -> list[str]:
    ended = point.get("eos_rate")
    cells = [_text(point.get("win_sft")), _text(rate.rate, reason=rate.reason), "" if rate.phi is None else f"{rate.phi:+.2f}"]
    cells += [_text(point.get("tie_sft")), _text(point.get("win_reference")), _text(point.get("tie_reference"))]
    cells += [_text(point.get("length"), 1), _text(ended), _text(_less(ended))]
    return [point.title, point.setting, str(len(point.cells)), *cells]


def _matrix(met: Tournament) -> Grid:
    """Wins and ties of every pair, with Bradley-Terry strengths."""
    rows = []
    for position, point in enumerate(met.points):
        pairs = zip(met.result.shares[position], met.ties[position], strict=True)
        cells = ["" if i == position else f"{_text(share)}; ties {_text(tie)}" for i, (share, tie) in enumerate(pairs)]
        rows.append([point.title, point.setting, *cells, _strength(met, point)])
    prompts = met.result.shares[0][-1].n
    caption = f"How often the row's algorithm beats the column's on the same {prompts} prompts of the same seeds, and how often they tie. "
    caption += f"{label(met.seeds)}. Strengths are those of Bradley and Terry, log odds centred on 0, from all pairs; rows are in order of "
    caption += (
        "name and KL, not of strength. All policies of a seed share random numbers, so policies that stayed near each other often say "
    )
    caption += f"the same, which is a tie. One setting per algorithm: {how(met.points)}."
    return Grid(["algorithm", "setting", *met.result.names, "strength, nats"], rows, caption)


def _strength(met: Tournament, point: Point) -> str:
    """A Bradley-Terry strength; none of a control or of a run that has not converged."""
    if not point.ranked or point.rising:
        return "not ranked: control" if point.control else "not ranked: not converged"
    return _text(met.result.strengths[point.algorithm], 2, reason="some never lost to the others")


def _greedy(found: Sequence[Point], study: Loaded) -> list[Grid]:
    """Greedy decoding beside temperature 1; no table where nobody was measured greedily."""
    shown = [point for point in found if 0.0 in known(point.cells)]
    if not shown:
        return []
    rows: list[list[str]] = []
    if 0.0 in known(study.references):
        drawn = {key: reference_metric(study.references, key) for key in ("win_sft", "win_reference")}
        rows.append(["SFT reference", "", str(len(study.references)), *_greedy_cells(study.references, drawn, "")])
    for point in shown:
        drawn = {key: point.get(key) for key in ("win_sft", "win_reference")}
        cells = _greedy_cells(point.cells, drawn, _text(greedy_change(point, "win_sft"), signed=True))
        rows.append([point.title, point.setting, str(len(point.cells)), *cells])
    headings = ["algorithm", "setting", "seeds", "win rate against SFT, greedy", "at temperature 1", "greedy less temperature 1"]
    headings += ["against the data's response, greedy", "at temperature 1", "ties with SFT, greedy", "length, greedy", "EOS rate, greedy"]
    caption = f"Greedy decoding beside sampling at temperature 1, {_prompts(shown)}; differences are paired by prompt and seed. "
    caption += f"{_label(shown)}. The opponents are the same, drawn at temperature 1. KL is not given: it belongs to temperature 1 alone."
    return [Grid(headings, rows, caption, numeric=3)]


def _greedy_cells(cells: Sequence[Cell], drawn: Mapping[str, Interval | None], change: str) -> list[str]:
    greedy = {key: at(cells, key, 0.0) for key in ("win_sft", "win_reference", "tie_sft", "length", "eos_rate")}
    against_sft = [_text(greedy["win_sft"]), _text(drawn["win_sft"]), change]
    against_data = [_text(greedy["win_reference"]), _text(drawn["win_reference"])]
    return [*against_sft, *against_data, _text(greedy["tie_sft"]), _text(greedy["length"], 1), _text(greedy["eos_rate"])]


def _text(found: Interval | None, digits: int = 3, *, reason: str = "not measured", signed: bool = False) -> str:
    """A number with its bounds, or the reason for its absence."""
    if found is None or found.value != found.value:
        return reason
    number = value(found, digits)
    return f"{'+' if signed and found.value >= 0 else ''}{number.text} {number.bounds}"


def _less(share: Interval | None) -> Interval | None:
    """One less a share."""
    return None if share is None else Interval(1 - share.value, 1 - share.upper, 1 - share.lower, share.n)


def _prompts(found: Sequence[Point]) -> str:
    """n, as a caption says it."""
    counts = {each.get("n") for point in found for cell in point.cells if (each := metrics(cell.record, None).get("win_sft"))}
    return f"n={', '.join(str(count) for count in sorted(count for count in counts if count))} prompts"


def _label(found: Sequence[Point]) -> str:
    return label(min((len(point.cells) for point in found), default=1))
