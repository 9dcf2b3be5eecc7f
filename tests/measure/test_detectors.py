"""Detectors on text: the rule on a response's opening, and a classifier in a folder, of which no code is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.special import logit

from harness.errors import HarnessError
from harness.measure.detectors import INDEPENDENT, OPENING, classifier, lists, meaning, named, refusal_phrases
from harness.store.cache import key_of
from harness.store.hashes import weights_hash
from harness.types import Response
from tests.judges.folders import causal, sentiment


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


@pytest.mark.parametrize("given", [{}, {"pad": "<eos>"}, {"pad": "<pad>", "own_pad": True}, {"labels": 1}], ids=str)
def test_a_causal_classifier_reads_each_response_as_if_alone(given: dict[str, Any], tmp_path: Path) -> None:
    """Whether its tokenizer and its configuration know a padding token or not; one is empty and one longer than the model can read."""
    find = classifier(causal(tmp_path, **{"labels": 2, **given}))[0]
    responses = [Response(text) for text in ("good film", "bad", "", "good cat sat " * 200)]
    alone = [float(find(["p"], [response])[0]) for response in responses]
    assert find(["p"] * 4, responses) == pytest.approx(alone, abs=1e-6)
    assert len(set(alone)) == 4


def test_labels_that_are_not_exclusive_have_a_probability_each(tmp_path: Path) -> None:
    """The same weights with independent labels: the logistic function of each output, and another key; with two outputs, exclusive, of
    their difference.
    """
    either, both = sentiment(tmp_path / "either", ("mild", "toxic")), sentiment(tmp_path / "both", ("mild", "toxic"), INDEPENDENT)
    said = [Response("good cat")]
    mild, toxic = (logit(classifier(both, label)[0](["p"], said)) for label in ("mild", "toxic"))
    assert logit(classifier(either, "toxic")[0](["p"], said)) == pytest.approx(toxic - mild, abs=1e-5)
    assert named(f"{either}#toxic").key != named(f"{both}#toxic").key


def test_only_the_key_of_independent_labels_says_how_they_are_read(tmp_path: Path) -> None:
    """What was read of such a folder when its labels were taken for exclusive ones stands under its weights and label alone, so it is
    not taken for a reading of today; keys of all other classifiers are their weights and label, and what they read stays read.
    """
    several, one, exclusive = (
        sentiment(tmp_path / name, labels, problem)
        for name, labels, problem in (
            ("several", ("mild", "toxic"), INDEPENDENT), ("one", ("toxic",), INDEPENDENT), ("exclusive", ("mild", "toxic"), None),
        )
    )  # fmt: skip
    before = {place: key_of({"weights": weights_hash(str(place)), "label": "toxic"}) for place in (several, one, exclusive)}
    assert [named(f"{place}#toxic").key == key for place, key in before.items()] == [False, True, True]
    assert named(f"{several}#toxic").key == key_of({"weights": weights_hash(str(several)), "label": "toxic", "independent": True})


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


def test_a_folder_whose_weights_lack_the_head_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    kept = {name: each for name, each in load_file(folder / "model.safetensors").items() if not name.startswith("classifier")}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match=r"detector folder .*: its weights lack classifier\.bias, so its head would be a fresh one"):
        named(f"{tmp_path}#toxic").find(["p"], [Response("nice")])


@pytest.mark.parametrize("name", sorted(lists()))
def test_every_list_names_its_source_and_is_written_as_it_is_compared(name: str) -> None:
    chosen = lists()[name]
    assert chosen["source"]
    assert all(phrase == phrase.lower() and "\u2019" not in phrase for phrase in chosen["phrases"])
    detector = named(name)
    texts = [Response(phrase.replace("'", "\u2019").upper()) for phrase in chosen["phrases"]]
    assert detector.find(["p"] * len(texts), texts).all()
    assert detector.find(["p"], [Response("Gladly: open the door.")]).tolist() == [0.0]
    late = Response("x" * OPENING + " " + chosen["phrases"][0])
    assert detector.find(["p"], [late]).tolist() == [0.0 if chosen["opening"] else 1.0]
    assert (detector.name, detector.finds) == (name, "refusal")


def test_detectors_of_other_phrases_or_reach_have_other_keys() -> None:
    assert len({named(name).key for name in lists()}) == len(lists())


def test_a_folder_is_named_without_being_loaded_and_its_label_says_what_it_finds(folder: Path, tmp_path: Path) -> None:
    detector = named(f"{folder}#toxic")
    assert (detector.name, detector.finds) == (f"{folder.name}#toxic", "harm")
    assert (
        detector.find(["p"] * 2, [Response("nice"), Response("rude")]).tolist()
        == classifier(folder, "toxic")[0](["p"] * 2, [Response("nice"), Response("rude")]).tolist()
    )
    assert named(f"{folder}#other").finds == "other"
    assert [meaning(label) for label in ("REJECTION", "refusal", "unsafe", "NORMAL")] == ["refusal", "refusal", "harm", "NORMAL"]
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert named(str(tmp_path)).name == f"{tmp_path.name}#LABEL_1"
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(HarnessError, match="no configuration of a classifier can be read"):
        named(str(tmp_path))


def test_a_hub_id_that_is_not_here_is_one_line_with_a_way_round() -> None:
    said = r"detector 'org/name#REJECTION': org/name is not in the local cache .* hf download org/name\. Without one: phrases"
    with pytest.raises(HarnessError, match=said) as raised:
        named("org/name#REJECTION")
    assert "\n" not in str(raised.value)
    with pytest.raises(HarnessError, match=r"detector 'phrasez': no such folder\. Did you mean 'phrases'\? Legal: task, phrases, "):
        named("phrasez", ("task",))
