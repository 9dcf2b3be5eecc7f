"""``harness check``: what it says of losses whose answers are known, and the one line that it says of what cannot be used."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.checking import alike, card, limits, obeyed, price
from harness.checking.check import check
from harness.errors import HarnessError
from harness.plugins import constant, registry
from harness.training.preference import PreferenceLoss

ROOT = Path(__file__).parents[2]
HEAD = "from torch import Tensor\nimport torch\nfrom torch.nn.functional import logsigmoid\nfrom harness import preference_loss\n\n"


def write(folder: Path, body: str, name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(HEAD + body, encoding="utf-8")
    return str(folder / f"{name}.py")


def loaded(path: str) -> tuple[registry.Entry, PreferenceLoss]:
    entry = registry.find("algorithms", path)
    return entry, registry.load_entry(entry).algorithm


SCALED = """
@preference_loss(knob="strength")
def algorithm(chosen, rejected, ref_chosen, ref_rejected, *, strength: float = 0.2):
    return 3 * logsigmoid(strength * ((chosen - ref_chosen) - (rejected - ref_rejected))).neg() + 1
"""
BACKWARDS = """
@preference_loss
def algorithm(chosen, rejected, ref_chosen, ref_rejected, *, beta: float = 0.2):
    return (chosen - ref_chosen) - (rejected - ref_rejected)
"""


def test_a_multiple_of_a_known_loss_is_recognised_with_its_factor(tmp_path: Path) -> None:
    entry, loss = loaded(write(tmp_path, SCALED))
    nearest = min(alike.alike(loss, {}, entry), key=lambda each: each.distance)
    assert (nearest.name, nearest.value) == ("dpo", pytest.approx(0.2, rel=1e-5))
    assert nearest.factor == pytest.approx(3.0, rel=1e-5)
    assert nearest.text() == "equals 3 times dpo at beta = 0.2, up to a constant"


def test_a_loss_is_not_compared_with_itself_nor_with_losses_of_another_kind() -> None:
    entry, loss = loaded("kto")
    assert list(alike.alike(loss, {}, entry)) == []
    assert list(alike.lines(loss, {}, entry)) == ["none: no other loss of the shelf learns from the same rows"]
    entry, loss = loaded("dpo")
    assert {"dpo", "kto"} & {each.name for each in alike.alike(loss, {}, entry)} == set()


def test_a_distance_is_rounded_up_so_that_near_is_never_said_to_be_equal() -> None:
    near = alike.Alike("dpo", "beta", 0.3, 0.5, distance=2e-6)
    assert near.text() == "is within 0.1% of 0.5 times dpo at beta = 0.3"
    assert near._replace(distance=0.006).text().startswith("is within 0.6% of")


def test_a_broken_law_comes_with_a_counter_example_and_an_exempt_one_with_its_trait(tmp_path: Path) -> None:
    _, loss = loaded(write(tmp_path, BACKWARDS))
    broken = [line for line in obeyed.lines(loss, {}) if line.startswith("BROKEN")]
    assert len(broken) == 1
    assert broken[0].startswith("BROKEN  first step prefers chosen: the first step does not raise the chosen log-prob: gradient [1.0,")
    assert broken[0].endswith("(cases.draw_case(0))")
    _, wpo = loaded(str(ROOT / "tests" / "plugin" / "wpo.py"))
    assert "exempt  only ratios matter: a likelihood term" in list(obeyed.lines(wpo, {}))


def test_the_difference_of_gradients_is_seen(tmp_path: Path) -> None:
    detached = SCALED.replace("+ 1", "* (chosen - ref_chosen).detach()")
    _, loss = loaded(write(tmp_path, detached))
    *_, said = obeyed.lines(loss, {})
    assert float(said.split("at most ")[1].split()[0]) > 0.1
    _, honest = loaded("dpo")
    *_, said = obeyed.lines(honest, {})
    assert float(said.split("at most ")[1].split()[0]) < 1e-8


def test_prices_are_those_of_the_ledger() -> None:
    """Pairs with a reference: 3 forwards and 1 more in the first epoch; z0 adds forwards of mismatched responses by both models."""
    _, dpo = loaded("dpo")
    found = price.price(dpo)
    assert (found.first / found.forward, found.later / found.forward) == (pytest.approx(4.0), pytest.approx(3.0))
    _, orpo = loaded("orpo")
    assert price.price(orpo).first == price.price(orpo).later == pytest.approx(3 * found.forward)
    _, kto = loaded("kto")
    assert price.price(kto).later > found.first


def test_where_a_loss_converges_is_on_its_row() -> None:
    entry, loss = loaded("dpo")
    row = next(limits.lines(loss, entry, [{"beta": 0.7}]))
    assert row.startswith("dpo beta=0.7")
    assert "beta 0.7 (KL " in row
    assert row.split()[4] == "0.00000"  # below the reward's frontier: setting in two words, KL, reward


def test_where_an_algorithm_with_a_reward_model_converges_is_where_its_coefficient_says() -> None:
    """RLOO's maximum of E[r] - kl_coef KL is the reference tilted by the fitted reward, which exact labels make the known one."""
    entry = registry.find("algorithms", "rloo")
    row = next(limits.lines(registry.load_entry(entry).algorithm, entry, [{"kl_coef": 1.0}]))
    assert float(row.split("beta ")[1].split()[0]) == pytest.approx(1.0, abs=0.1)
    assert float(row.split("(KL ")[1].split(")")[0]) < 1e-3


