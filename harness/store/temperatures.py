"""What a policy did at other temperatures than 1, in two files beside its record, which they never touch.

``temperatures.jsonl.gz`` has a row for every temperature and prompt, ``temperatures.json`` the metrics with their intervals; the latter
is written last and says which rows count. Temperatures that are measured later join those that are there.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.store.lines import rows, shared
from harness.store.records import SCHEMA, TEMPERATURE_ROWS, TEMPERATURES, Row, compressed, line, write_bytes, write_json


class Measured(NamedTuple):
    """One temperature: ``metrics`` as a record's checkpoint holds them, ``alarms`` in words, ``rows`` one per prompt."""

    temperature: float
    metrics: Row
    alarms: Sequence[str]
    rows: Sequence[Row]


def read(folder: Path) -> dict[float, Measured]:
    """What was measured of the policy in a folder by temperature, in ascending order; empty where nothing readable is."""
    try:
        facts = json.loads((folder / TEMPERATURES).read_text(encoding="utf-8"))
        grouped = _rows(folder / TEMPERATURE_ROWS)
        if facts["schema"] != SCHEMA:
            return {}
        found = [Measured(float(t["temperature"]), t["metrics"], t["alarms"], grouped[float(t["temperature"])]) for t in facts["measured"]]
    except (HarnessError, OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return {}
    return {each.temperature: each for each in sorted(found)}


def add(folder: Path, found: Sequence[Measured]) -> None:
    """Write what was measured beside what is there, newer for older where a temperature is measured again."""
    everything = sorted((read(folder) | {each.temperature: each for each in found}).values(), key=lambda each: each.temperature)
    text = "".join(line(row) + "\n" for each in everything for row in each.rows)
    (folder / TEMPERATURES).unlink(missing_ok=True)  # no list of metrics may stand beside rows that it is not of
    write_bytes(folder / TEMPERATURE_ROWS, compressed(text))
    facts = [{"temperature": each.temperature, "metrics": each.metrics, "alarms": each.alarms} for each in everything]
    write_json(folder / TEMPERATURES, {"schema": SCHEMA, "measured": facts})


def missing(folder: Path, wanted: Sequence[float]) -> list[float]:
    """The temperatures of ``wanted`` that were not measured; 1 never is one, for the record itself is at 1."""
    known = read(folder)
    return [temperature for temperature in wanted if temperature != 1 and temperature not in known]


def _rows(path: Path) -> Mapping[float, list[Row]]:
    groups: dict[float, list[Row]] = {}
    for row in shared(rows(path, gzip.decompress(path.read_bytes()))):
        groups.setdefault(float(row["temperature"]), []).append(row)
    return groups
