"""What runs start from: demonstrations with refusals among them, chosen responses or nothing, another reference, and room on disk."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from harness import checkpoints as places
from harness.commands import asked
from harness.data import refusals
from harness.data.shapes import shape
from harness.errors import HarnessError
from harness.execute.device import use
from harness.models import adapters, storage, varlen
from harness.models.loading import load_model
from harness.models.tiny import tiny_model, tiny_tokenizer
from harness.planning import footing, room
from harness.planning.budget import budget_flops
from harness.planning.experiment import Experiment
from harness.running import card, supervised
from harness.running.stages import DISTANCE, shared
from harness.store.hashes import weights_hash
from harness.training.ledger import Ledger, Shape
from harness.types import Demonstration, Group, Task

WORDS = tuple(f"w{index}" for index in range(40))
VOCABULARY = ("<pad>", "<bos>", "<eos>", "<sep>", *WORDS)
ROWS = 60


def silent(*_: object) -> None:
    """Progress that nobody hears."""


def model(folder: Path, seed: int = 0, vocabulary: tuple[str, ...] = VOCABULARY) -> Path:
    tiny_model("tiny-64", vocabulary, seed).save_pretrained(folder)
    tiny_tokenizer(vocabulary).save_pretrained(folder)
    return folder


def resolved(folder: Path, **flags: Any) -> tuple[Experiment, Task]:
    """A comparison on a file of pairs, which is a real task to everything here, by a small model that is a folder."""
    draw = np.random.default_rng(0)
    lines = [
        json.dumps({"prompt": " ".join(draw.choice(WORDS, 6)), "chosen": " ".join(draw.choice(WORDS, 4)), "rejected": "w1 w2"})
        for _ in range(ROWS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    if not (folder / "model").is_dir():
        model(folder / "model")
    sizes = {"sft_steps": 2, "sft_batch": 4, "evaluation_prompts": 4, "stage_threads": 1, "sft_learning_rate": 1e-2, "marks": ()}
    given = {"task": "tldr", "data": str(folder / "rows.jsonl"), "model": str(folder / "model"), "algorithms": ["dpo"], **sizes, **flags}
    return asked.resolve(given, None)


def demonstrations(_: np.random.Generator, n: int) -> list[Demonstration]:
    return [Demonstration("a prompt", ("a summary",))] * n


def test_refusals_are_mixed_in_by_their_share_and_by_a_generator_of_their_own() -> None:
    """Of 4000 rows at .08, 320 and 17 are expected and one standard deviation; the other rows are what they were."""
    requests, said = refusals.written()
    drawn = refusals.mixed(demonstrations, 0.08, np.random.default_rng(0))(np.random.default_rng(1), 4000)
    refused = [row for row in drawn if row.prompt in requests]
    assert abs(len(refused) - 320) < 4 * 17
    assert all(row.responses[0] in said for row in refused)
    assert {row.prompt for row in drawn} - set(requests) == {"a prompt"}
    assert len(set(requests)) == 40 and len(set(said)) == 8


def test_real_tasks_get_refusals_by_default_and_the_key_says_so(tmp_path: Path) -> None:
    experiment, task = resolved(tmp_path)
    assert experiment.refusals == footing.REFUSALS
    mixed = supervised.key(experiment, task, 0)
    without = supervised.key(experiment.model_copy(update={"refusals": 0.0}), task, 0)
    assert mixed == {**without, "refusals": (0.08, refusals.version())}
    asked_for = supervised._taught(experiment, task, 0).demonstrations(np.random.default_rng(0), 400)
    assert 0 < sum(row.prompt in refusals.written()[0] for row in asked_for) < 100


def test_sft_on_chosen_responses_shows_each_pair_once_before_any_twice(tmp_path: Path) -> None:
    experiment, task = resolved(tmp_path, sft="chosen", refusals=0.0)
    assert task.pairs
    rows = supervised._taught(experiment, task, 0).demonstrations(np.random.default_rng(0), len(task.pairs))
    assert sorted((row.prompt, row.responses[0]) for row in rows) == sorted((pair.prompt, pair.chosen.text) for pair in task.pairs)


def test_no_sft_is_the_model_as_it_is(tmp_path: Path) -> None:
    experiment, task = resolved(tmp_path, sft="none")
    folder = supervised.start(experiment, task, 0, silent)
    before, _ = load_model(str(tmp_path / "model"), dtype="float32", vocabulary=(), seed=0)
    after, _ = storage.load_model(folder, Ledger(math.inf))
    assert all((a == b).all() for a, b in zip(before.parameters(), after.model.parameters(), strict=True))
    assert json.loads((folder / "sft.json").read_text())["steps"] == 0
    assert supervised.base(experiment, task, 0, silent) == folder


def test_another_reference_is_measured_and_warned_of(tmp_path: Path) -> None:
    """The stage records both perplexities; a random model's lie near the vocabulary's size, and far from that is a line in words."""
    experiment, task = resolved(tmp_path, reference=str(model(tmp_path / "other", seed=5)), sft_steps=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.running.stages.load_task", lambda _: task)
        patch.setattr("harness.running.stages.fit_reward", lambda folder, *_: None)  # the judge is no part of this
        both = shared(experiment, 0, silent)
    assert both.origin != both.sft
    found = json.loads((both.pair_folder / DISTANCE).read_text())
    assert found["pairs"] == len(both.pairs)
    with_reference = both.reference(Ledger(math.inf)).model.state_dict()
    other = tiny_model("tiny-64", VOCABULARY, 5).state_dict()
    assert all((with_reference[name] == other[name]).all() for name in other)
    assert footing.distance({"reference": 40.0, "policy": 10.0, "pairs": 9}).startswith(
        "the reference's perplexity on 9 chosen responses is 40"
    )
    assert footing.distance({"reference": 12.0, "policy": 10.0, "pairs": 9}) == "" == footing.distance({})


def test_a_reference_of_another_vocabulary_is_one_line(tmp_path: Path) -> None:
    """Where files did not say so before anything ran."""
    other = model(tmp_path / "other", vocabulary=(*VOCABULARY[:-1], "strange"))
    experiment, task = resolved(tmp_path, sft="none")
    experiment = experiment.model_copy(update={"reference": str(other)})
    with pytest.raises(HarnessError, match=r"its vocabulary is not the policy's: 2 of 44 tokens are missing, added .*such as 'strange'"):
        supervised.reference(experiment, task, 0, silent)


def test_a_tokenizer_without_eos_is_one_line(tmp_path: Path) -> None:
    experiment, task = resolved(tmp_path, sft="none")
    config = tmp_path / "model" / "tokenizer_config.json"
    config.write_text(json.dumps({name: value for name, value in json.loads(config.read_text()).items() if name != "eos_token"}))
    weights_hash.cache_clear()
    with pytest.raises(HarnessError, match="the tokenizer has no EOS token, so no response can end"):
        supervised.start(experiment, task, 1, silent)


def test_chat_without_a_template_is_one_line(tmp_path: Path) -> None:
    """Before anything runs; a folder whose file does not say so is asked again when it is loaded."""
    with pytest.raises(HarnessError, match=r"model .*has no chat template, and chat = 'template' asks for one: .* --chat plain"):
        resolved(tmp_path, sft="none", chat="template")
    experiment, task = resolved(tmp_path, sft="none")
    with pytest.raises(HarnessError, match="has no chat template, and this data is chat"):
        supervised.start(experiment.model_copy(update={"chat": "template"}), task, 0, silent)


def test_conversations_are_chat_and_ask_for_a_template(tmp_path: Path) -> None:
    """Of any task: a prompt that is a conversation; a template is found beside the tokenizer or in its configuration."""
    turns = [{"role": "user", "content": "w3 w4"}]
    said = {name: [*turns, {"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    rows = [{key: [{**turn, "content": f"{turn['content']} w{row}"} for turn in each] for key, each in said.items()} for row in range(ROWS)]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = model(tmp_path / "model")
    given = {"task": "tldr", "data": str(tmp_path / "chat.jsonl"), "model": str(folder), "algorithms": ["dpo"]}
    with pytest.raises(HarnessError, match=r"has no chat template, and this data is chat: .* --chat plain"):
        asked.resolve(given, None)
    assert not supervised.templated(*asked.resolve({**given, "chat": "plain"}, None))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert supervised.templated(*asked.resolve(given, None))
    assert not supervised.templated(*resolved(tmp_path))  # prompts that are no conversations
    (folder / "chat_template.jinja").unlink()
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": "{{ messages[0].content }}"}))
    assert supervised.templated(*asked.resolve(given, None))


def test_an_epoch_of_adapters_by_hand(tmp_path: Path) -> None:
    """A prompt of 3 and responses of 2 and 2: 7 tokens, 4 outputs, 3^2 + 2 (2 x 3 x 2 + 2^2) = 41 products.

    F = 2 x 100 x 7 + 4 x 1 x 4 x 41 + 2 x 10 x 4 = 2136; without the adapter 2 x 90 x 7 + 656 + 80 = 1996; frozen weights spare a backward
    2 x 90 x 7 + 2 x 10 x 4 = 1340. Two epochs of 50 pairs: 50 (2 (3 x 2136 - 1340) + 1996) = 606,600, or 50 x 2136 x 7 = 747,600 in full.
    """
    experiment = resolved(tmp_path, pairs=50, batch_pairs=8)[0].model_copy(update={"pairs": 50})
    whole, adapted = Shape(100, 10, 1, 4), Shape(100, 10, 1, 4, frozen=90, frozen_head=10)
    assert budget_flops("2epochs", experiment, whole, (3.0, 2.0)) == 747_600
    off = experiment.model_copy(update={"reference_mode": "adapter-off"})
    assert budget_flops("2epochs", off, adapted, (3.0, 2.0)) == 606_600


class Usage(NamedTuple):
    """What a disk says of itself."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(("keep", "each"), [("final", 1), ("all", 3), ("auto", 0)])
