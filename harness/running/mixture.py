"""The optimal frontiers' line beyond the reference's own samples: a few trained policies as further proposals, one job per seed.

Samples of the reference hardly contain what a policy at KL 2 says; samples of a policy do. What is stored is what the estimator in
``measure.frontier`` needs of the mixture of all proposals: every sample's score and log pi_k - log ref under every policy k. Which
policies propose decides how far the line reaches and how wide its band is, not where it lies.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.measure.chance import generator_for
from harness.measure.yardstick import Yardstick
from harness.models import storage, threads
from harness.models.metered import Metered
from harness.planning.experiment import Experiment, fingerprint, study_key
from harness.running import kept
from harness.running.facts import judge_facts, run_times, task_facts
from harness.running.proposals import DECIMALS, Drawn, draw, frontier_key, judged, log_probs, reference_samples, sampled
from harness.running.stages import Report, Shared, shared
from harness.running.yardstick import yardstick
from harness.store import failing, records
from harness.store.cache import key_of, stage
from harness.store.hashes import weights_hash
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger
from harness.types import Array, Response

POLICIES = 3  # with 4 samples each, measured: 39 s of one core for 384 prompts and 420k weights; the scoring is 31 of them
SAMPLES = 4  # per prompt and policy
NO_POLICY = "no finished run kept its policy (keep_policies): the line is estimated from the reference's samples alone"

EXACT = "every response of this task is known, so the frontiers are exact"


class Proposal(NamedTuple):
    """A finished run whose policy proposes: its folder, its record, and where it came out."""

    folder: Path
    record: dict[str, Any]
    kl: float
    gold: float


def measure_mixture(experiment: Experiment, seed: int, study: Path, report: Report) -> str:
    """Record what a seed's policies add to its frontiers in ``frontiers/seed<k>``; returns the status.

    Errors are recorded, not raised, and what an earlier call measured is kept until the new measurement is whole.
    """
    ledger, folder = Ledger(math.inf), study / records.FRONTIERS / f"seed{seed}"
    record: dict[str, Any] = {"kind": "frontier", "study": study_key(experiment), "seed": seed, **task_facts(experiment)}
    record |= {"fingerprint": fingerprint([]), "counts": [], "proposals": [], "skipped": None}
    try:
        found, rows = _measured(experiment, seed, proposals(study, seed), ledger, report)
    except Exception as error:
        return failing.record(folder, "frontier", error, record)
    with CellWriter(folder) as writer:
        writer.samples(rows)
        writer.finish({**record, **found, "status": "finished", "failure": None}, run_times(ledger, experiment))
    return "finished"


def proposals(study: Path, seed: int) -> list[Proposal]:
    """At most ``POLICIES`` finished runs of a seed that kept their policies: of those sorted by KL, the best by gold of each third."""
    found = []
    for path in sorted(study.glob(f"cells/*/{records.RECORD}")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("seed") == seed and record.get("status") == "finished" and (path.parent / records.POLICY).is_dir():
            metrics = record["checkpoints"][-1]["metrics"]
            kl, gold = ((metrics.get(key) or {}).get("value") for key in ("kl", "gold"))
            if kl is not None and gold is not None and not record.get("superseded"):
                found.append(Proposal(path.parent, record, kl, gold))
    found.sort(key=lambda each: (each.kl, each.folder.name))
    parts = min(POLICIES, len(found))
    thirds = [found[part * len(found) // parts : (part + 1) * len(found) // parts] for part in range(parts)]
    return [max(third, key=lambda each: each.gold) for third in thirds]


def _measured(
    experiment: Experiment, seed: int, chosen: Sequence[Proposal], ledger: Ledger, report: Report
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw and score; what the record says of it, and its rows."""
    both = shared(experiment, seed, report)
    yard = yardstick(experiment, both, ledger, report)
    if not sampled(experiment, yard):
        return {"skipped": EXACT if yard.choices else "this task has no gold reward, or no samples of the reference are asked for"}, []
    if not chosen:
        return {"skipped": NO_POLICY}, []
    own = reference_samples(experiment, both, yard)  # known, or drawn as the job that measures the reference would
    with torch.no_grad(), ledger.phase("evaluation"), threads.using(experiment.stage_threads):
        policies = [kept.load(each.folder, ledger) for each in chosen]
        drawn = []
        for index, (each, policy) in enumerate(zip(chosen, policies, strict=True)):
            report("frontier proposals", index / (2 * len(chosen)), None)
            drawn.append(draw(policy, both, yard, SAMPLES, generator_for(seed, "mixture", each.folder.name)))
        report("frontier log-probs", 0.5, None)
        pairs = zip(chosen, policies, strict=True)
        likely = [_likely(experiment, both, yard, own, each.folder / records.POLICY, policy) for each, policy in pairs]
        ratios = log_ratios(both, yard, own, likely, policies, drawn)
        rows = _rows(yard, drawn, ratios)
    names = [{"cell": p.folder.name, "fingerprint": p.record["fingerprint"], "kl": p.kl, "gold": p.gold} for p in chosen]
    facts = {
        "fingerprint": fingerprint([both.sft.name, *(each["fingerprint"] for each in names)]),
        "judge": judge_facts(experiment, both, yard),
        "counts": [experiment.frontier_samples, *[SAMPLES] * len(chosen)],
        "proposals": names,
    }
    return facts, rows


