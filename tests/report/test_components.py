"""The columns that a gold reward is made of: a record's own, or those of the records that do not name them."""

from __future__ import annotations

import json
from pathlib import Path

import synthetic

from harness.report import tables
from harness.report.points import load


def test_the_page_shows_the_columns_that_a_record_names(tmp_path: Path) -> None:
    folder = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    assert [column.key for column in tables.components(load(folder))] == list(tables.COMPONENTS)
    for path in folder.glob("cells/*/record.json"):
        record = json.loads(path.read_text())
        record["judge"] = {**(record.get("judge") or {}), "columns": ["gold", "ending", "repetition_gold", "measured_nowhere"]}
        path.write_text(json.dumps(record))
    found = tables.components(load(folder))
    assert [(column.key, column.heading) for column in found] == [
        ("gold", "gold"),
        ("ending", "ending"),
        ("repetition_gold", "repetition"),
    ]
