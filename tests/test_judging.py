"""Stored samples judged again: by the rule that judged them, over a network that breaks, priced from records alone."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.errors import HarnessError
from harness.outside import imported
from harness.plugins import registry
from harness.rejudging import detecting, judging
from harness.rejudging.appointed import Asking
from harness.sharing import withheld
from harness.store import judgements, records
from harness.store.judgements import Answer
from harness.store.records import write_json
from harness.store.writer import CellWriter
from harness.types import Response
from tests.measure.test_endpoint import longer, serving

WORLD = registry.load("tasks", "tldr").task(None)
PROMPTS = [each.prompt for each in WORLD.evaluation[:12]]
RESPONSES = ("my cat broke my lamp .", "my cat broke my lamp due to boredom .", "lamp lamp lamp", "sorry , i cannot help with that .")


def made(root: Path, runs: int = 2) -> Path:
    """A study of the embedded task with one reference and a few runs of invented responses; what judged them is for the tests to ask."""
    root.mkdir(parents=True)
    write_json(root / "experiment.json", {"task": "tldr", "study": "s", "seeds": [0]})
    for index, name in enumerate(["reference", *[f"run{i}" for i in range(runs)]]):
        kind = "reference" if name == "reference" else "cell"
        folder = root / ("references/seed0" if kind == "reference" else f"cells/{name}-seed0-00000000")
        rows = [row(prompt, RESPONSES[(prompt + index) % 4], RESPONSES[prompt % 3]) for prompt in range(12)]
        asked = {"mark": 1.0, "slice": "harmful", "prompt": "how", "finished": True, "category": "refusal"}
        harmful = [{**asked, "prompt_id": i, "response": RESPONSES[3 - i % 2]} for i in range(6)]
        record = {"kind": kind, "status": "finished", "seed": 0, "study": "s", "task": {"name": "tldr"}, "algorithm": {"name": name}}
        record |= {"setting": {}, "compute": {"canonical": {"update": 1.0}}, "judge": {"primary": "gold"}}
        record["checkpoints"] = [{"mark": 1.0, "final": True, "metrics": {"win_sft": {"value": 0.5, "lower": 0.4, "upper": 0.6, "n": 12}}}]
        with CellWriter(folder) as writer:
            writer.samples([*rows, *harmful, {**rows[0], "mark": 0.5}])
            writer.finish(record, {})
    return root


def row(prompt: int, response: str, sft: str) -> dict[str, Any]:
    outcome = 0.5 if len(response) == len(sft) else float(len(response) > len(sft))
    scores = WORLD.score([PROMPTS[prompt]], [Response(response)])
    texts = {"prompt": PROMPTS[prompt], "response": response, "sft_response": sft, "reference_response": "x"}
    numbers = {"wins_each": [outcome], "opponent_lengths": [len(sft.split())], "length": len(response.split()), "win_sft": outcome}
    numbers |= {name: float(scores[name][0]) for name in WORLD.judges}
    return {"mark": 1.0, "slice": "evaluation", "prompt_id": prompt, "finished": True, **texts, **numbers}


def test_texts_that_were_withheld_are_neither_judged_nor_read_by_a_detector(tmp_path: Path) -> None:
    """A judge would compare the notes in their place, and a detector find no refusal in any of them."""
    study = made(tmp_path / "s")
    for path in study.rglob("samples.jsonl.gz"):
        path.write_bytes(withheld.withheld(path, path.read_bytes()))
    with pytest.raises(HarnessError, match=r"its texts were withheld when it was shared"):
        judging.judge_again(study, "length")
    with pytest.raises(HarnessError, match=r"its texts were withheld when it was shared"):
        detecting.detect_again(study, "harmful", "phrases")
    assert not list(study.rglob("judgements"))


def test_a_study_on_a_relative_file_is_judged_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs its rows finds them above the study; where they are nowhere, what needs none of them goes on, and the rest is one line."""
    study = made(tmp_path / "project" / "results" / "tldr-1")
    rows = [json.dumps({"prompt": f"number {i}", "chosen": "yes it is", "rejected": "no"}) for i in range(60)]
    file = tmp_path / "project" / "rows-of-this-test.jsonl"
    file.write_text("\n".join(rows))
    version = registry.load("tasks", "tldr").task(str(file)).version
    told = {"task": "tldr", "study": "s", "seeds": [0], "source": file.name}
    write_json(study / "experiment.json", {**told, "task_version": f"other-code-{version.rpartition('-')[2]}"})
    monkeypatch.chdir(tmp_path)
    assert "60 rows read" in " ".join(judging.task_of(records.read(study)).notes)
    with pytest.raises(HarnessError, match="judge 'gold' is unknown, and task tldr is judged by a fitted model"):
        judging.judge_again(study, "gold")
    with pytest.raises(HarnessError, match="detector task: task tldr has no rule for 'harmful'"):
        detecting.detect_again(study, "harmful", "task")
    for others in ("\n".join(rows[:59]), ""):  # another's rows under the same name, and then nothing
        file.write_text(others)
        _judged_without_rows(study, file.name)
    file.unlink()
    _judged_without_rows(study, file.name)


