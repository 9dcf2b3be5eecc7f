"""The whole line on the helpline and the reviews at a tiny size: both rewards are judged, probes measured, the page names the columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.worlds import hh_gold, sentiment_gold

EXPERIMENT = """
task = "{task}"
model = "tiny-64"
sft_steps = 60
pairs = 40
evaluation_prompts = 12
mark_prompts = 6
probe_prompts = {probes}
marks = [0.5]
frontier_samples = 4
budget = "2epochs"

[algorithms.dpo]
beta = 0.7
"""
WORLDS = [("hh", hh_gold, 12, "accurate"), ("sentiment", sentiment_gold, 0, "sentiment")]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "gold", "probes", "second"), WORLDS, ids=[world[0] for world in WORLDS])
def test_a_comparison_runs_and_its_page_shows_what_gold_is_made_of(
    task: str, gold: Any, probes: int, second: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    (tmp_path / "experiment.toml").write_text(EXPERIMENT.format(task=task, probes=probes))
    done = command("compare", "experiment.toml", "--results", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (study,) = tmp_path.glob(f"results/{task}-*")
    (cell,) = study.glob("cells/*/record.json")
    record = json.loads(cell.read_text())
    metrics = record["checkpoints"][-1]["metrics"]
    assert record["judge"]["columns"] == ["gold", second, *gold.COMPONENTS]
    assert {"gold", second, "win_sft", f"win_sft_{second}", "kl", "proxy"} <= metrics.keys()
    assert ("refusal_mass_delta" in metrics and "over_refusal_mass_delta" in metrics) is bool(probes)
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    components = page.partition("Gold reward and its components")[2].partition("</table>")[0]
    assert all(f">{name}" in components for name in (second, gold.COMPONENTS[0], gold.COMPONENTS[1]))


@pytest.mark.slow
def test_checked_answers_are_tried_sixteen_times_and_the_page_shows_pass_at_k(tmp_path: Path, command: Callable[..., Any]) -> None:
    longer = EXPERIMENT.replace("sft_steps = 60", "sft_steps = 250").replace(
        "tiny-64", "tiny-128"
    )  # until samples differ in what they earn
    (tmp_path / "experiment.toml").write_text(longer.format(task="arithmetic", probes=0))
    done = command("compare", "experiment.toml", "--results", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (study,) = tmp_path.glob("results/arithmetic-*")
    for file in (*study.glob("cells/*/record.json"), *study.glob("references/*/record.json")):
        marks = [found["metrics"] for found in json.loads(file.read_text())["checkpoints"]]
        values = [marks[-1][f"pass_at_{k}"]["value"] for k in (1, 2, 4, 8, 16)]
        assert values == sorted(values) and marks[-1]["pass_at_1"]["n"] == 12
        assert "pass_at_1" not in {name for metrics in marks[:-1] for name in metrics}
    assert "Checked answers: pass@k" in (study / "report" / "index.html").read_text(encoding="utf-8")
