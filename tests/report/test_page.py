"""The report end to end on invented records: bytes, escaping, what is said and what is left out."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic

from harness.report import page, tables
from harness.report.escape import source
from harness.store.records import read

FIGURES = ("frontier", "safety", "compute", "logps", "proxy")
HOSTILE = "<script>alert(1)</script> \x1b[31mred \u202eevil & 'quoted' \\input{evil}"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = synthetic.study(tmp_path_factory.mktemp("study"), ("dpo", "ppo"), settings=2, text=HOSTILE)
    page.write(root)
    return root


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Wellformed(HTMLParser):
    """Tags that are opened and closed in order, ids, and what is fetched from elsewhere."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[key]) for key in ("src", "href", "xlink:href") if key in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()


def test_the_same_records_give_the_same_bytes_in_another_process(study: Path) -> None:
    before = files(study / "report")
    assert {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png", "csv")} < set(before)
    code = (
        f"import sys, pathlib; from harness.report import page; page.write(pathlib.Path({str(study)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "7", "PATH": "", "TZ": "Asia/Tokyo"}, cwd=Path.cwd())
    assert files(study / "report") == before


def test_the_page_is_one_wellformed_file_that_fetches_nothing(study: Path) -> None:
    parser = Wellformed()
    parser.feed((study / "report" / "index.html").read_text())
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(link.startswith(("#", "figures/", "table.csv", "../cells/")) for link in parser.links)
    for link in parser.links:
        assert link.startswith("#") or (study / "report" / link).exists()


def test_what_is_said_without_saved_figures_is_what_the_page_says(study: Path) -> None:
    """Other tests read ``synthetic.text``: the same headings, sentences and cells, in the same order."""
    said = re.compile(r"<(h\d|p|th|td|li|summary)\b.*?</\1>", re.DOTALL)
    saved, unsaved = ([each[0] for each in said.finditer(text)] for text in (_bare(study), synthetic.text(study)))
    assert len(saved) > 100
    assert saved == unsaved


def _bare(study: Path) -> str:
    return re.sub("<svg.*?</svg>", "", (study / "report" / "index.html").read_text(), flags=re.DOTALL)


def test_model_text_cannot_act_on_a_browser_or_a_terminal(study: Path) -> None:
    text = (study / "report" / "index.html").read_text()
    assert text.count("<script") == 1  # the page's own
    assert f"<script>{source('page.js')}</script>" in text
    assert "&lt;script&gt;" in text
    assert r"\input{evil}" in text
    assert r"\x1b[31mred \u202eevil" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_hostile_names_are_escaped_in_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "e<b>\x1b[2J\u202e$x_1$"
    monkeypatch.setitem(synthetic.KNOBS, hostile, ("<i>k", (1.0, 2.0)))
    monkeypatch.setitem(synthetic.KL, hostile, (0.3, 0.9))
    monkeypatch.setitem(synthetic.PEAK, hostile, 0.6)
    synthetic.reference(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False), 0)
    made = synthetic.cell(tmp_path, hostile.replace("/", ""), 0, 0)
    assert made.exists()
    text = page.write(tmp_path).read_text()
    Wellformed().feed(text)
    svg = (tmp_path / "report" / "figures" / "frontier.svg").read_text()
    assert "x_1" in svg
    for shown in (text, svg, (tmp_path / "report" / "table.csv").read_text(), tables.summary(tmp_path)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "<b>" not in text
    assert "<i>k" not in text


def test_a_browser_runs_no_script_but_the_pages_own_and_fetches_nothing(study: Path) -> None:
    """The policy names the script by its hash: SHA-256 of its text in base64, as Content Security Policy Level 3, section 2.3.1 has it."""
    text = (study / "report" / "index.html").read_text()
    digest = base64.b64encode(hashlib.sha256(source("page.js").encode()).digest()).decode()
    policy = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    assert policy[1] == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)  # names, not addresses
    assert not re.search(r"""(src|href|data|action)\s*=\s*["']?(https?:)?//|url\(\s*["']?(https?:)?//|@import""", outside)


def test_what_was_run_is_said_at_the_top(study: Path) -> None:
    text = (study / "report" / "index.html").read_text()
    top = text[: text.index('id="frontier"')]
    assert "1 seed: no ranking" in top
    assert "seed not included" in top
    assert "4 shown, 1 diverged, 0 failed" in top
    assert "not a reliable measure of optimization power" in top
    assert "loss is not finite at step 31" in text


def test_table_csv_holds_the_records_numbers(study: Path) -> None:
    rows = list(csv.DictReader((study / "report" / "table.csv").read_text().splitlines()))
    cells = {
        (c.record["algorithm"]["name"], c.record["setting"].get("beta") or c.record["setting"].get("kl")): c for c in read(study).cells
    }
    assert [row["algorithm"] for row in rows] == ["dpo", "dpo", "ppo", "ppo"]
    for row in rows:
        recorded = cells[row["algorithm"], float(row["setting"].split("=")[1])].record["checkpoints"][-1]["metrics"]["win_sft"]
        assert [float(row[key]) for key in ("win_rate", "lower", "upper")] == [recorded[key] for key in ("value", "lower", "upper")]
        assert row["prompts"] == "384"


def test_a_task_without_gold_leaves_the_panel_out_and_says_why(tmp_path: Path) -> None:
    synthetic.study(tmp_path, ("dpo",), settings=1, failed=False, gold=False)
    text = synthetic.text(tmp_path)
    assert "The gold panel is left out: this task has no gold reward." in text
    assert "not defined for this task" in text
    assert "Proxy against gold is left out" in text
    assert "gold" not in {
        row["panel"] for row in csv.DictReader((tmp_path / "report" / "figures" / "frontier.csv").read_text().splitlines())
    }


def test_a_study_of_failures_still_has_a_page(tmp_path: Path) -> None:
    synthetic.reference(tmp_path, 0)
    (tmp_path / "experiment.json").write_text("{}")
    synthetic.cell(tmp_path, "dpo", 0, 0, status="failed")
    (tmp_path / "cells" / "killed").mkdir()
    text = synthetic.text(tmp_path)
    assert "0 shown, 0 diverged, 1 failed, 1 unfinished" in text
    assert "no record was written" in text
    assert "Figure 1 is left out" in text
    assert "No finished cell" in tables.summary(tmp_path)


def test_a_quick_run_is_watermarked_on_page_and_figures(tmp_path: Path) -> None:
    from harness.report import drawing, figure_compute
    from harness.report.points import points

    synthetic.study(tmp_path, ("dpo",), settings=1, failed=False, quick=True)
    assert "QUICK — not a measurement" in page.write(tmp_path).read_text()
    with drawing.style():
        drawn = figure_compute.draw(points(read(tmp_path)))
        assert drawn is not None
        plain = drawing.save(drawn, tmp_path / "plain")
    marked = (tmp_path / "report" / "figures" / "compute.svg").read_text()
    assert len(marked) > len(plain) + 500


def test_a_torn_line_of_metrics_does_not_stop_the_report(tmp_path: Path) -> None:
    synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    metrics = next((tmp_path / "cells").iterdir()) / "metrics.jsonl"
    before = synthetic.text(tmp_path)
    with metrics.open("a") as stream:
        stream.write('{"step": 121, "chosen')
    assert synthetic.text(tmp_path) == before


def test_nothing_is_less_than_nothing_once_rounded() -> None:
    from harness.measure.statistics import Interval
    from harness.report.tables import value

    found = value(Interval(-0.001, -0.002, 0.001, 5), 2)
    assert (found.text, found.bounds) == ("0.00", "[0.00, 0.00]")
