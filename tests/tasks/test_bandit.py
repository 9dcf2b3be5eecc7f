"""The bandit: its world is the exact one, its pairs weigh what they should, and the whole line ends where theory says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.commands import asked
from harness.data.shapes import shape
from harness.errors import HarnessError
from harness.exact import truth, world
from harness.exact.world import World
from harness.measure import enumerated
from harness.planning.budget import budgets
from harness.planning.experiment import cells
from harness.running import cell
from harness.running.stages import shared
from harness.running.yardstick import yardstick
from harness.training.ledger import Ledger
from harness.types import Pair, Response
from tasks.bandit import score, task
from tasks.worlds.bandit_arms import Bandit, Data, ordered, pairs

SMALL = Bandit(3, 4, 5)


def test_the_world_is_the_one_that_exact_fixtures_draw() -> None:
    exact = world.drawn(5, prompts=3, responses=4)
    assert exact.reward == pytest.approx(SMALL.reward, abs=1e-15)
    assert exact.reference == pytest.approx(SMALL.writer, abs=1e-12)


def test_the_writer_writes_as_likely_as_it_says() -> None:
    rows = SMALL.written(np.random.default_rng(0), 30_000)
    shares = np.array([[sum(row == (x, y) for row in rows) for y in SMALL.responses] for x in SMALL.prompts]) / len(rows)
    assert shares == pytest.approx(np.exp(SMALL.writer) / 3, abs=0.012)  # 4 standard errors at the most


def test_rewards_are_known_and_what_is_no_response_earns_less_than_the_worst() -> None:
    said = [Response("y2", finished=False), Response("x1", finished=False), Response("", finished=True)]
    found = score(SMALL, ["x1"] * 3, said)["gold"]
    assert found.tolist() == pytest.approx([SMALL.reward[1, 2], SMALL.reward[1].min() - 1, SMALL.reward[1].min() - 1])
    assert [len(values) for values in score(SMALL, [], []).values()] == [0]


def places(rows: list[Pair]) -> list[tuple[int, int, int]]:
    return [(int(row.prompt[1:]), int(row.chosen.text[1:]), int(row.rejected.text[1:])) for row in rows]


def test_the_population_weighs_pairs_by_reference_and_annotator() -> None:
    """ref(y) ref(y') sigma(r(y) - r(y')) for every ordered pair, up to a factor that makes their mean 1."""
    reference = World(SMALL.writer, SMALL.reward).reference
    data = Data("population", 0.2, 1.0)
    rows = pairs(SMALL, data, np.random.default_rng(0), reference, 1)
    assert len(rows) == len(set(places(rows))) == data.most(SMALL) == 3 * 4 * 3
    assert np.mean([row.weight for row in rows]) == pytest.approx(1.0)
    wanted = [
        math.exp(reference[x, y] + reference[x, z]) / (1 + math.exp(SMALL.reward[x, z] - SMALL.reward[x, y])) for x, y, z in places(rows)
    ]
    ratios = np.array([row.weight for row in rows]) / wanted
    assert ratios == pytest.approx(np.full(len(rows), ratios[0]))


@pytest.mark.parametrize(("coverage", "kept"), [(1.0, 4), (0.5, 2), (0.01, 2)])
@pytest.mark.parametrize("labels", ["population", "deterministic"])
def test_coverage_keeps_what_the_reference_is_likeliest_to_say(labels: str, coverage: float, kept: int) -> None:
    rows = pairs(SMALL, Data(labels, 0.2, coverage), np.random.default_rng(0), SMALL.writer, 600)
    for x in range(3):
        seen = {column for row in places(rows) for column in row[1:] if row[0] == x}
        assert seen == set(np.argsort(-SMALL.writer[x])[:kept].tolist())


def test_finite_labels_are_drawn_given_or_turned_round() -> None:
    def right(labels: str) -> float:
        rows = pairs(SMALL, Data(labels, 0.2, 1.0), np.random.default_rng(0), SMALL.writer, 3000)
        return float(np.mean([row.margin is not None and row.margin > 0 for row in rows]))

    assert right("deterministic") == 1.0
    assert right("noisy") == pytest.approx(0.8, abs=0.03)
    assert 0.5 < right("bt") < 0.8


def test_held_out_pairs_are_all_of_them_the_better_first() -> None:
    rows = ordered(SMALL)
    assert len(rows) == 3 * 4 * 3 / 2
    assert all(SMALL.reward[x, y] > SMALL.reward[x, z] for x, y, z in places(rows))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"responses": 1}, "bandit.responses: 1 is not from 2 to 64"),
        ({"prompts": 65}, "bandit.prompts: 65 is not from 1 to 64"),
        ({"world": -1}, "bandit.world: -1 is negative"),
        ({"flipped": 0.5}, "bandit.flipped: 0.5 is not a share from 0 to below 0.5"),
        ({"coverage": 0.0}, "bandit.coverage: 0 is not a share above 0 and up to 1"),
        ({"source": "rows.csv"}, "cannot read 'rows.csv'"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said.replace(".", r"\.")):
        task(**settings)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"set": ["bandit.labels=bts"]}, "'bts' is not one of population, bt, deterministic, noisy. Did you mean 'bt'?"),
        ({"set": ["bandit.promts=3"]}, "bandit.promts: unknown setting. Did you mean 'prompts'?"),
        ({"pairs": 100}, "pairs 100: this task weighs all 320 pairs that there are; leave pairs out."),
        ({"labels": "flip"}, "labels 'flip': this data brings its own labelled pairs"),
        ({"tune": 2}, "a tuning judge is fitted on prompts that no algorithm sees, and here all are seen"),
        ({"reference_mode": "frozen-adapter"}, "a table has no matrix for an adapter; legal here: copy, cached."),
        (
            {"task": "tldr", "model": "table"},
            "model 'table': is of tasks whose responses can be enumerated; legal here: tiny-128, tiny-64.",
        ),
        ({"model": "tabel"}, "Did you mean 'table'?"),
    ],
)
def test_what_contradicts_the_task_is_refused_before_anything_runs(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        asked.priced(*asked.resolve({"task": "bandit", **flags}, None), 1)
    assert said in str(caught.value)


class Ended:
    """A run of the whole line, in this process: its record, and its seed's reference with the world's truth about it."""

    def __init__(self, folder: Path, algorithms: str, *settings: str, **flags: Any) -> None:
        size = ["bandit.prompts=2", "bandit.responses=3", "bandit.world=1"]
        given = {"task": "bandit", "algorithms": [algorithms], "seeds": "1", "set": [*size, *settings], **flags}
        experiment, known = asked.resolve(given, None)
        (one,) = cells(experiment)
        (budget,) = budgets(experiment, shape(experiment.model, len(known.vocabulary)), known.typical_tokens).values()
        assert cell.run_cell(cell.Plan(experiment, one, budget, folder / "cell"), lambda *heard: None) == "finished"
        self.record = json.loads((folder / "cell" / "record.json").read_text())
        self.metrics = {name: each["value"] for name, each in self.record["checkpoints"][-1]["metrics"].items()}
        ledger = Ledger(math.inf)
        both = shared(experiment, 0, lambda *heard: None)
        yard = yardstick(experiment, both, ledger, lambda *heard: None)
        self.world = enumerated.known(yard).world
        from harness.models.storage import load_model

        policy, _ = load_model(folder / "cell" / "policy", ledger)
        assert known.choices is not None
        self.policy = enumerated.likelihoods(policy, known.choices, both.tokens)


@pytest.mark.parametrize("model", ["table", "network"])
def test_dpo_ends_at_the_optimum(tmp_path: Path, model: str) -> None:
    """With exact Bradley-Terry labels DPO's minimum is ref exp(r / beta) / Z (Rafailov et al. 2023, eq. 4 and 5)."""
    found = Ended(tmp_path, "dpo", "dpo.beta=1", "dpo.learning_rate=0.05", model=model, budget="250epochs")
    optimum = truth.tilted(found.world, found.world.reward, 1.0)
    assert truth.divergence(optimum, found.world.reference) > 1e-2  # else starting there would do
    assert truth.divergence(found.policy, optimum) < 1e-5
    place = truth.place(found.world, found.policy)
    assert (found.metrics["kl"], found.metrics["gold"]) == pytest.approx((place.kl, place.reward), abs=1e-6)
    assert found.metrics["preferred"] == pytest.approx(place.wins, abs=1e-6)
    assert found.metrics["reward_tilt"] == pytest.approx(1.0, abs=1e-2)
    assert found.metrics["reward_tilt_kl"] < 1e-5
    assert found.metrics["elsewhere"] == pytest.approx(0.0, abs=1e-6)


