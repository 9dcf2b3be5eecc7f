"""How policy and reference are held in memory: whatever the mode, a run begins at its reference, and says so in every number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from harness import checkpoints as places
from harness.data.shapes import shape
from harness.errors import HarnessError
from harness.measure.yardstick import Yardstick
from harness.models import adapters
from harness.models.resting import Resting
from harness.planning.budget import budgets
from harness.planning.experiment import OUTSIDE_STUDY, Experiment, cells, fingerprint, resolve, study_key
from harness.planning.footing import Footing, lora
from harness.plugins import registry
from harness.running import kept
from harness.running.cell import Plan, run_cell
from harness.running.stages import Shared, shared
from harness.running.yardstick import yardstick
from harness.store import records
from harness.store.hashes import engine_hash, weights_hash
from harness.training.ledger import Ledger
from harness.types import Group, Task

MODES = ("copy", "cached", "adapter-off", "merged", "frozen-adapter")
SMALL = """
task = "tldr"
model = "tiny-64"
budget = "3e9"
sft_steps = 12
pairs = 24
evaluation_prompts = 8
mark_prompts = 4
tuning_prompts = 4
probe_prompts = 4
frontier_samples = 0
opponent_samples = 1
stage_threads = 1
temperatures = []
marks = [0.5]

[algorithms.dpo]
beta = 0.1
"""


@cache
def world() -> Task:
    found: Task = registry.load_entry(registry.find("tasks", "tldr")).task(None)
    return found


def experiment(folder: Path, mode: str, **flags: object) -> Experiment:
    (folder / "small.toml").write_text(SMALL)
    task = world()
    flags = {"reference_mode": mode, **flags}
    return resolve(flags, folder / "small.toml", task.defaults, task_version=task.version, judges=task.judge_names)


def silent(*_: object) -> None:
    """Progress that nobody hears."""


@pytest.fixture(scope="module", params=MODES)
def seed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Experiment, Shared, Yardstick, Path]]:
    """The shared stages of a seed under one mode; the cache is common, so modes that share an SFT model fit it once."""
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.getbasetemp() / "modes"))
        patch.setattr("harness.running.stages.load_task", lambda _: world())
        small = experiment(root, request.param, keep_policies="all")
        both = shared(small, 0, silent)
        yield small, both, yardstick(small, both, Ledger(math.inf), silent), root


def groups(both: Shared) -> list[Group]:
    return [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in both.pairs]


def test_a_policy_starts_at_its_reference(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    """KL is 0 to 1e-5, every log-ratio 0, and the cached log-probs of the reference are those that the live one gives."""
    _, both, yard, _ = seed
    policy = both.policy(Ledger(math.inf))
    divergence = policy.divergence(yard.reference, groups(both))
    assert float(divergence.kl.abs().max()) < 1e-5
    assert float(divergence.log_ratio.abs().max()) < 1e-5
    with torch.no_grad():
        own = policy.logps(groups(both)).view(-1, 2)
    assert torch.allclose(own, both.reference_logps, rtol=1e-6, atol=1e-5)


def test_what_is_shared_is_held_once(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    """Weights below an adapter are the same memory in policy, reference, reward model and critic; whole models share nothing."""
    small, both, _, _ = seed
    policy, reference = both.policy(Ledger(math.inf)), both.reference(Ledger(math.inf))
    models = (policy, reference, policy.fork(scalar_head=True), policy.frozen())
    weights = [{p.data_ptr() for name, p in each.model.named_parameters() if not adapters.is_adapter(name)} for each in models]
    held_once = all(each == weights[0] for each in weights)
    assert held_once == small.adapted
    assert small.adapted or not any(weights[0] & each for each in weights[1:])
    trained = {p.data_ptr() for p in policy.parameters()}
    assert trained.isdisjoint(set().union(*weights)) == small.adapted


def test_training_moves_the_policy_and_nothing_below_it(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    _, both, yard, _ = seed
    policy = both.policy(Ledger(math.inf))
    with torch.no_grad():
        before = yard.reference.logps(groups(both)[:4])
    policy.optimise(learning_rate=1e-2)
    policy.backward(-policy.logps(groups(both)[:4]).mean())
    policy.step(0.5)
    with torch.no_grad():
        assert torch.equal(yard.reference.logps(groups(both)[:4]), before)
        assert float((policy.logps(groups(both)[:4]) - before).abs().max()) > 0.1


def test_a_run_begins_at_log_two_and_its_policy_loads_again(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    """DPO's first loss is log 2 in every mode (algorithms.md, invariant 1); the policy kept is an adapter where it was trained as one."""
    small, both, _, root = seed
    task, found = world(), next(cells(small))
    size = shape(small.model, len(task.vocabulary), lora(small))
    assert size == both.policy(Ledger(math.inf)).shape
    plan = Plan(small, found, budgets(small, size, task.typical_tokens)[found.budget], root / "cells" / "one")
    assert run_cell(plan, silent) == "finished", (root / "cells" / "one" / records.LOG).read_text()
    first = json.loads((plan.folder / records.METRICS).read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    record = json.loads((plan.folder / records.RECORD).read_text())
    assert record["model"].get("footing", {}).get("reference_mode", "copy") == small.reference_mode
    assert record["compute"]["share"] <= 1.01
    halfway = plan.folder / records.ON_THE_WAY / "mark-0.5"
    assert places.is_adapter(halfway) == small.adapted and "| kl |" in (halfway / "README.md").read_text()
    policy = kept.load(plan.folder, Ledger(math.inf))
    assert adapters.has(policy.model) == small.adapted == places.is_adapter(plan.folder / records.POLICY)
    card = (plan.folder / records.POLICY / "README.md").read_text()
    assert bool(small.adapted) == (plan.folder / records.POLICY / "harness.json").is_file()
    if small.adapted:
        facts = plan.folder / records.POLICY / "harness.json"
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "base_sha256": "0" * 64}))
        with pytest.raises(HarnessError, match=r"made over weights 00000000, and its base .* has others"):
            kept.load(plan.folder, Ledger(math.inf))
    assert "| kl |" in card and f"library_name: {'peft' if small.adapted else 'transformers'}" in card


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cached", "adapter-off", "frozen-adapter"])
def test_algorithms_that_ask_a_live_reference_and_models_of_their_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """KTO reads the reference live; PPO samples beside it and fits a reward model and a critic over the same weights."""
    monkeypatch.setattr("harness.running.stages.load_task", lambda _: world())
    settings = ["ppo.iterations=1", "ppo.minibatches=2", "ppo.samples_per_prompt=2", "ppo.kl_coef=0.3,0.1", "kto.beta=0.1"]
    small = experiment(tmp_path, mode, algorithms=["kto", "ppo"], budget="1.2e10", set=settings)
    size = shape(small.model, len(world().vocabulary), lora(small))
    for found in cells(small):
        folder = tmp_path / "cells" / found.label
        plan = Plan(small, found, budgets(small, size, world().typical_tokens)[found.budget], folder)
        assert run_cell(plan, silent) == "finished", (folder / records.LOG).read_text()
        record = json.loads((folder / records.RECORD).read_text())
        assert 0.5 < record["compute"]["share"] <= 1.01
        phases = {"update", "reference"} | ({"reward", "rollout"} if found.algorithm.name == "ppo" else set())
        assert phases <= record["compute"]["canonical"].keys()


