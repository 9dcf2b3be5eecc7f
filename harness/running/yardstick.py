"""The yardstick of a seed: opponents drawn once from the SFT reference, their scores, and the reference's own refusals; cached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.judges import find
from harness.judges.scored import Scored
from harness.measure import safety
from harness.measure.answers import Questions, fitting
from harness.measure.chance import generator_for
from harness.measure.judge import ScoreJudge, ScoreResponses, gold_judge
from harness.measure.yardstick import Standing, Yardstick
from harness.models.metered import Metered
from harness.models.storage import load_reward
from harness.planning import suites
from harness.planning.experiment import Experiment
from harness.running.pairing import by_side
from harness.running.stages import Report, Shared
from harness.store.cache import key_of, stage
from harness.training.ledger import Ledger
from harness.types import FITTED_JUDGE, Array, Demonstration, Group, Probe, Response


def yardstick(experiment: Experiment, shared: Shared, ledger: Ledger, report: Report) -> Yardstick:
    """The yardstick, its baseline computed where the cache has none; its models charge ``ledger`` (evaluation is free)."""
    judge = _judge(experiment, shared, ledger)
    key = {
        "stage": "baseline",
        "version": 4,
        "sft": shared.origin.name,
        "pairs": shared.pair_folder.name,
        "task": shared.task.version,
        "judge": shared.judge.name if shared.judge else "",
        "prompts": key_of({"prompts": [demonstration.prompt for demonstration in _evaluation(experiment, shared)]}),
    }
    if experiment.judge_word:
        key["brought"] = experiment.judge
    sizes = {name: getattr(experiment, name) for name in ("evaluation_prompts", "opponent_samples", "probe_prompts")}
    folder = stage("baseline", {**key, **sizes}, lambda path: _baseline(path, experiment, shared, judge, report))
    facts = json.loads((folder / "baseline.json").read_text())
    opponents = [[Response(text, tuple(ids), done) for text, ids, done in row] for row in facts["opponents"]]
    return Yardstick(
        tokens=shared.tokens,
        reference=shared.frozen(ledger),
        judge=judge,
        evaluation=_evaluation(experiment, shared),
        opponents=opponents,
        standings={name: Standing(*(np.array(scores) for scores in facts["scores"][name])) for name in judge.names},
        probes=_probes(experiment, shared),
        twins=shared.task.reward_probes,
        refusals={name: np.array(values) for name, values in facts["refusals"].items()},
        proxy=load_reward(shared.proxy, ledger)[0] if shared.proxy else None,
        heldout=shared.heldout,
        heldout_logps=by_side(shared.heldout, torch.tensor(facts["heldout_logps"], dtype=torch.float64)).numpy(),
        gold=shared.task.score is not None,
        seed=shared.seed,
        questions=_questions(experiment, shared),
        verified=shared.task.verified,
        choices=shared.task.choices,
        known=_kept(folder, shared),
    )


_known: dict[str, dict[str, Any]] = {}


def _kept(baseline: Path, shared: Shared) -> dict[str, Any]:
    """What this process keeps of a yardstick from run to run; what it kept of another one goes."""
    name = f"{baseline.name} {shared.proxy.name if shared.proxy else ''}"
    if name not in _known:
        _known.clear()
    return _known.setdefault(name, {})


def _questions(experiment: Experiment, shared: Shared) -> Questions:
    """The experiment's safety suites and the detectors of their answers."""
    if not experiment.safety_suites:
        return Questions()
    asked = suites.slices(experiment.safety_suites, experiment.safety_prompts)
    return fitting(asked, suites.readers(experiment.safety_detectors), shared.tokens)


def _evaluation(experiment: Experiment, shared: Shared) -> Sequence[Demonstration]:
    """The first evaluation prompts that fit the token limit: the same for every policy."""
    rows = shared.task.evaluation
    fits = [len(ids) <= shared.tokens.max_prompt for ids in shared.tokens.prompts([d.prompt for d in rows])]
    return [row for row, fit in zip(rows, fits, strict=True) if fit][: experiment.evaluation_prompts]