def test_ipo_ends_at_its_closed_form(tmp_path: Path) -> None:
    """ref exp(E p(y beats y') / tau) / Z, with target_gap = 1 / (2 tau) (Azar et al. 2023, section 4.2)."""
    found = Ended(tmp_path, "ipo", "ipo.target_gap=1", "ipo.learning_rate=0.05", budget="250epochs")
    optimum = truth.tilted(found.world, truth.wins(found.world), 0.5)
    assert truth.divergence(found.policy, optimum) < 1e-5
    assert found.metrics["preference_tilt"] == pytest.approx(0.5, abs=1e-2)
    assert found.metrics["preference_tilt_kl"] < 1e-5 < found.metrics["reward_tilt_kl"]


def test_ppo_with_the_exact_reward_ends_near_the_optimum(tmp_path: Path) -> None:
    found = Ended(tmp_path, "ppo_gold", "ppo_gold.kl_coef=1", "ppo_gold.learning_rate=0.05", budget="800epochs")
    assert truth.divergence(found.policy, truth.tilted(found.world, found.world.reward, 1.0)) < 1e-2


@pytest.mark.parametrize("labels", ["bt", "deterministic", "noisy"])
def test_finite_labels_train_and_what_is_never_compared_keeps_its_share_of_the_rest(tmp_path: Path, labels: str) -> None:
    """Coverage of .6 compares the reference's two likeliest responses of three: DPO moves those alone, up to the normaliser.

    A loss on a difference of log-probs leaves the third's logit of a table where it was, so its probability changes by Z alone.
    """
    size = ("bandit.coverage=0.6", f"bandit.labels={labels}", "dpo.beta=1", "dpo.learning_rate=0.05")
    found = Ended(tmp_path, "dpo", *size, pairs=120, budget="40epochs")
    assert found.record["compute"]["counts"]["labels"] == 120
    assert found.metrics["kl"] > 1e-2
    moved = found.policy - found.world.reference
    for x in range(2):
        unseen = int(np.argmin(found.world.reference[x]))
        seen = [y for y in range(3) if y != unseen]
        best = max(seen, key=lambda y: found.world.reward[x, y])
        gap = moved[x, best] - moved[x, sum(seen) - best]
        assert gap > 0 or labels != "deterministic"
        logits = moved[x] - moved[x, unseen]
        assert logits[seen].sum() == pytest.approx(0.0, abs=1e-3)  # Adam moves both by as much, the one up and the other down


