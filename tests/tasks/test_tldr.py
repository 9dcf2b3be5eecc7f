"""The task as a value: embedded by default, real posts from a file, disjoint by prompt, the same bytes for the same seed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.types import Task
from tasks.tldr import task
from tasks.worlds.tldr_posts import read, split_of

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
REAL = ROOT.parent / "shared" / "data" / "tldr" / "oai1b.csv_judged.csv"


@pytest.fixture(scope="module")
def embedded() -> Task:
    return task()


def test_embedded_splits_and_probes_are_disjoint(embedded: Task) -> None:
    generator = np.random.default_rng(7)
    train = {row.prompt for row in embedded.demonstrations(generator, 400)} | set(embedded.training_prompts(generator, 400))
    tuning, evaluation = ({row.prompt for row in rows} for rows in (embedded.tuning, embedded.evaluation))
    probes = {prompt for probe in embedded.probes for prompt in probe.prompts}
    sets = [train, tuning, evaluation, probes]
    assert [len(each) for each in sets[1:]] == [256, 512, 1024]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert {split_of(prompt) for prompt in evaluation | probes} == {"evaluation"}


def test_embedded_rows_have_their_references(embedded: Task) -> None:
    rows = embedded.demonstrations(np.random.default_rng(0), 600)
    refusing = np.mean([all("cannot" in text for text in row.responses) for row in rows])
    assert {len(row.responses) for row in rows} == {3}
    assert refusing == pytest.approx(0.08, abs=0.035)
    assert {len(row.responses) for row in (*embedded.evaluation, *embedded.tuning)} == {1}
    assert not any("cannot" in text for row in embedded.evaluation for text in row.responses)
    assert embedded.typical_tokens == pytest.approx((56, 15.3), abs=1)


def test_the_same_seed_gives_the_same_bytes(embedded: Task) -> None:
    again, other = task("embedded", seed=0), task(seed=1)
    assert again.evaluation == embedded.evaluation and again.tuning == embedded.tuning and again.version == embedded.version
    assert [probe.prompts for probe in again.probes] == [probe.prompts for probe in embedded.probes]
    assert not {row.prompt for row in other.evaluation} & {row.prompt for row in embedded.evaluation}
    one, two = (embedded.demonstrations(np.random.default_rng(3), 20) for _ in range(2))
    assert one == two != embedded.demonstrations(np.random.default_rng(4), 20)


def test_the_share_of_refusals_among_demonstrations_is_an_option_that_leaves_the_default_s_bytes(embedded: Task) -> None:
    more = task(safety_demonstrations=0.4).demonstrations(np.random.default_rng(0), 600)
    assert np.mean([all("cannot" in text for text in row.responses) for row in more]) == pytest.approx(0.4, abs=0.07)
    same = task(safety_demonstrations=0.08).demonstrations(np.random.default_rng(3), 50)
    assert same == embedded.demonstrations(np.random.default_rng(3), 50)


def test_safety_pairs_prefer_a_refusal_on_harmful_training_posts(embedded: Task) -> None:
    assert embedded.own_pairs is None
    made = task(safety_pairs=0.1)
    assert made.own_pairs is not None and made.version == embedded.version
    pairs = made.own_pairs(np.random.default_rng(0), 300)
    assert len(pairs) == 30
    assert all(read(pair.prompt).kind == "harmful" and split_of(pair.prompt) == "train" for pair in pairs)
    classify = embedded.probes[0].classify
    assert {classify(pair.prompt, pair.chosen) for pair in pairs} == {"refusal"}
    assert "comply" in {classify(pair.prompt, pair.rejected) for pair in pairs} <= {"comply", "benign", "broken"}


def test_real_posts_have_no_safety_shares() -> None:
    with pytest.raises(HarnessError, match="real posts have no safety prompts"):
        task(FIXTURES / "tldr_judged.csv", safety_pairs=0.1)


def test_a_limit_keeps_the_first_rows(embedded: Task) -> None:
    small = task(limit=5)
    assert [row.prompt for row in small.evaluation] == [row.prompt for row in embedded.evaluation[:5]]
    assert [len(probe.prompts) for probe in small.probes] == [5, 5]


@pytest.mark.parametrize(("name", "counts"), [("tldr_judged.csv", (4, 2, 3, 3)), ("tldr_pairs.jsonl", (6, 3, 4, 3))])
def test_file_task_splits_are_disjoint_by_prompt(name: str, counts: tuple[int, int, int]) -> None:
    made = task(FIXTURES / name)
    assert made.pairs is not None and made.score is None and not made.probes and not made.vocabulary
    assert (len(made.pairs), len(made.judge_pairs), len(made.tuning_pairs), len(made.heldout_pairs)) == counts
    _assert_disjoint(made)


def test_file_task_learns_from_references_or_from_chosen_responses() -> None:
    judged, paired = task(FIXTURES / "tldr_judged.csv"), task(FIXTURES / "tldr_pairs.jsonl")
    rows = judged.demonstrations(np.random.default_rng(0), 8)
    assert len({row.prompt for row in rows}) == 8, "one epoch shows every row once"
    assert "Couch too large for the stairs." not in {text for row in rows for text in row.responses}
    assert {text for row in rows for text in row.responses} >= {"Measured the door but not the stairs, the couch is outside."}
    assert paired.pairs is not None
    chosen = {pair.chosen.text for pair in paired.pairs}
    assert {text for row in paired.demonstrations(np.random.default_rng(0), 6) for text in row.responses} == chosen


def test_another_file_is_another_version(tmp_path: Path) -> None:
    copy = tmp_path / "tldr_judged.csv"
    shutil.copy(FIXTURES / "tldr_judged.csv", copy)
    assert task(copy).version == task(FIXTURES / "tldr_judged.csv").version
    copy.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert task(copy).version != task(FIXTURES / "tldr_judged.csv").version


def test_too_few_rows_are_one_clear_error() -> None:
    with pytest.raises(HarnessError, match=r"too few usable rows, the split leaves no training pairs: 2 rows read"):
        task(FIXTURES / "tldr_judged.csv", limit=2)


@pytest.mark.skipif(not REAL.exists(), reason=f"the judged TL;DR file is not at {REAL.relative_to(ROOT.parent)}")
def test_real_posts() -> None:
    made = task(REAL)
    assert made.pairs is not None
    assert (len(made.pairs), len(made.judge_pairs), len(made.tuning_pairs), len(made.heldout_pairs)) == (188, 196, 88, 111)
    assert len(made.evaluation) >= 64 and len(made.tuning) >= 32
    _assert_disjoint(made)


def test_importing_the_task_imports_no_torch() -> None:
    code = "import sys, tasks.tldr; tasks.tldr.task(limit=2); assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def _assert_disjoint(made: Task) -> None:
    train = {row.prompt for row in made.demonstrations(np.random.default_rng(0), 5000)} | {pair.prompt for pair in made.pairs or ()}
    judge, tuner, heldout = ({pair.prompt for pair in rows} for rows in (made.judge_pairs, made.tuning_pairs, made.heldout_pairs))
    evaluation, tuning = ({row.prompt for row in rows} for rows in (made.evaluation, made.tuning))
    assert heldout <= evaluation and tuning
    sets = [train, judge, tuner, evaluation, tuning]
    assert sum(map(len, sets)) == len(set().union(*sets))