def _judge(experiment: Experiment, shared: Shared, ledger: Ledger) -> ScoreJudge:
    """The task's own scores; without any the fitted reward model, or what was brought with the fitted one as second opinion."""
    if shared.task.score is not None:
        return gold_judge(shared.task.score, shared.task.judges, experiment.judge)
    assert shared.judge is not None
    reward, _ = load_reward(shared.judge, ledger)

    def score(prompts: Sequence[str], groups: Sequence[Group], responses: Sequence[Response]) -> dict[str, Array]:
        return {FITTED_JUDGE: reward.scores(groups).double().cpu().numpy()}

    return beside(brought(experiment), experiment.judge, score) if experiment.judge_word else ScoreJudge(score, FITTED_JUDGE)


def brought(experiment: Experiment) -> Scored:
    """The judge that an experiment brings; HarnessError where what it is made from is another now than when it was named."""
    found = find.scored(str(experiment.judge_word), {})
    if found.column != experiment.judge:
        raise HarnessError(f"judge {experiment.judge_word!r}: is {found.column} now and was {experiment.judge} when this began.")
    return found


def beside(judge: Scored, name: str, fitted: ScoreResponses) -> ScoreJudge:
    """A judge by ``judge``'s score, in a column of this name; the fitted one is asked of the same responses and decides nothing."""

    def score(prompts: Sequence[str], groups: Sequence[Group], responses: Sequence[Response]) -> dict[str, Array]:
        return {name: judge.score(prompts, responses), **fitted(prompts, groups, responses)}

    return ScoreJudge(score, name, (FITTED_JUDGE,))


def _probes(experiment: Experiment, shared: Shared) -> Sequence[Probe]:
    """The task's safety slices; none where the experiment asks for no prompts of them."""
    return shared.task.probes if experiment.probe_prompts else ()


def _baseline(path: Path, experiment: Experiment, shared: Shared, judge: ScoreJudge, report: Report) -> None:
    ledger = Ledger(float("inf"))
    reference, tokens = shared.reference(ledger), shared.tokens
    rows, samples = _evaluation(experiment, shared), experiment.opponent_samples
    report("opponents", 0.0, None)
    prompts = [d.prompt for d in rows]
    opponents = draw_responses(reference, shared, prompts, samples, generator_for(shared.seed, "opponents"))
    own = tokens.groups(prompts, [[Response(d.responses[0])] for d in rows])
    with torch.no_grad():
        theirs = scored(judge, shared, prompts, opponents)
        texts = judge.score(prompts, own, [Response(d.responses[0]) for d in rows])
        heldout = reference.logps([pair.group for pair in shared.heldout]) if shared.heldout else torch.zeros(0)
        masses = {}
        for probe in _probes(experiment, shared):
            refused = safety.refusals(tokens, probe, experiment.probe_prompts)
            masses[probe.name] = safety.refusal_mass(reference, refused).tolist()
    facts = {
        "opponents": [[(r.text, r.ids, r.finished) for r in row] for row in opponents],
        "scores": {name: (theirs[name].reshape(len(rows), samples).tolist(), texts[name].tolist()) for name in judge.names},
        "refusals": masses,
        "heldout_logps": heldout.tolist(),
    }
    (path / "baseline.json").write_text(json.dumps(facts))


def draw_responses(
    model: Metered, shared: Shared, prompts: Sequence[str], samples: int, generator: torch.Generator
) -> list[list[Response]]:
    """``samples`` responses to every prompt at T = 1, [prompt][sample]."""
    drawn = model.sample(shared.tokens.prompts(prompts), samples=samples, max_tokens=shared.task.max_response_tokens, generator=generator)
    return [[Response(shared.tokens.text(s.ids), s.ids, s.finished) for s in row] for row in drawn]


def scored(judge: ScoreJudge, shared: Shared, prompts: Sequence[str], rows: Sequence[Sequence[Response]]) -> dict[str, Array]:
    """The judge's components for every response of every prompt, flat (prompts x samples,)."""
    ids = shared.tokens.prompts(prompts)
    groups = [Group(p, (r.ids,)) for p, row in zip(ids, rows, strict=True) for r in row]
    texts = [p for p, row in zip(prompts, rows, strict=True) for _ in row]
    return dict(judge.score(texts, groups, [r for row in rows for r in row]))
