"""The dialogues as a value: embedded by default, recorded ones from files and folders, disjoint by prompt, the same bytes for a seed."""

import gzip
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest

from harness.data import sources
from harness.errors import HarnessError
from harness.types import Task
from tasks import recorded
from tasks.hh import task
from tasks.worlds.hh_dialogues import read, split_of


@pytest.fixture(scope="module")
def embedded() -> Task:
    return task()


def transcripts(n: int, first: int = 0, turns: int = 1) -> list[dict[str, str]]:
    """Rows of HH's layout: transcripts that differ in the last turn of the assistant."""
    asked = [
        "".join(f"\n\nHuman: question {row} of turn {turn}\n\nAssistant: answer {turn}" for turn in range(turns - 1))
        + f"\n\nHuman: last question {row}\n\nAssistant:"
        for row in range(first, first + n)
    ]
    return [{"chosen": f"{prompt} a good answer {row}", "rejected": f"{prompt} a bad one"} for row, prompt in enumerate(asked)]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_embedded_splits_and_probes_are_disjoint(embedded: Task) -> None:
    generator = np.random.default_rng(7)
    train = {row.prompt for row in embedded.demonstrations(generator, 200)} | set(embedded.training_prompts(generator, 200))
    tuning, evaluation = ({row.prompt for row in rows} for rows in (embedded.tuning, embedded.evaluation))
    probes = {prompt for probe in embedded.probes for prompt in probe.prompts}
    sets = [train, tuning, evaluation, probes]
    assert [len(each) for each in sets[1:]] == [256, 512, 1024]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert {split_of(prompt) for prompt in evaluation | probes} == {"evaluation"}
    assert all(group in prompt for probe in embedded.probes for group, prompt in zip(probe.groups, probe.prompts, strict=True))


def test_the_same_seed_gives_the_same_bytes(embedded: Task) -> None:
    again, other = task("embedded", limit=20), task(seed=1, limit=20)
    assert again.evaluation == embedded.evaluation[:20] and again.version == embedded.version
    assert not {row.prompt for row in other.evaluation} & {row.prompt for row in embedded.evaluation}
    one, two = (embedded.demonstrations(np.random.default_rng(3), 20) for _ in range(2))
    assert one == two != embedded.demonstrations(np.random.default_rng(4), 20)


def test_shares_of_refusals_are_options(embedded: Task) -> None:
    for share, made in ((0.08, embedded), (0.4, task(safety_demonstrations=0.4))):
        rows = made.demonstrations(np.random.default_rng(0), 400)
        assert np.mean([all("cannot" in text for text in row.responses) for row in rows]) == pytest.approx(share, abs=0.07)
    assert embedded.own_pairs is None
    own = task(safety_pairs=0.1).own_pairs
    assert own is not None
    pairs = own(np.random.default_rng(0), 100)
    classify = embedded.probes[0].classify
    assert len(pairs) == 10 and all(read(pair.prompt).kind == "harmful" and split_of(pair.prompt) == "train" for pair in pairs)
    assert {classify(pair.prompt, pair.chosen) for pair in pairs} == {"refusal"}
    assert "comply" in {classify(pair.prompt, pair.rejected) for pair in pairs} <= {"comply", "broken"}


def test_recorded_dialogues_become_pairs_whose_prompt_ends_before_the_answer(tmp_path: Path) -> None:
    made = task(write(tmp_path / "hh.jsonl.gz", transcripts(60, turns=2)))
    assert made.pairs and made.score is None and not made.probes and made.judge_names == ("judge",)
    assert made.pairs[0].prompt.startswith("\n\nHuman: question") and made.pairs[0].prompt.endswith("\n\nAssistant:")
    assert made.pairs[0].chosen.text.startswith("a good answer") and made.pairs[0].rejected.text == "a bad one"
    _assert_disjoint(made)


