"""One run: an algorithm with one setting and one seed trained on its budget, measured at the marks, recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measure.evaluate import measure
from harness.measure.reward_probes import inspect
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.planning import footing, origins, settings
from harness.planning.budget import Budget
from harness.planning.experiment import Cell, Experiment, cell_fingerprint, study_key
from harness.plugins import constant, registry
from harness.report.alarm import Alarm
from harness.running import card, kept, outset
from harness.running.facts import checkpoint, clock, forget_peak, judge_facts, model_facts, run_times, task_facts
from harness.running.fits import once
from harness.running.stages import Report
from harness.running.temperatures import measure_all
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger
from harness.training.preference import PreferenceLoss
from harness.training.returned import place
from harness.training.reward import RewardModel
from harness.tuning.tuner import KEPT, Keeper, scene, tuner_facts
from harness.types import Update
from harness.watching import watched


@dataclass(frozen=True)
class Plan:
    """A cell with what it needs to run anywhere: the experiment, the resolved budget, and its folder."""

    experiment: Experiment
    cell: Cell
    budget: Budget
    folder: Path

    @property
    def fingerprint(self) -> str:
        """Of the study, the budget, the algorithm's file, the setting and the seed (``cell_fingerprint``)."""
        return cell_fingerprint(self.experiment, self.cell, self.budget.limit)


def run_cell(plan: Plan, report: Report) -> str:
    """Train, measure and record; returns the status. An error inside is recorded as a failed cell with its traceback, not raised."""
    forget_peak()
    with CellWriter(plan.folder) as writer:
        record, times, seconds = _blank(plan), Ledger(plan.budget.limit, plan.budget.match, clock()), {}
        try:
            run = _Run(plan, times, writer, report)
            seconds = run.seconds
            status, failure = run.finish()
            record |= run.result()
        except Exception as error:
            import traceback

            writer.note(traceback.format_exc())
            status, failure = "failed", {"stage": "run", "message": registry.raised(plan.cell.algorithm.path, error)}
        if status == "finished":
            with writer.extra():
                run.keep(record)
        writer.finish({**record, "status": status, "failure": failure}, {**run_times(times, plan.experiment), "marks": seconds})
    return status


