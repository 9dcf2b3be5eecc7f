"""Results as tidy rows, and the commands called from Python."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.errors import HarnessError
from harness.report.rows import COLUMNS, METRICS
from tests.report import synthetic

DOCS = Path(__file__).parents[1] / "docs" / "python.md"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    synthetic.study(folder / "toy-1", ("dpo", "ppo"), seeds=2, settings=2, failed=False)
    synthetic.study(folder / "toy-2", ("kto",), settings=1, failed=False, gold=False)
    return folder


def test_rows_are_those_of_every_study_with_the_same_columns(root: Path) -> None:
    results = harness.load(root)
    assert [(row["study"], row["algorithm"], row["seeds"]) for row in results.rows] == [
        *[("toy-1", "dpo", 2)] * 2,
        *[("toy-1", "ppo", 2)] * 2,
        ("toy-2", "kto", 1),
    ]
    assert list(results) == list(results.rows) and len(results) == 5
    assert {tuple(row) for row in results.rows} == {results.columns}
    last = results.rows[-1]
    assert last["gold"] is None
    assert last["lower"] < last["win_rate"] < last["upper"]
    assert last["win_rate_se"] == pytest.approx((last["upper"] - last["lower"]) / 3.919928)
    assert (last["prompts"], last["seed_ids"], last["flops"]) == (384, "0", pytest.approx(synthetic.FLOPS))


def test_files_hold_the_same_numbers_as_the_rows(root: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    results = harness.load(root)
    read = list(csv.DictReader(results.to_csv(tmp_path / "deep" / "rows.csv").read_text().splitlines()))
    assert [float(row["win_rate"]) for row in read] == [row["win_rate"] for row in results.rows]
    assert read[-1]["gold"] == ""
    table = parquet.read_table(results.to_parquet(tmp_path / "rows.parquet"))
    assert table.to_pylist() == list(results.rows)
    assert str(table.schema.field("rouge_l").type) == "double"  # missing everywhere, and a number all the same


def test_a_data_frame_has_the_documented_columns(root: Path) -> None:
    pytest.importorskip("pandas")
    frame = harness.load(root).to_pandas()
    assert tuple(frame.columns) == tuple(column.name for column in COLUMNS)
    assert frame.groupby("study")["seeds"].max().to_dict() == {"toy-1": 2, "toy-2": 1}


def test_without_pandas_one_line_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(HarnessError, match="needs pandas, which is not installed"):
        harness.load(root).to_pandas()


def test_the_documented_columns_are_those_of_the_code() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    bounds = {f"{key}_{part}" for key in METRICS for part in ("lower", "upper", "n")}
    assert documented == [column.name for column in COLUMNS if column.name not in bounds]


def test_modules_are_called_whoever_imported_them_first(root: Path) -> None:
    """A submodule takes its name in the package on import; the call must work before and after."""
    code = (
        "import harness, sys; before = harness.report; import harness.report.page, harness.compare; "
        f"print(harness.report({str(root / 'toy-2')!r})[0][-10:], before is harness.report, len(harness.load({str(root)!r}).rows)); "
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["index.html", "True", "5"], run.stderr
    assert (root / "toy-2" / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algoritms": ["dpo"]}, "'algoritms' is no option. Did you mean 'algorithms'?"),
        ({"task": "tdlr"}, "Unknown task 'tdlr'. Did you mean 'tldr'?"),
        ({"task": "tldr", "algorithms": "dpo", "budget": "1e3"}, "Budget '1000' is"),
    ],
)
def test_what_is_not_legal_is_refused_before_anything_runs(options: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        harness.compare(results=tmp_path / "runs", **options)
    assert said in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_loading_where_there_is_no_study_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="No study at or directly below"):
        harness.load(tmp_path)
