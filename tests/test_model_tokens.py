"""What a model's files say of its tokens is refused before anything runs: no EOS, and a reference or an adapter with other tokens."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.checkpoints import ADAPTER
from harness.data import vocabulary
from harness.errors import HarnessError
from harness.models import adapters, storage
from harness.models.tiny import tiny_tokenizer
from harness.store.hashes import weights_hash
from harness.training.ledger import Ledger
from tests.test_footing import VOCABULARY, model, resolved

STRANGE = (*VOCABULARY[:-1], "strange")
LARGER = (*VOCABULARY, "more", "words")


def edited(file: Path, **changes: Any) -> None:
    """A file of settings with these; ``...`` takes one away."""
    found = {**json.loads(file.read_text(encoding="utf-8")), **changes} if file.is_file() else changes
    file.write_text(json.dumps({name: value for name, value in found.items() if value is not ...}), encoding="utf-8")
    weights_hash.cache_clear()


def adapter(folder: Path, base: Path, words: tuple[str, ...] | None = None) -> Path:
    """An adapter over a model, with its tokenizer or with one of these words."""
    over, tokenizer = storage.load_over(base, Ledger(math.inf), adapters.Lora(rank=2), seed=0)
    storage.save_model(folder, over.model, tokenizer if words is None else tiny_tokenizer(words), str(base))
    return folder


def loaded(folder: Path) -> int | None:
    """EOS as transformers has it."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(folder, local_files_only=True).eos_token_id
    return None if found is None else int(found)


@pytest.mark.parametrize(
    ("changes", "legacy", "refused"),
    [
        ({}, {}, False),
        ({"eos_token": ...}, {}, True),
        ({"eos_token": None}, {}, True),
        ({"eos_token": ..., "tokenizer_class": "PreTrainedTokenizerFast"}, {}, True),
        ({"eos_token": None, "tokenizer_class": "GPT2Tokenizer"}, {}, True),
        ({"eos_token": ..., "tokenizer_class": "GPT2Tokenizer"}, {}, False),
        ({"eos_token": ...}, {"eos_token": "<eos>"}, False),
        ({"eos_token": {"__type": "AddedToken", "content": "<eos>"}}, {}, False),
    ],
)
def test_a_tokenizer_without_eos_is_refused_where_its_files_say_so(
    tmp_path: Path, changes: dict[str, Any], legacy: dict[str, Any], refused: bool
) -> None:
    """And in no other case: transformers agrees on every one."""
    folder = model(tmp_path / "model")
    edited(folder / "tokenizer_config.json", **changes)
    if legacy:
        edited(folder / "special_tokens_map.json", **legacy)
    assert (loaded(folder) is None) == refused
    if not refused:
        resolved(tmp_path)
        return
    with pytest.raises(HarnessError, match=r"^model .*model: the tokenizer has no EOS token, so no response can end; name one") as error:
        resolved(tmp_path)
    assert "\n" not in str(error.value)


def test_a_type_whose_tokenizer_has_an_eos_of_its_own_is_left_to_the_run(tmp_path: Path) -> None:
    """Transformers reads a folder of this type by the type's class, whatever class the folder names."""
    folder = model(tmp_path / "model")
    edited(folder / "tokenizer_config.json", eos_token=...)
    edited(folder / "config.json", model_type="qwen2")
    assert loaded(folder) is not None
    vocabulary.refuse_endless("model", folder, templated=False)


def test_a_template_may_end_turns_where_the_tokenizer_has_no_eos(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    edited(folder / "tokenizer_config.json", eos_token=...)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}<eos>{% endfor %}")
    vocabulary.refuse_endless("model", folder, templated=True)
    with pytest.raises(HarnessError, match="has no EOS token"):
        vocabulary.refuse_endless("model", folder, templated=False)


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    resolved(tmp_path)
    edited(tmp_path / "model" / "tokenizer_config.json", eos_token=...)
    monkeypatch.chdir(tmp_path)
    line = ["harness", "compare", "--task", "tldr", "--data", "rows.jsonl", "--model", "model", "--dry-run"]
    monkeypatch.setattr(sys, "argv", line)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith("error: model model: the tokenizer has no EOS token")


@pytest.mark.parametrize("over", [False, True])
def test_a_reference_of_another_vocabulary_is_refused_before_anything_runs(tmp_path: Path, over: bool) -> None:
    """Be it a model, or an adapter over one."""
    other = model(tmp_path / "other", vocabulary=STRANGE)
    if over:
        other = adapter(tmp_path / "adapter", other)
    said = rf"^reference {other}: its vocabulary is not the policy's: 2 of 44 tokens are missing, added .*such as 'strange'"
    with pytest.raises(HarnessError, match=said):
        resolved(tmp_path, reference=str(other))


def test_an_adapter_with_the_policy_s_tokenizer_over_a_larger_vocabulary_is_refused(tmp_path: Path) -> None:
    other = adapter(tmp_path / "adapter", model(tmp_path / "other", vocabulary=LARGER), VOCABULARY)
    with pytest.raises(HarnessError, match=r"^reference .*adapter: its output has 46 tokens and the policy's 44; KL needs the same"):
        resolved(tmp_path, reference=str(other))


def test_a_token_that_settings_name_and_the_table_lacks_is_no_difference(tmp_path: Path) -> None:
    """Transformers adds it by itself, perhaps by the other's id: the stage that loads both compares them again."""
    words = [*VOCABULARY, "<extra>"]
    other = model(tmp_path / "other", vocabulary=tuple(words))
    edited(tmp_path / "other" / "config.json", vocab_size=44)
    resolved(tmp_path)
    edited(tmp_path / "model" / "tokenizer_config.json", additional_special_tokens=[{"content": "<extra>"}])
    assert vocabulary.unsure(tmp_path / "model") == {"<extra>"}
    resolved(tmp_path, reference=str(other))


def test_adapters_that_cannot_be_loaded_and_targets_that_are_not_there_have_no_price(tmp_path: Path) -> None:
    from harness.commands import asked

    experiment, task = resolved(tmp_path, reference_mode="adapter-off", lora_targets="q_proj,v_prj")
    with pytest.raises(
        HarnessError, match=r"lora_targets: this model has no linear module 'v_prj'; legal: all-linear, down_proj.*'v_proj'\?"
    ):
        asked.priced(experiment, task, 1)
    folder = adapter(tmp_path / "adapter", tmp_path / "model")
    edited(folder / ADAPTER, peft_type="IA3")
    experiment = experiment.model_copy(update={"model": str(folder), "reference_mode": "copy"})
    with pytest.raises(HarnessError, match=r"IA3 .* is not supported; plain LORA is wanted"):
        asked.priced(experiment, task, 1)
