"""Reward models of one's own, end to end on a tiny Llama: what is saved says elsewhere what was trained, and bad input gets one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness.errors import HarnessError
from harness.rewards import candidates, quality
from harness.rewards.calibrate import calibrate
from harness.rewards.exported import padded
from harness.rewards.folders import reader
from harness.rewards.material import Asked
from harness.rewards.rank import By, rank
from harness.rewards.reading import divided
from harness.rewards.score import score
from harness.rewards.train import Fit, train
from harness.store.hashes import weights_hash
from tests.judges.folders import CHAT, WORDS, causal, sentiment, tokenizer

PROMPTS = ("why the cat", "the mat", "a film", "because the cat sat", "a cat", "the film", "why", "sat")


def model(place: Path, *, template: str = "", seed: int = 0, words: tuple[str, ...] = WORDS, pad: str = "<eos>") -> Path:
    """A random causal Llama whose tokenizer pads with EOS, as many do, unless it is told otherwise."""
    made = tokenizer((*words, "<user>", "<model>", "<end>"), template=template, eos_token="<eos>", pad_token=pad)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64
    )
    config.eos_token_id = made.eos_token_id
    LlamaForCausalLM(config).save_pretrained(place, safe_serialization=True)
    made.save_pretrained(place)
    return place


def pairs(place: Path, count: int = 160, **more: Any) -> Path:
    """Rows whose chosen response says good where the rejected one says bad, on prompts that are all different."""
    numbers = np.random.default_rng(0)
    lines = []
    for _ in range(count):
        prompt = " ".join(numbers.choice(WORDS[2:], size=6))
        ending = " ".join(numbers.choice(WORDS[2:], size=int(numbers.integers(1, 4))))
        lines.append(json.dumps({"prompt": prompt, "chosen": f"good {ending}", "rejected": f"bad {ending}", **more}))
    place.write_text("\n".join(lines))
    return place


def trained(place: Path, template: str = "", **options: Any) -> Path:
    data, base = pairs(place / "pairs.jsonl"), model(place / "base", template=template)
    return train(Asked(str(data), str(base)), Fit(epochs=6, rate=5e-3, **options), place / "reward", say=lambda text: None)


@pytest.mark.parametrize("template", ["", CHAT])
def test_a_saved_folder_scores_elsewhere_as_it_was_trained(tmp_path: Path, template: str) -> None:
    """Transformers alone, one text at a time and a padded batch, against ``score`` to 1e-5; the weights are safetensors only."""
    folder = trained(tmp_path, template)
    assert [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")] == []
    texts = [(prompt, response) for prompt in PROMPTS for response in ("good film", "bad")]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": prompt, "response": response}) for prompt, response in texts))
    found = [json.loads(line)["score"] for line in score(folder, rows, tmp_path / "scores.jsonl").read_text().splitlines()]
    theirs, words = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert theirs.config.num_labels == 1 and theirs.config.pad_token_id != words.eos_token_id
    said = [_written(words, *each) for each in texts]
    with torch.no_grad():
        batch = words(said, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=not template)
        together = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        alone = [theirs(**words(text, return_tensors="pt", add_special_tokens=not template)).logits.item() for text in said]
    assert found == pytest.approx(alone, abs=1e-5)
    assert found == pytest.approx(together.tolist(), abs=1e-5)
    assert all(good > bad for good, bad in zip(found[::2], found[1::2], strict=True))  # it learnt what the labels say


def _written(words: Any, prompt: str, response: str) -> str:
    """A text as the model card says."""
    if not words.chat_template:
        return f"{prompt} {response}{words.eos_token}"
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return str(words.apply_chat_template(messages, tokenize=False))


def test_what_is_measured_in_training_is_what_the_folder_says(tmp_path: Path) -> None:
    """Accuracy, loss and curve of the trained model, by packed forwards, are those of the folder read by transformers on the same pairs."""
    folder = trained(tmp_path)
    facts = json.loads((folder / "reward.json").read_text())["quality"]
    found = calibrate(folder, Asked(str(tmp_path / "pairs.jsonl"), heldout=1.0), tmp_path / "curve", say=lambda text: None)
    assert found.quality.pairs == 160 and found.quality.accuracy.value > 0.9
    assert facts["accuracy: the better response scores higher"]["value"] > 0.9
    assert 0 < facts["accuracy: the better response scores higher"]["n"] < 40
    assert {path.name for path in (tmp_path / "curve").iterdir()} == {"calibration.svg", "calibration.png", "calibration.csv"}
    card = (folder / "README.md").read_text()
    assert "## Measured on held-out pairs" in card
    assert f"- Base: base, weights {weights_hash(str(tmp_path / 'base'))[:16]} (sha256)" in card and "base_model" not in card
    own = [path for path in folder.iterdir() if path.suffix in (".md", ".json")]
    assert not [path.name for path in own if str(tmp_path) in path.read_text()]  # no path of this machine


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_pooled_over_tokens_only_harness_reads_it_and_a_judge_refuses(tmp_path: Path, pooling: str) -> None:
    from harness.judges import find

    folder = trained(tmp_path, pooling=pooling)
    one, other = reader(folder).scores(["a cat", "a cat"], ["good film", "bad film"])
    assert one > other
    with pytest.raises(HarnessError, match="no sequence classifier"):
        find.scored(str(folder), {})


def test_a_margin_asks_for_a_wider_gap(tmp_path: Path) -> None:
    base, data = model(tmp_path / "base"), pairs(tmp_path / "rated.jsonl", score_chosen=8, score_rejected=5)

    def gap(margin: float) -> float:
        out = tmp_path / f"reward-{margin:g}"
        train(Asked(str(data), str(base)), Fit(epochs=6, rate=5e-3, margin=margin), out, say=lambda text: None)
        one, other = reader(out).scores(["a cat", "a cat"], ["good film", "bad film"])
        return float(one - other)

    assert gap(2.0) > gap(0.0) + 1  # six nats are asked for


def test_padding_is_never_what_ends_a_text() -> None:
    """A pad token of its own stays; one that is EOS gives way to another special token, and where there is none to a new one."""
    own = tokenizer(WORDS, eos_token="<eos>", pad_token="[PAD]")
    assert padded(own) == own.convert_tokens_to_ids("[PAD]")
    same = tokenizer(WORDS, eos_token="<eos>", pad_token="<eos>")
    assert padded(same) == same.convert_tokens_to_ids("<unk>")
    only = tokenizer(WORDS, eos_token="<eos>", pad_token="<eos>")
    only.unk_token = None
    assert padded(only) == len(WORDS) + 2 == only.convert_tokens_to_ids("<pad>")


def test_a_text_is_divided_where_responses_part(tmp_path: Path) -> None:
    words = tokenizer(WORDS, eos_token="<eos>")
    prompt, responses = divided(words, "a cat", ("good film", "good"))
    assert words.decode(prompt) == "a cat" and [words.decode(each) for each in responses] == ["good film <eos>", "good <eos>"]


def test_a_calibrated_model_lies_on_the_diagonal_and_a_certain_one_does_not() -> None:
    """Labels drawn with the probability that the model names: agreement follows it within its interval; doubled gaps are over-confident."""
    numbers = np.random.default_rng(0)
    gaps = numbers.normal(size=4000) * 1.5
    won = numbers.random(4000) < 1 / (1 + np.exp(-gaps))
    signed, prompts = np.where(won, gaps, -gaps), [str(each) for each in range(4000)]
    found, certain = (quality.quality(factor * signed, np.ones(4000), prompts) for factor in (1.0, 3.0))
    assert found.accuracy.lower < found.sure.value < found.accuracy.upper
    assert found.error.value < 0.03 < 0.1 < certain.error.value
    assert certain.loss.value > found.loss.value
    assert sum(each.pairs for each in found.bins) == 4000 and len(found.bins) == quality.BINS


def test_a_prompt_that_many_pairs_ask_weighs_as_one_that_a_single_pair_asks() -> None:
    """Twelve prompts in one bin: to say a pair of the first six times over changes no number and no interval."""
    gaps = np.random.default_rng(0).normal(size=12) * 1.5
    prompts = [f"prompt {each:02}" for each in range(12)]
    once = quality.quality(gaps, np.ones(12), prompts)
    often = quality.quality(np.append(gaps, [gaps[0]] * 5), np.ones(17), [*prompts, *[prompts[0]] * 5])
    assert (len(once.bins), once.error.n, often.error.n) == (1, 12, 12)
    assert once.error.value == pytest.approx(abs(once.agreed.value - once.sure.value)) and once.error.value > 0.01
    for name in ("accuracy", "agreed", "sure", "error", "loss"):
        assert getattr(often, name) == pytest.approx(getattr(once, name)), name
    assert often.bins[0].sure == pytest.approx(once.bins[0].sure)


def test_agreement_of_annotators_and_gold_by_hand() -> None:
    """Two pairs, one right: .9 of annotators would say so, of the wrong one .8. Gold orders the first pair alike and ties the second."""
    found = quality.quality(np.array([2.0, -1.0]), np.array([0.9, 0.8]), ["a", "b"])
    assert found.accuracy.value == 0.5
    assert found.agreed.value == pytest.approx((0.9 + 0.2) / 2)
    scores, gold = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[5.0, 1.0], [3.0, 3.0]])
    assert quality.against_gold(scores, gold, ["a", "b"]).order.value == 0.75


def test_ranking_by_a_reward_model_and_by_a_log_ratio(tmp_path: Path) -> None:
    """By reward the good candidate is first. By a policy over itself all scores are 0: the file's order."""
    folder = trained(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": prompt, "responses": ["bad film", "good film", "bad"]}) for prompt in PROMPTS))
    said: list[str] = []
    ranked = rank(rows, By(reward=folder), tmp_path / "ranked.jsonl", say=said.append)
    found = [json.loads(line)["ranked"] for line in ranked.read_text().splitlines()]
    assert [each[0]["place"] for each in found] == [1] * len(PROMPTS)
    assert all(each[0]["score"] >= each[1]["score"] >= each[2]["score"] for each in found)
    assert "24 forwards" in said[1] and "FLOPs per prompt" in said[1]
    base = str(tmp_path / "base")
    same = rank(rows, By(policy=base, reference=base), tmp_path / "same.jsonl", say=said.append)
    first = json.loads(same.read_text().splitlines()[0])["ranked"]
    assert [each["score"] for each in first] == [0.0] * 3 and [each["place"] for each in first] == [0, 1, 2]
    assert "48 forwards" in said[-1]


def test_an_implicit_reward_is_beta_times_the_log_ratio(tmp_path: Path) -> None:
    """Against log-probs by transformers' own forward, prompt and response joined by a space and ended by EOS."""
    one, other = model(tmp_path / "one", seed=1), model(tmp_path / "two", seed=2)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a cat", "chosen": "good film", "rejected": "bad"}))
    ranked = rank(rows, By(policy=str(one), reference=str(other), beta=0.5), tmp_path / "out.jsonl", say=lambda text: None)
    found = {each["response"]: each["score"] for each in json.loads(ranked.read_text())["ranked"]}
    words = AutoTokenizer.from_pretrained(one)

    def logp(folder: Path, response: str) -> float:
        ids = words(f"a cat {response}<eos>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logps = LlamaForCausalLM.from_pretrained(folder)(ids).logits.log_softmax(-1)
        return sum(float(logps[0, place - 1, ids[0, place]]) for place in range(2, ids.shape[1]))

    for response, value in found.items():
        assert value == pytest.approx(0.5 * (logp(one, response) - logp(other, response)), abs=1e-4)


def test_rows_come_in_three_forms_and_prompts_gather(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    forms = [{"response": "a"}, {"completion": "b"}, {"candidates": ["c", "d"]}, {"chosen": "e", "rejected": "f"}]
    rows.write_text("\n".join(json.dumps({"prompt": "x", **form}) for form in forms))
    assert candidates.read(rows) == [candidates.Candidates("x", ("a", "b", "c", "d", "e", "f"))]


def refused(message: str, call: Any) -> None:
    with pytest.raises(HarnessError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    base, data = model(tmp_path / "base"), pairs(tmp_path / "pairs.jsonl", 60)
    other = model(tmp_path / "other", words=(*WORDS, "dog"))
    rows, lonely, bare = (tmp_path / f"{name}.jsonl" for name in ("rows", "lonely", "bare"))
    rows.write_text(json.dumps({"prompt": "a", "responses": ["good", "bad"]}))
    lonely.write_text(json.dumps({"prompt": "a", "responses": ["good"]}))
    bare.write_text(json.dumps({"prompt": "a cat", "completion": "sat"}))
    labels, two = sentiment(tmp_path / "labels"), causal(tmp_path / "two", labels=2)
    out, asked = tmp_path / "out", Asked(str(data), str(base))

    refused("no sequence classifier", lambda: reader(base))
    refused("it has 2 labels (NEGATIVE, POSITIVE); a reward model has one output", lambda: reader(labels))
    refused("it has 2 labels", lambda: reader(two))
    refused("no such folder", lambda: reader(tmp_path / "nowhere"))
    refused("no labelled pair in it", lambda: train(Asked(str(bare), str(base)), Fit(), out))
    refused("give --model FOLDER", lambda: train(Asked(str(data)), Fit(), out))
    refused("a preset has no weights before it is trained", lambda: train(Asked(str(data), "tiny-64"), Fit(), out))
    refused("'lst' is unknown. Did you mean 'last'?", lambda: train(asked, Fit(pooling="lst"), out))
    refused("have no margin and no two ratings", lambda: train(asked, Fit(margin=1.0), out))
    refused("there is something already", lambda: train(asked, Fit(), base))
    refused("1 of 1 prompts have one candidate", lambda: rank(lonely, By(reward=labels), out))
    refused("One of two is wanted", lambda: rank(rows, By(), out))
    refused("One of two is wanted", lambda: rank(rows, By(policy=str(base)), out))
    refused("--beta -1", lambda: rank(rows, By(policy=str(base), reference=str(base), beta=-1), out))
    refused("its vocabulary is not the policy's", lambda: rank(rows, By(policy=str(base), reference=str(other)), out))
    refused("has no response; expected", lambda: candidates.read(_written_to(tmp_path / "x.jsonl", {"prompt": "a", "text": "b"})))
    refused("has no prompt", lambda: candidates.read(_written_to(tmp_path / "y.jsonl", {"response": "b"})))
    assert not out.exists()


def _written_to(path: Path, row: dict[str, str]) -> Path:
    path.write_text(json.dumps(row))
    return path
