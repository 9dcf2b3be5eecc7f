"""What a model folder is known by: everything that decides its function, and nothing that is put beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.store.hashes import folder_hash, weights_hash

PARTS = (
    *("config.json", "generation_config.json", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt"),
    *("tokenizer.model", "spiece.model", "chat_template.jinja", "head.safetensors", "harness.json", "reward.json"),
)
BESIDE = ("README.md", "LICENSE", ".gitattributes", "log.txt", "trainer_state.json", "pytorch_model.bin", "plot.png")


@pytest.fixture(autouse=True)
def forget() -> None:
    for known in (weights_hash, folder_hash):
        known.cache_clear()


def of(folder: Path) -> str:
    weights_hash.cache_clear()
    return weights_hash(str(folder))


def test_only_what_decides_a_models_function_is_in_its_hash(tmp_path: Path) -> None:
    for name in PARTS:
        (tmp_path / name).write_text("{}")
    known = of(tmp_path)
    assert known == folder_hash(str(tmp_path)), "a folder that holds nothing else keeps the hash that it had"
    for name in BESIDE:
        (tmp_path / name).write_text("anything")
    assert of(tmp_path) == known
    for name in PARTS:
        (tmp_path / name).write_text("[]")
        assert of(tmp_path) != known, name
        (tmp_path / name).write_text("{}")
    assert of(tmp_path) == known


def test_an_adapters_hash_is_of_its_own_files_and_of_its_base(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder, files in ((base, ("config.json", "model.safetensors")), (adapter, ("adapter_model.safetensors",))):
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}"}}')
    known = of(adapter)
    (adapter / "README.md").write_text("card")
    (base / "README.md").write_text("card")
    assert of(adapter) == known
    for file in (base / "model.safetensors", adapter / "adapter_model.safetensors"):
        file.write_text("[]")
        assert of(adapter) != known
        file.write_text("{}")


def test_a_preset_is_its_name() -> None:
    assert of(Path("tiny-64")) == hashlib.sha256(b"tiny-64").hexdigest()
