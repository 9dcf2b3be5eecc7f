"""What is to be compared, resolved into one frozen, fingerprinted value: defaults < ``--quick`` < TOML file < flags."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from harness.data.shapes import PRESETS
from harness.errors import HarnessError
from harness.planning import assumptions, footing, suites
from harness.planning.assumptions import Assumptions
from harness.planning.budget import absolute_budget, budget_flops, budget_specs, matched_on
from harness.planning.footing import Footing
from harness.planning.origins import refuse_judge_as_reward
from harness.planning.plan import AlgorithmPlan, baseline_of, plans
from harness.planning.suites import DetectorPlan, SuitePlan
from harness.planning.written import EachOnce, Marks, Ranked, Rising, Temperatures, Thresholds, seeds_in, written_in
from harness.store.hashes import engine_hash, weights_hash
from harness.types import Defaults, Setting

__all__ = ["QUICK", "AlgorithmPlan", "Cell", "Experiment", "budget_flops", "cells", "fingerprint", "read", "resolve", "study_key"]

# ``--quick``: how far each default is reduced. Numbers are upper bounds, so a small task is never enlarged.
QUICK: Mapping[str, Any] = {
    "model": "tiny-64",
    "sft_steps": 400,
    "pairs": 600,
    "evaluation_prompts": 128,
    "mark_prompts": 64,
    "tuning_prompts": 64,
    "tuning_pairs": 600,
    "probe_prompts": 128,
    "marks": (0.5,),
    "frontier_samples": 16,
}
LIMITED = ("pairs", "evaluation_prompts", "mark_prompts", "tuning_prompts", "tuning_pairs", "probe_prompts")
SFT_ROWS = 3  # demonstrations that SFT sees for each row of --limit
# Paths as typed are not part of it: what they hold is, through the task's version and the weights' hash.
OUTSIDE_STUDY = {
    "source",
    "model",
    "algorithms",
    "seeds",
    "budget",
    "task_path",
    "judge_word",
    "threads",
    "safety_margin",
    "keep_policies",
    "checkpointing",
    "temperatures",
    "kl_range",
    "alarms",
    "baseline",
    *("safety_suites", "safety_detectors", "safety_prompts"),  # what they resolve to is part of it where there are any
}


class Experiment(Assumptions, Footing):
    """Everything that decides what a comparison computes; how it is carried out (jobs, folders) is not part of it."""

    task: str
    task_path: str | None = None  # of a task that is a bare file
    task_version: str = ""
    judge_word: str | None = None  # of a judge that is none of the task's: what it was named by (harness/judges/find.py)
    source: str | None = None
    model: str
    dtype: Literal["auto", "float32", "mixed", "bfloat16"] = "auto"  # harness/models/precision.py
    checkpointing: bool = False  # recompute activations in every backward: less memory, the same numbers
    kernels: Literal["auto", "default", "onednn"] = "auto"  # of products on a CPU (harness/execute/kernels.py)
    algorithms: Annotated[tuple[AlgorithmPlan, ...], Field(min_length=1)]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), EachOnce] = (0,)
    budget: Annotated[tuple[str, ...], Field(min_length=1), EachOnce]
    match: Literal["flops", "device-seconds", "pairs", "steps"] = "flops"
    sft_steps: PositiveInt
    sft_batch: PositiveInt
    sft_learning_rate: PositiveFloat
    batch_pairs: PositiveInt
    evaluation_prompts: PositiveInt
    mark_prompts: PositiveInt
    tune: NonNegativeInt = 0  # trials drawn per grid value, beside the declared default
    tuning_seed: NonNegativeInt | None = None  # None: the one after the largest of the seeds
    tuning_prompts: PositiveInt
    tuning_pairs: PositiveInt = 2000
    kl_targets: Rising = ()
    checkpoint: Literal["last", "best"] = "last"
    probe_prompts: NonNegativeInt
    safety_suites: tuple[SuitePlan, ...] = ()  # asked at the end: harness/planning/suites.py
    safety_detectors: tuple[DetectorPlan, ...] = ()
    safety_prompts: PositiveInt | None = None  # of each half of a suite; None: all
    marks: Marks
    opponent_samples: PositiveInt
    frontier_samples: Ranked
    threads: PositiveInt = 1
    stage_threads: PositiveInt = 2
    keep_policies: Literal["auto", "none", "final", "best", "all"] = "auto"  # auto: final of small models (harness/running/kept.py)
    temperatures: Temperatures = (0.0,)  # beside 1, at which everything is measured
    limit: PositiveInt | None = None
    safety_margin: Annotated[float, Field(gt=0, lt=1)] = 0.02  # read by the report alone
    kl_range: PositiveFloat = 3.0  # nats that frontiers are scored over; read by the report alone
    alarms: Thresholds = Field(default_factory=dict)  # by alarm, where not the declared ones; read by the report alone
    baseline: str | None = None  # what every other algorithm is tested against; None: the first; read by the report alone
    quick: bool = False

    def plain(self) -> dict[str, Any]:
        """The experiment as its file in a study holds it: settings of the footing are left out where they are at their defaults."""
        return self.model_dump(mode="json", exclude=footing.settled(self))

    @property
    def single(self) -> bool:
        """Whether what is learnt from are single labelled responses: ``pairs`` counts them."""
        return self.labels == assumptions.SINGLE

    @property
    def cell_count(self) -> int:
        """Algorithms' settings times seeds times budgets."""
        return len(self.seeds) * len(self.budget) * sum(len(plan.settings) for plan in self.algorithms)