@pytest.mark.parametrize(
    ("name", "why"), [("best_of_n", "it trains nothing"), ("trl_dpo", "it trains by trl, which takes language models")]
)
def test_what_cannot_be_enumerated_is_said_in_a_line(name: str, why: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    assert f"converges to nothing that can be enumerated here: {why}" in list(check(name, tmp_path))[-1]


def test_a_class_that_raises_in_its_run_is_named_with_its_line(tmp_path: Path) -> None:
    body = "class Mine:\n    name = 'mine'\n\n    def updates(self, setup):\n        yield from []\n        raise ValueError('no')\n\n\n"
    with pytest.raises(HarnessError, match=r"mine\.py:11: ValueError: no"):
        list(check(write(tmp_path, body + "algorithm = Mine\n"), tmp_path))


def test_a_policy_that_has_not_arrived_says_so(tmp_path: Path) -> None:
    entry, loss = loaded(write(tmp_path, BACKWARDS.replace("return ", "return -1.0 * (").rstrip() + ")\n"))
    assert "still moving after 400 steps" in next(limits.lines(loss, entry, [{}]))


def test_the_card_s_curves_are_the_loss_s_own_shape() -> None:
    """-log sigma(beta h): weight beta sigma(-beta h), of that at 0 2 sigma(-beta h); flat where both responses move together."""
    entry, loss = loaded("dpo")
    line = card.Line(loss, {"beta": 0.5}, "dpo")
    gap = card.along(line, True)
    assert gap.chosen == pytest.approx(0.5 / (1 + np.exp(0.5 * gap.path)), abs=1e-12)
    assert gap.rejected == pytest.approx(-gap.chosen, abs=1e-12)
    assert gap.value[len(gap.path) // 2] == pytest.approx(math.log(2))
    together = card.along(line, False)
    assert np.ptp(together.value) == pytest.approx(0.0, abs=1e-12)
    assert entry.name == "dpo"


def test_an_unpaired_loss_has_a_card_too(tmp_path: Path) -> None:
    lines = [card.Line(loaded(name)[1], {}, name) for name in ("kto", "dpo")]
    svg, png = card.save(lines, tmp_path)
    assert (svg.name, png.name) == ("kto-card.svg", "kto-card.png")
    assert svg.read_text().startswith("<?xml")
    assert png.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0\ndef algorithm(chosen): ...\n", r"mine\.py:6: importing it failed with ZeroDivisionError: division by zero"),
        (
            "@preference_loss\ndef algorithm(chosen, rejected):\n    return (chosen - rejected).mean()\n",
            r"mine\.py:6: .* shape \(6,\), not \(\)",
        ),
        ("@preference_loss\ndef algorithm(chosen, rejected):\n    return 1.0\n", r"mine\.py:6: .* must return a tensor, not float"),
        ("@preference_loss\ndef algorithm(chosen, rejected):\n    return chosen * torch.nan\n", r"mine\.py:6: .* not finite: \[nan, nan"),
        ("@preference_loss\ndef algorithm(chosen, rejected):\n    return chosen.detach()\n", r"mine\.py:6: .* nothing can be learnt from"),
        (
            "@preference_loss\ndef algorithm(chosen, rejected):\n    return 0 * chosen + 1\n",
            r"mine\.py:6: .* is constant: its gradient is 0",
        ),
        ("@preference_loss\ndef algorithm(chosen, rejectd):\n    return chosen\n", r"mine\.py:6: .*unknown argument 'rejectd'.*'rejected'"),
        ("@preference_loss\ndef algorithm(chosen, *, beta: float):\n    return chosen\n", r"mine\.py:6: .*'beta' needs a default"),
        ("def algorithm(chosen, rejected):\n    return -chosen\n", r"mine\.py:6: 'algorithm' cannot be run: .* @preference_loss"),
        ("class Mine:\n    pass\n\n\nalgorithm = Mine\n", r"mine\.py:10: 'algorithm' cannot be run: .* class with updates"),
        ("raise SystemExit(3)\n\n\ndef algorithm(chosen): ...\n", r"mine\.py:6: importing it failed with SystemExit: 3"),
        (
            "class Mine:\n    def __init__(self):\n        1 / 0\n\n    def updates(self, setup): ...\n\n\nalgorithm = Mine\n",
            r"mine\.py:8: ZeroDiv",
        ),
        ("grid = {'b': (1.0,)}\n\n\n@preference_loss\ndef algorithm(chosen):\n    return -chosen\n", r"mine\.py:6: grid: mine\.b: unknown"),
        (
            "optimiser = {'lr': 1.0}\n\n\n@preference_loss\ndef algorithm(chosen):\n    return -chosen\n",
            r"mine\.py:6: optimiser: unknown optimiser setting 'lr'",
        ),
        ("@preference_loss\ndef algorithm(chosen):\n    return chosen[9]\n", r"mine\.py:6: .* raised IndexError"),
        (
            "@preference_loss\ndef algorithm(chosen, ref_chosen):\n    assert chosen.min() > -1e4, 'far'\n    return ref_chosen - chosen\n",
            r"mine\.py:8: AssertionError: far",
        ),
        ("@preference_loss(sauce='x')\ndef algorithm(chosen):\n    return -chosen\n", r"mine\.py:6: .*unknown metadata 'sauce'.*'source'"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_file_and_line(tmp_path: Path, body: str, message: str) -> None:
    path = write(tmp_path, body)
    with pytest.raises(HarnessError, match=message) as caught:
        list(check(path, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_says_everything_of_a_foreign_file(tmp_path: Path) -> None:
    path = write(tmp_path, SCALED)
    line = [sys.executable, "-m", "harness", "check", path, "--out", str(tmp_path), "--no-place"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert found.returncode == 0, found.stderr
    for part in ("obeyed  repeatable", "mine: 4.00 forwards", "equals 3 times dpo at beta = 0.2", "mine strength=0.2", "kto beta=0.5"):
        assert part in found.stdout
    assert (tmp_path / "mine-card.svg").is_file()
    assert "\nTraceback" not in found.stderr


LATE = "@preference_loss\ndef algorithm(chosen, rejected, progress):\n    return max(0.0, progress - 0.6) * (rejected - chosen)\n"
FAR_HINGE = "@preference_loss\ndef algorithm(chosen, rejected):\n    return (rejected - chosen - 300).relu()\n"
THIRD = "@preference_loss\ndef algorithm(ranked):\n    return ranked[:, 2:].sum(1)\n"
COUNTED = """
@preference_loss
def algorithm(chosen, state):
    state["steps"] = state.get("steps", torch.zeros((), dtype=torch.int64)) + 1
    return (state["steps"] - {wait}).relu() * chosen
"""
WAITS, STAYS = COUNTED.format(wait=10_000), COUNTED.format(wait="state['steps']")
UNKEPT = COUNTED.format(wait=0).replace("torch.zeros((), dtype=torch.int64)", "0").replace(".relu()", "")
OVERFLOWS = "@preference_loss\ndef algorithm(chosen, ref_chosen, state):\n    return 0 * (chosen - ref_chosen).exp()\n"
BROKEN_SLOPE = "@preference_loss\ndef algorithm(chosen):\n    return (0 * chosen).sqrt()\n"
CONSTANT = "@preference_loss\ndef algorithm(chosen, rejected, *, weight: float = 1.0):\n    return weight * (rejected - chosen)\n"


TABLE = """
TABLE = torch.cat([torch.zeros({zeros}), torch.ones({ones})])


@preference_loss
def algorithm(chosen, state):
    step = state.get("steps", torch.zeros((), dtype=torch.int64))
    state["steps"] = step + 1
    return TABLE[step] * chosen
"""
NEAR_ALONE = LATE.replace("    return", "    assert rejected.max() < 100 and rejected.min() > -100\n    return").replace(
    "progress - 0.6", "progress - 2"
)


@pytest.mark.parametrize("zeros", [20, 100, 5000])
def test_a_table_that_a_state_walks_through_is_constant_where_it_holds_nothing_else(tmp_path: Path, zeros: int) -> None:
    """It raises beyond its end, sooner where the state is aged: so it is walked through, step by step."""
    with pytest.raises(HarnessError, match=r"mine\.py:10: algorithm 'mine' is constant: its gradient is 0"):
        constant.refuse(loaded(write(tmp_path, TABLE.format(zeros=zeros, ones=0)))[1], {})
    constant.refuse(loaded(write(tmp_path, TABLE.format(zeros=zeros, ones=1)))[1], {})


def test_a_loss_that_raises_whatever_its_state_is_not_called_constant(tmp_path: Path) -> None:
    constant.refuse(loaded(write(tmp_path, NEAR_ALONE))[1], {})


@pytest.mark.parametrize("body", [LATE, FAR_HINGE, THIRD, WAITS, BROKEN_SLOPE, CONSTANT])
def test_a_loss_that_has_a_gradient_somewhere_is_not_constant(tmp_path: Path, body: str) -> None:
    constant.refuse(loaded(write(tmp_path, body))[1], {})


@pytest.mark.parametrize(
    ("body", "settings"), [(CONSTANT, {"weight": 0.0}), (FAR_HINGE.replace("300", "1e9"), {}), (STAYS, {}), (OVERFLOWS, {})]
)
def test_a_loss_without_gradient_anywhere_is_constant(tmp_path: Path, body: str, settings: dict[str, float]) -> None:
    with pytest.raises(
        HarnessError, match=r"mine\.py:\d: algorithm 'mine' is constant: its gradient is 0 in every row of every drawn batch"
    ):
        constant.refuse(loaded(write(tmp_path, body))[1], settings)
