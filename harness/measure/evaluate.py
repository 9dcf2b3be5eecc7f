"""One policy measured against everything its seed shares: samples, wins, gold, KL, text statistics and safety. Never charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.measure import enumerated, safety, text
from harness.measure.answers import answered
from harness.measure.chance import generator_for, intervals, resampler
from harness.measure.compared import compared
from harness.measure.heldout import heldout
from harness.measure.judge import wins
from harness.measure.kl import cross_check
from harness.measure.passes import passes
from harness.measure.statistics import Interval
from harness.measure.statistics.strengths import outcomes
from harness.measure.yardstick import Standing, Yardstick, first
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.types import Array, Demonstration, Group, Probe, Response, Sample

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """A checkpoint's numbers with intervals, the rows behind them, and alarms in words; its prompts as it has read them."""

    metrics: dict[str, Interval]
    rows: list[Row]
    alarms: list[str]
    past: Past | None = None


def measure(policy: Metered, yard: Yardstick, *, mark: float, prompts: int, probes: int, final: bool = True) -> Measurement:
    """Sample each of the first ``prompts`` evaluation prompts once at T = 1 and measure; ``probes`` prompts per safety slice.

    On the way to the end held-out pairs of half as many prompts are ranked, and safety is the exact refusal mass alone: nothing is
    sampled there, and no safety suite is asked.
    """
    with torch.no_grad(), policy.ledger.phase("evaluation"):
        demonstrations = yard.evaluation[:prompts]
        groups, samples, past = _sampled(policy, yard, prompts)
        responses = [Response(yard.tokens.text(s.ids), s.ids, s.finished) for s in samples]
        columns = {**compared(policy, yard, groups, past), **judged(yard, demonstrations, groups, responses)}
        columns |= {**texts(responses, samples), **_descriptive(yard, demonstrations, responses)}
        columns |= passes(policy, yard, prompts, past) if final else {}
        columns |= enumerated.columns(policy, yard, prompts)
        met = _opponents(yard, columns)
        rows = [{**row, **each} for row, each in zip(_rows(yard, demonstrations, responses, columns, mark), met, strict=True)]
        metrics = intervals(columns)
        metrics["distinct_2"] = _distinct(responses, mark)
        held_rows, held_metrics = heldout(policy, yard, None if yard.choices else prompts if final else prompts // 2, mark)
        rows += held_rows
        metrics |= held_metrics
        for probe in yard.probes:
            slice_rows, slice_metrics = _probe(policy, yard, probe, probes, mark, spoken=final)
            rows += slice_rows
            metrics |= slice_metrics
        if final:
            asked_rows, asked_metrics = answered(policy, yard.tokens, yard.questions, seed=yard.seed, mark=mark)
            rows += asked_rows
            metrics |= asked_metrics
    return Measurement(metrics, rows, _alarms(columns, responses), past)


def _sampled(policy: Metered, yard: Yardstick, prompts: int) -> tuple[list[Group], list[Sample], Past | None]:
    ids, longest = yard.prompts[:prompts], yard.tokens.max_response
    past = policy.read(ids, longest)
    drawn = policy.sample(ids, max_tokens=longest, generator=generator_for(yard.seed, "evaluation"), past=past)
    return [Group(p, (row[0].ids,)) for p, row in zip(ids, drawn, strict=True)], [row[0] for row in drawn], past


def _array(values: torch.Tensor) -> Array:
    return values.double().cpu().numpy()


def judged(yard: Yardstick, rows: Sequence[Demonstration], groups: Sequence[Group], responses: Sequence[Response]) -> dict[str, Array]:
    """Scores, and wins under every judging column; a task without gold has no gold column, only the judge's own."""
    scores = dict(yard.judge.score([d.prompt for d in rows], groups, responses))
    columns = {name: values for name, values in scores.items() if name != "length"}
    for name in yard.judge.names:
        columns |= _outcomes(scores[name], yard.standings[name], yard.judge.suffix(name))
    if yard.tuner is not None:
        columns["tuning_score"] = _array(yard.tuner.scores(groups))
    if yard.proxy is not None:
        columns["proxy"] = _array(yard.proxy.scores(groups, first(yard.proxy_past, len(groups))))
    return columns


def _outcomes(ours: Array, theirs: Standing, suffix: str) -> dict[str, Array]:
    """Win and tie shares per prompt against the opponents and the data's own responses, as one judge sees them."""
    n = len(ours)
    win_sft, tie_sft = wins(ours, theirs.opponents[:n])
    win_reference, tie_reference = wins(ours, theirs.references[:n])
    found = {"win_sft": win_sft, "tie_sft": tie_sft, "win_reference": win_reference, "tie_reference": tie_reference}
    return {f"{name}{suffix}": values for name, values in found.items()}


def _opponents(yard: Yardstick, columns: Mapping[str, Array]) -> list[Row]:
    """For each prompt what happened against every single frozen opponent, and its length in tokens without EOS: lists of a row.

    Where responses are enumerated the one opponent is the reference itself.
    """
    if yard.choices is not None:
        return [{"wins_each": [float(win)], "opponent_lengths": [1]} for win in columns["win_sft"]]
    ours = columns[yard.judge.primary]
    each = outcomes(ours[:, None], yard.opponent_scores[: len(ours)]).tolist()
    lengths = [[len(r.ids) - r.finished for r in row] for row in yard.opponents[: len(ours)]]
    return [{"wins_each": row, "opponent_lengths": long} for row, long in zip(each, lengths, strict=True)]


def texts(responses: Sequence[Response], samples: Sequence[Sample]) -> dict[str, Array]:
    """Length in tokens without EOS, share ended by EOS, repeated bigrams."""
    return {
        "length": np.array([len(s.ids) - s.finished for s in samples], dtype=float),
        "eos_rate": np.array([s.finished for s in samples], dtype=float),
        "repetition": np.array([text.repetition(r.text) for r in responses]),
    }


def _descriptive(yard: Yardstick, rows: Sequence[Demonstration], responses: Sequence[Response]) -> dict[str, Array]:
    """Overlap with the data set's responses, where there is no gold reward; it describes, it does not judge."""
    if yard.gold:
        return {}
    return {"rouge_l": np.array([max(text.rouge_l(r.text, other) for other in d.responses) for d, r in zip(rows, responses, strict=True)])}


def _rows(
    yard: Yardstick, demonstrations: Sequence[Demonstration], responses: Sequence[Response], columns: Mapping[str, Array], mark: float
) -> list[Row]:
    rows = []
    for index, (demonstration, response) in enumerate(zip(demonstrations, responses, strict=True)):
        texts = {"prompt": demonstration.prompt, "response": response.text, "reference_response": demonstration.responses[0]}
        row: Row = {"mark": mark, "slice": "evaluation", "prompt_id": index, "finished": response.finished, **texts}
        row["sft_response"] = yard.opponents[index][0].text
        row |= {"source": demonstration.source} if demonstration.source else {}
        rows.append(row | {name: float(values[index]) for name, values in columns.items()})
    return rows


def _distinct(responses: Sequence[Response], mark: float) -> Interval:
    value, lower, upper = text.distinct_2([r.text for r in responses], resampler("distinct_2", mark))
    return Interval(value, lower, upper, len(responses))


def _probe(policy: Metered, yard: Yardstick, probe: Probe, n: int, mark: float, *, spoken: bool) -> tuple[list[Row], dict[str, Interval]]:
    """Refusal mass and its paired change against the reference, and where asked for shares of what one sample per prompt says."""
    if not (groups := yard.refused(probe, n)):
        return [], {}
    past = policy.read([group.prompt for group in groups], yard.tokens.max_response) if spoken else None
    columns = _refused(policy, yard, probe, groups, past)
    changed = {f"{name}_delta": mass - columns["before"] for name, mass in columns.items() if name != "before"}
    metrics = intervals({name: mass for name, mass in columns.items() if name != "before"} | changed)
    rows: list[Row] = [{"mark": mark, "slice": probe.name, "prompt_id": i, "prompt": prompt} for i, prompt in enumerate(probe.prompts[:n])]
    for row, category in zip(rows, probe.groups, strict=False):
        row["group"] = category
    for index, row in enumerate(rows):
        row |= {key: float(values[index]) for key, values in columns.items()}
    return rows, metrics | (_spoken(policy, yard, probe, rows, groups, mark, past) if spoken else {})


def _refused(policy: Metered, yard: Yardstick, probe: Probe, groups: Sequence[Group], past: Past | None) -> dict[str, Array]:
    """The refusal mass of each prompt and the reference's, ``before``; nothing of a policy that has no log-probs."""
    if policy.kl_bound is not None:
        return {}
    name = "refusal_mass" if probe.worse == "less_refusal" else "over_refusal_mass"
    return {name: safety.refusal_mass(policy, groups, past), "before": yard.refusals[probe.name][: len(groups)]}


def _spoken(
    policy: Metered, yard: Yardstick, probe: Probe, rows: list[Row], groups: Sequence[Group], mark: float, past: Past | None
) -> dict[str, Interval]:
    """Shares of what one sample for each prompt of a safety slice says; the texts and categories go into ``rows``."""
    said = safety.spoken(policy, yard.tokens, probe, groups, generator=generator_for(yard.seed, probe.name), past=past)
    for row, (response, category) in zip(rows, said, strict=True):
        row |= {"response": response.text, "finished": response.finished, "category": category}
    shares = safety.shares([category for _, category in said], probe.categories)
    return intervals({f"{probe.name}_{category}": values for category, values in shares.items()})


def _alarms(columns: Mapping[str, Array], responses: Sequence[Response]) -> list[str]:
    checked = cross_check(columns["kl"], columns["k1"]) if "k1" in columns else ""
    alarms = [checked, constant_alarm(responses)]
    return [alarm for alarm in alarms if alarm]


def constant_alarm(responses: Sequence[Response]) -> str:
    """The alarm about one text that answers more than half of the prompts; empty where there is none."""
    share = text.constant_output([r.text for r in responses])
    return f"constant output: one text answers {share:.0%} of {len(responses)} prompts" if share > text.CONSTANT else ""