def test_a_resting_reference_leaves_memory_and_comes_back(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    small, both, yard, _ = seed
    if small.reference_mode != "cached":
        assert not isinstance(yard.reference, Resting)
        return
    assert isinstance(yard.reference, Resting)
    with torch.no_grad():
        before = yard.reference.logps(groups(both)[:2])
    size = yard.reference.shape
    yard.rest()
    assert not yard.reference.awake and yard.reference.shape == size and not yard.reference.awake
    with torch.no_grad():
        assert torch.equal(yard.reference.logps(groups(both)[:2]), before)


def test_runs_of_a_seed_in_one_process_share_what_never_changes(seed: tuple[Experiment, Shared, Yardstick, Path]) -> None:
    """Token ids, and what reference and proxy have read, where that is small; what was kept of another yardstick goes."""
    small, both, yard, _ = seed
    again = yardstick(small, both, Ledger(math.inf), silent)
    assert again.prompts is yard.prompts and again.demonstrated is yard.demonstrated
    if small.reference_mode != "cached":
        assert again.reference_past is yard.reference_past is not None
    fewer = small.model_copy(update={"evaluation_prompts": 2})
    other = yardstick(fewer, both, Ledger(math.inf), silent)
    assert len(other.prompts) == 2 and other.prompts is not yard.prompts
    assert yardstick(small, both, Ledger(math.inf), silent).known is not yard.known


def test_settings_at_their_defaults_change_no_key(tmp_path: Path) -> None:
    """A study under the defaults is what it was before there were these settings: none of them is in its key."""
    plain = experiment(tmp_path, "copy")
    before = plain.model_dump(mode="json", exclude=OUTSIDE_STUDY | set(Footing.model_fields))
    weights = {"weights": weights_hash(plain.model), "engine": engine_hash()}
    assert study_key(plain) == fingerprint({**before, **weights})
    assert not plain.plain().keys() & Footing.model_fields.keys()
    assert study_key(plain) == study_key(plain.model_copy(update={"reference_mode": "copy", "lora_rank": 16, "chat": "auto"}))
    other = [study_key(experiment(tmp_path, mode)) for mode in MODES[1:]]
    assert len({study_key(plain), *other}) == len(MODES)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"lora_rank": 8}, "lora_rank: under reference_mode 'copy' no policy is an adapter; legal with it: adapter-off"),
        ({"sft": "chosen"}, "sft 'chosen': this task samples its pairs from the SFT model"),
        ({"sft": "none"}, "sft 'none': tiny-64 has random weights"),
        ({"reference": "bose"}, r"reference 'bose': unknown. Did you mean 'base'\?"),
        ({"reference": "base", "reference_mode": "adapter-off"}, "legal with another reference: copy, cached"),
        ({"reference": "nobody/absent"}, "neither a folder nor in the Hugging Face cache"),
        ({"set": ["dpo.init=base"], "reference_mode": "merged"}, "dpo starts from the model before SFT"),
        ({"set": ["dpo.init=bse"]}, r"'bse' is not one of sft, base. Did you mean 'base'\?"),
        ({"keep_policies": "best"}, "add --checkpoint best"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, flags: dict[str, object], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        experiment(tmp_path, str(flags.pop("reference_mode", "copy")), **flags)
