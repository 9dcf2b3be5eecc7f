"""What a benchmark leaves: findings held against declared goals, the raw values behind them, and the machine they were made on, as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

from tests.bench.speed import CLOCK, Value

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "performance"
RECORD = "HARNESS_BENCH_RECORD"  # a folder: findings are written there; unset, they are only printed
CYCLES = int(os.environ.get("HARNESS_BENCH_CYCLES", "7"))  # that count, of every side
VERSIONS = ("torch", "transformers", "accelerate", "trl", "numpy")
SCHEMA = 1


@dataclass(frozen=True)
class Finding:
    """One measured number with its interval and n; where it has a goal, which side of it is good and what it was measured against."""

    what: str
    value: Value
    unit: str = ""
    against: str = ""
    goal: float | None = None
    good: Literal["above", "below"] = "above"

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; None where there is no goal."""
        if self.goal is None:
            return None
        return self.value.median >= self.goal if self.good == "above" else self.value.median <= self.goal

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """The finding of a record's row."""
        return cls(**{**row, "value": Value(*row["value"])})

    def __str__(self) -> str:
        wanted = "" if self.goal is None else f"; goal {'>=' if self.good == 'above' else '<='} {self.goal:g}"
        return f"{self.what}: {self.value} {self.unit}{wanted}{f'; against {self.against}' if self.against else ''}"


def publish(name: str, findings: Sequence[Finding], raw: Mapping[str, Any]) -> None:
    """Print the findings and, where a folder is named, write them; raises AssertionError naming the goals that were missed."""
    print(f"\n{name}", *findings, sep="\n  ")
    if RECORD in os.environ:
        folder = Path(os.environ[RECORD])
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record(name, findings, raw), indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    missed = [str(finding) for finding in findings if finding.reached is False]
    assert not missed, "missed: " + "; ".join(missed)


def record(name: str, findings: Sequence[Finding], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The findings with what made them: date, machine, load, versions, and the values of every side."""
    return {
        "schema": SCHEMA,
        "name": name,
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": {name: _version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "findings": [asdict(finding) | {"value": list(finding.value)} for finding in findings],
        "raw": raw,
    }


def machine() -> dict[str, Any]:
    """Processor, cores, threads of torch, mean jobs that ran in the last minute, which seconds were counted, and the accelerator."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    load = round(os.getloadavg()[0], 1)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load,
        "clock": CLOCK,
        "accelerator": device,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def read(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Every record of a folder whose schema is known, by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [row for row in found if row.get("schema") == SCHEMA]