class _Run:
    """The state of one cell while it runs."""

    def __init__(self, plan: Plan, ledger: Ledger, writer: CellWriter, report: Report) -> None:
        self.plan, self.ledger, self.writer, self.report = plan, ledger, writer, report
        is_trial = plan.cell.trial is not None
        self.experiment, self.shared, self.yard, self.tuner = scene(plan.experiment, plan.cell.seed, ledger, report, trial=is_trial)
        self.keeper = Keeper(self.tuner, plan.experiment.checkpoint) if self.tuner is not None and not is_trial else None
        self.checkpoints: list[dict[str, Any]] = []
        self.diagnostics: dict[str, Any] = {}
        self.inspected: dict[str, Any] = {}  # with intervals, so it wins over what the updates logged
        self.seconds: dict[str, float] = {}  # charged, by mark; they differ from run to run, so the record does not hold them
        self.alarms: list[Alarm] = []  # as they stood at the last mark
        self.step, self.started = 0, False
        self.past: Past | None = None  # what the policy has read as it is now
        entry = registry.find("algorithms", plan.cell.algorithm.path or plan.cell.algorithm.name)
        bound = registry.load_entry(entry).algorithm
        self.algorithm = bound() if isinstance(bound, type) else bound
        self.settings = outset.resolved_settings(entry, plan.cell.setting)
        oracle = settings.oracle(entry, self.settings)
        self.reward = origins.trained_on(plan.experiment, self.shared, oracle=oracle)
        origins.refuse(plan.experiment, self.shared, self.reward, oracle=oracle)
        asked = dict(zip(self.yard.prompts, (row.prompt for row in self.yard.evaluation), strict=False))
        begun = outset.setup(plan.experiment, plan.cell, self.shared, self.yard.reference, ledger, self.settings, asked)
        self.setup, self.policy = replace(begun, inspect=self._inspect, serve=self._serve), begun.policy

    def finish(self) -> tuple[str, dict[str, str] | None]:
        """Train; a model whose probabilities are no longer numbers has diverged, whichever step found out."""
        try:
            return self.train()
        except FloatingPointError as error:
            return "diverged", {"stage": "rollout", "message": f"{error}, after step {self.step}"}

    def train(self) -> tuple[str, dict[str, str] | None]:
        """Run the algorithm to the end of its budget, measuring at the marks."""
        marks = list(self.experiment.marks)
        for update in self.algorithm.updates(self.setup):
            self._log(update)
            if broken := [name for name, value in update.metrics.items() if _decides(name) and not math.isfinite(value)]:
                return "diverged", {"stage": update.phase, "message": f"{', '.join(broken)} not finite at step {self.step}"}
            while marks and self.ledger.share >= marks[0]:
                self._checkpoint(marks.pop(0), final=False)
        if not self.started:  # whatever was bought beside, it is not what the algorithm does
            raise self.ledger.too_small(f"algorithm '{self.plan.cell.algorithm.name}'")
        self._checkpoint(1.0, final=True)
        if self.keeper is not None and not self._served and self.keeper.restore(self.setup.policy):
            self._checkpoint(1.0, final=True, named=KEPT)
        return "finished", None

    def _refuse_first(self, update: Update) -> None:
        """HarnessError after a loss's first step without gradient, where it has none anywhere, or whose loss or gradient is no number."""
        lost = not math.isfinite(update.metrics.get("loss", 0.0))  # nothing has diverged yet: this is where the policy starts from
        if not isinstance(self.algorithm, PreferenceLoss) or not (lost or update.metrics.get("gradient_norm") == 0):
            return
        trained = self.algorithm.over(self.setup.pairs)
        if lost:
            said = "its loss or the gradient is not finite at the first step"
            raise HarnessError(f"{place(trained.loss)}: algorithm '{trained.name}': {said}.")
        constant.refuse(trained, trained.resolve(self.settings)[0])

    def _inspect(self, reward: RewardModel) -> None:
        key = {"study": study_key(self.experiment), "seed": self.plan.cell.seed}
        self.inspected = once(reward, key, lambda: inspect(reward, self.yard))

    def _serve(self, policy: Metered) -> None:
        self.policy = policy

    @property
    def _served(self) -> bool:
        """Whether what is measured answers in another way than its weights do."""
        return self.policy is not self.setup.policy

    def _log(self, update: Update) -> None:
        self.step += 1
        self.writer.log({"step": self.step, "phase": update.phase, "share": self.ledger.share, **update.metrics})
        if not self.started and update.phase != "reward":
            self._refuse_first(update)
            self.started = True
        self.diagnostics |= {name: value for name, value in update.metrics.items() if name.startswith("reward_")}
        self.report(update.phase, self.ledger.share, update.metrics.get("loss"))

    def _checkpoint(self, mark: float, *, final: bool, named: float | None = None) -> None:
        """Measure at a mark; a kept checkpoint meets the random numbers of the end and is ``named`` by a mark of its own."""
        experiment, name = self.experiment, mark if named is None else named
        self.report("evaluation", self.ledger.share, None)
        prompts = experiment.evaluation_prompts if final else experiment.mark_prompts
        probes = experiment.probe_prompts if final else min(experiment.mark_prompts // 2, experiment.probe_prompts)
        found = measure(self.policy, self.yard, mark=mark, prompts=prompts, probes=probes, final=final)
        self.past = found.past if final else None
        self.yard.rest()
        self.writer.samples({**row, "mark": name} for row in found.rows)
        if self.keeper is not None and named is None and self.started and not self._served:
            self.keeper.look(self.setup.policy, mark)
        where = {"mark": name, "share": self.ledger.share, "step": self.step, "final": final, "started": self.started}
        spent = {"canonical": self.ledger.total(self.ledger.canonical), "executed": self.ledger.total(self.ledger.executed)}
        self.seconds[str(name)] = self.ledger.total(self.ledger.wall_seconds)
        self.checkpoints.append({**where, "spent": spent, **checkpoint(found)})
        self.alarms = watched.said(self.writer, self.checkpoints, self.yard.judge.primary, found.rows, experiment)
        if experiment.keep_policies == "all" and not final and self.plan.cell.trial is None:
            self._save(f"{kept.ON_THE_WAY}/mark-{mark:g}", {**_blank(self.plan), **self.result()})

    def keep(self, record: Mapping[str, Any]) -> None:
        """What stands beside the record: the policy at other temperatures, and where the experiment says so itself; nothing of a trial."""
        policy, experiment = self.policy, self.plan.experiment
        if self.plan.cell.trial is not None:
            return
        if not self._served and kept.keeps(
            experiment, sum(p.numel() for p in policy.model.parameters())
        ):  # first: other temperatures can be made from it
            self._save(kept.POLICY, record)
        wanted = [temperature for temperature in experiment.temperatures if temperature != 1]
        measure_all(policy, self.yard, wanted, self.plan.folder, experiment.evaluation_prompts, self.report, self.past)

    def _save(self, name: str, record: Mapping[str, Any]) -> None:
        """The policy as it is now, below the run's folder, with its card."""
        told = card.text(record, self.experiment, adapted=self.shared.below is not None)
        kept.keep(self.setup.policy, self.shared.tokens.tokenizer, self.plan.folder, name=name, base=self.shared.base, told=told)

    def result(self) -> dict[str, Any]:
        """What the record says of the run beyond its plan."""
        chosen = {} if self.tuner is None else {"tuner": tuner_facts(self.experiment, self.shared, self.tuner.folder)}
        if self.keeper is not None:
            chosen["checkpoint"] = self.keeper.facts()
        compute = {"canonical": dict(self.ledger.canonical), "executed": dict(self.ledger.executed), "counts": dict(self.ledger.counts)}
        return {
            "settings": self.settings,
            "compute": {**compute, "share": self.ledger.share},
            "checkpoints": self.checkpoints,
            "alarms": [each.plain() for each in self.alarms],
            "diagnostics": self.diagnostics | self.inspected,
            "model": model_facts(self.plan.experiment, self.setup.policy.model),
            "reward": self.reward.plain(),
            "judge": judge_facts(self.plan.experiment, self.shared, self.yard),
            **self.yard.questions.plain(),
            **chosen,
        }


def _decides(metric: str) -> bool:
    """Whether a run is over when this metric is not finite: any loss (a policy's, a critic's), or the gradient that stepped nothing."""
    return metric == "gradient_norm" or metric.endswith("loss")


def _blank(plan: Plan) -> dict[str, Any]:
    """The record of a plan before anything ran."""
    experiment, cell = plan.experiment, plan.cell
    entry = registry.find("algorithms", cell.algorithm.path or cell.algorithm.name)
    facts = entry.declaration.metadata
    algorithm: dict[str, Any] = {"name": cell.algorithm.name, "hash": cell.algorithm.sha256, "knob": cell.algorithm.knob}
    algorithm |= {"family": facts.get("family", "offline"), "source": facts.get("source", ""), "control": bool(facts.get("control", False))}
    algorithm["optimum"] = facts.get("optimum", "none known")
    chosen = outset.resolved_settings(entry, cell.setting)  # a convention may name the setting that decides it
    algorithm["oracle"] = settings.oracle(entry, chosen)
    if (start := settings.init(entry, chosen)) != footing.START:
        algorithm["init"] = start
    algorithm |= {name: facts[name] for name in ("untrained", "bounded") if name in facts}
    algorithm["conventions"] = {name: chosen.get(value, value) for name, value in facts.get("conventions", {}).items()}
    return {
        **_origin(cell),
        "fingerprint": plan.fingerprint,
        "study": study_key(experiment),
        "algorithm": algorithm,
        "setting": dict(cell.setting),
        "seed": cell.seed,
        "budget": plan.budget._asdict(),
        "checkpoints": [],
        **task_facts(experiment),
    }


def _origin(cell: Cell) -> dict[str, Any]:
    """What kind of run this is and where its setting comes from: of what it is a trial, or what tuning found it."""
    if cell.trial is not None:
        return {"kind": "trial", "trial_of": dict(cell.trial)}
    found = {} if cell.tuning is None else {"tuning": dict(cell.tuning)}
    return {"kind": "cell", "tuned": bool(cell.tuning and cell.tuning.get("tuned")), **found}