def test_room_is_asked_for_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, each: int) -> None:
    """10 million weights in float32 are 40 MB, and 100 kB of an adapter 25,000 weights; 4 cells keep 1 policy each, or 1 and 2 marks."""
    experiment = resolved(tmp_path, keep_policies=keep, marks=(0.25, 0.5))[0]
    size, adapter = Shape(8_000_000, 1_000_000, 2, 4), Shape(8_025_000, 1_000_000, 2, 4, frozen=8_000_000)
    wanted = {"whole": 4 * each * 40_000_000, "adapter": 4 * each * 100_000}
    shared_room = 3 * 40_000_000 + 1_000_000

    def free(amount: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, amount))

    free(max(wanted["whole"], shared_room))
    room.refuse(experiment, size, 4, tmp_path)
    free(max(wanted["adapter"], shared_room))
    room.refuse(experiment, adapter, 4, tmp_path)
    if each:
        free(wanted["whole"] - 1)
        with pytest.raises(HarnessError, match=rf"{4 * each} policies would take about 0\.\d GB .* choose --keep none"):
            room.refuse(experiment, size, 4, tmp_path)


def test_a_card_says_what_was_measured_and_lets_no_markup_through(tmp_path: Path) -> None:
    experiment = resolved(tmp_path)[0]
    record = {
        "algorithm": {"name": "<b>mine</b>", "source": "a | b"},
        "task": {"name": "tldr", "version": "1", "source": "rows.jsonl"},
        "seed": 3,
        "setting": {"beta": 0.1},
        "versions": {"preference-harness": "9"},
        "model": {"name": "model"},
        "budget": {"spec": "2epochs", "limit": 1e12, "match": "flops"},
        "fingerprint": "abc",
        "checkpoints": [{"metrics": {"kl": {"value": 1.5, "lower": 1.25, "upper": 1.75, "n": 64}}}],
    }
    text = card.text(record, experiment, adapted=False)
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert "base_model" not in text  # a folder of this machine is nothing to a reader elsewhere
    known = card.text(record, experiment.model_copy(update={"model": "owner/name@v1"}), adapted=True)
    assert "library_name: peft" in known and 'base_model: "owner/name"' in known
    assert "| kl | 1.5 | 1.25 to 1.75 | 64 |" in text
    body = text.partition("\n# ")[2]
    assert body.startswith("bmine/b on tldr, seed 3") and "<" not in body and "a  b" in body


