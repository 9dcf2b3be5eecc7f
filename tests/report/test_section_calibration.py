"""What judges are worth, on the page of a study that they judged."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from harness import cli
from harness.measure.endpoint import Price
from harness.rejudging import judging
from harness.rejudging.appointed import Asking
from harness.report import made, section_calibration
from harness.report.points import load
from harness.report.section import Section
from tests.measure.test_endpoint import longer, serving
from tests.test_judging import made as study_of

ROWS = [("p0", "a long one", "short"), ("p1", "b", "quite long too"), ("p2", "c d e", "f<b>"), ("p3", "same len", "len same")]


def room(study: Path) -> Section | None:
    return section_calibration.section(load(study), [], {})


def test_a_judge_of_the_page_has_its_agreement_and_its_cost(tmp_path: Path) -> None:
    study = study_of(tmp_path / "s", runs=1)
    judging.judge_again(study, "gold-b")
    assert room(study) is None  # the task's own scores are held against nothing
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) + "\n" for row in ROWS))
    with serving(longer) as (url, server):
        judging.judge_again(study, url, asking=Asking(price=Price(1, 2)))
        uncalibrated = room(study)
        assert uncalibrated is not None
        assert uncalibrated.paragraphs == [section_calibration.NOTHING]
        (took,) = uncalibrated.tables
        asked = len(server.asked)
        assert took.rows == [["judge-7b", str(asked), "0", "0", "0", str(asked), "0"]]
        made.remember(study, "a table")
        assert made.summary(study) == "a table"
        for judge in (url, "length"):  # the latter judged nothing here
            assert CliRunner().invoke(cli.app, ["judge", str(tmp_path), "--calibrate", str(data), "--judge", judge]).exception is None
    assert made.summary(study) is None
    found = room(study)
    assert found is not None
    ((name, of, pairs, agreement, *_),) = found.tables[0].rows
    assert (name, of, pairs) == ("judge-7b", "pairs.jsonl", "4")
    assert agreement.startswith("0.625 [")
    assert found.tables[0].rows[0][-1].startswith("+0.333 [")