class Cell(NamedTuple):
    """One run: an algorithm with one setting, one seed and one budget; ``several`` says that the grid has other budgets as well.

    ``trial`` says what a trial is of, ``tuning`` where tuning found the setting.
    """

    algorithm: AlgorithmPlan
    setting: Mapping[str, Setting]
    seed: int
    budget: str
    several: bool = False
    trial: Mapping[str, Any] | None = None
    tuning: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """``dpo-beta=0.1-seed0``, with ``4epochs`` before the seed where budgets differ: what a reader sees and a folder's name."""
        values = [f"{name}={value}" for name, value in self.setting.items()] + [self.budget] * self.several
        return re.sub(r"[^\w.=+-]", "_", "-".join([self.algorithm.name, *values, f"seed{self.seed}"]))


FILE_KEYS = (set(Experiment.model_fields) - {"task_path", "task_version", "judge_word", "source"}) | {"data", "vary"}


def read(path: Path) -> dict[str, Any]:
    """An experiment file's top-level keys and tables, unknown keys refused; paths in it are relative to the file."""
    return written_in(path, FILE_KEYS)


def resolve(
    flags: Mapping[str, Any],
    file: Path | None,
    defaults: Defaults,
    *,
    task_version: str = "",
    available_pairs: int | None = None,
    single: bool = False,
    judges: Sequence[str] = ("gold",),
) -> Experiment:
    """The experiment: defaults < ``--quick`` < file < flags.

    ``flags`` holds only what was given, under the flags' names (``set`` is a list of ``NAME.beta=0.1``); ``available_pairs`` caps the
    pairs where they come from a file, ``single`` says that these are responses labelled one by one; ``judges`` are the task's, the first
    of them the default. Raises HarnessError naming the value, its origin and what is legal.
    """
    written = read(file) if file else {}
    values = _plain(defaults)
    if flags.get("quick", written.get("quick", False)):
        values |= _quick(values)
    given = {key: value for layer in (written, flags) for key, value in layer.items() if key not in {"algorithms", "set", "vary"}}
    values |= {{"data": "source"}.get(key, key): value for key, value in given.items()}
    if not values["model"]:
        raise HarnessError("No model named, and this data proposes none; give --model FOLDER, a local transformers folder.")
    values["seeds"] = seeds_in(values.get("seeds", 1))
    values["budget"] = tuple(absolute_budget(spec, defaults.budget) for spec in budget_specs(values["budget"]))
    values["match"] = matched_on(values["budget"], values.get("match"))
    values |= assumptions.judging(str(values.get("judge", judges[0])), judges)
    values |= assumptions.of_data(values, available_pairs is not None, single)
    values |= suites.resolved(values)
    values["algorithms"] = plans(flags, written, defaults, quick=bool(values.get("quick")), origin=f"{file}: algorithms.")
    values["baseline"] = baseline_of(values.get("baseline"), [plan.name for plan in values["algorithms"]])
    experiment = _validated({**values, "task_version": task_version}, flags, file)
    refuse_judge_as_reward(experiment)
    footing.refuse(experiment, experiment.model, embedded=available_pairs is None)
    footing.refuse_starts(experiment, experiment.algorithms)
    if experiment.keep_policies == "best" and experiment.checkpoint != "best":
        raise HarnessError("keep_policies 'best': the tuning judge chooses that mark; add --checkpoint best, or keep final or all.")
    return _capped(experiment, available_pairs)


