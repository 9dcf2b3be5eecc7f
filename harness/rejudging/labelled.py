"""``harness detect FILE``: how far detectors of refusals agree with labels that a file of responses brings, by people or by other judges.

Files of the same prompts are the answers of several policies to them, so that an interval resamples prompts and not single answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data import files
from harness.errors import HarnessError, near
from harness.measure import detectors
from harness.measure.agreement import Agreement, agreement
from harness.measure.detectors import FOUND, REFUSAL, Detector
from harness.measure.statistics import Interval
from harness.plural import plural
from harness.types import Array, Response

# Columns of labels, and the values that call a response a refusal. The second and third are Arditi et al.'s (arXiv 2406.11717): what is
# not a jailbreak counts as a refusal. The last is XSTest's, by people; it counts a partial refusal as one.
LABELS: Mapping[str, tuple[str, ...]] = {
    "refusal": ("1", "1.0", "true", "yes", "refusal"),
    "is_jailbreak_substring_matching": ("0",),
    "is_jailbreak_llamaguard2": ("0",),
    "final_label": ("2_full_refusal", "3_partial_refusal"),
}
LEVEL = 0.95
RESPONSES = ("response", "completion", "generation")


class Labelled(NamedTuple):
    """Responses of one policy with their labels, 1 for a refusal, (prompts,); ``unlabelled`` rows were left out."""

    prompts: tuple[str, ...]
    responses: tuple[Response, ...]
    refused: Array
    unlabelled: int


class Held(NamedTuple):
    """A detector against a label: agreement and kappa with intervals over prompts, both shares of refusals, and both kinds of errors.

    ``missed`` counts labelled refusals that the detector does not see, ``wrong`` responses that it alone calls refusals.
    """

    detector: str
    label: str
    share: Interval
    kappa: Interval | None
    labelled: float
    detected: float
    missed: int
    wrong: int
    responses: int


def columns(file: Path) -> list[str]:
    """The columns of labels that a file has."""
    return [name for name in LABELS if name in _records(file)[0]]


def read(file: Path, label: str) -> Labelled:
    """A file's labelled responses; HarnessError where a column is missing or nothing is labelled."""
    rows = _records(file)
    response = next((name for name in RESPONSES if name in rows[0]), None)
    if response is None or "prompt" not in rows[0] or label not in rows[0]:
        found = ", ".join(sorted(map(str, rows[0])))
        wanted = f"prompt, one of {', '.join(RESPONSES)}, and {label or f'one of {chr(44).join(LABELS)}'}"
        raise HarnessError(f"labelled file '{file}' has the columns ({found}); expected {wanted}.{near(label, map(str, rows[0]))}")
    known = [row for row in rows if str(row.get(label) if row.get(label) is not None else "").strip()]
    if not known:
        raise HarnessError(f"labelled file '{file}': none of its rows ({len(rows):,}) has a {label}.")
    refused = np.array([float(str(row[label]).strip().lower() in LABELS[label]) for row in known])
    responses = tuple(Response(str(row.get(response) or "")) for row in known)
    return Labelled(tuple(str(row.get("prompt") or "") for row in known), responses, refused, len(rows) - len(known))


def _records(file: Path) -> list[Mapping[str, Any]]:
    """The rows of a file; those under ``completions`` where it is one object that has them."""
    found = files.read(file).records
    if len(found) == 1 and isinstance(found[0], Mapping) and isinstance(found[0].get("completions"), list):
        found = found[0]["completions"]
    if not found or not all(isinstance(row, Mapping) for row in found):
        raise HarnessError(f"labelled file '{file}' holds no rows of named columns.")
    return found


def held(files: Sequence[Path], word: str, label: str) -> Held:
    """A detector against the labels of files that answer the same prompts."""
    detector = detectors.named(word)
    if detector.finds != REFUSAL:
        raise HarnessError(f"detector {word!r} finds {detector.finds!r}; labels of refusals are held against detectors of refusals.")
    read_files = [read(file, label) for file in files]
    if any(each.prompts != read_files[0].prompts for each in read_files):
        raise HarnessError(f"{', '.join(map(str, files))} do not answer the same prompts in the same order; give them one by one.")
    return _held(detector, label, read_files)


def _held(detector: Detector, label: str, files: Sequence[Labelled]) -> Held:
    truth = np.stack([each.refused for each in files])[:, None]
    said = np.stack([(detector.find(each.prompts, each.responses) >= FOUND).astype(float) for each in files])[:, None]
    found = _bounded(agreement(truth, said, generator=np.random.default_rng(0)), alike=bool((truth == said).all()))
    missed, wrong = int(((truth == 1) & (said == 0)).sum()), int(((truth == 0) & (said == 1)).sum())
    shares = float(truth.mean()), float(said.mean())
    return Held(detector.name, label, found.share, found.kappa, *shares, missed, wrong, truth.size)


def _bounded(found: Agreement, *, alike: bool) -> Agreement:
    """The agreement; without a disagreement a bootstrap has no spread, so its bound is Clopper and Pearson's and kappa has none."""
    if not alike:
        return found
    share = found.share._replace(lower=((1 - LEVEL) / 2) ** (1 / found.share.n))
    return found._replace(share=share, kappa=found.kappa and found.kappa._replace(lower=np.nan, upper=np.nan))


def lines(files: Sequence[Path], words: Sequence[str], label: str = "") -> list[str]:
    """A line for every detector and label, as the command prints them; without a label for every one that the first file has."""
    if label and label not in LABELS:
        raise HarnessError(f"Unknown label {label!r}.{near(label, LABELS)} Known: {', '.join(LABELS)}.")
    wanted = [label] if label else columns(files[0]) or [""]
    every = [held(files, word, each) for each in wanted for word in words]
    return [_line(each) for each in every]


def _line(each: Held) -> str:
    kappa = "one answer always" if each.kappa is None else _text(each.kappa)
    return (
        f"{each.detector} against {each.label}: agrees {_text(each.share)}, kappa {kappa}; refusals {each.labelled:.3f} labelled, "
        f"{each.detected:.3f} detected; {each.missed} missed, {each.wrong} wrong of {plural(each.responses, 'response')}; "
        f"n={plural(each.share.n, 'prompt')}"
    )


def _text(found: Interval) -> str:
    bounds = "no bounds" if np.isnan(found.lower + found.upper) else f"{max(found.lower, -1):z.3f}, {min(found.upper, 1):z.3f}"
    return f"{found.value:z.3f} [{bounds}]"
