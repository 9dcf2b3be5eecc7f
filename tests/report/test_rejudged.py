"""Judged again: agreement, order and detectors of invented judgements whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.measure.statistics import Interval, two_way_interval
from harness.report import section_rejudged, silence
from harness.report.points import load
from harness.report.rejudged import detectors, judges, quality
from harness.store import judgements
from harness.store.records import write_json
from harness.store.writer import CellWriter
from tests.report import synthetic

PROMPTS = 60
SHARES = {"alpha": 0.8, "beta": 0.5}


def outcomes(name: str, seed: int, share: float) -> Any:
    return (np.random.default_rng([len(name), seed]).random(PROMPTS) < share).astype(float)


def study(root: Path, seeds: int = 4, *, flip: bool = False, wrong: float = 0.0, name: str = "other", ways: bool = True) -> Path:
    """Two algorithms and their reference; a second judge that is ``wrong`` at a share of prompts, or swaps the two (``flip``)."""
    write_json(root / "experiment.json", {"task": "toy", "study": "s", "seeds": list(range(seeds))})
    for seed in range(seeds):
        _run(
            root / f"references/seed{seed}",
            "reference",
            seed,
            outcomes("reference", seed, 0.5),
            outcomes("reference", seed, 0.5),
            name,
            ways,
        )
        for algorithm, share in SHARES.items():
            recorded = outcomes(algorithm, seed, share)
            other = outcomes("x" * len(algorithm), seed, 1.3 - share) if flip else recorded
            missed = np.arange(PROMPTS) < wrong * PROMPTS
            _run(root / f"cells/{algorithm}-seed{seed}", algorithm, seed, recorded, np.where(missed, 1 - other, other), name, ways)
    return root


def _run(folder: Path, algorithm: str, seed: int, recorded: Any, again: Any, name: str, ways: bool) -> None:
    kind = "reference" if algorithm == "reference" else "cell"
    texts = {"prompt": "p", "response": "r", "sft_response": "s"}
    rows = [
        {"mark": 1.0, "slice": "evaluation", "prompt_id": i, **texts, "win_sft": float(o), "wins_each": [float(o), 1.0], "kl": 1.0}
        for i, o in enumerate(recorded)
    ]
    for part, mass in (("harmful", "refusal_mass"), ("benign", "")):
        refused = {"response": "no", "category": "refusal", **({mass: 0.9, "before": 0.9} if mass else {})}
        rows += [{"mark": 1.0, "slice": part, "prompt_id": i, "prompt": "p", **refused} for i in range(PROMPTS)]
    found = {"win_sft": {"value": float(np.mean(recorded)), "lower": 0.1, "upper": 0.9, "n": PROMPTS}}
    record = {"kind": kind, "status": "finished", "seed": seed, "study": "s", "judge": {"primary": "gold"}, "setting": {}}
    record |= {"algorithm": {"name": algorithm}, "compute": {"canonical": {"update": 1.0}}, "budget": {"limit": 1.0, "match": "flops"}}
    with CellWriter(folder) as writer:
        writer.samples(rows)
        writer.finish({**record, "checkpoints": [{"mark": 1.0, "final": True, "metrics": found}]}, {})
    orders = [{"forward": 1.0, "backward": 1.0 if i < 15 else 0.0} for i in range(PROMPTS)] if ways else [{}] * PROMPTS
    said = [{"prompt_id": i, "win": float(o), **order} for (i, o), order in zip(enumerate(again), orders, strict=True)]
    judgements.write(folder, "other-1", {"kind": "judge", "name": name, "asked": "both ways round" if ways else "once"}, said)


def read(folder: Path, suite: str, kept: float, finds: str = "refusal") -> None:
    """A detector that finds a share of the policy's responses and all of the reference's."""
    for cell in sorted([*folder.glob("cells/*"), *folder.glob("references/*")]):
        share = 1.0 if cell.parent.name == "references" else kept
        rows = [{"prompt_id": i, "score": float(i < share * PROMPTS)} for i in range(PROMPTS)]
        judgements.write(cell, f"{suite}-d", {"kind": "detector", "suite": suite, "name": "d", "finds": finds}, rows)


def test_agreement_is_counted_over_every_run_that_all_seeds_have(tmp_path: Path) -> None:
    """A quarter of the prompts is judged otherwise in the two algorithms' runs, none in the references': 5 of 6 quarters agree."""
    loaded = load(study(tmp_path, wrong=0.25))
    (again,) = judges(loaded)
    found = quality(again, loaded)
    assert found.agreement is not None
    assert found.agreement.share.value == pytest.approx(1 - 0.25 * 2 / 3)
    assert found.agreement.comparisons == 3 * 4 * PROMPTS
    assert (found.records, found.of) == (12, 12)
    assert found.agreement.kappa.value < found.agreement.share.value
    assert found.consistency.value == pytest.approx(0.75)  # a quarter of the verdicts turn with the order
    assert found.position.value == pytest.approx(0.125)


def hushed(root: Path, prompts: int, *, older: bool = False, usage: bool = True) -> Path:
    """The judge of ``study`` without a verdict on the first prompts of every run; an ``older`` record counts them and has them as ties."""
    for folder in sorted([*root.glob("cells/*"), *root.glob("references/*")]):
        (found,) = judgements.read(folder).values()
        ways = ("win", "forward", "backward")
        rows = [{**row, **(dict.fromkeys(ways, 0.5 if older else None) if row["prompt_id"] < prompts else {})} for row in found.rows]
        facts = {name: found.facts[name] for name in ("kind", "name", "asked")}
        facts |= {"usage": {"questions": 2 * PROMPTS, "read": 0, "written": 0, "uncounted": 0, "silent": 2 * prompts}} if usage else {}
        judgements.write(folder, "other-1", facts, rows)
    return root


@pytest.mark.parametrize("older", [False, True])
def test_silences_are_counted_and_left_out_of_what_is_said_of_the_judge(older: bool, tmp_path: Path) -> None:
    """The judge repeats every recorded outcome but says nothing on 6 of 60 prompts: it agrees always. As ties they were .9 and .1."""
    loaded = load(hushed(study(tmp_path), 6, older=older))
    (again,) = judges(loaded)
    found = quality(again, loaded)
    assert (found.silences, found.comparisons) == (6 * 12, 60 * 12)
    assert (found.silent.value, found.silent.n) == (pytest.approx(0.1), 60)
    assert (found.agreement.share.value, found.agreement.kappa.value) == (pytest.approx(1), pytest.approx(1))
    assert (found.agreement.comparisons, found.agreement.share.n) == (54 * 12, 54)
    assert (found.ties[1].value, found.ties[1].n) == (0, 54)
    assert found.consistency.value == pytest.approx(45 / 54)  # of 15 prompts whose verdict turns, 9 have one
    room = section_rejudged.section(loaded, loaded.points, {})
    table = room.tables[0]
    assert table.headings[2] == "without a verdict" and "no ties" in table.caption
    assert table.rows[0][2].startswith("72 of 720: 0.100 [")


def test_a_win_rate_lets_every_silence_be_lost_or_won(tmp_path: Path) -> None:
    """Of 60 prompts 12 are silent: the bounds are the lower one with 12 losses and the upper one with 12 wins, the value the middle."""
    loaded = load(hushed(study(tmp_path), 12))
    room = section_rejudged.section(loaded, loaded.points, {})
    rates = next(table for table in room.tables if table.headings[-1] == "change")
    assert "lost and all of them won" in rates.caption
    heard = np.array([outcomes("alpha", seed, SHARES["alpha"])[12:].sum() / PROMPTS for seed in range(4)])
    row = next(list(row) for row in rates.rows if row[0].startswith("alpha"))
    value, low, high = (float(each) for each in row[4].split(" n=")[0].replace("[", "").replace("]", "").replace(",", "").split())
    assert value == pytest.approx(heard.mean() + 0.1, abs=6e-4)
    assert low < heard.mean() and high > heard.mean() + 0.2
    tied = np.array([np.append(outcomes("alpha", seed, SHARES["alpha"])[12:], [0.5] * 12) for seed in range(4)])
    as_ties = two_way_interval(tied, generator=np.random.default_rng(0))
    assert as_ties.upper - as_ties.lower < high - low - 0.15  # a silence that is a tie hides the doubt


def test_an_order_that_silences_could_turn_is_not_supported(tmp_path: Path) -> None:
    """Alpha wins .3 more than beta, so that 18 of 60 silences, lost by one and won by the other, take the difference away."""
    said = []
    for silent in (0, 18):
        loaded = load(hushed(study(tmp_path / str(silent), name="j"), silent))
        said.append(grid(section_rejudged.section(loaded, loaded.points, {}), "pair")[0][-1])
    assert said == ["holds", "not supported: the new interval holds 0"]


def test_a_judge_that_never_decides_says_nothing_of_itself(tmp_path: Path) -> None:
    loaded = load(hushed(study(tmp_path, seeds=2), PROMPTS))
    row = section_rejudged.section(loaded, loaded.points, {}).tables[0].rows[0]
    assert row[2].startswith("360 of 360: 1.000") and row[3] == "no verdict at all"


@pytest.mark.parametrize(
    ("said", "bounds"),
    [
        ((1.0, 1.0, 0.0), (1, 1)),
        ((np.nan, 1.0, np.nan), (0.5, 1)),  # the other order may say the same, or turn
        ((np.nan, np.nan, 1.0), (0, 0.5)),
        ((np.nan, 0.5, np.nan), (0.5, 0.5)),
        ((np.nan, np.nan, np.nan), (0, 1)),
        ((0.5,), (0.5, 0.5)),
    ],
)
def test_what_a_silence_can_have_been(said: tuple[float, ...], bounds: tuple[float, float]) -> None:
    assert silence.possible(*said) == bounds


def grid(section: Any, first: str) -> list[list[str]]:
    return next([list(row) for row in table.rows] for table in section.tables if table.headings[0] == first and "order" in table.headings)


@pytest.mark.parametrize(("flip", "conclusion"), [(False, "holds"), (True, "reversed")])
def test_an_order_survives_or_is_reversed(flip: bool, conclusion: str, tmp_path: Path) -> None:
    loaded = load(study(tmp_path, flip=flip))
    section = section_rejudged.section(loaded, loaded.points, {})
    assert section is not None
    assert [row[-1] for row in grid(section, "pair")] == [conclusion]
    assert bool(section.cautions) == flip
    assert (
        f"1 pair of algorithms at one setting each. Order that holds under both judges: {int(not flip)}; reversed: {int(flip)};"
        in section.paragraphs[1]
    )


def test_one_seed_supports_no_order(tmp_path: Path) -> None:
    loaded = load(study(tmp_path, seeds=1))
    section = section_rejudged.section(loaded, loaded.points, {})
    assert [row[-1] for row in grid(section, "pair")] == ["not supported: 1 seed"]


@pytest.mark.parametrize(
    ("recorded", "again", "seeds", "said"),
    [
        ((0.1, 0.3), (0.05, 0.2), 3, "holds"),
        ((-0.3, -0.1), (0.05, 0.2), 3, "reversed"),
        ((-0.1, 0.3), (0.05, 0.2), 3, "not supported: the recorded interval holds 0"),
        ((0.1, 0.3), (-0.05, 0.2), 3, "not supported: the new interval holds 0"),
        ((-0.1, 0.3), (-0.05, 0.2), 3, "not supported: both intervals hold 0"),
        ((0.1, 0.3), (0.05, 0.2), 1, "not supported: 1 seed"),
        ((0.1, 0.3), (float("nan"), float("nan")), 3, "not supported: the new interval holds 0"),
    ],
)
def test_a_conclusion_needs_both_intervals_off_zero(recorded: Any, again: Any, seeds: int, said: str) -> None:
    both = (Interval(sum(bounds) / 2, *bounds, 50) for bounds in (recorded, again))
    assert section_rejudged.conclusion(*both, seeds) == said


def test_a_detector_of_refusals_gives_a_verdict_and_another_only_a_change(tmp_path: Path) -> None:
    root = study(tmp_path)
    read(root, "harmful", 0.5)
    read(root, "benign", 0.9, finds="toxic")
    loaded = load(root)
    assert [each.key for each in detectors(loaded)] == ["benign-d", "harmful-d"]
    section = section_rejudged.section(loaded, loaded.points, {})
    benign, harmful = ([list(row) for row in table.rows] for table in section.tables if "verdict" in table.headings)
    assert harmful[0][4].startswith("-0.500 [")
    assert (harmful[0][5], harmful[0][6][:5]) == ("regressed", "0.500")
    assert (benign[0][5], benign[0][6]) == ("neither direction is worse", "")


def test_a_page_shows_the_room_where_there_is_something_and_a_name_stays_text(tmp_path: Path) -> None:
    root = study(tmp_path, seeds=2, name="<script>alert(1)</script>\x1b[31m")
    text = synthetic.text(root)
    assert 'id="again"' in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    for file in root.rglob("judgements/*.json"):
        file.unlink()
    assert 'id="again"' not in synthetic.text(root)
