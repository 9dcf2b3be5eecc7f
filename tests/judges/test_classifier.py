"""Classifiers in folders as judges: a score is the same alone and in a batch, and what is no classifier is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForCausalLM

from harness.errors import HarnessError
from harness.judges import find
from harness.judges.dialogue import turns
from harness.types import Array, Response
from tests.judges.folders import CHAT, causal, sentiment, speaker

PROMPTS = ["why the cat", "the cat sat", "why", "why the cat", "the film", "why", "a cat"] * 5
TEXTS = ["because good", "sat on the mat because the cat sat", "bad", "because bad", "good good <eos> film", "a mat", "the <eos>"] * 5
RESPONSES = [Response(text) for text in TEXTS]
Make = Callable[[Path], Path]
CAUSAL: dict[str, Make] = {
    "no padding token": lambda place: causal(place),
    "padding that the model does not know": lambda place: causal(place, pad="[PAD]"),
    "padding of its own, on the left": lambda place: causal(place, pad="[PAD]", own_pad=True),
    "padding is EOS": lambda place: causal(place, pad="<eos>", own_pad=True, side="right"),
}


def alone(folder: Path, inputs: Callable[[Any, str, str], Any]) -> Array:
    """The outputs that transformers gives for one input at a time, nothing padded, (inputs, outputs)."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**inputs(tokenizer, prompt, text)).logits[0] for prompt, text in zip(PROMPTS, TEXTS, strict=True)]
    return torch.stack(rows).double().numpy()


def scores(word: str) -> Array:
    return find.scored(word, {}).score(PROMPTS, RESPONSES)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_reward_model_scores_a_batch_as_it_scores_each_alone(name: str, tmp_path: Path) -> None:
    folder = CAUSAL[name](tmp_path / "reward")
    expected = alone(
        folder, lambda tokenizer, prompt, text: tokenizer(f"{prompt} {text}<eos>".replace("<eos>", " <eos>"), return_tensors="pt")
    )
    found = scores(str(folder))
    assert found == pytest.approx(np.round(expected[:, 0], 4), abs=2e-4)
    assert len(set(found.tolist())) > 4


def test_a_chat_template_is_used(tmp_path: Path) -> None:
    folder = causal(tmp_path / "chat", pad="<eos>", template=CHAT)

    def chat(tokenizer: Any, prompt: str, text: str) -> Any:
        return tokenizer(
            f"<user> {prompt} <end> <model> {text} <end>".replace("<eos>", " <eos>"), return_tensors="pt", add_special_tokens=False
        )

    assert scores(str(folder)) == pytest.approx(np.round(alone(folder, chat)[:, 0], 4), abs=2e-4)


def test_a_separator_makes_two_segments(tmp_path: Path) -> None:
    folder = sentiment(tmp_path / "pair", names=("LABEL_0",))
    expected = alone(folder, lambda tokenizer, prompt, text: tokenizer(prompt, text, return_tensors="pt"))
    assert scores(str(folder)) == pytest.approx(np.round(expected[:, 0], 4), abs=2e-4)


def test_a_label_is_scored_by_its_log_odds_of_the_response_alone(tmp_path: Path) -> None:
    folder = sentiment(tmp_path / "three", names=("bad", "so-so", "good"))
    logits = torch.from_numpy(alone(folder, lambda tokenizer, prompt, text: tokenizer(text, return_tensors="pt")))
    p = logits.softmax(-1)[:, 2]
    found = scores(f"{folder}#good")
    assert found == pytest.approx(torch.log(p / (1 - p)).numpy(), abs=2e-4)
    whole = alone(folder, lambda tokenizer, prompt, text: tokenizer(f"{prompt} {text}", return_tensors="pt"))
    q = torch.from_numpy(whole).softmax(-1)[:, 2]
    assert scores(f"{folder}#good+prompt") == pytest.approx(torch.log(q / (1 - q)).numpy(), abs=2e-4)


def test_labels_that_are_not_exclusive_are_scored_alone(tmp_path: Path) -> None:
    folder = sentiment(tmp_path / "several", names=("kind", "funny"), problem="multi_label_classification")
    logits = alone(folder, lambda tokenizer, prompt, text: tokenizer(text, return_tensors="pt"))
    assert scores(f"{folder}#funny") == pytest.approx(np.round(logits[:, 1], 4), abs=2e-4)


def test_equal_texts_tie_and_the_higher_score_wins(tmp_path: Path) -> None:
    judge = find.scored(str(causal(tmp_path / "reward")), {})
    first, second = RESPONSES[:6], [*RESPONSES[1:6], RESPONSES[5]]
    won = judge(PROMPTS[:6], first, second)
    one, other = judge.score(PROMPTS[:6], first), judge.score(PROMPTS[:6], second)
    assert won.tolist() == [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(one, other, strict=True)]
    assert won[5] == 0.5
    assert won.tolist() == (1 - judge(PROMPTS[:6], second, first)).tolist()


