"""The benchmarks' own machinery on a hidden-16 model, a few steps: both sides run, see the same tokens, and learn alike."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import pytest
import torch

from harness.models.readings import shape_of
from harness.types import TokenPair
from tests.bench import dpo, engine, grid, peak, peer, ppo, sampling, speed, workloads
from tests.bench.records import Finding, publish, read
from tests.bench.workloads import W1

SMALL = workloads.smoke(W1)
needs_peer = pytest.mark.skipif(bool(peer.absent()), reason=peer.absent())
pytestmark = pytest.mark.filterwarnings("ignore")


@needs_peer
def test_both_sides_see_the_same_tokens() -> None:
    rows = workloads.texts(SMALL, SMALL.pairs)
    ours = {(p.prompt, p.chosen, p.rejected) for p in workloads.token_pairs(rows, workloads.tokenizer(SMALL))}
    data = peer.trainer(SMALL, rows, peer.TUNED_FP32).train_dataset
    assert {(tuple(r["prompt_ids"]), tuple(r["chosen_ids"]), tuple(r["rejected_ids"])) for r in data} == ours


@needs_peer
def test_a_trainer_goes_a_step_at_a_time_and_starts_from_the_same_loss() -> None:
    rows = workloads.texts(SMALL, SMALL.pairs)
    steps = peer.Steps(SMALL, rows, peer.TUNED_FP32)
    assert list(islice(steps, 3)) == [1, 2, 3]
    assert steps.trainer.state.global_step == 3
    steps.close()
    logged = next(row for row in steps.trainer.state.log_history if "train_loss" in row)
    pairs = workloads.token_pairs(rows, workloads.tokenizer(SMALL))
    assert next(engine.updates(SMALL, pairs, "fp32")).metrics["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert logged["train_loss"] == pytest.approx(math.log(2), abs=1e-3)


@needs_peer
@pytest.mark.parametrize("precision", ["fp32", pytest.param("amp", marks=pytest.mark.slow)])
def test_a_comparison_runs(precision: str) -> None:
    peers = dpo.PEERS[precision]
    found = dpo.compare(SMALL, precision, peers, cycles=2)
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
    names = [finding.what for finding in dpo.findings(SMALL, precision, peers, found)]
    assert len(names) == 7
    assert "DPO step, W1, fp32: times as many pairs per second" in names or precision == "amp"


def test_greedy_samples_are_transformers_own_and_rates_are_taken() -> None:
    contest = sampling.Contest(SMALL, "fp32")
    decodings = [d for d in peer.DECODINGS if d.matmul == peer.BLAS]
    assert all(contest.same_tokens(decoding) for decoding in decodings)
    found = contest.rates(decodings, cycles=1)
    assert sampling.best(found) in map(str, decodings)


def test_other_weights_say_something_else() -> None:
    contest = sampling.Contest(SMALL, "fp32")
    with torch.no_grad():
        contest.plain.lm_head.weight.mul_(-1)
    assert not contest.same_tokens(peer.DECODINGS[0])


@pytest.mark.slow
@needs_peer
def test_memory_is_taken_in_processes_of_their_own() -> None:
    found = peak.peaks("W1", "fp32", peer.TUNED_FP32.name, 1, small=True)
    assert all(rows[0]["peak"] > rows[0]["floor"] > 1e7 for rows in found.values())


@pytest.mark.slow
@pytest.mark.skipif(bool(ppo.absent()), reason=ppo.absent())
def test_both_ppo_sides_run(tmp_path: Path) -> None:
    spec = ppo.specification(SMALL, tmp_path, updates=1)
    assert len(ppo.ours(spec)) == len(ppo.theirs(spec)) == 1


@pytest.mark.slow
@needs_peer
def test_a_small_grid_runs_on_both_sides_and_takes_one_more_cell(tmp_path: Path) -> None:
    wanted = {"dpo": ("beta", (0.1,)), "kto": ("beta", (0.1,))}
    found = grid.measured(grid.Grid(tmp_path, SMALL, pairs=48, seeds=1), wanted)
    assert found["cells"] == 2
    assert found["theirs"] == sum(found["scripts"].values()) > 0 == found["online"]
    assert found["added_cell"]["update"] > 0


def test_useful_flops_are_those_of_a_hand_count() -> None:
    """Hidden 16, feed-forward 40, 2 layers, 1000 words; prompt 3, responses 2 and 1: 6 tokens, 3 outputs, 6 + 9 + 4 causal contexts."""
    blocks = 2 * (4 * 16 * 16 + 3 * 16 * 40)
    contexts = (1 + 2 + 3) + (4 + 5) + 4
    forward = 2 * blocks * 6 + 4 * 2 * 16 * contexts + 2 * 16 * 1000 * 3
    pair = TokenPair(0, (1, 5, 6), (7, 2), (2,))
    assert speed.useful_flops(shape_of(workloads.plain_model(SMALL)), [pair]) == 3 * forward


def test_medians_have_their_interval_and_sides_take_turns() -> None:
    """The 95 % interval of a median of 7 by order statistics goes from the first to the last: .5^7 is left out at each end."""
    assert speed.value([5, 1, 3, 2, 4, 7, 6]) == (4, 1, 7, 7)
    assert speed.value([2.0, 1.0]) == (1.5, 1, 2, 2)
    assert speed.ratios([4.0, 9.0], [2.0, 3.0]) == (2.5, 2, 3, 2)
    order: list[str] = []
    sides = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}  # type: ignore[func-returns-value]
    assert speed.interleaved(sides, 2) == {"a": [4, 5], "b": [3, 6]}
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_the_matmul_switch_is_put_back() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with speed.matmul(peer.ONEDNN):
        assert torch.backends.mkldnn.matmul.fp32_precision == peer.ONEDNN
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_a_missed_goal_is_written_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_BENCH_RECORD", str(tmp_path))
    findings = [
        Finding("fast", speed.Value(2, 1, 3, 5), "x", "peer", 1.5),
        Finding("small", speed.Value(2, 1, 3, 5), goal=1.5, good="below"),
    ]
    with pytest.raises(AssertionError, match=r"missed: small: 2 \[1, 3\] \(n 5\) ; goal <= 1.5"):
        publish("toy", findings, {})
    (record,) = read(tmp_path)
    assert [Finding.read(row) for row in record["findings"]] == findings
    assert record["machine"]["cores"] >= 1
