"""The published comparison: its committed report is what its committed records give."""

from __future__ import annotations

import csv
import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from harness.commands import reporting
from harness.errors import HarnessError
from harness.sharing import withheld

RESULTS = Path(__file__).parents[1] / "results"
PUBLISHED, TRIAL = RESULTS / "published" / "tldr-embedded", RESULTS / "trials" / "smollm2-135m"
FORMATS = {PUBLISHED: "html,latex,csv", TRIAL: "html,csv"}
LIMITS = {PUBLISHED: 20_000_000, TRIAL: 5_000_000}  # bytes that a folder may take in a clone
DRAWING = ("numpy", "scipy", "matplotlib", "jinja2", "markupsafe", "contourpy", "fonttools", "kiwisolver", "pillow")  # what a report needs
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
TOLERANCE = 1e-6


def conditions() -> dict[str, object]:
    """The versions and the processor's vector instructions that decide the last digit of a number."""
    from numpy._core import _multiarray_umath as compiled

    features = sorted(name for name, there in compiled.__cpu_features__.items() if there)
    return {"versions": {name: metadata.version(name) for name in DRAWING}, "processor": features}


@pytest.fixture(scope="module", params=FORMATS, ids=lambda folder: folder.name)
def place(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def regenerated(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "report"
    told = list(reporting.write([place / "records.tar.xz"], reporting.wanted(FORMATS[place], "neurips", 1), folder, {}))
    assert not [line for line in told if isinstance(line, HarnessError)]
    return folder


def committed(report: Path, *suffixes: str) -> Iterator[Path]:
    """The committed files with these suffixes, or all, relative to the report."""
    yield from (
        path.relative_to(report) for path in sorted(report.rglob("*")) if path.is_file() and path.suffix in (suffixes or {path.suffix})
    )


def test_the_report_of_the_published_records_is_the_one_that_is_published(place: Path, regenerated: Path) -> None:
    """Byte for byte where versions and processor are those that it was made with; elsewhere tables, macros and plotted numbers."""
    report = place / "report"
    names = list(committed(report))
    assert {path.suffix for path in names} >= {".html", ".csv"}
    if conditions() == json.loads((place / "made.json").read_text()):
        assert [str(name) for name in names if (regenerated / name).read_bytes() != (report / name).read_bytes()] == []
        return
    for name in committed(report, ".tex", ".csv"):
        now, then = ((folder / name).read_text() for folder in (regenerated, report))
        assert NUMBER.sub("#", now) == NUMBER.sub("#", then), name
        found, wanted = (np.array([float(each) for each in NUMBER.findall(text)]) for text in (now, then))
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, err_msg=str(name))


def test_macros_and_table_hold_the_same_win_rates() -> None:
    rows = list(csv.DictReader((PUBLISHED / "report" / "table.csv").read_text().splitlines()))
    macros = (PUBLISHED / "report" / "macros.tex").read_text()
    assert len(rows) == 32 and all(f"WinRate}}{{{float(row['win_rate']):.3f}}}" in macros for row in rows)


def test_the_published_folder_stays_small(place: Path) -> None:
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < LIMITS[place]


def test_a_trial_on_data_that_is_not_ours_says_first_what_it_may_not_show_and_holds_none_of_its_texts() -> None:
    """Samples hold hashes of texts, and the page opens with its cautions: trial, short, one model, one seed."""
    with tarfile.open(TRIAL / "records.tar.xz") as archive:
        kept = {each.name: archive.extractfile(each) for each in archive.getmembers() if each.name.endswith("samples.jsonl.gz")}
        rows = [json.loads(row) for file in kept.values() if file is not None for row in gzip.decompress(file.read()).splitlines()]
    assert {row[name].split(":")[0] for row in rows for name in withheld.TEXTS if name in row} == {"[text withheld"}
    for page in (TRIAL / "report").rglob("index.html"):
        text = page.read_text()
        cautions = text.index("What may not be concluded")
        assert cautions < text.index("What was found") < text.index("<figure")
        first = text[cautions : text.index("What was found")]
        assert all(said in first for said in ("TRIAL", "Short, and one model", "1 seed: no ranking", "Untuned"))
