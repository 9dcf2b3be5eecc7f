"""The room on sources: a mixture's results part by part, which a mean over both hides."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness.report import section_sources
from harness.report.points import load, points
from harness.report.section import Section
from tests.report import synthetic

WINS = {"posts": 0.75, "chats": 0.25}


def study(root: Path, *, seeds: int = 1) -> Path:
    """A study whose prompts alternate between two sources, three of four won in one and one of four in the other."""
    synthetic.study(root, ("dpo", "ipo"), settings=1, seeds=seeds, failed=False)
    for path in root.glob("cells/*/samples.jsonl.gz"):
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        for row in rows:
            if row["slice"] == "evaluation":
                name = ("posts", "chats")[row["prompt_id"] % 2]
                row |= {"source": name, "win_sft": float(row["prompt_id"] // 2 % 4 < 4 * WINS[name])}
        path.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    return root


def section(root: Path) -> Section | None:
    found = load(root)
    return section_sources.section(found, points(found), {})


@pytest.mark.parametrize("seeds", [1, 2])
def test_every_part_has_its_own_mean_interval_and_n(seeds: int, tmp_path: Path) -> None:
    found = section(study(tmp_path, seeds=seeds))
    assert found is not None
    wins = found.tables[0]
    assert list(wins.headings) == ["algorithm", "setting", "chats", "posts"]
    assert [row[0] for row in wins.rows] == ["dpo", "ipo"]
    for row in wins.rows:
        for said, share in zip(row[2:], (0.25, 0.75), strict=True):
            assert said.startswith(f"{share:.3f} [0.") and said.endswith("n=192")
    assert [table.caption.split(",")[0] for table in found.tables] == ["win rate against SFT", "KL (nats)", "length (tokens)"]


def test_a_study_of_one_source_has_no_such_room(tmp_path: Path) -> None:
    assert section(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)) is None