def _judged_without_rows(study: Path, name: str) -> None:
    gone = rf"^tldr-1: its data '{name}' are neither here nor in a folder above it.* in the folder from which --data named them\.$"
    for asked in (lambda: judging.judge_again(study, "gold"), lambda: detecting.detect_again(study, "harmful", "task")):
        with pytest.raises(HarnessError, match=gone):
            asked()
    judging.judge_again(study, "length")
    assert all(any("length" in slug for slug in each) for each in found(study).values())


def everything(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def found(study: Path) -> dict[str, dict[str, judgements.Judgement]]:
    return {cell.folder.name: judgements.read(cell.folder) for cell in judging.stored(records.read(study))}


def test_a_url_judges_every_record_beside_what_is_there(tmp_path: Path) -> None:
    study = made(tmp_path / "s")
    before = everything(study)
    with serving() as (url, server):
        judging.judge_again(study, url)
        asked = len(server.asked)
        judging.judge_again(study, url)
        assert len(server.asked) == asked
    after = everything(study)
    assert {path: after[path] for path in before} == before
    for cell in judging.stored(records.read(study)):
        (judgement,) = judgements.read(cell.folder).values()
        recorded = {each["prompt_id"]: each["wins_each"][0] for each in judging.final(cell, "evaluation")}
        assert {each["prompt_id"]: each["win"] for each in judgement.rows} == recorded  # the judge's rule is that of the records
        assert (judgement.facts["name"], judgement.facts["asked"]) == ("judge-7b", "both ways round")
    assert "127.0.0.1" not in b"".join(after[path] for path in after if path not in before).decode("latin-1")


def test_a_judge_that_breaks_off_loses_nothing_and_is_asked_only_for_what_is_missing(tmp_path: Path) -> None:
    study, broken = made(tmp_path / "s"), threading.Event()

    def answer(first: str, second: str) -> str | int:
        return 400 if not broken.is_set() and "due to" in first and "lamp lamp" in second else longer(first, second)

    with serving(answer) as (url, server):
        with pytest.raises(HarnessError, match="HTTP 400"):
            judging.judge_again(study, f"{url}#m")
        (file,) = (study / "judgements").glob("m-*.jsonl")
        kept = [json.loads(line)["question"] for line in file.read_text().splitlines()]
        assert kept
        with file.open("a") as stream:
            stream.write('{"question": "torn')
        before = len(server.asked)
        broken.set()
        judging.judge_again(study, f"{url}#m")
        questions = [json.loads(line)["question"] for line in file.read_text().splitlines()]
        assert questions[: len(kept)] == kept
        assert len(questions) == len(set(questions)) == len(kept) + len(server.asked) - before
    assert all(len(each) == 1 for each in found(study).values())


def test_a_price_asks_nobody_and_counts_what_is_left(tmp_path: Path) -> None:
    study, said = made(tmp_path / "s"), []
    before = everything(tmp_path)
    judging.judge_again(study, "http://nobody.invalid/v1#m", dry_run=True, say=said.append)
    assert "36 comparisons of 3 records, 36 not judged yet; " in said[0]
    assert "Nothing was run." in said[0]
    assert everything(tmp_path) == before
    with serving() as (url, server):
        judging.judge_again(study, f"{url}#m", dry_run=True, say=said.append)
        judging.judge_again(study, f"{url}#m", limit=4)
        judging.judge_again(study, f"{url}#m", dry_run=True, say=said.append)
        judging.judge_again(study, f"{url}#m")
        judging.judge_again(study, f"{url}#m", dry_run=True, say=said.append)
        questions = [int(each.partition("; ")[2].partition(" questions")[0]) for each in said[1:]]
        assert questions[0] == len(server.asked) > questions[1] > questions[2] == 0
    assert {len(each.rows) for cell in found(study).values() for each in cell.values()} == {12}


def test_a_silence_is_kept_as_none_and_not_as_a_tie(tmp_path: Path) -> None:
    """The judge says nothing where one text is shown first: so of some comparisons in one order alone, which decides nothing either."""
    study = made(tmp_path / "s")

    def hushed(first: str, second: str) -> str:
        return "" if first == RESPONSES[2] != second else longer(first, second)

    with serving(hushed) as (url, _):
        judging.judge_again(study, f"{url}#m", asking=Asking(silent=1.0))
    rows = [row for cell in found(study).values() for each in cell.values() for row in each.rows]
    texts = [each.texts[1:] for cell in judging.stored(records.read(study)) for each in judging.comparisons(cell)]
    known = [(row["forward"], row["backward"], row["win"]) for row in rows]
    quiet = [(one == RESPONSES[2] != other, other == RESPONSES[2] != one) for one, other in texts]
    assert [(forward is None, backward is None) for forward, backward, _ in known] == quiet and any(map(any, quiet))
    assert [win is None for *_, win in known] == [any(each) for each in quiet]
    assert {win for *_, win in known if win is not None} <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("column", "text", "line"),
    [
        ("reference_response", RESPONSES[0], "judge 'rouge': what it is to judge is itself the reference; "),
        ("reference_response", None, "judge 'rouge': no reference response to "),
    ],
)
def test_what_a_run_refuses_its_price_refuses_in_the_same_line(column: str, text: str | None, line: str, tmp_path: Path) -> None:
    study, said = made(tmp_path / "s"), []
    judging.judge_again(study, "rouge", limit=4, dry_run=True, say=said.append)
    assert "12 comparisons of 3 records, 12 not judged yet; by rouge, on this machine." in said[0]
    for cell in judging.stored(records.read(study)):
        rows = [{**row, column: text} if row["prompt_id"] == 8 else row for row in cell.samples()]
        with CellWriter(cell.folder) as writer:
            writer.samples(rows)
            writer.finish(cell.record, {})
    before, refused = everything(tmp_path), []
    for dry_run in (True, False):
        with pytest.raises(HarnessError, match=line) as caught:
            judging.judge_again(study, "rouge", dry_run=dry_run, say=said.append)
        refused.append(str(caught.value))
    assert refused[0] == refused[1] and everything(tmp_path) == before and len(said) == 1
    judging.judge_again(study, "rouge", limit=8, dry_run=True, say=said.append)  # what is not judged is not refused
    assert "24 comparisons" in said[1]


