"""Token ids and the loss mask, token by token: the boundary, EOS once and scored, pad equal to EOS, over-long and empty rows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.data.tokenise import Tokens
from harness.models.tiny import SPECIAL, tiny_tokenizer
from harness.types import Demonstration, Group, Pair, Response

WORDS = (*SPECIAL, *["a", "b", "c", "d", "e", "f", "g", "TL;DR", ":"])


def merging_tokenizer() -> Any:
    """Byte-pair ids that merge across a missing space, with pad equal to EOS, like many pretrained models ship."""
    vocabulary = {"<end>": 0, "x": 1, "y": 2, ":": 3, "Ġ": 4, "Ġx": 5, "Ġy": 6, ":x": 7, "xy": 8}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "x"), ("Ġ", "y"), (":", "x"), ("x", "y")]))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "merged_with_next"), _space()])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")


def _space() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


@pytest.fixture
def tiny() -> Tokens:
    return Tokens(tiny_tokenizer(WORDS), max_prompt=5, max_response=4)


def ids(words: str) -> tuple[int, ...]:
    return tuple(WORDS.index(word) for word in words.split())


def test_prompt_opens_with_bos_and_the_response_ends_in_exactly_one_eos(tiny: Tokens) -> None:
    group = tiny.groups(["a b TL;DR :"], [[Response("c d"), Response(" c d "), Response("c d <eos>")]])[0]
    assert group.prompt == ids("<bos> a b TL;DR :")
    assert group.responses == (ids("c d <eos>"),) * 3


def test_text_that_was_cut_off_gets_no_eos_and_ids_are_taken_as_they_are(tiny: Tokens) -> None:
    group = tiny.groups(["a"], [[Response("c d", finished=False), Response("ignored", ids=(9, 9))]])[0]
    assert group.responses == (ids("c d"), (9, 9))


def test_every_token_of_the_response_and_its_eos_is_scored_and_none_of_the_prompt(tiny: Tokens) -> None:
    import torch

    from harness.models.packing import pack

    groups = tiny.groups(["a b", "c"], [[Response("d e"), Response("f")], [Response("g a b")]])
    packed = pack(groups, torch.device("cpu"))
    flat = packed.ids[0].tolist()
    assert [flat[i] for i in packed.own.tolist()] == [*ids("d e <eos>"), *ids("f <eos>"), *ids("g a b <eos>")]
    assert packed.targets.tolist() == [flat[i] for i in packed.own.tolist()]
    # the token before each target, in its own response or at the end of the prompt
    before = [*ids("b d e"), *ids("b f"), *ids("c g a b")]
    assert [flat[i] for i in packed.sources.tolist()] == before
    assert packed.positions[0].tolist() == [0, 1, 2, 3, 4, 5, 3, 4, 0, 1, 2, 3, 4, 5]


def test_the_boundary_gets_one_space_so_that_two_responses_stay_two() -> None:
    tokens = Tokens(merging_tokenizer(), 10, 10)
    group = tokens.groups(["x:", "x: "], [[Response("x"), Response("y")], [Response(" x"), Response("  y ")]])
    assert group[0] == group[1]
    assert group[0].responses == ((5, 0), (6, 0))  # Ġx <end>, Ġy <end>: with no space both would begin inside ":x"


def test_pad_equal_to_eos_leaves_eos_scored() -> None:
    tokens = Tokens(merging_tokenizer(), 10, 10)
    assert tokens.tokenizer.pad_token_id == tokens.eos == 0
    assert tokens.groups(["x:"], [[Response("y")]])[0].responses == ((6, 0),)


def test_over_long_empty_and_identical_rows_are_dropped_with_their_reasons(tiny: Tokens) -> None:
    pairs = [
        Pair("a", Response("b"), Response("c")),
        Pair("a b c d e f", Response("b"), Response("c")),
        Pair("a", Response("b c d e"), Response("c")),
        Pair("a", Response(""), Response("c")),
        Pair("a", Response("b"), Response(" b")),
        Pair("b", Response("c d"), Response("d")),
    ]
    kept = tiny.pairs(pairs)
    assert [(p.row, p.prompt, p.chosen, p.rejected) for p in kept] == [
        (0, ids("<bos> a"), ids("b <eos>"), ids("c <eos>")),
        (1, ids("<bos> b"), ids("c d <eos>"), ids("d <eos>")),
    ]
    assert dict(tiny.dropped) == {
        "pairs: prompt too long": 1,
        "pairs: response too long": 1,
        "pairs: response of no tokens": 1,
        "pairs: identical responses": 1,
    }


def test_different_texts_that_are_the_same_tokens_are_told_from_identical_ones(tiny: Tokens) -> None:
    """A tokenizer of so few words has one id for the others."""
    told = [("x", "y z"), ("a cat", "a dog"), ("b", "b "), ("fish", "bird")]
    assert len(tiny.pairs([Pair("a", Response(one), Response(other)) for one, other in told])) == 1
    assert dict(tiny.dropped) == {"pairs: different responses that are the same tokens": 2, "pairs: identical responses": 1}
    assert tiny.reasons() == (
        "2 pairs: different responses that are the same tokens (such as 'a cat' and 'a dog', which come back as 'a <pad>': words or signs "
        "that its vocabulary has not); 1 pairs: identical responses"
    )
    assert Tokens(tiny.tokenizer, 5, 4).reasons() == "nothing was dropped"


def test_a_demonstration_keeps_the_references_that_fit(tiny: Tokens) -> None:
    groups = tiny.demonstrations([Demonstration("a", ("b", "b c d e f")), Demonstration("a", ("b c d e f",))])
    assert groups == [Group(ids("<bos> a"), (ids("b <eos>"),))]


def test_text_stops_at_eos_and_shows_other_special_tokens(tiny: Tokens) -> None:
    assert tiny.text(ids("a <bos> b <eos> c")) == "a <bos> b"


def test_ids_are_those_of_transformers_own_call_whatever_its_file_pads_or_cuts(tiny: Tokens) -> None:
    texts = ["a b c d e f g", "a", "", "b <eos> no such word"]
    expected = tiny.tokenizer(texts)["input_ids"]
    assert tiny._ids(texts) == expected
    other = copy.deepcopy(tiny.tokenizer)
    other.backend_tokenizer.enable_truncation(2)
    other.backend_tokenizer.enable_padding()
    assert Tokens(other, 5, 4)._ids(texts) == expected