def cells(experiment: Experiment) -> Iterator[Cell]:
    """Every run of the grid: by seed, then by algorithm, then by setting, then by budget."""
    several = len(experiment.budget) > 1
    for seed in experiment.seeds:
        for plan in experiment.algorithms:
            for setting, tuning in zip_longest(plan.settings, plan.tuning):
                yield from (Cell(plan, setting, seed, budget, several, tuning=tuning) for budget in experiment.budget)


def fingerprint(value: Any) -> str:
    """sha256 of canonical JSON (sorted keys, no spaces); models are dumped first. The same value gives the same 64 digits anywhere."""
    plain = value.plain() if isinstance(value, Experiment) else value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def study_key(experiment: Experiment) -> str:
    """The fingerprint of what cells must share to be compared: all but algorithms, seeds, budgets, paths and the threads of cells.

    Settings of the footing are in it where they are not at their defaults; another reference is known by its weights.
    """
    shared = experiment.model_dump(mode="json", exclude=OUTSIDE_STUDY | footing.settled(experiment))
    if other := footing.beyond(experiment):
        shared["reference"] = weights_hash(other)
    asked = suites.keyed(experiment.safety_suites, experiment.safety_detectors)
    return fingerprint({**shared, **asked, "weights": weights_hash(experiment.model), "engine": engine_hash()})


def cell_fingerprint(experiment: Experiment, cell: Cell, budget: float) -> str:
    """sha256 of the study, the budget's limit, the algorithm's name and file, the setting, seed and threads; no label is in it."""
    plan = {"algorithm": cell.algorithm.name, "file": cell.algorithm.sha256, "setting": dict(cell.setting), "seed": cell.seed}
    plan |= {} if cell.trial is None else {"kind": "trial"}
    return fingerprint({"study": study_key(experiment), "budget": budget, "threads": experiment.threads, **plan})


def _plain(defaults: Defaults) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(defaults)} - {"algorithms", "settings"}
    return {name: getattr(defaults, name) for name in names}


def _quick(values: Mapping[str, Any]) -> dict[str, Any]:
    """The presets; a task that proposes no model (its vocabulary is the pretrained model's) is given none, and none is enlarged."""
    smaller = {key: min(values[key], bound) if isinstance(bound, int) else bound for key, bound in QUICK.items()}
    own = values["model"]
    if not own or (own in PRESETS and PRESETS[own].shape(1).blocks <= PRESETS[QUICK["model"]].shape(1).blocks):
        smaller["model"] = own
    return smaller


def _validated(values: Mapping[str, Any], flags: Mapping[str, Any], file: Path | None) -> Experiment:
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        origin = f"{file}: " if file and first["loc"][0] not in flags else ""
        raise HarnessError(f"{origin}{key}: {first['msg']}, found {first['input']!r}.") from error


def _capped(experiment: Experiment, available_pairs: int | None) -> Experiment:
    """Sizes under ``--limit``, and no more pairs than there are."""
    sizes = {name: min(getattr(experiment, name), experiment.limit or getattr(experiment, name)) for name in LIMITED}
    if experiment.limit:
        sizes["sft_steps"] = min(experiment.sft_steps, max(1, math.ceil(SFT_ROWS * experiment.limit / experiment.sft_batch)))
    if available_pairs is not None:
        sizes["pairs"] = min(sizes["pairs"], available_pairs)
    return experiment.model_copy(update=sizes)
