"""What a paper takes from a study: the same bytes anywhere, fonts inside, every text harmless, every width right."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import synthetic
from test_figures import common, frame, inside

from harness.errors import HarnessError
from harness.report import drawing, layout, page, paper, styles
from harness.report.points import load
from tests.conftest import ROOT, Command

HOSTILE = "e\\input{/etc/passwd}\x1b[2J\u202e$x_1$&%#~^<b>"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.study(tmp_path_factory.mktemp("study"), ("dpo", "ppo", "sft_chosen"), settings=2, seeds=2, failed=False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(study: Path, out: Path, formats: str = "pdf,latex,csv", style: str = "icml", columns: int = 1) -> dict[str, bytes]:
    paper.write([paper.Part("toy", load(study))], out, paper.formats(formats), styles.paper(style, columns))
    return files(out)


def test_the_same_records_give_the_same_bytes_in_another_place_and_process(study: Path, tmp_path: Path) -> None:
    """Two folders, two processes, other hash seeds, time zones and locales: every file alike, PDF included."""
    shutil.copytree(study, tmp_path / "elsewhere" / "copy")
    first = written(study, tmp_path / "one")
    code = "from harness.cli import main; main()"
    line = ["report", tmp_path / "elsewhere" / "copy", "--format", "pdf,latex,csv", "--style", "icml", "--out", tmp_path / "two"]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *map(str, line)], check=True, env=environment, cwd=tmp_path)
    second = files(tmp_path / "two")
    expected = {"macros.tex", "references.bib", "table.csv", "tables/toy-results.tex", "figures/frontier.pdf", "figures/frontier.csv"}
    assert expected <= {*first}
    assert [name for name in first if first[name] != second.get(name)] == []
    assert {*first} == {*second}


def objects(pdf: bytes) -> bytes:
    """The text of a PDF with its compressed streams opened."""
    found = [pdf]
    for match in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompress(match[1]))
        except zlib.error:
            continue
    return b"\n".join(found)


@pytest.mark.parametrize(
    ("style", "columns", "width"),
    [
        pytest.param("icml", 1, 3.25, marks=pytest.mark.slow),
        ("icml", 2, 6.75),
        pytest.param("neurips", 1, 5.5, marks=pytest.mark.slow),
        ("acl", 1, 3.03),
    ],
)
def test_a_figure_is_as_wide_as_the_column_with_its_fonts_inside(
    study: Path, tmp_path: Path, style: str, columns: int, width: float
) -> None:
    found = written(study, tmp_path, "pdf", style, columns)
    pdfs = {name: content for name, content in found.items() if name.endswith(".pdf")}
    assert len(pdfs) >= 5
    for name, content in pdfs.items():
        text = objects(content)
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", text)
        assert box and float(box[1]) == pytest.approx(72 * width, abs=0.01), name
        assert float(box[2]) <= 72 * 9, name  # no taller than a page's text
        fonts = re.findall(rb"/Type /Font\b.*?>>", text, re.DOTALL)
        assert b"/FontFile2" in text and b"/Type3" not in text, name  # TrueType, embedded
        assert fonts
        assert b"/CreationDate" not in text and b"/Producer" not in text
        assert name.replace(".pdf", ".csv") in found


@pytest.mark.parametrize(
    ("style", "columns"),
    [("acl", 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in (("neurips", 1), ("icml", 1), ("icml", 2)))],  # narrowest
)
def test_no_text_is_cut_off_or_overprinted_at_any_width(tmp_path: Path, style: str, columns: int) -> None:
    made = synthetic.study(tmp_path, settings=3, failed=False)
    shown = paper.shared_looks([paper.Part("toy", load(made))])
    with drawing.style(styles.paper(style, columns)):
        for drawn in paper.drawings(load(made), shown):
            outer, texts = frame(drawn)
            assert [name for name, box in texts if not inside(box, outer)] == [], drawn.name
            assert [(a, b) for (a, x), (b, y) in itertools.combinations(texts, 2) if common(x, y)] == [], drawn.name
            assert drawn.figure.get_figwidth() == pytest.approx(styles.paper(style, columns).width)


def test_a_legend_takes_as_many_columns_as_there_is_room_for() -> None:
    from matplotlib.lines import Line2D

    heights = {}
    for name in ("neurips", "acl"):
        with drawing.style(styles.paper(name, 1)):
            figure, panels = layout.panels(1, 1.5)
            before = panels[0].get_window_extent().height, figure.get_figheight()
            layout.legend_below(figure, [Line2D([], []) for _ in range(6)], [f"a rather long name {i}" for i in range(6)])
            assert panels[0].get_window_extent().height == pytest.approx(before[0])
            heights[name] = figure.get_figheight() - before[1]
    assert heights["acl"] > heights["neurips"] > 0


@pytest.mark.slow
def test_the_page_gives_a_paper_the_numbers_of_the_figures_that_it_would_draw(study: Path, tmp_path: Path) -> None:
    """They are the same on every sheet, so a report of both draws once; a PDF is drawn on the column all the same."""
    sheet, drawn = styles.paper("icml", 1), written(study, tmp_path / "drawn", "csv")
    known = page.written(dataclasses.replace(load(study), folder=tmp_path / "page")).numbers
    paper.write([paper.Part("toy", load(study), known)], tmp_path / "known", ["csv"], sheet)
    assert len(known) > 5 and files(tmp_path / "known") == drawn
    paper.write([paper.Part("toy", load(study), known)], tmp_path / "pdf", ["pdf", "csv"], sheet)
    assert {f"figures/{name}.pdf" for name in known} <= {*files(tmp_path / "pdf")}


@pytest.mark.parametrize(("text", "shrunk"), [("dpo  beta", False), ("ppo  clip  kl_coef  learning_rate  value_learning_rate", True)])
def test_a_title_is_never_wider_than_its_panel(text: str, shrunk: bool) -> None:
    with drawing.style(styles.paper("acl", 1)):
        figure, panels = layout.panels(1, 1.0, layout.Margins(left=1.5))
        layout.title(panels[0], text, pad=4)
        figure.canvas.draw()
        written = panels[0].title if panels[0].title.get_text() else panels[0]._left_title
        assert written.get_window_extent().width <= panels[0].get_window_extent().width * 1.02
        assert (written.get_fontsize() < 8.5) is shrunk


def test_table_csv_has_a_row_for_every_setting_of_every_study(study: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(written(study, tmp_path, "csv")["table.csv"].decode().splitlines()))
    assert [(row["task"], row["algorithm"], row["seeds"]) for row in rows] == [
        ("toy", name, "2") for name in ("dpo", "dpo", "ppo", "ppo", "sft_chosen", "sft_chosen")
    ]
    assert all(0 <= float(row["lower"]) <= float(row["win_rate"]) <= float(row["upper"]) <= 1 for row in rows)


def test_a_figure_that_can_no_longer_be_drawn_does_not_stay_to_be_cited(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path / "study", ("dpo", "ppo"), settings=1, failed=False)
    before = written(study, tmp_path / "out", "csv")
    (tmp_path / "out" / "figures" / "mine.csv").write_text("a reader's own")
    (tmp_path / "out" / "macros.tex").write_text("of another format")
    for cell in study.glob("cells/ppo*"):
        (cell / "record.json").unlink()
    after = written(study, tmp_path / "out", "csv")
    assert {*before} - {*after} >= {"figures/proxy.csv"}
    assert after["figures/mine.csv"] == b"a reader's own" and "macros.tex" in after
    assert set(json.loads(after["files.json"])) == {*after} - {"files.json", "figures/mine.csv", "macros.tex"}


@pytest.mark.parametrize(
    ("formats", "said"),
    [("latx", "Unknown format 'latx'. Did you mean 'latex'? Legal: html, pdf, latex, csv."), ("", "Unknown format ''")],
)
def test_an_unknown_format_is_one_line(formats: str, said: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(said)):
        paper.formats(formats)


def test_an_unknown_style_is_one_line_and_writes_nothing(study: Path, tmp_path: Path, command: Command) -> None:
    done = command("report", study, "--format", "pdf", "--style", "nurips", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Unknown style 'nurips'. Did you mean 'neurips'? Legal: neurips, icml, acl.\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(HarnessError, match="a figure spans 1 or 2 columns"):
        styles.paper("acl", 3)
