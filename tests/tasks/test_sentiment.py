"""Reviews as a value: embedded by default, labelled ones from a file, folder or zip, disjoint by prefix, scored by classifiers."""

import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from harness.data.adapters import adapter_of
from harness.errors import HarnessError
from harness.plugins import registry
from harness.types import Response, Task
from tasks import classifier, reviews
from tasks.reviews import Review
from tasks.sentiment import task
from tasks.worlds.sentiment_reviews import split_of


def texts(n: int) -> list[tuple[str, bool]]:
    """Labelled reviews whose words tell their label, of 16 words and more."""
    kinds = {True: "a great film that I loved from the start", False: "a dull film that I hated from the start"}
    opening = "Number {0} : on day {0} we went to see it and it was {1} . Not a word more about it from me in review {0}"
    return [(opening.format(row, kinds[row % 2 == 0]), row % 2 == 0) for row in range(n)]


def jsonl(path: Path, rows: list[tuple[str, bool]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": int(positive)}) + "\n" for text, positive in rows), encoding="utf-8")
    return path


def test_embedded_splits_are_disjoint_and_repeat() -> None:
    made, again = task(), task("embedded", limit=9)
    generator = np.random.default_rng(7)
    train = {row.prompt for row in made.demonstrations(generator, 300)} | set(made.training_prompts(generator, 300))
    tuning, evaluation = ({row.prompt for row in rows} for rows in (made.tuning, made.evaluation))
    assert [len(tuning), len(evaluation)] == [256, 512]
    assert len(train) + len(tuning) + len(evaluation) == len(train | tuning | evaluation)
    assert {split_of(prompt) for prompt in evaluation} == {"evaluation"}
    assert list(again.evaluation) == list(made.evaluation[:9]) and again.version == made.version and not made.probes
    assert {row.prompt for row in task(seed=1).evaluation}.isdisjoint(evaluation)


def test_imdb_is_the_same_task() -> None:
    assert registry.find("tasks", "imdb").name == registry.find("tasks", "sentiment").name == "sentiment"


def test_fluency_is_a_setting_of_gold_and_0_leaves_the_lexicon_alone() -> None:
    made = task(fluency=0.0, limit=4)
    assert made.score is not None
    rows = made.evaluation
    columns = made.score([row.prompt for row in rows], [Response("brilliant brilliant brilliant", finished=False)] * len(rows))
    assert columns["gold"].tolist() == columns["sentiment"].tolist() == pytest.approx([3.3] * len(rows))
    with pytest.raises(HarnessError, match=r"sentiment\.fluency: -1 is negative"):
        task(fluency=-1.0)


def test_a_classifier_s_odds_are_those_of_the_formula() -> None:
    """Binarised naive Bayes: of 4 good and 3 bad reviews 3 and 0 say fine: log (3 + 1) / (4 + 2) - log (0 + 1) / (3 + 2)."""
    said = [("fine fine", True), ("fine", True), ("fine x", True), ("y", True), ("poor", False), ("poor", False), ("poor y", False)]
    fitted = classifier.fitted([Review("", "", text, positive) for text, positive in said])
    assert set(fitted) == {"fine", "poor"}, "x and y are too rare"
    assert fitted["fine"] == pytest.approx(math.log(4 / 6) - math.log(1 / 5))
    assert fitted["poor"] == pytest.approx(math.log(1 / 6) - math.log(4 / 5))
    odds = classifier.log_odds(fitted, ["Fine, fine!", "fine", "poor fine", "unknown", ""])
    assert odds.tolist() == pytest.approx([fitted["fine"], fitted["fine"], fitted["fine"] + fitted["poor"], 0, 0])


def test_a_review_is_cut_into_prefix_and_whole_sentences() -> None:
    text = "one two three four five six seven eight nine<br /><br />ten eleven. twelve thirteen! fourteen fifteen"
    parts = reviews._cut(text, True)
    words = parts.text.split()
    assert 2 <= len(parts.prefix.split()) <= 8 and words[: len(parts.prefix.split())] == parts.prefix.split()
    assert f"{parts.prefix} {parts.continuation}" == "one two three four five six seven eight nine ten eleven. twelve thirteen!"
    assert reviews._cut(text, True) == parts, "a hash, not a draw"


def _same(one: Task, other: Task) -> None:
    assert one.evaluation == other.evaluation and one.tuning == other.tuning
    assert one.version == other.version


def test_all_layouts_give_the_same_task(tmp_path: Path) -> None:
    rows = texts(120)
    file = jsonl(tmp_path / "reviews.jsonl", rows)
    folder = tmp_path / "reviews" / "train"
    with zipfile.ZipFile(tmp_path / "reviews.zip", "w") as archive:
        for number, (text, positive) in enumerate(rows):
            kind = "pos" if positive else "neg"
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{number}.txt").write_text(text, encoding="utf-8")
            archive.writestr(f"reviews/{kind}/{number}.txt", text)
    csv = tmp_path / "reviews.csv"
    csv.write_text("label,text\n" + "".join(f'{"pos" if positive else "neg"},"{text}"\n' for text, positive in rows), encoding="utf-8")
    made = task(file)
    for other in (folder.parent, tmp_path / "reviews.zip", csv):
        _same(made, task(other))
    train, tuning, evaluation = (
        {row.prompt for row in each} for each in (made.demonstrations(np.random.default_rng(0), 500), made.tuning, made.evaluation)
    )
    assert len(train) + len(tuning) + len(evaluation) == len(train | tuning | evaluation)
    assert made.pairs is None and made.score is not None and made.judge_names == ("gold", "second")


def test_reviews_come_from_wherever_data_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet, several files, and IMDb by its id from the hub's cache at the commit that its adapter declares, with its licence."""
    rows = [{"text": text, "label": int(positive)} for text, positive in texts(60)]
    made = task(jsonl(tmp_path / "reviews.jsonl", texts(60)))
    known = adapter_of("stanfordnlp/imdb")
    assert known
    folder = tmp_path / "hub" / "datasets--stanfordnlp--imdb" / "snapshots" / known.revision / "plain_text"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    _same(made, task(folder / "train-00000-of-00001.parquet"))
    halves = [jsonl(tmp_path / f"{part}.jsonl", texts(60)[part::2]) for part in (0, 1)]
    _same(made, task(",".join(map(str, halves))))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    public = task("stanfordnlp/imdb")
    _same(made, public)
    assert public.source == "stanfordnlp/imdb#train" and known.revision in public.notes[0] and "the licence: other" in public.notes[0]
    with pytest.raises(HarnessError, match="of reviews every part is read whole; leave shares and filters out"):
        task(f"{halves[0]}:.5,{halves[1]}:.5")


def test_the_gold_of_real_reviews_knows_their_sides(tmp_path: Path) -> None:
    made = task(jsonl(tmp_path / "reviews.jsonl", texts(120)))
    assert made.score is not None
    columns = made.score(["x", "x"], [Response("a great film I loved"), Response("a dull film I hated")])
    assert all(columns[name][0] > 1 and columns[name][1] < -1 for name in ("gold", "second"))
    assert all(column.shape == (0,) for column in made.score([], []).values())
    assert any("naive Bayes" in note and "100%" in note for note in made.notes)


BAD = [
    ("r.jsonl", '{"text": "a b c"}\n', r"row 1 .* has the columns \(text\); expected text and label"),
    ("r.jsonl", '{"text": 3, "label": 1}\n', "row 1 .* has a int under 'text'; expected a string"),
    ("r.jsonl", '{"text": null, "label": 1}\n', "no reviews of both kinds"),
    ("r.jsonl", '{"text": "a b c", "label": 7}\n', r"row 1 .* has the label '7'; legal: 1, pos"),
    ("r.jsonl", '{"text": \n', "cannot be read"),
    ("r.jsonl", "", "holds no rows"),
    ("r.jsonl", '{"text": "a b c", "label": 1}\n', "no reviews of both kinds"),
    ("r.txt", "x", "unknown kind '.txt'"),
    ("r.zip", "x", "cannot be read"),
]


@pytest.mark.parametrize(("name", "text", "said"), BAD)
def test_bad_files_are_one_clear_error(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(HarnessError, match=said):
        task(tmp_path / name)


def test_a_missing_file_and_too_few_reviews_are_one_clear_error(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "reviews.jsonl", texts(4))
    with pytest.raises(HarnessError, match=r"does not exist.*reviews.jsonl"):
        task(tmp_path / "review.jsonl")
    with pytest.raises(HarnessError, match="too few usable reviews"):
        task(file)
    with pytest.raises(HarnessError, match=r"sentiment\.fluency is of the embedded world"):
        task(file, fluency=0.5)


def test_real_reviews(real_data: Path) -> None:
    made = task(real_data / "imdb-sentiment" / "movie_reviews.zip")
    assert len(made.evaluation) > 100 and len(made.demonstrations(np.random.default_rng(0), 300)) == 300
    assert made.score is not None
    odds = made.score(["x"] * 2, [Response("a wonderful and brilliant film"), Response("a boring waste of time")])
    assert odds["gold"][0] > odds["gold"][1] and odds["second"][0] > odds["second"][1]