def test_the_page_s_commands_run(tmp_path: Path, command: Callable[..., Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bandit.md").read_text(encoding="utf-8")
    lines = page.partition("```bash\n")[2].partition("```")[0].splitlines()
    assert len(lines) == 3
    printed = []
    for line in lines:
        done = command(*line.split()[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert "30 cells at 80epochs" in printed[0]
    assert 'model = "network"' in printed[1]
    assert "pairs = 500" in printed[2]


@pytest.mark.slow
def test_the_whole_command_draws_exact_frontiers(tmp_path: Path, command: Callable[..., Any]) -> None:
    size = ["--set", "bandit.prompts=4", "--set", "bandit.responses=3", "--budget", "20epochs", "--seeds", "2"]
    done = command("compare", "--task", "bandit", "--algorithms", "dpo,kto", *size, "--results", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (study,) = tmp_path.glob("results/bandit-*")
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert "Against the exact optima" in page
    assert "is exact: all 3 responses to a prompt are known" in page
    assert json.loads(next(study.glob("frontiers/*/record.json")).read_text())["skipped"].startswith("every response of this task is known")


@pytest.mark.slow
def test_runs_are_judged_again_and_a_policy_of_elsewhere_is_measured(tmp_path: Path, command: Callable[..., Any]) -> None:
    """The policy of a run, measured as a stranger's, has the run's own numbers: nothing is sampled."""
    size = ["--set", "bandit.prompts=3", "--set", "bandit.responses=3", "--set", "dpo.beta=1.0", "--budget", "9epochs", "--seeds", "1"]
    done = command("compare", "--task", "bandit", "--algorithms", "dpo", *size, "--results", "results", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (study,) = tmp_path.glob("results/bandit-*")
    done = command("judge", study, "--judge", "length", cwd=tmp_path)
    assert done.returncode == 0 and "length judged 2 of 2 records now" in done.stdout, done.stdout + done.stderr
    (policy,) = study.glob("cells/*/policy")
    done = command("evaluate", "--model", policy, "--as", "mine", "--task", "bandit", "--results", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[3:] for line in done.stdout.splitlines() if line.startswith(("dpo", "mine"))}
    assert rows["dpo"][-9:] == rows["mine"][-9:]
