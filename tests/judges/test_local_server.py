"""The judge behind a URL against a real server of the protocol: a tiny model that always says the same, and SmolLM2 where it is.

The first is a judge with nothing but a position bias, and everything else is as with a real one: chat template, greedy decoding,
counts of tokens, a key.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.errors import HarnessError
from harness.judges.requests import KEY
from harness.judges.templates import HH, TLDR_C, TLDR_S
from harness.measure.endpoint import EndpointJudge, Price, connect
from harness.types import Response
from tests.judges.folders import speaker
from tests.judges.server import Server, serving

MODEL = "HARNESS_TEST_JUDGE_MODEL"  # a transformers folder with a chat template
ROWS = [
    {"prompt": f"POST: my cat {i} broke a lamp. TL;DR:", "chosen": f"cat {i} broke lamp", "rejected": f"lamp lamp lamp lamp {i}"}
    for i in range(6)
]


@pytest.fixture(scope="module")
def prefers_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaker(tmp_path_factory.mktemp("models") / "prefers-a", "Comparison: neither matters. Preferred: A")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_the_model_says_its_sentence_and_its_tokens_are_counted(prefers_a: Path) -> None:
    with serving(prefers_a) as (url, server):
        judge = EndpointJudge(url, "prefers-a", template=TLDR_C)
        assert judge(["the post"], [Response("a cat")], [Response("a mat")]).tolist() == [1.0]
        (answer,) = judge.answers.values()
        read = len(server.tokenizer(f"<user> {judge.asked('the post', 'a cat', 'a mat')} <end> <model>")["input_ids"])
    assert answer.said == "Comparison: neither matters. Preferred: A"
    assert (answer.read, answer.written) == (read, 6)  # five words and EOS
    assert judge.usage([("the post", "a cat", "a mat")]).cost(Price(2e6, 1e6)) == 2 * read + 6


def test_a_position_bias_is_all_that_a_calibration_finds(prefers_a: Path, data: Path, tmp_path: Path) -> None:
    """Asked both ways round the verdict always turns: every pair is a tie, agreement 1/2, kappa 0, and the first place wins by 1/2."""
    with serving(prefers_a) as (url, server):
        arguments = ["judge", str(tmp_path / "r"), "--judge", url, "--calibrate", str(data), "--template", "dpo-tldr-c", "--price", "1,2"]
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exception is None, result.output
        asked = server.answered
        assert CliRunner().invoke(cli.app, arguments).exception is None
        assert server.answered == asked == 12
    (path,) = (tmp_path / "r" / "calibrations").glob("*.json")
    record = json.loads(path.read_text())
    numbers = {name: each and each["value"] for name, each in record["metrics"].items()}
    assert (numbers["agreement"], numbers["kappa"], numbers["ties"], numbers["consistency"], numbers["position"]) == (
        0.5,
        0.0,
        1.0,
        0.0,
        0.5,
    )
    assert record["judge"]["template"] == "dpo-tldr-c"
    usage = record["judge"]["usage"]
    assert (usage["questions"], usage["written"], usage["silent"], usage["uncounted"]) == (12, 72, 0, 0)
    assert record["judge"]["cost"] == (usage["read"] + 2 * usage["written"]) / 1e6
    assert "12 answers, 0 without a verdict" in result.output
    assert "prefers the first place by                 +0.500" in result.output


def test_a_model_of_other_words_is_refused_in_one_line_and_its_answers_are_kept(prefers_a: Path, data: Path, tmp_path: Path) -> None:
    with serving(prefers_a) as (url, server):
        arguments = ["judge", str(tmp_path / "r"), "--judge", url, "--calibrate", str(data), "--template", "dpo-hh"]
        refused = CliRunner().invoke(cli.app, arguments)
        assert isinstance(refused.exception, HarnessError)
        said = str(refused.exception)
        assert said.startswith("judge prefers-a: answered 'Comparison: neither matters. Preferred: A'; a line 'More helpful: A' or ")
        assert "\n" not in said
        asked = server.answered
        assert 1 <= asked <= 8 + 1  # those that were under way when the first was read
        kept = (tmp_path / "r" / "calibrations" / "judgements").glob("*.jsonl")
        assert sum(len(path.read_text().splitlines()) for path in kept) == asked
        allowed = CliRunner().invoke(cli.app, [*arguments, "--silent", "1"])
        assert allowed.exception is None, allowed.output
        assert server.answered == 12
    (path,) = (tmp_path / "r" / "calibrations").glob("*.json")
    record = json.loads(path.read_text())
    assert record["judge"]["usage"]["silent"] == 12
    assert record["metrics"]["consistency"] is record["metrics"]["position"] is None  # 12 silences are no verdict that stays
    assert record["metrics"]["agreement"] is record["metrics"]["ties"] is None
    rows = gzip.decompress(path.with_suffix(".jsonl.gz").read_bytes()).decode().splitlines()
    assert {(row["win"], row["forward"], row["backward"]) for row in map(json.loads, rows)} == {(None, None, None)}
    assert "prefers the first place by                 no verdict both ways round" in allowed.output


def test_the_key_comes_from_the_environment_and_stays_there(
    prefers_a: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-not-to-be-seen"
    arguments = ["judge", str(tmp_path / "r"), "--calibrate", str(data), "--template", "dpo-tldr-s", "--judge"]
    with serving(prefers_a, key=key) as (url, _):
        missing = CliRunner().invoke(cli.app, [*arguments, url])
        assert f"HTTP 401 Unauthorized: Incorrect API key provided. It wants a key: set the environment variable {KEY}." in str(
            missing.exception
        )
        monkeypatch.setenv(KEY, "sk-wrong")
        wrong = CliRunner().invoke(cli.app, [*arguments, url])
        assert f"Incorrect API key provided: ***. The key in {KEY} was not accepted." in str(wrong.exception)
        monkeypatch.setenv(KEY, key)
        found = CliRunner().invoke(cli.app, [*arguments, url])
        assert found.exception is None, found.output
        unknown = CliRunner().invoke(cli.app, [*arguments, f"{url}#gpt"])
        assert "HTTP 404 Not Found: the model gpt does not exist." in str(unknown.exception)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.encode() not in written
    assert b"127.0.0.1" not in written
    assert key not in found.output


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[str, Server]]:
    folder = os.environ.get(MODEL, "")
    if not (Path(folder) / "config.json").is_file():
        pytest.skip(f"{MODEL} names no folder of a language model with a chat template")
    with serving(Path(folder), longest=96) as served:
        yield served


@pytest.mark.slow
@pytest.mark.parametrize("template", [TLDR_C, TLDR_S, HH], ids=["tldr-c", "tldr-s", "hh"])
def test_a_real_model_is_asked_the_prompts_of_the_paper(real: tuple[str, Server], template: object) -> None:
    """135M parameters judge nothing well; what is held here is that the whole way works, and that what cannot be read is counted."""
    url, _ = real
    judge = connect(url)
    judge = EndpointJudge(judge.url, judge.model, template=template, silent=1.0)  # type: ignore[arg-type]
    post = "My cat broke my favourite lamp last night because she was bored, and I do not know whether to buy a new one."
    found = judge([post], [Response("Cat broke lamp out of boredom; buy a new one?")], [Response("I like lamps.")])
    usage = judge.usage([(post, "Cat broke lamp out of boredom; buy a new one?", "I like lamps.")])
    assert found[0] in (0.0, 0.5, 1.0)
    assert (usage.questions, usage.uncounted) == (1, 0)
    assert usage.read > 100
    assert 0 < usage.written <= 96
