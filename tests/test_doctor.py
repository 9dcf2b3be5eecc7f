"""The doctor on data with known faults: every count worked out by hand, every verdict on either side of its threshold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import Row
from harness.data.tokenise import Tokens
from harness.doctor import checks, doctor, suitability
from harness.errors import HarnessError
from harness.measure.statistics import Interval

WORDS = ["<pad>", "<bos>", "<eos>", "<sep>", *["why", "so", "no", "that", "is", "how", "it", "was", "a", "b", "c"]]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def counts(found: list[checks.Count]) -> dict[str, int]:
    return {each.name: each.found for each in found}


def test_what_texts_show() -> None:
    rows = [Row("p", "a long one", "b"), Row("p", "b", "a long one"), Row("p", "c", "dd"), Row("q", "e", "ff"), Row("r", reference="x")]
    assert counts(checks.of_texts(rows)) == {
        "pairs whose prompt has other pairs": 3,
        "pairs that another row contradicts": 2,
        "chosen responses that are rejected elsewhere": 2,
        "pairs whose chosen response is the longer one": 1,
    }


def test_near_equal_prompts_leak_only_across_splits() -> None:
    plain = [f"Question number {i}, what is it?" for i in range(200)]
    rows = [Row(text, "a", "b") for text in (*plain, *(text.upper() for text in plain))]
    found = checks.leaks(rows)
    assert (found.of, 100 < found.found < 180) == (200, True), "two hashes fall into the same of five splits less often than not"
    assert checks.leaks(rows[:200]).found == 0
    assert checks.shared(rows[:5], [Row(f" {plain[3].lower()}", "x", "y")], "test").found == 1


def tokens(prompt: int = 6, response: int = 4) -> Tokens:
    from harness.models.tiny import tiny_tokenizer

    return Tokens(tiny_tokenizer(WORDS), prompt, response)


def test_what_tokens_show() -> None:
    """Limits of 6 and 4 ids: <bos> opens every prompt and <eos> ends every response."""
    rows = [
        Row("why is it", "so it", "no"),
        Row("why is it that it was so", "so", "no"),
        Row("why", "so it was a b", "no"),
        Row("why that", "so <eos> it", "no"),
        Row("how", "so  it", "so it"),
    ]
    found = counts(checks.of_tokens(rows, tokens()))
    assert found == {
        "prompts above 6 tokens": 1,
        "pairs with a response above 4 tokens": 1,
        "pairs whose prompt and response merge into one token": 0,
        "pairs with '<eos>' inside a response": 1,
        "pairs whose responses are the same tokens": 1,
        "pairs with a response of no tokens": 0,
        "pairs with words that the tokenizer does not give back": 0,
    }
    assert checks.lengths(rows[:1], tokens()).endswith("prompts 4, 4, 4; responses 2, 3, 3")


def test_what_tokens_show_of_single_labels() -> None:
    rows = [Row("why is it", "so it was a b"), Row("why", rejected="no cats"), Row("why that", "so <eos> it"), Row("how", rejected="no")]
    assert counts(checks.of_tokens(rows, tokens())) == {
        "prompts above 6 tokens": 0,
        "labelled responses above 4 tokens": 1,
        "labelled responses whose prompt and response merge into one token": 0,
        "labelled responses with '<eos>' inside": 1,
        "labelled responses of no tokens": 0,
        "labelled responses with words that the tokenizer does not give back": 1,
    }
    assert checks.lengths(rows[3:], tokens()).endswith("prompts 2, 2, 2; responses 2, 2, 2")


def test_a_tokenizer_that_merges_across_the_boundary_is_seen() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = {"<eos>": 0, "a": 1, " ": 2, "b": 3, "a ": 4}
    core = Tokenizer(models.BPE(pieces, [("a", " ")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    assert checks.merged([Row("a", "b", "a"), Row("b", "b", "a")], Tokens(tokenizer, 9, 9)) == 1


def test_ratings_that_tell_nothing_apart() -> None:
    rows = [Row("p", "a", "b", margin=0.0), Row("p", "a", "b", margin=2.0), Row("p", "a", "b")]
    found = checks.collapsed(rows, {"rated alike, so no pair of them can be made": 3, "duplicate": 9})
    assert (found.found, found.of) == (4, 5)


def known(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half, 200)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (suitability.pairs(4999), "poor"),
        (suitability.pairs(5000), "fine"),
        (suitability.agreement(known(0.60, 0.05), "x"), "poor"),
        (suitability.agreement(known(0.69, 0.05), "x"), "unknown"),
        (suitability.agreement(known(0.80, 0.05), "x"), "fine"),
        (suitability.agreement(None, ""), "unknown"),
        (suitability.agreement(Interval(0.5, math.nan, math.nan, 1), "x"), "unknown"),
        (suitability.distance(known(0.1, 0.2)), "fine"),
        (suitability.distance(known(0.7, 0.2)), "unknown"),
        (suitability.distance(known(1.2, 0.2)), "poor"),
        (suitability.distance(None), "unknown"),
        (suitability.ratings(51, 100), "poor"),
        (suitability.ratings(50, 100), "fine"),
        (suitability.ratings(0, 0), "unknown"),
    ],
)
def test_a_verdict_needs_its_whole_interval_on_one_side(verdict: suitability.Verdict, expected: str) -> None:
    assert verdict.verdict == expected
    assert (verdict.advice in str(verdict)) == (expected == "poor")
    assert verdict.threshold in str(verdict)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harness.models.storage import save_model
    from harness.models.tiny import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("model")
    save_model(folder, tiny_model("tiny-64", WORDS, 0), tiny_tokenizer(WORDS))
    return folder


def test_the_tokens_of_single_labels_are_told(model: Path, tmp_path: Path) -> None:
    labelled = [{"prompt": f"why {word}", "completion": "so it was", "label": word == "a"} for word in "abc"]
    found = list(doctor.examine(str(lines(tmp_path / "a.jsonl", labelled)), str(model), limits=(8, 3)))
    assert found[found.index("Tokens of model0:") + 2] == "  labelled responses above 3 tokens: 3 of 3 (100.0 %); dropped, never cut"
    assert not any("DPO" in line for line in found)


def test_labels_of_one_kind_are_said_to_need_the_other(tmp_path: Path) -> None:
    labelled = [{"prompt": f"why {word}", "completion": "so it was", "label": True} for word in "abc"]
    found = list(doctor.examine(str(lines(tmp_path / "a.jsonl", labelled))))
    assert "  labels of single responses are needed of both kinds, and every one of these is desirable" in found


BARE = "undesirable, with nothing desirable to the same prompt (+unpaired keeps it)"


@pytest.mark.parametrize(
    ("row", "reason", "more"),
    [
        ({"prompt": None, "chosen": None, "rejected": None}, "empty response", ""),
        ({"prompt": "why", "chosen": None, "rejected": None}, "empty response", ""),
        ({"prompt": "", "chosen": "so", "rejected": "no"}, "empty prompt", ""),
        ({"prompt": None, "completion": None, "label": None}, "empty response", ""),
        ({"prompt": "why", "completion": "so", "label": None}, "neither a rating nor a verdict", ""),
        ({"prompt": "why", "chosen": "so", "rejected": "so"}, "identical responses", ""),
        ({"prompt": "why", "completion": "so", "label": False}, BARE, "needed of both kinds, and every one of these is undesirable"),
    ],
)
def test_data_of_which_no_row_is_left_are_refused_behind_the_reasons(tmp_path: Path, row: dict[str, Any], reason: str, more: str) -> None:
    found: list[str] = []
    with pytest.raises(HarnessError) as refusal:
        found.extend(doctor.examine(str(lines(tmp_path / "a.jsonl", [row] * 4))))
    said = str(refusal.value)
    assert (found[0], found[2:]) == ("Rows:", [f"    4 dropped: {reason}"])
    assert said.startswith("nothing in the data 'a.jsonl' can be used: 4 rows read") and f"4 dropped: {reason}" in said
    assert said.endswith(more) and "\n" not in said


def test_a_model_s_own_text_is_near_and_a_text_that_it_would_not_write_is_far(model: Path) -> None:
    """For samples of the model the mean of -log pi minus the entropy is 0 in expectation; for its least likely words it is large."""
    import torch

    from harness.types import TokenPair

    read, metered = doctor._load(str(model), (16, 16))
    prompt = read.prompts(["why is it"])[0]
    drawn = metered.sample([prompt], samples=300, max_tokens=8, generator=torch.Generator().manual_seed(0))[0]
    own = doctor._distance(
        metered, [TokenPair(i, prompt, each.ids, (2,)) for i, each in enumerate(drawn) if each.finished or len(each.ids) == 8]
    )
    assert own is not None and own.lower < 0 < own.upper
    words = [doctor._distance(metered, [TokenPair(0, prompt, (word,), (2,))] * 2) for word in range(len(WORDS))]
    assert max(each.value for each in words if each is not None) > own.upper, "the least likely word is less likely than the entropy says"


def test_the_whole_report_of_a_folder_with_two_splits(model: Path, tmp_path: Path) -> None:
    """Sixty pairs whose better response always says ``so``: a head on the model's states must find that, and 60 pairs are few."""
    words = WORDS[4:]
    prompts = [f"{a} {b} {c}" for a in words[:4] for b in words[4:8] for c in words[6:11]][:60]
    lines(tmp_path / "train.jsonl", [{"prompt": p, "chosen": "so so so", "rejected": "no no no"} for p in prompts])
    lines(tmp_path / "test.jsonl", [{"prompt": prompts[0], "chosen": "a", "rejected": "b"}])
    found = list(doctor.examine(str(tmp_path), str(model), limits=(8, 8)))
    text = "\n".join(found)
    assert "60 rows read (chosen and rejected), 60 rows made of them, 60 of them pairs" in text
    assert "prompts that are in the split 'test' as well: 1 of 60 (1.7 %); a leak between published splits" in text
    assert "number of pairs: poor; 60 pairs; poor below 5000" in text
    assert "agreement of labels: fine; 1.000 [1.000, 1.000] n=60 (a cross-fitted reward model sides with so many labels" in text
    assert "every response gets '<eos>' at its end once, and it is scored\n" in text
    assert "nats per token above its own entropy, n=60" in text
    assert "collapsed ratings: unknown; the data have no ratings" in text


def test_annotators_are_believed_before_a_model_is_asked(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"prompt": f"p{i}", "chosen": "a", "rejected": "b", "agreement": 0.6} for i in range(9)])
    assert "agreement of labels: poor; 0.600 [0.600, 0.600] n=9 (as the data say)" in "\n".join(doctor.examine(str(path)))