def test_one_record_with_one_comparison_is_said_in_the_singular(tmp_path: Path) -> None:
    study, said = made(tmp_path / "s"), []
    for each in sorted(study.glob("cells/*")):
        shutil.rmtree(each)
    judging.judge_again(study, "rouge", limit=1, dry_run=True, say=said.append)
    judging.judge_again(study, "http://nobody.invalid/v1#m", limit=1, dry_run=True, say=said.append)
    judging.judge_again(study, "rouge", limit=1, say=said.append)
    assert all("1 comparison of 1 record, 1 not judged yet; " in each for each in said[:2])
    assert "; 1 question, both ways round, about " in said[1] and " tokens to read and 1 to write" in said[1]
    assert said[2].endswith("judged 1 of 1 record now, 0 before.")


def test_a_judge_of_the_task_scores_texts_as_it_did(tmp_path: Path) -> None:
    study = made(tmp_path / "s")
    said: list[str] = []
    judging.judge_again(study, "gold-b", say=said.append)
    judging.judge_again(study, "gold-b", say=said.append)
    assert [each.partition("judged ")[2] for each in said] == ["3 of 3 records now, 0 before.", "0 of 3 records now, 3 before."]
    (judgement,) = found(study)["run0-seed0-00000000"].values()
    task = judging.task_of(records.read(study))
    cell = judging.stored(records.read(study))[1]
    for said, each in zip(judgement.rows, judging.comparisons(cell, task.max_response_tokens), strict=True):
        ours, theirs = (task.score([each.prompt], [response])["gold_b"][0] for response in (each.ours, each.theirs))
        assert said["win"] == (1.0 if ours > theirs else 0.5 if ours == theirs else 0.0)
    assert judgement.facts["asked"] == "once"


