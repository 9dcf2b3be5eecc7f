"""What a person watching a run is told: log-probs of chosen and rejected, marks with their intervals, a sample. Text made of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.report.escape import visible
from harness.report.numbers import interval_of

LONGEST = 100  # characters of a text that a line shows
HEADINGS = ("chosen (change)", "rejected (change)", "gap")
SIDES = (("chosen", "log pi(y_w)"), ("rejected", "log pi(y_l)"))


def columns(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Chosen and rejected log-probs of a batch, each with its change since step 0 in brackets, and the gap; empty where not logged."""
    sides = (f"{_number(row, name)} ({_number(row, f'{name}_change', '+')})" if name in row else "" for name, _ in SIDES)
    return *sides, _number(row, "gap", "+")  # type: ignore[return-value]


def inline(row: Mapping[str, Any]) -> str:
    """The same as the end of a line."""
    return "".join(f", {name} {text}" for name, text in zip(("chosen", "rejected", "gap"), columns(row), strict=True) if text)


def mark_lines(mark: Mapping[str, Any]) -> Iterator[str]:
    """A checkpoint in one line, its numbers with intervals and n, and its first sample in two more."""
    found = mark.get("metrics") or {}
    said = [_metric(found, "win_sft", "win rate"), _metric(found, "kl", "KL", "nats")]
    for name, title in SIDES:
        said.append(_metric(found, f"heldout_{name}", f"held-out {title}") + _metric(found, f"heldout_{name}_change", ", since step 0"))
    said.append(_metric(found, "heldout_gap", "gap", "nats"))
    yield f"mark {mark['mark']:g}: {'; '.join(filter(None, said)) or 'nothing measured'}"
    for sample in (mark.get("samples") or ())[:1]:
        yield f"  says {_text(sample.get('response'))}"
        yield f"  SFT  {_text(sample.get('sft_response'))}"


def _number(row: Mapping[str, Any], name: str, sign: str = "") -> str:
    value = row.get(name)
    return f"{value:{sign}.2f}" if isinstance(value, int | float) else ""


def _metric(found: Mapping[str, Any], name: str, title: str, unit: str = "") -> str:
    interval = interval_of(found.get(name))
    if interval is None:
        return ""
    value, lower, upper, n = interval
    return f"{title} {value:.3g} [{lower:.3g}, {upper:.3g}]{unit and ' '}{unit} n={n}"


def _text(text: Any) -> str:
    """A text on one line, cut where it is long, with nothing in it that acts on a terminal."""
    shown = visible("" if text is None else text, lines=False)
    return repr(shown[:LONGEST] + "…" * (len(shown) > LONGEST)).replace("\\\\", "\\")
