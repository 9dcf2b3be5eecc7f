"""The published comparison: its committed report is what its committed records give."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from harness import reporting
from harness.errors import HarnessError

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published" / "tldr-embedded"
RECORDS, REPORT, MADE = PUBLISHED / "records.tar.xz", PUBLISHED / "report", PUBLISHED / "made.json"
FORMATS = "html,latex,csv"
DRAWING = ("numpy", "scipy", "matplotlib", "jinja2", "markupsafe", "contourpy", "fonttools", "kiwisolver", "pillow")  # what a report needs
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
TOLERANCE = 1e-6
LIMIT = 20_000_000  # bytes that the whole folder may take in a clone


def conditions() -> dict[str, object]:
    """The versions and the processor's vector instructions that decide the last digit of a number."""
    from numpy._core import _multiarray_umath as compiled

    features = sorted(name for name, there in compiled.__cpu_features__.items() if there)
    return {"versions": {name: metadata.version(name) for name in DRAWING}, "processor": features}


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "report"
    told = list(reporting.write([RECORDS], reporting.wanted(FORMATS, "neurips", 1), folder, {}))
    assert not [line for line in told if isinstance(line, HarnessError)]
    return folder


def committed(*suffixes: str) -> Iterator[Path]:
    """The committed files with these suffixes, or all, relative to the report."""
    yield from (
        path.relative_to(REPORT) for path in sorted(REPORT.rglob("*")) if path.is_file() and path.suffix in (suffixes or {path.suffix})
    )


def test_the_report_of_the_published_records_is_the_one_that_is_published(regenerated: Path) -> None:
    """Byte for byte where versions and processor are those that it was made with; elsewhere tables, macros and plotted numbers."""
    names = list(committed())
    assert {path.suffix for path in names} >= {".html", ".tex", ".csv", ".bib"}
    if conditions() == json.loads(MADE.read_text()):
        assert [str(name) for name in names if (regenerated / name).read_bytes() != (REPORT / name).read_bytes()] == []
        return
    for name in committed(".tex", ".csv"):
        now, then = ((folder / name).read_text() for folder in (regenerated, REPORT))
        assert NUMBER.sub("#", now) == NUMBER.sub("#", then), name
        found, wanted = (np.array([float(each) for each in NUMBER.findall(text)]) for text in (now, then))
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, err_msg=str(name))


def test_macros_and_table_hold_the_same_win_rates() -> None:
    rows = list(csv.DictReader((REPORT / "table.csv").read_text().splitlines()))
    macros = (REPORT / "macros.tex").read_text()
    assert len(rows) == 32 and all(f"WinRate}}{{{float(row['win_rate']):.3f}}}" in macros for row in rows)


def test_the_published_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in PUBLISHED.rglob("*") if path.is_file()) < LIMIT