def test_a_hub_id_is_what_the_cache_holds_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of the Hugging Face cache: a snapshot per commit, and a file that says which of them a branch is."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--toys--small"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert places.place("toys/small") == places.place(f"toys/small@{commit}") == snapshot
    assert shape("toys/small", 0) == shape(str(snapshot), 0)
    assert weights_hash("toys/small") == weights_hash(str(snapshot))
    assert places.place("toys/small@other") is None
    with pytest.raises(HarnessError, match=r"neither a folder nor in the Hugging Face cache .*hf download toys/small --revision other"):
        shape("toys/small@other", 0)


def test_a_worker_computes_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    half = SimpleNamespace(device=SimpleNamespace(type="cuda"), dtype=torch.bfloat16, shape=(1, 8))
    monkeypatch.setattr(varlen, "_tried", lambda *_: True)
    assert varlen.usable(half)  # type: ignore[arg-type]
    try:
        use("cpu", "padded")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
        assert not varlen.usable(half)  # type: ignore[arg-type]
    finally:
        varlen.allow(True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HarnessError, match="device 'cuda': torch sees no accelerator here; legal: auto, cpu"):
        use("cuda", "auto")


def test_an_adapter_of_one_s_own_is_the_start_kept_or_merged(tmp_path: Path) -> None:
    """``model`` names an adapter and there is no SFT: it stays one under frozen-adapter, and is merged into a whole model elsewhere."""
    base = model(tmp_path / "model")
    own, tokenizer = storage.load_over(base, Ledger(math.inf), adapters.Lora(rank=2), seed=0)
    with torch.no_grad():
        for weight in adapters.weights(own.model):
            weight.add_(0.05)
    storage.save_model(tmp_path / "own", own.model, tokenizer, base)
    groups = [Group((1, 5, 6), ((7, 2), (8, 9, 2)))]
    found = {}
    for mode in ("copy", "frozen-adapter"):
        experiment, task = resolved(tmp_path, model=str(tmp_path / "own"), sft="none", reference_mode=mode)
        folder = supervised.start(experiment, task, 0, silent)
        assert places.is_adapter(folder) == (mode == "frozen-adapter")
        with torch.no_grad():
            found[mode] = storage.load_model(folder, Ledger(math.inf))[0].logps(groups)
    with torch.no_grad():
        assert torch.allclose(found["frozen-adapter"], own.logps(groups), atol=1e-5)
    assert torch.allclose(found["copy"], found["frozen-adapter"], atol=1e-4)
