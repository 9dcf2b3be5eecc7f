"""What a kept adapter calls its base: the user's own model wherever it is over that, so that it outlives the cache."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from harness import checkpoints as places
from harness.data.shapes import shape
from harness.models import adapters, storage
from harness.planning.budget import budgets
from harness.planning.experiment import cells
from harness.planning.footing import lora
from harness.running import kept, supervised
from harness.running.cell import Plan, run_cell
from harness.store import records
from harness.store.hashes import folder_hash
from harness.training.ledger import Ledger
from harness.types import Group
from tests.test_footing import model, resolved, silent

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GROUPS = [Group((1, 5, 6), ((7, 2), (8, 9, 2)))]


def named(folder: Path) -> str:
    return str(json.loads((folder / places.ADAPTER).read_text())["base_model_name_or_path"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_adapter_over_the_user_s_model_outlives_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SFT the adapter names the user's folder, and a pipeline gives with it the log-probs of the run's policy."""
    from transformers import pipeline

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    experiment, task = resolved(
        tmp_path, sft="none", reference_mode="adapter-off", keep_policies="final", budget="2steps", set=["dpo.learning_rate=0.05"]
    )
    monkeypatch.setattr("harness.running.stages.load_task", lambda _: task)
    found = next(cells(experiment))
    size = shape(experiment.model, 0, lora(experiment))
    plan = Plan(experiment, found, budgets(experiment, size, task.typical_tokens)[found.budget], tmp_path / "cell")
    assert run_cell(plan, silent) == "finished", (plan.folder / records.LOG).read_text()
    policy = plan.folder / records.POLICY
    assert named(policy) == str(tmp_path / "model")
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "model" / "README.md").write_text("A note beside the weights makes them no others.")
    with torch.no_grad():
        own = kept.load(plan.folder, Ledger(math.inf)).logps(GROUPS)
        before = storage.load_model(tmp_path / "model", Ledger(math.inf))[0].logps(GROUPS)
    assert float((own - before).abs().max()) > 1e-3  # it was trained
    facts = policy / "harness.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "base_sha256": folder_hash(str(tmp_path / "model"))}))
    kept.refuse_other_base(policy)  # of the whole folder: one that was kept before
    say = pipeline("text-generation", model=str(policy), device="cpu")
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    with torch.no_grad():
        logits = say.model(ids).logits[0]
    logits[:, say.tokenizer.pad_token_id] = -math.inf  # as every number here has it
    logps = logits.log_softmax(-1)
    assert float(logps[2, 7] + logps[3, 2]) == pytest.approx(float(own[0]), abs=1e-4)


def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of ``toys/small`` in a cache of the hub's layout."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    repository = folder / "models--toys--small"
    snapshot = model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_base_is_called_as_the_user_calls_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder by its whole path, an id by itself, a pinned id by its snapshot; what SFT or a merge made lies in the cache."""
    snapshot = hub(tmp_path / "hub", monkeypatch)
    bare, _ = resolved(tmp_path, sft="none", reference_mode="adapter-off")
    assert supervised.below(bare) == str(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert supervised.below(bare.model_copy(update={"model": "model"})) == str(tmp_path / "model")
    identified = bare.model_copy(update={"model": "toys/small"})
    assert supervised.below(identified) == "toys/small"
    assert supervised.below(identified.model_copy(update={"sft": "chosen", "reference_mode": "frozen-adapter"})) == "toys/small"
    pinned = bare.model_copy(update={"model": f"toys/small@{COMMIT}"})
    assert supervised.below(pinned) == str(snapshot)
    for made in ({"sft": "chosen"}, {"sft": "chosen", "reference_mode": "merged"}, {"reference_mode": "copy"}, {"model": "tiny-64"}):
        assert supervised.below(bare.model_copy(update=made)) is None


def test_an_adapter_that_is_the_model_keeps_its_base_or_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(tmp_path / "hub", monkeypatch)
    over, tokenizer = storage.load_over(places.place("toys/small") or tmp_path, Ledger(math.inf), adapters.Lora(rank=2), seed=0)
    storage.save_model(tmp_path / "own", over.model, tokenizer, "toys/small")
    storage.save_model(tmp_path / "whole", over.model, tokenizer)
    bare, _ = resolved(tmp_path, sft="none", reference_mode="frozen-adapter", model=str(tmp_path / "own"))
    assert supervised.below(bare) == named(supervised.start(bare, resolved(tmp_path)[1], 0, silent)) == "toys/small"
    assert supervised.below(bare.model_copy(update={"model": str(tmp_path / "whole")})) == str(tmp_path / "whole" / places.OWN_BASE)
    assert supervised.below(bare.model_copy(update={"reference_mode": "adapter-off"})) is None  # merged into a model of the cache
