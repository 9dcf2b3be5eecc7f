"""What a table marks as best within noise, and what it may not mark; what a paper says of a study in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.measure.statistics import Array, Interval, two_way_interval
from harness.report import macros, marking, paper_appendix, paper_checklist, paper_methods, paper_tables
from harness.report.points import Loaded, Point, load, points
from tests.report.test_latex import acted_on, balanced

# What the tables and texts may say of their own accord.
OWN = {"begin", "end", "centering", "caption", "label", "footnotesize", "scriptsize", "toprule", "midrule", "bottomrule", "textbf"}
OWN |= {
    "HarnessFit",
    "allowbreak",
    "relax",
    "rightskip",
    "uparrow",
    "Delta",
    "linewidth",
    "paragraph",
    "cite",
    "setlength",
    "tabcolsep",
    "item",
    "providecommand",
    "newcommand",
    "answerYes",
    "answerNo",
    "answerTODO",
}


def board(tables: dict[str, Array], **traits: set[str]) -> list[Point]:
    """Points whose outcomes by seed and prompt are given, (seeds, prompts); ``traits`` name those that are so."""

    class Made(Point):
        rising = property(lambda self: self.algorithm in traits.get("rising", ()))  # type: ignore[assignment]

        def value(self, key: str, mark: float | None = None) -> float:
            return float(tables[self.algorithm].mean())

        def get(self, key: str, mark: float | None = None) -> Interval:
            return two_way_interval(tables[self.algorithm], generator=np.random.default_rng(0))

    found = []
    for name, table in tables.items():
        head = {"algorithm": {"name": name, "control": name in traits.get("control", ())}, "seed": 0}
        cells = [type("Cell", (), {"record": {**head, "seed": seed}})() for seed in range(len(table))]
        found.append(Made(name, "default", tuple(cells)))
    return found


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> dict[str, Array]:
    """Outcomes of 8 seeds and 200 prompts: b is a with noise of its own around the same mean, c is worse beyond doubt."""
    draw = np.random.default_rng(5)
    shared = draw.normal(0, 0.1, (8, 200))
    tables = {"a": 0.72 + shared, "b": 0.715 + shared + draw.normal(0, 0.1, (8, 200)), "c": 0.5 + shared}

    def differences(one: Point, other: Point, key: str) -> tuple[list[int], Array]:
        return list(one.seeds), tables[one.algorithm][: len(one.cells)] - tables[other.algorithm][: len(other.cells)]

    monkeypatch.setattr(marking, "paired", differences)
    return tables


def names(found: Any) -> list[str]:
    return [point.algorithm for point in found]


def test_everything_within_noise_of_the_best_is_marked_and_nothing_else(paired: dict[str, Array]) -> None:
    assert names(marking.marked(board(paired), "win_sft")) == ["a", "b"]


def test_a_control_or_a_run_that_has_not_converged_neither_wins_nor_is_marked(paired: dict[str, Array]) -> None:
    assert names(marking.marked(board(paired, control={"a"}), "win_sft")) == ["b"]
    assert names(marking.marked(board(paired, rising={"a"}), "win_sft")) == ["b"]
    found = board(paired, control={"b"}, rising={"c"})
    assert marking.marked(found, "win_sft") == ()
    assert marking.unsupported(found) == "fewer than two algorithms are ranked and have converged"


@pytest.mark.parametrize(("seeds", "supported"), [(1, False), (6, False), (7, True)])
def test_nothing_is_marked_where_the_seeds_support_no_test(paired: dict[str, Array], seeds: int, supported: bool) -> None:
    """Two comparisons against the baseline: 2 (1/2)^5 = .0625 with six seeds, 2 (1/2)^6 = .031 with seven."""
    found = board({name: table[:seeds] for name, table in paired.items()})
    assert (names(marking.marked(found, "win_sft")) == ["a", "b"]) == supported
    assert bool(marking.unsupported(found)) is not supported


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Seven seeds of two algorithms, a control with a hostile name for its setting, and one run that diverged."""
    root = synthetic.study(tmp_path_factory.mktemp("study"), ("dpo", "ipo"), settings=1, seeds=7)
    synthetic.cell(root, "sft_chosen", 0, 0, setting={"\\input{x}%\u202e": 1.0})
    return load(root)


