"""The SFT reference of a seed, measured like any policy, and the samples of it that the optimal frontier is estimated from."""

from __future__ import annotations

import json
import math
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from harness.measure.evaluate import Measurement, measure
from harness.measure.yardstick import Yardstick
from harness.models import threads
from harness.planning import footing
from harness.planning.experiment import Experiment, study_key
from harness.running.facts import checkpoint, judge_facts, model_facts, run_times, task_facts
from harness.running.graded import quality_of
from harness.running.proposals import reference_rows, reference_samples, sampled
from harness.running.stages import DISTANCE, Report, Shared, shared
from harness.running.temperatures import measure_all
from harness.running.yardstick import yardstick
from harness.store import failing, records
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger
from harness.tuning.trials import trial_seed, tunes
from harness.tuning.tuner import scene


def prepare(experiment: Experiment, seed: int, report: Report) -> str:
    """Compute the shared stages and the yardstick of a seed, so that its cells find them in the cache.

    Nothing else of the seed can run meanwhile, so this job has threads of its own number, part of the experiment like those of cells.
    """
    with threads.using(experiment.stage_threads):
        if seed in experiment.seeds:  # a seed of trials alone is measured on no evaluation prompt
            scene(experiment, seed, Ledger(math.inf), report)
        if tunes(experiment) and seed == trial_seed(experiment):
            scene(experiment, seed, Ledger(math.inf), report, trial=True)
    return "finished"


def draw_samples(experiment: Experiment, seed: int, report: Report) -> str:
    """Draw and keep the samples of the reference that the frontiers need, a job of its own; returns the status.

    An error is not raised: whoever measures the reference meets it again, and records it.
    """
    ledger = Ledger(math.inf)
    try:
        both = shared(experiment, seed, report)
        yard = yardstick(experiment, both, ledger, report)
        if sampled(experiment, yard):
            report("frontier", 0.0, None)
            reference_samples(experiment, both, yard)
    except Exception:
        return "failed"
    return "finished"


def measure_reference(experiment: Experiment, seed: int, folder: Path, report: Report) -> str:
    """Measure and record the reference of a seed; returns the status.

    Errors are recorded, not raised: other seeds go on, and what an earlier call measured is kept until the new measurement is whole.
    """
    blank = {"kind": "reference", "fingerprint": "", "study": study_key(experiment), "seed": seed, "checkpoints": []}
    try:
        return _measure(experiment, seed, folder, blank, report)
    except Exception as error:
        return failing.record(folder, "reference", error, {**blank, **task_facts(experiment)})


def _measure(experiment: Experiment, seed: int, folder: Path, blank: dict[str, Any], report: Report) -> str:
    ledger = Ledger(math.inf)
    both = shared(experiment, seed, report)
    yard = yardstick(experiment, both, ledger, report)
    reference = both.reference(ledger)
    report("evaluation", 0.0, None)
    found = measure(reference, yard, mark=0.0, prompts=experiment.evaluation_prompts, probes=experiment.probe_prompts)
    report("frontier", 0.5, None)
    rows, lost = _frontier_rows(experiment, both, yard, ledger, kept=records.status(folder) == "finished")
    record = {
        **blank,
        "fingerprint": both.sft.name,
        "status": "finished",
        "failure": failing.failure("frontier", lost) if lost else None,
        "checkpoints": [{"mark": 0.0, "share": 0.0, "step": 0, "final": True, "started": False, **_checkpoint(found, both)}],
        "sft": _sft_facts(both.sft),
        "pairs": json.loads((both.pair_folder / "cost.json").read_text()),
        "diagnostics": {
            "dropped": _dropped(both),
            "pairs": len(both.pairs),
            "heldout": len(both.heldout),
            **_reward_quality(both),
            **_distance(both),
        },
        **task_facts(experiment),
        "judge": judge_facts(experiment, both, yard),
        **yard.questions.plain(),
        "model": model_facts(experiment, reference.model),
    }
    with CellWriter(folder) as writer:
        if lost:
            writer.note("".join(traceback.format_exception(lost)).rstrip())
        writer.samples([*found.rows, *rows])
        wanted = [temperature for temperature in experiment.temperatures if temperature != 1]
        with writer.extra():
            measure_all(reference, yard, wanted, folder, experiment.evaluation_prompts, report)
        times = run_times(ledger, experiment)
        times["wall"]["sft"], times["cpu"]["sft"] = sft_seconds(both.sft)
        writer.finish(record, times)
    return "failed" if lost else "finished"


def _frontier_rows(
    experiment: Experiment, both: Shared, yard: Yardstick, ledger: Ledger, *, kept: bool
) -> tuple[list[dict[str, Any]], Exception | None]:
    """What the frontiers need of the reference, or none of it and the error; raised where a whole record is ``kept`` by that."""
    try:
        with ledger.phase("evaluation"):
            return reference_rows(experiment, both, yard), None
    except Exception as error:
        if kept:
            raise
        return [], error


def _dropped(both: Shared) -> dict[str, int]:
    """Rows left out while the pairs were made, by reason: the same for every algorithm."""
    return dict(json.loads((both.pair_folder / "dropped.json").read_text()))


def _reward_quality(both: Shared) -> dict[str, Any]:
    """Held-out quality of the proxy, or of the judge of a task without gold."""
    found = {"proxy": both.proxy, "judge": both.judge}
    return {name: quality_of(path, both.heldout) for name, path in found.items() if path}


def _checkpoint(found: Measurement, both: Shared) -> dict[str, Any]:
    """The measurement as a record holds it, with an alarm where this reference is far from what policies start from."""
    said = footing.distance(_distance(both).get("reference_distance", {}))
    made = checkpoint(found)
    return {**made, "alarms": [*made["alarms"], *([said] if said else [])]}


def _distance(both: Shared) -> dict[str, Any]:
    """Perplexities of the reference and of what policies start from, where they are two models."""
    file = both.pair_folder / DISTANCE
    return {"reference_distance": json.loads(file.read_text())} if file.is_file() else {}


def sft_seconds(folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the fit, whenever and by whichever run it was made."""
    facts = json.loads((folder / "sft.json").read_text())
    return float(facts["wall"]), float(facts["cpu"])


def _sft_facts(folder: Path) -> dict[str, Any]:
    """Steps, FLOPs and final loss of the fit; its seconds depend on the machine and stay out of the record."""
    facts = json.loads((folder / "sft.json").read_text())
    kept = {name: facts[name] for name in ("steps", "batch", "learning_rate", "flops", "dropped")}
    return {**kept, "loss": float(np.mean(facts["losses"]))}