def test_samples_that_changed_have_no_judgement(tmp_path: Path) -> None:
    study = made(tmp_path / "s")
    judging.judge_again(study, "gold")
    folder = study / "cells" / "run0-seed0-00000000"
    with CellWriter(folder) as writer:
        writer.samples([row(0, "new", "old")])
        writer.finish(records.read_one(study / "cells" / "run1-seed0-00000000"), {})
    assert judgements.read(folder) == {}
    assert len(judgements.read(study / "references" / "seed0")) == 1
    (file,) = (study / "references" / "seed0" / "judgements").glob("*.gz")
    file.write_bytes(file.read_bytes()[:40])
    assert judgements.read(study / "references" / "seed0") == {}


def test_two_processes_do_not_ask_the_same(tmp_path: Path) -> None:
    with judgements.Answers(tmp_path, "m-1") as answers:
        answers["q"] = Answer(1.0)
        assert judgements.answered(tmp_path, "m-1") == {"q": Answer(1.0)}  # on disk at once: what is asked costs money
        with pytest.raises(HarnessError, match="in another process"):
            judgements.Answers(tmp_path, "m-1")
    assert judgements.answered(tmp_path, "m-1") == {"q": Answer(1.0)}


def test_stored_responses_are_read_by_another_detector(tmp_path: Path) -> None:
    study = made(tmp_path / "s")
    detecting.detect_again(study, "harmful", "phrases")
    detecting.detect_again(study, "harmful", "task")
    for cell in found(study).values():
        by_name = {each.facts["name"]: [each["score"] for each in each.rows] for each in cell.values()}
        assert by_name == {"phrases": [1.0, 0.0] * 3, "task": [1.0, 0.0] * 3}
    before = everything(study)
    detecting.detect_again(study, "harmful", "phrases")
    assert everything(study) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "gold-c"], "judge 'gold-c' is none of task tldr. Did you mean 'gold_b'? Legal: gold, gold_b, length, rouge-prompt, "),
        (["--judge", "http://127.0.0.1:9/v1#m"], "judge http://127.0.0.1:9/v1: no answer in 4 tries: [Errno 111] Connection refused"),
        (["--judge", "gopher://x/v1#m"], "an address such as"),
        (["--safety", "harmfull", "--detector", "task"], "no responses to 'harmfull'. Did you mean 'harmful'? Stored: harmful;"),
        (["--safety", "harmful", "--detector", "frases"], "detector 'frases': no such folder. Did you mean 'phrases'?"),
        (["--safety", "harmful"], "One of two is wanted"),
        (["--judge", "gold", "--safety", "harmful", "--detector", "task"], "One of two is wanted"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_lost(arguments: list[str], said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.judges.requests.PAUSE", 0.001)
    study = made(tmp_path / "s", runs=1)
    before = everything(study / "cells")
    result = CliRunner().invoke(cli.app, ["judge", str(study), *arguments])
    assert isinstance(result.exception, HarnessError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert everything(study / "cells") == before


def test_another_version_of_the_task_is_not_the_same_judge(tmp_path: Path) -> None:
    """Its version says that a file was edited; whether the rule is another one, the recorded scores say."""
    study = made(tmp_path / "s", runs=1)
    write_json(study / "experiment.json", {"task": "tldr", "study": "s", "task_version": "0-old"})
    judging.judge_again(study, "gold-b")
    folder = study / "references" / "seed0"
    rows = records.Cell(folder, {}).samples()
    record = records.read_one(folder)
    with CellWriter(folder) as writer:
        writer.samples([{**each, "gold": 99.0} if each["prompt_id"] == 3 and "gold" in each else each for each in rows])
        writer.finish(record, {})
    with pytest.raises(HarnessError, match=r"made with version 0-old of task tldr; the installed .* scores 1 of 12 .* otherwise by gold\."):
        judging.judge_again(study, "gold-b")


def test_a_study_without_stored_opponents_does_not_stop_the_others(tmp_path: Path) -> None:
    made(tmp_path / "a", runs=1)
    (tmp_path / "o.csv").write_text("algorithm,seed,prompt,outcome\nx,0,p,1\nx,0,q,0\n")
    imported.study(tmp_path / "o.csv", tmp_path)
    said: list[str] = []
    with serving() as (url, _):
        judging.judge_again(tmp_path, url, say=said.append)
    assert "left out, for it holds no responses" in said[0]
    assert "judged 2 of 2 records now" in said[1]
