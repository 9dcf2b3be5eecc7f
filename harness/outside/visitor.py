"""One checkpoint trained elsewhere, measured by the code that measures every policy, and recorded as a cell."""

from __future__ import annotations

import math
import traceback
from pathlib import Path
from typing import Any

from harness.data import chat
from harness.errors import HarnessError
from harness.measure.evaluate import measure
from harness.measure.yardstick import Yardstick
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.outside.elsewhere import Visit, refuse_words
from harness.planning.experiment import Experiment, cell_fingerprint, study_key
from harness.running import kept
from harness.running.facts import checkpoint, judge_facts, model_facts, task_facts
from harness.running.stages import Report, Shared, dtype_of, shared
from harness.running.temperatures import measure_all
from harness.running.yardstick import yardstick
from harness.store import failing
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger


def measure_visitor(experiment: Experiment, visit: Visit, report: Report) -> str:
    """Measure and record; returns the status. What fails in measuring is recorded; HarnessError where it is no policy of this reference."""
    ledger = Ledger(math.inf)
    both = shared(experiment, visit.cell.seed, report)
    yard = yardstick(experiment, both, ledger, report)
    policy = _policy(experiment, visit, both, yard, ledger)
    with CellWriter(visit.folder) as writer:
        record = {**_blank(experiment, visit), "judge": judge_facts(experiment, both, yard), "model": model_facts(experiment, policy.model)}
        record |= yard.questions.plain()
        report("evaluation", 0.0, None)
        try:
            found = measure(policy, yard, mark=1.0, prompts=experiment.evaluation_prompts, probes=experiment.probe_prompts)
        except Exception as error:
            writer.note(traceback.format_exc())
            writer.finish({**record, "status": "failed", "failure": failing.failure("evaluation", error)}, visit.declared.times)
            return "failed"
        writer.samples(found.rows)
        where = {"mark": 1.0, "share": 1.0, "step": 0, "final": True, "started": True}
        with writer.extra():
            wanted = [temperature for temperature in experiment.temperatures if temperature != 1]
            measure_all(policy, yard, wanted, visit.folder, experiment.evaluation_prompts, report)
        ended = {"status": "finished", "failure": None, "checkpoints": [{**where, **checkpoint(found)}]}
        writer.finish({**record, **ended}, visit.declared.times)
    return "finished"


def _policy(experiment: Experiment, visit: Visit, both: Shared, yard: Yardstick, ledger: Ledger) -> Metered:
    """The checkpoint in the study's dtype; HarnessError in one line where its tokens are not the reference's."""
    kept.refuse_other_base(Path(visit.model))
    model, tokenizer = load_model(visit.model, dtype=dtype_of(experiment), vocabulary=(), seed=0)
    if both.tokens.templated:
        chat.adopt(tokenizer, visit.model)
    ours = both.tokens.tokenizer
    refuse_words(visit.model, tokenizer.get_vocab(), ours.get_vocab())
    if tokenizer.eos_token_id != ours.eos_token_id:
        said = f"its responses end with token {tokenizer.eos_token!r}, the reference's with {ours.eos_token!r}"
        raise HarnessError(f"checkpoint {visit.model}: {said}.")
    width, wanted = (int(each.config.vocab_size) for each in (model, yard.reference.model))
    if width != wanted:
        raise HarnessError(f"checkpoint {visit.model}: its output has {width} tokens and the reference's {wanted}; KL needs the same.")
    return meter(model, tokenizer, ledger)


def _blank(experiment: Experiment, visit: Visit) -> dict[str, Any]:
    """The record before anything is measured. Its algorithm's hash is of the weights: other weights are another algorithm."""
    plan = visit.cell.algorithm
    algorithm: dict[str, Any] = {
        "name": plan.name,
        "hash": plan.sha256,
        "knob": None,
        "family": "trained elsewhere",
        "source": "",
        "conventions": {},
    }
    return {
        **task_facts(experiment),
        "kind": "cell",
        "fingerprint": cell_fingerprint(experiment, visit.cell, visit.budget.limit),
        "study": study_key(experiment),
        "algorithm": {**algorithm, "control": False, "oracle": False, "optimum": "none known"},
        "setting": {},
        "settings": {},
        "seed": visit.cell.seed,
        "budget": visit.budget._asdict(),
        "compute": visit.declared.compute,
        "checkpoints": [],
        "diagnostics": {},
    }
