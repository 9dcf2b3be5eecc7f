"""The judge behind a URL against a real server of this process: both orders, ties, a cache, faults that pass and faults that stay."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.judges import requests
from harness.measure.endpoint import EndpointJudge, connect, used
from harness.measure.pairwise import ask
from harness.types import Response

Answer = Callable[[str, str], str | int]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PAUSE", 0.001)


def longer(first: str, second: str) -> str:
    """The rule of the honest judge: the longer response, a tie where they are equally long."""
    return "tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B."


class Server(ThreadingHTTPServer):
    answer: Answer
    asked: list[dict[str, Any]]
    models: tuple[str, ...] = ("judge-7b",)
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.reply(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({**body, "path": self.path, "token": self.headers.get("Authorization")})
        text = body["messages"][1]["content"]
        first, second = text.partition("Response A:\n")[2].partition("\n\nWhich")[0].split("\n\nResponse B:\n")
        said = self.server.answer(first, second)
        if isinstance(said, int):
            self.reply(said, {})
        else:
            self.reply(200, {"choices": [{"message": {"content": said}}]} if said != "{}" else {"what": "else"})

    def reply(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in self.server.headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(answer: Answer = longer, models: tuple[str, ...] = ("judge-7b",)) -> Iterator[tuple[str, Server]]:
    server = Server(("127.0.0.1", 0), Handler)
    server.answer, server.asked, server.models, server.daemon_threads, server.headers = answer, [], models, True, {}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def verdicts(judge: EndpointJudge, ours: list[str], theirs: list[str]) -> Any:
    prompts = [f"prompt {{{i}}}" for i in range(len(ours))]
    return ask(judge, prompts, list(map(Response, ours)), list(map(Response, theirs)), generator=np.random.default_rng(0))


def test_both_orders_are_asked_and_a_rule_without_an_order_is_consistent() -> None:
    with serving() as (url, server):
        judge = connect(url)
        found = verdicts(judge, ["long {x}", "b", "same"], ["a", "long one", "emas"])
    assert found.wins.tolist() == [1.0, 0.0, 0.5]
    assert found.consistency.value == 1.0
    assert found.position.value == 0.0
    assert judge.name == "judge-7b"
    assert len(server.asked) == 6
    assert {(each["model"], each["temperature"], each["path"]) for each in server.asked} == {("judge-7b", 0, "/v1/chat/completions")}


def test_a_judge_that_prefers_the_first_place_gives_ties_and_is_found_out() -> None:
    with serving(lambda first, second: "**A**") as (url, _):
        found = verdicts(connect(url), ["x", "y"], ["z", "w"])
    assert found.wins.tolist() == [0.5, 0.5]
    assert (found.consistency.value, found.position.value) == (0.0, 0.5)


def test_no_question_is_asked_twice() -> None:
    with serving() as (url, server):
        judge = connect(url)
        judge(["p", "p"], [Response("ab")] * 2, [Response("c")] * 2)
        assert judge(["p"], [Response("ab")], [Response("c")]).tolist() == [1.0]
        assert len(server.asked) == 1


def test_faults_that_pass_are_asked_again() -> None:
    faults = iter([503, 429])
    with serving(lambda first, second: next(faults, None) or longer(first, second)) as (url, server):
        judge = EndpointJudge(url, "m")
        assert judge(["p"], [Response("ab")], [Response("c")]).tolist() == [1.0]
        assert len(server.asked) == 3


def test_what_was_answered_before_a_fault_is_kept() -> None:
    """One response in eight breaks the server; the rest of what was under way is kept, and only what is missing is asked later."""
    texts = [Response("x" * (2 + i)) for i in range(8)]
    broken = threading.Event()
    with serving(lambda first, second: 400 if len(first) == 9 and not broken.is_set() else longer(first, second)) as (url, server):
        judge = connect(url)
        with pytest.raises(HarnessError, match=r"judge http://127\.0\.0\.1:\d+/v1: HTTP 400"):
            judge(["p"] * 8, texts, [Response("y")] * 8)
        kept = len(judge.answers)
        assert kept >= 1
        broken.set()
        before = len(server.asked)
        assert judge(["p"] * 8, texts, [Response("y")] * 8).tolist() == [1.0] * 8
        assert len(server.asked) - before == 8 - kept


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I would rather not \x1b[31msay", r"judge judge-7b: answered 'I would rather not \\x1b\[31msay'; A, B or tie is wanted"),
        ("A is better than B", "A, B or tie is wanted"),
        ("{}", "not an answer of the chat-completions protocol"),
        (401, "HTTP 401 Unauthorized"),
    ],
)
def test_nonsense_is_one_line(answer: str | int, said: str) -> None:
    with serving(lambda first, second: answer) as (url, _), pytest.raises(HarnessError, match=said) as caught:
        connect(url)(["p"], [Response("a")], [Response("b")])
    assert "\n" not in str(caught.value)


def test_a_server_that_is_down_is_one_line() -> None:
    with serving() as (url, _):
        pass
    with pytest.raises(HarnessError, match=r"no answer in 4 tries: .*refused"):
        connect(url)


def test_a_server_of_several_models_wants_one_named() -> None:
    with serving(models=("a", "b")) as (url, _):
        with pytest.raises(HarnessError, match=r"serves a, b; name one: http.*#MODEL"):
            connect(url)
        assert connect(f"{url}#b").model == "b"


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(HarnessError, match="an address such as"):
        connect(url)


def test_answers_hang_on_address_model_and_template_and_a_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    one = EndpointJudge("http://user:secret@host/v1/", "m")
    assert one.key == EndpointJudge("http://host/v1", "m").key
    assert len({one.key, EndpointJudge("http://host/v1", "n").key, EndpointJudge("http://other/v1", "m").key}) == 3
    assert one.key != EndpointJudge("http://host/v1", "m", template=one.template._replace(system="Else.")).key
    monkeypatch.setenv("HARNESS_JUDGE_KEY", "token")
    with serving() as (url, server):
        connect(url)(["p"], [Response("a")], [Response("b")])
        assert server.asked[0]["token"] == "Bearer token"


def test_answers_without_a_verdict_are_ties_up_to_a_share() -> None:
    """One in ten says nothing: too much at 5 %, not at 10 %; what was answered is not asked again."""
    texts = [Response("x" * (2 + i)) for i in range(10)]
    with serving(lambda first, second: "Who knows?" if len(first) == 11 else longer(first, second)) as (url, server):
        judge = connect(url)
        with pytest.raises(
            HarnessError, match=r"'Who knows\?'; A, B or tie is wanted\. 1 of \d+ answers hold no verdict, of 10 more than 5%"
        ):
            judge(["p"] * 10, texts, [Response("y")] * 10)
        found = replace(judge, silent=0.1)(["p"] * 10, texts, [Response("y")] * 10)
        assert found.tolist() == [1.0] * 9 + [0.5]
        assert len(server.asked) == 10
    assert used(judge.answers.values()).silent == 1


def test_a_redirect_is_not_followed_for_it_would_carry_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_JUDGE_KEY", "token")
    with serving() as (elsewhere, other), serving(lambda first, second: 302) as (url, server):
        server.headers["Location"] = f"{elsewhere}/models"
        with pytest.raises(HarnessError, match=r"HTTP 302 Found\. Redirects are not followed"):
            EndpointJudge(url, "m")(["p"], [Response("a")], [Response("b")])
        assert other.asked == []


def test_a_server_that_asks_for_a_pause_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    faults, slept = iter([429]), []
    monkeypatch.setattr("harness.judges.requests.time.sleep", slept.append)
    with serving(lambda first, second: next(faults, None) or longer(first, second)) as (url, server):
        server.headers["Retry-After"] = "7"
        assert EndpointJudge(url, "m")(["p"], [Response("ab")], [Response("c")]).tolist() == [1.0]
    assert slept == [7.0]