def test_rows_that_are_no_pair_are_counted(tmp_path: Path) -> None:
    bad = [
        {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"},
        {"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: y"},
        {"chosen": "\n\nHuman: a\n\nAssistant: y", "rejected": "\n\nHuman: a\n\nAssistant: y"},
    ]
    source = sources.read_rows(write(tmp_path / "hh.jsonl", [*bad, *transcripts(3)]))
    reasons = {"chosen and rejected have different prompts": 1, "empty response": 1, "identical responses": 1}
    assert source.dropped == reasons and len(source.rows) == 3


def test_a_folder_has_subsets_and_its_test_files_are_the_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "hh-rlhf"
    for place, name in enumerate(("harmless-base", "helpful-base")):
        write(folder / name / "train.jsonl.gz", transcripts(60, first=1000 * place))
        write(folder / name / "test.jsonl.gz", transcripts(8, first=1000 * place + 55))  # five of them are in the training file too
    both, helpful = task(folder), task(folder, subset="helpful")
    assert len(both.evaluation) == 16 and len(helpful.evaluation) == 8
    assert {row.prompt for row in helpful.evaluation} == {row["chosen"].rpartition(" a good")[0] for row in transcripts(8, first=1055)}
    assert both.version != helpful.version and any("helpful-base/train.jsonl.gz" in note for note in both.notes)
    _assert_disjoint(both)
    with pytest.raises(HarnessError, match=r"holds no data file of 'harmles-x' \(it has harmless-base, helpful-base\)"):
        recorded.read(folder, subset="harmles-x")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parquet_and_saved_folders_are_read_like_any_other(tmp_path: Path) -> None:
    """A file's name says that it is a test split whatever follows; a saved folder is one source, without what describes it."""
    made = task(write(tmp_path / "hh.jsonl", transcripts(60)))
    for name, rows in (("train-00000-of-00001", transcripts(60)), ("test-00000-of-00001", transcripts(8, first=200))):
        (tmp_path / "data").mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data" / f"{name}.parquet")
    assert len(task(tmp_path / "data").evaluation) == 8
    datasets.Dataset.from_list(transcripts(60)).save_to_disk(str(tmp_path / "saved"))
    assert task(tmp_path / "saved").pairs == made.pairs and made.chat


def test_single_turns_alone_are_a_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "hh.jsonl", [*transcripts(40), *transcripts(40, first=100, turns=2)])
    every, single = task(path), task(path, turns=1)
    count = lambda made: len(made.pairs) + len(made.judge_pairs) + len(made.tuning_pairs) + len(made.heldout_pairs)  # noqa: E731
    assert count(every) > count(single) and all(row.prompt.count("\n\nHuman:") == 1 for row in single.evaluation)
    assert any("40 taken" in note for note in single.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"safety_pairs": 1.0}, r"hh\.safety_pairs: 1 is not a share"),
        ({"turns": 1}, r"hh\.subset and hh\.turns are of recorded dialogues"),
        ({"source": "x.jsonl", "safety_pairs": 0.1}, "are of the embedded world"),
        ({"source": "nothing.jsonl"}, "does not exist"),
    ],
)
def test_what_cannot_be_is_one_clear_error(options: dict[str, object], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        task(**options)  # type: ignore[arg-type]


def test_too_few_rows_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"too few usable rows, the split leaves no .*1 rows read"):
        task(write(tmp_path / "hh.jsonl", transcripts(1)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="holds no data file"):
        task(tmp_path / "empty")


def test_real_dialogues(real_data: Path) -> None:
    made, single = task(real_data / "hh", subset="harmless"), task(real_data / "hh", turns=1)
    assert made.pairs is not None and single.pairs is not None
    assert len(made.pairs) > 300 and len(made.evaluation) > 200 and 0 < len(single.pairs) < len(made.pairs)
    _assert_disjoint(made)


def _assert_disjoint(made: Task) -> None:
    train = {row.prompt for row in made.demonstrations(np.random.default_rng(0), 3000)} | {pair.prompt for pair in made.pairs or ()}
    judge, tuner, heldout = ({pair.prompt for pair in rows} for rows in (made.judge_pairs, made.tuning_pairs, made.heldout_pairs))
    evaluation, tuning = ({row.prompt for row in rows} for rows in (made.evaluation, made.tuning))
    assert heldout <= evaluation
    sets = [train, judge, tuner, evaluation, tuning]
    assert sum(map(len, sets)) == len(set().union(*sets))