def test_what_is_too_long_loses_the_beginning_of_its_prompt_and_is_counted(tmp_path: Path) -> None:
    judge = find.scored(str(causal(tmp_path / "reward")), {})
    long, end = "good " * 100, "why the cat sat on the"  # 64 positions hold the last 63 words and EOS
    tail = " ".join([*long.split(), *end.split()][-61:])
    found = judge.score([long + end, tail], [Response("bad mat")] * 2)
    assert found[0] == found[1]
    assert judge.counts() == {"read": 2, "cut": 1}
    judge.score(["why"], [Response("bad " * 100)])
    assert judge.counts() == {"read": 3, "cut": 2}


def test_a_dialogue_is_read_in_turns() -> None:
    user, assistant = ({"role": role, "content": text} for role, text in (("user", "Hi: there\n\nyou"), ("assistant", "Yes?")))
    assert turns("\n\nHuman: Hi: there\n\nyou\n\nAssistant: Yes?\n\nHuman: Hi: there\n\nyou\n\nAssistant:") == [user, assistant, user]
    assert turns("\n\nHuman: Hi: there\n\nyou\n\nAssistant: Yes?") == [user, assistant]
    assert turns("Say\n\nHuman: x") == [{"role": "user", "content": "Say\n\nHuman: x"}]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentiment(tmp_path_factory.mktemp("named") / "films")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("{films}", r"it has 2 labels; name the one that is better\. Legal: .*films#LABEL with NEGATIVE, POSITIVE"),
        ("{films}#POSITIV", r"label 'POSITIV' is none of its own\. Did you mean 'POSITIVE'\? Legal"),
        ("{reward}#good", r"it has one output, a reward, and no labels; leave #good out"),
        ("{reward}+prompt", r"'\+prompt' is for what reads the response alone"),
        ("{speaker}", r"holds LlamaForCausalLM, no sequence classifier"),
        ("{empty}", r"config\.json cannot be read; a transformers folder is wanted"),
        ("{headless}", r"its weights lack score\.weight, so its head would be a fresh one"),
        ("{pickled}", r"no \*\.safetensors in it; weights in pickles are not read"),
        ("{torn}", r"judge folder .*torn: "),
        ("./nowhere/at/all", r"no such name or folder.* Legal: length, rouge-prompt, rouge, vader, FOLDER, ORG/NAME@REVISION"),
        ("lenght", r"no such name or folder\. Did you mean 'length'\?"),
    ],
)
def test_what_is_no_judge_is_one_line(word: str, said: str, named: Path, tmp_path: Path) -> None:
    places = {
        "films": named,
        "reward": causal(tmp_path / "reward"),
        "speaker": speaker(tmp_path / "speaker", "A"),
        "empty": tmp_path / "empty",
    }
    places["empty"].mkdir()
    for name in ("headless", "pickled", "torn"):
        places[name] = Path(shutil.copytree(places["reward"], tmp_path / name))
    LlamaForCausalLM.from_pretrained(places["speaker"]).save_pretrained(tmp_path / "trunk")
    config = json.loads((tmp_path / "trunk" / "config.json").read_text()) | {
        "architectures": ["LlamaForSequenceClassification"],
        "num_labels": 1,
    }
    shutil.copy(tmp_path / "trunk" / "model.safetensors", places["headless"])
    (places["headless"] / "config.json").write_text(json.dumps(config))
    (places["pickled"] / "model.safetensors").rename(places["pickled"] / "pytorch_model.bin")
    (places["torn"] / "model.safetensors").write_bytes((places["torn"] / "model.safetensors").read_bytes()[:100])
    with pytest.raises(HarnessError, match=said) as caught:
        find.scored(word.format(**places), {}).score(["why"], [Response("bad")])
    assert "\n" not in str(caught.value)


def hub(place: Path, folder: Path, commit: str) -> Path:
    """A hub cache that holds a folder as revision ``v2`` of example/films, as the hub's own client lays it out."""
    repository = place / "models--example--films"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "v2").write_text(commit)
    return place


def test_a_hub_id_is_read_from_the_local_cache_at_its_revision(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub(tmp_path, named, commit)))
    judge = find.scored("example/films@v2#POSITIVE", {})
    assert (judge.name, judge.facts["source"], judge.facts["revision"]) == ("films#POSITIVE", "example/films", commit)
    assert judge.key == find.scored(f"{named}#POSITIVE", {}).key
    assert judge.score(PROMPTS, RESPONSES).tolist() == scores(f"{named}#POSITIVE").tolist()
    with pytest.raises(HarnessError, match=r"example/films@v3 is not in the local cache .* hf download example/films --revision v3\."):
        find.scored("example/films@v3#POSITIVE", {})


def test_finding_a_judge_imports_no_torch(named: Path) -> None:
    from tests.test_imports import loaded_after

    assert loaded_after(f"from harness.judges import find; find.scored({str(named)!r} + '#POSITIVE', {{}})") <= {"numpy", "scipy"}
