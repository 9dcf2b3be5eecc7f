"""What a cell spent, in every unit that somebody may want matched, and the accounts in which a reward model or the pairs cost more or less.

Pure functions of records (``record.json``) and of their times (``times.json``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.training.ledger import CHARGED

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A number of a table: its key in a record or in ``consumption``, its heading, its unit, and how many decimals are worth printing."""

    key: str
    heading: str
    unit: str
    digits: int = 2


AMOUNTS = (
    Column("canonical", "canonical FLOPs", "charged"),
    Column("executed", "executed FLOPs", "charged phases"),
    Column("device_seconds", "device-seconds", "charged phases"),
    Column("steps", "optimiser steps", "count"),
    Column("epochs", "epochs", "passes over the pairs"),
    Column("pairs", "pairs learnt from", "count"),
    Column("unique_pairs", "unique pairs", "count"),
    Column("unique_prompts", "unique prompts", "count"),
    Column("sampled_tokens", "sampled tokens", "count"),
    Column("labels", "labels", "pairs and judge's calls"),
    Column("memory", "peak memory", "MB"),
)
COUNTED = ("steps", "epochs", "pairs", "unique_pairs", "unique_prompts", "sampled_tokens", "labels")


def consumption(record: Record, times: Record) -> dict[str, float]:
    """Everything in ``AMOUNTS`` that one cell used; NaN where nothing was recorded.

    What a run never counted it did not use, unless the record is from before the ledger counted it: such a one names no match; or
    unless no ledger was there, and somebody declared what the run spent.
    """
    compute = record.get("compute") or {}
    counts, old = compute.get("counts") or {}, "match" not in (record.get("budget") or {})
    wall, declared = times.get("wall") or {}, bool(compute.get("declared"))
    found = {key: float(counts.get(key, math.nan if declared or (old and key not in ("sampled_tokens",)) else 0.0)) for key in COUNTED}
    return found | {
        "canonical": charged(record),
        "executed": charged(record, "executed"),
        "device_seconds": _charged(wall) if wall else math.nan,
        "memory": float(times.get("peak_memory_bytes") or math.nan) / 1e6,
    }


def charged(record: Record, kind: str = "canonical") -> float:
    """FLOPs of a record that count against the budget; NaN where they were declared by whoever trained it elsewhere, as unknown."""
    compute = record.get("compute") or {}
    return math.nan if compute.get("declared") and not compute.get(kind) else _charged(compute.get(kind))


def matched_amount(record: Record, times: Record) -> float:
    """What the cell used of that which its budget limits; NaN where it is not recorded."""
    match = str((record.get("budget") or {}).get("match", "flops"))
    return consumption(record, times)[{"flops": "canonical", "device-seconds": "device_seconds"}.get(match, match)]


def spread(amounts: Sequence[float]) -> float | None:
    """(largest - smallest) / smallest; None where there is none or one is unknown."""
    known = [amount for amount in amounts if amount > 0]
    return max(known) / min(known) - 1 if known and len(known) == len(amounts) else None


class Accounts(NamedTuple):
    """Canonical FLOPs of one cell when its reward model is charged in full, shared by the grid, or not at all, and pairs beside it.

    ``with_pairs`` charges the sampling of the pairs that the run learnt from; None where nobody recorded what sampling cost.
    """

    full: float
    amortised: float
    excluded: float
    with_pairs: float | None


def accounts(records: Sequence[Record], pairs: Mapping[int, Record]) -> list[Accounts]:
    """The accounts of each cell of a grid, in order. ``pairs`` holds, by seed, ``flops`` and number of ``pairs`` that were drawn.

    Cells of one algorithm, seed and budget whose settings that begin with ``reward`` agree could share one fit: amortised, each
    pays its part of it.
    """
    keys = [_fit(record) for record in records]
    sharing = Counter(key for key in keys if key is not None)
    return [_accounts(record, sharing[key] if key is not None else 1, pairs) for record, key in zip(records, keys, strict=True)]


def _accounts(record: Record, sharing: int, pairs: Mapping[int, Record]) -> Accounts:
    compute = record.get("compute") or {}
    full, reward = charged(record), _reward(record)
    drawn, used = pairs.get(int(record.get("seed", 0))) or {}, (compute.get("counts") or {}).get("unique_pairs")
    known = used is not None and drawn.get("flops") is not None and drawn.get("pairs")
    with_pairs = full + float(drawn["flops"]) * min(1.0, used / drawn["pairs"]) if known else None
    return Accounts(full, full - reward + reward / sharing, full - reward, with_pairs)


def _fit(record: Record) -> Hashable | None:
    """What decides a cell's reward model, None where it fits none."""
    if not _reward(record):
        return None
    settings = {key: value for key, value in (record.get("settings") or {}).items() if key.startswith("reward")}
    limit = (record.get("budget") or {}).get("limit") or (record.get("budget") or {}).get("flops")
    return (record["algorithm"]["name"], record.get("seed", 0), limit, tuple(sorted(settings.items())))


def _reward(record: Record) -> float:
    return float(((record.get("compute") or {}).get("canonical") or {}).get("reward") or 0.0)


def _charged(amounts: Mapping[str, Any] | None) -> float:
    return sum(float((amounts or {}).get(phase) or 0.0) for phase in CHARGED)
