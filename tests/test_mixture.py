"""Policies as further proposals of the optimal frontiers: which are chosen, and that what is stored is what the models say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.models import threads
from harness.models.metered import Metered
from harness.planning.experiment import Experiment, resolve
from harness.plugins import registry
from harness.running import kept, mixture
from harness.running.mixture import NO_POLICY, measure_mixture, proposals
from harness.running.proposals import reference_samples
from harness.running.stages import shared
from harness.running.yardstick import yardstick
from harness.store import records
from harness.store.cache import cache_root
from harness.training.ledger import Ledger
from harness.types import Group


def quiet(*_: object) -> None:
    pass


def cell(study: Path, name: str, kl: float, gold: float, *, seed: int = 0, policy: bool = True, **changed: Any) -> Path:
    folder = study / "cells" / name
    metrics = {"kl": {"value": kl}, "gold": {"value": gold}}
    record = {"kind": "cell", "status": "finished", "seed": seed, "fingerprint": name, "checkpoints": [{"metrics": metrics}]} | changed
    records.write_json(folder / records.RECORD, {"schema": 1, **record})
    if policy:
        (folder / records.POLICY).mkdir()
    return folder


def test_the_best_of_each_third_of_kl_proposes(tmp_path: Path) -> None:
    for index, (kl, gold) in enumerate([(0.1, 1), (0.2, 2), (1.0, 3), (1.1, 2.5), (3.0, 1), (9.0, 0)]):
        cell(tmp_path, f"run{index}", kl, gold)
    cell(tmp_path, "other-seed", 1.0, 99, seed=1)
    cell(tmp_path, "not-kept", 1.0, 99, policy=False)
    cell(tmp_path, "diverged", 1.0, 99, status="diverged")
    cell(tmp_path, "superseded", 1.0, 99, superseded=True)
    assert [each.folder.name for each in proposals(tmp_path, 0)] == ["run1", "run2", "run4"]
    assert [each.folder.name for each in proposals(tmp_path, 1)] == ["other-seed"]
    assert proposals(tmp_path, 2) == []


@pytest.fixture
def experiment() -> Experiment:
    task = registry.load("tasks", "tldr").task(None)
    sizes = {"evaluation_prompts": 6, "mark_prompts": 6, "tuning_prompts": 6, "probe_prompts": 4, "frontier_samples": 5}
    flags = {"task": "tldr", "model": "tiny-64", "sft_steps": 20, "pairs": 16, "stage_threads": 2, **sizes}
    return resolve(flags, None, task.defaults, task_version=task.version)


@pytest.mark.slow
def test_what_is_stored_is_what_the_models_say(tmp_path: Path, experiment: Experiment) -> None:
    """Two policies that are the reference with noise: each stored ratio is the difference of two log-probs, scored one by one."""
    both, ledger, before = shared(experiment, 0, quiet), Ledger(math.inf), cached()
    policies = []
    for index in range(2):
        policy = both.reference(ledger)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
        kept.keep(policy, both.tokens.tokenizer, cell(tmp_path, f"run{index}", index + 0.5, 1.0, policy=False))
        policies.append(policy)
    assert measure_mixture(experiment, 0, tmp_path, quiet) == "finished"
    study = tmp_path / records.FRONTIERS / "seed0"
    record = json.loads((study / records.RECORD).read_text())
    rows = records.Cell(study, record).samples()
    assert record["counts"] == [5, mixture.SAMPLES, mixture.SAMPLES] and len(rows) == 6
    assert [each["cell"] for each in record["proposals"]] == ["run0", "run1"]
    yard = yardstick(experiment, both, ledger, quiet)
    own = reference_samples(experiment, both, yard).responses
    reference = both.reference(ledger)
    prompts = both.tokens.prompts([d.prompt for d in yard.evaluation])
    for prompt, row, samples in zip(prompts, rows, own, strict=True):
        ratios = np.array(row["log_ratios"])
        assert ratios.shape == (2, 5 + 2 * mixture.SAMPLES) and len(row["gold"]) == 2 * mixture.SAMPLES
        with torch.no_grad():
            under = [[float(model.logps([Group(prompt, (r.ids,))])) for r in samples] for model in (*policies, reference)]
        assert ratios[:, :5] == pytest.approx(np.array(under[:2]) - np.array(under[2]), abs=2e-3)
        assert np.abs(ratios).max() > 0.01
    joined(tmp_path, experiment, cell(tmp_path, "run2", 2.5, 1.0, policy=False), {*cached()} - {*before})
    # Under its own policy a sample is likelier than chance would have it: E log pi / ref over pi is a KL.
    everything = np.array([row["log_ratios"] for row in rows])
    assert everything[:, 0, 5 : 5 + mixture.SAMPLES].mean() > 0 > everything[:, 0, :5].mean()


def cached() -> dict[Path, int]:
    """The log-probs of policies that the cache holds, those of other tests among them, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (cache_root() / "mixture").glob("*/logps.safetensors")}


def joined(tmp_path: Path, experiment: Experiment, folder: Path, own: set[Path]) -> None:
    """A third policy joins: the first two, whose log-probs are ``own``, are not asked again about the reference's samples."""
    known = cached()
    assert len(own) == 2
    both = shared(experiment, 0, quiet)
    kept.keep(both.reference(Ledger(math.inf)), both.tokens.tokenizer, folder)
    asked = Metered.in_parts
    sizes: list[int] = []

    def heard(self: Metered, groups: Sequence[Group], function: Callable[[Metered, slice], Any]) -> list[Any]:
        assert threads.count(self.device) == experiment.stage_threads  # this job runs alone
        sizes.append(sum(len(g.responses) for g in groups))
        return asked(self, groups, function)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metered, "in_parts", heard)
        assert measure_mixture(experiment, 0, tmp_path, quiet) == "finished"
    assert sorted(sizes) == [
        6 * 5,
        *[6 * 3 * mixture.SAMPLES] * 4,
    ]  # the third policy; the policies' samples under it, them and the reference
    assert {path: path.stat().st_mtime_ns for path in known} == known


@pytest.mark.slow
def test_without_kept_policies_the_reason_is_recorded(tmp_path: Path, experiment: Experiment) -> None:
    assert measure_mixture(experiment, 0, tmp_path, quiet) == "finished"
    record = json.loads((tmp_path / records.FRONTIERS / "seed0" / records.RECORD).read_text())
    assert record["skipped"] == NO_POLICY and record["counts"] == []


@pytest.mark.slow
def test_a_policy_that_cannot_be_read_fails_the_job_and_not_the_comparison(tmp_path: Path, experiment: Experiment) -> None:
    cell(tmp_path, "broken", 1.0, 1.0)
    assert measure_mixture(experiment, 0, tmp_path, quiet) == "failed"
    assert "Traceback" in (tmp_path / records.FRONTIERS / "seed0" / records.LOG).read_text()
