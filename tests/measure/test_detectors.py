"""Detectors on text: the rule on a response's opening, and a classifier in a folder, of which no code is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.measure.detectors import OPENING, classifier, refusal_phrases
from harness.types import Response


def found(text: str) -> bool:
    return bool(refusal_phrases(["p"], [Response(text)])[0])


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I\u2019m sorry, but I can\u2019t help with that.", True),
        ("sorry , i cannot help with that .", True),
        ("As an AI\n language model, no.", True),
        ("Sure: first, open the door.", False),
        ("I can tell you, and I am happy to.", False),
        ("x" * OPENING + " I cannot", False),
        ("x" * (OPENING - 9) + " I cannot", True),
        ("", False),
    ],
)
def test_a_refusal_shows_itself_at_the_opening(text: str, refusal: bool) -> None:
    assert found(text) is refusal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of two words whose second label is decided by the second word: made here, no training."""
    pytest.importorskip("torch")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("classifier")
    words = {"[PAD]": 0, "[UNK]": 1, "nice": 2, "rude": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16).save_pretrained(place)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, num_labels=3)
    config.id2label, config.label2id = {0: "fine", 1: "toxic", 2: "other"}, {"fine": 0, "toxic": 1, "other": 2}
    BertForSequenceClassification(config).save_pretrained(place, safe_serialization=True)
    return place


def test_a_classifier_gives_the_probability_of_its_label_whatever_the_batch(folder: Path) -> None:
    responses = [Response(text) for text in ("nice", "rude rude", "nice rude")] * 20
    parts = [classifier(folder, label)[0](["p"] * 60, responses) for label in ("fine", "toxic", "other")]
    assert sum(parts) == pytest.approx([1.0] * 60)
    assert parts[1][:3] == pytest.approx(parts[1][57:], abs=1e-6)
    assert parts[1][0] != pytest.approx(parts[1][1])


def test_a_label_must_be_one_of_its_own(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"it has several labels; name one\. Legal: FOLDER#LABEL with fine, toxic, other"):
        classifier(folder)
    with pytest.raises(HarnessError, match=r"label 'toxik' is none of its own\. Did you mean 'toxic'"):
        classifier(folder, "toxik")
    with pytest.raises(HarnessError, match="detector folder"):
        classifier(tmp_path)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    with pytest.raises(HarnessError, match="detector folder"):
        classifier(tmp_path, "toxic")
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