def test_the_tables_hold_what_the_points_hold_and_run_no_command(study: Loaded) -> None:
    text = paper_tables.results(study, "toy", narrow=False)
    for point in points(study):
        win = point.get("win_sft")
        assert win is not None
        value = f"{win.value:.3f}"
        assert f"{value} {{\\scriptsize {{[}}{win.lower:.3f}, {win.upper:.3f}{{]}}}}" in text.replace(rf"\textbf{{{value}}}", value)
    assert r"\textbackslash{}input\{x\}\%\textbackslash{}u202e=1" in text
    assert ("Bold: best within noise" in text) == (r"\textbf" in text) == bool(marking.marked(points(study), "win_sft"))
    widths = {line.replace(r"\&", "").count("&") for line in text.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1
    comparisons = paper_tables.compared(study, "toy", narrow=True)
    assert comparisons is not None and "less that of dpo (beta=0.5)" in comparisons


def test_every_text_of_a_paper_is_balanced_and_runs_only_its_own_commands(study: Loaded) -> None:
    texts = [paper_tables.results(study, "toy", narrow=True), paper_methods.paragraph(study), paper_appendix.appendix(study, "toy")]
    texts.append(paper_checklist.checklist([study]))
    texts.append(macros.file(list(macros.macros("toy", points(study), [], "dpo"))))
    for text in texts:
        assert text.isascii()
        assert balanced(text), text[:200]
        assert {each for each in acted_on(text) - OWN if not each.startswith("HarnessToy")} == set()
        assert text.count(r"\begin{") == text.count(r"\end{")


def test_the_methods_say_what_was_run_lost_and_tested(study: Loaded) -> None:
    text = paper_methods.paragraph(study)
    assert r"\paragraph{Comparison on toy.}" in text
    assert "seeds per setting: 1 to 7" in text
    assert "16 cells run, 15 shown, 1 diverged" in text
    assert (
        "Compared with dpo (beta=0.5), paired by seed and prompt: 1 algorithm, without a test: the smallest adjusted p that 1 seed" in text
    )
    assert "Untuned" in text
    assert r"\cite{arXiv:2504.10637}" in text


def test_the_appendix_names_every_setting_seed_and_hash(study: Loaded) -> None:
    text = paper_appendix.appendix(study, "toy")
    assert "dpo & beta=0.5 & 2epochs & 0 1 2 3 4 5 6 & \\rightskip0pt plus 3em\\relax beta=0.5, learning\\_rate=0.001" in text
    assert paper_appendix.records_digest((*study.references, *study.cells)) in text.replace(r"\allowbreak{}", "")
    assert r"\texttt{ffffffffffffffff}" in text


def test_a_digest_changes_with_any_record(tmp_path: Path) -> None:
    root = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    before = paper_appendix.records_digest(load(root).cells)
    path = next(root.glob("cells/*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": 1}))
    assert paper_appendix.records_digest(load(root).cells) != before


def test_the_checklist_answers_what_the_records_know_and_leaves_the_rest_open(study: Loaded) -> None:
    text = paper_checklist.checklist([study])
    assert len([line for line in text.splitlines() if line.startswith(r"\item")]) == len(paper_checklist.ORDER) == 16
    assert r"\item \textbf{Claims}: \answerTODO{}" in text
    assert r"\item \textbf{Experimental result reproducibility}: \answerNo{}" in text  # invented records name no versions
    assert r"\item \textbf{Experiments compute resources}: \answerYes{} Devices: cpu;" in text
    assert r"\item \textbf{Experiment statistical significance}: \answerNo{}" in text  # the control has one seed


def test_macros_name_the_compared_setting_every_setting_and_differences(study: Loaded) -> None:
    text = macros.file(list(macros.macros("toy", points(study), [], "dpo")))
    win = next(point for point in points(study) if point.algorithm == "dpo").get("win_sft")
    assert win is not None
    assert rf"\newcommand{{\HarnessToyDpoWinRate}}{{{win.value:.3f}}}" in text
    assert rf"\newcommand{{\HarnessToyDpoBetaZeroPointFiveWinRateLower}}{{{win.lower:.3f}}}" in text
    assert r"\newcommand{\HarnessToyDpoWinRateN}{384}" in text
    found = [line.split("}")[0].removeprefix(r"\newcommand{\\"[:-1]) for line in text.splitlines() if line.startswith(r"\newcommand")]
    assert len(found) == len(set(found)) > 40