def _likely(experiment: Experiment, both: Shared, yard: Yardstick, own: Drawn, folder: Path, policy: Metered) -> Array:
    """Log pi of the reference's samples under a policy, (prompts, samples), nats: most of this job, and kept for the next one.

    A cell that joins a finished grid proposes beside policies that proposed before it, so these are known by their weights.
    """
    key = {"stage": "mixture", "version": 1, "policy": weights_hash(str(folder)), "frontier": key_of(frontier_key(experiment, both))}

    def build(path: Path) -> None:
        storage.save_tensor(path / "logps.safetensors", torch.from_numpy(under(policy, both, yard, own.responses)))

    return storage.load_tensor(stage("mixture", key, build) / "logps.safetensors").numpy()


def under(model: Metered, both: Shared, yard: Yardstick, responses: Sequence[Sequence[Response]]) -> Array:
    """Log pi of responses to the evaluation prompts, (prompts, samples), nats."""
    prompts = both.tokens.prompts([d.prompt for d in yard.evaluation])
    return log_probs(model, prompts, responses)


def log_ratios(
    both: Shared, yard: Yardstick, own: Drawn, likely: Sequence[Array], policies: Sequence[Metered], drawn: Sequence[Drawn]
) -> Array:
    """Log pi_k - log ref of every sample, (policies, prompts, samples), nats: the reference's samples first, then each policy's.

    ``likely`` is log pi_k of the reference's samples, whose log-probs under the reference are those that they were drawn with.
    """
    theirs = [[r for row in rows for r in row] for rows in zip(*(each.responses for each in drawn), strict=True)]
    reference = np.hstack([own.logps, under(yard.reference, both, yard, theirs)])
    rows = [np.hstack([known, under(policy, both, yard, theirs)]) for known, policy in zip(likely, policies, strict=True)]
    found: Array = np.array(rows) - reference
    return found


def _rows(yard: Yardstick, drawn: Sequence[Drawn], ratios: Array) -> list[dict[str, Any]]:
    """A row per prompt: the judging scores of the policies' samples, and the log-ratios of all samples under every policy."""
    scores = [judged(yard, each.responses) for each in drawn]
    columns = {name: np.hstack([each[name].reshape(len(yard.evaluation), -1) for each in scores]) for name in yard.judge.names}
    return [
        {
            **{"mark": 0.0, "slice": "frontier-mixture", "prompt_id": index, "log_ratios": ratios[:, index].round(4)},
            **{name: table[index].round(DECIMALS) for name, table in columns.items()},
        }
        for index in range(len(yard.evaluation))
    ]
