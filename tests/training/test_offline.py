"""The offline loop on a tiny real model: what it charges, how it ends, and that memory's cuts and data order change nothing."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from math import inf, isfinite, isnan, nan
from pathlib import Path

import pytest
import torch
from toy import toy_pairs, toy_setup

from harness import HarnessError, preference_loss
from harness.models.metered import Metered
from harness.plugins import registry
from harness.training.loss_signature import TokenLogps
from harness.training.preference import PreferenceLoss
from harness.training.schedule import schedule
from harness.types import Group, Setup, Update

NAMES = ("dpo", "ipo", "dpop", "kto", "sft_chosen")
LOSSES = tuple(entry.name for entry in registry.describe("algorithms") if entry.declaration.loss)
FOREIGN = tuple(str(Path(__file__).parents[1] / "plugin" / f"{name}.py") for name in ("wpo", "beta_dpo"))


def load(name: str) -> PreferenceLoss:
    algorithm = registry.load("algorithms", name).algorithm
    assert isinstance(algorithm, PreferenceLoss)
    return algorithm


def weights(setup: Setup) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in setup.policy.parameters()])


def learned(updates: Sequence[Update]) -> float:
    return updates[-1].metrics["chosen_change"]


class OneByOne(Metered):
    """A model whose memory holds a single group."""

    def micro(self, groups: Sequence[Group], *, whole: bool = False) -> list[slice]:
        return [slice(i, i + 1) for i in range(len(groups))]


@pytest.mark.parametrize("name", [*LOSSES, *FOREIGN], ids=lambda name: name.rpartition("/")[2])
def test_one_by_one_equals_all_at_once(name: str) -> None:
    """Three steps in float64 with unequal pair weights; a state and batch statistics included.

    Agreement is to 1e-6, not 1e-10, because transformers' RMSNorm computes in float32 whatever the model's dtype, and Adam divides
    gradients by their own size. A wrong cut moves losses and weights by 1e-3 and more.
    """
    pairs = [pair._replace(weight=1.0 + pair.row % 3) for pair in toy_pairs(24)]
    whole, cut = (toy_setup(pairs=pairs, dtype="float64", policy=policy) for policy in (Metered, OneByOne))
    steps = [list(islice(load(name).updates(setup), 3)) for setup in (whole, cut)]
    for one, other in zip(*steps, strict=True):
        assert other.metrics == pytest.approx(one.metrics, rel=1e-6, abs=1e-6)
    assert (weights(whole) - weights(toy_setup(dtype="float64"))).abs().max() > 1e-3
    torch.testing.assert_close(weights(cut), weights(whole), rtol=0, atol=1e-6)
    assert cut.ledger.spent == pytest.approx(whole.ledger.spent, rel=1e-12)


# A loss that reads a reward model fits it first (tests/training/test_reward_argument.py), for more than these budgets.
BARE = [name for name in LOSSES if not load(name).signature.reads_reward]


@pytest.mark.parametrize("name", [*BARE, *FOREIGN], ids=lambda name: name.rpartition("/")[2])
@pytest.mark.parametrize("limit", [3e8, 1.1e9])
def test_the_budget_is_spent_and_never_exceeded(name: str, limit: float) -> None:
    """Undershoot is less than what the dearest row (or couple of rows) of the data costs."""
    setup = toy_setup(limit=limit)
    updates = list(load(name).updates(setup))
    dearest = max(setup.policy.shape.scoring([Group(p.prompt, (p.chosen, p.rejected))]) for p in setup.pairs)
    assert 0 <= setup.ledger.remaining < (12 if load(name).signature.least == 2 else 4) * dearest
    assert updates[-1].metrics["progress"] == setup.ledger.share
    assert updates[-1].metrics["learning_rate"] == pytest.approx(1e-3 * schedule(setup.ledger.share))
    assert [u.step for u in updates] == list(range(1, len(updates) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_chosen_rises_over_rejected(name: str) -> None:
    first, *_, last = load(name).updates(toy_setup(limit=4e9))
    assert learned([last]) > 0.5
    if name != "sft_chosen":
        assert first.metrics["gap"] == pytest.approx(0, abs=1e-4)
        assert last.metrics["gap"] > 1
        assert last.metrics["accuracy"] > 0.9


def per_token(name: str, *, epoch: int) -> float:
    """FLOPs of one epoch over the policy's processed tokens times N, the head counted on response tokens; attention left out."""
    setup = toy_setup(limit=inf)
    for model in (setup.policy, setup.reference):
        model.shape = replace(model.shape, width=0)
    spent, tokens = [0.0], [0.0]
    for update in load(name).updates(setup):
        if update.metrics["epoch"] == len(spent):
            spent.append(setup.ledger.spent)
            tokens.append(update.metrics["tokens"])
        if len(spent) > epoch:
            break
    responses = sum(len(p.chosen) + len(p.rejected) * (name != "sft_chosen") for p in setup.pairs)
    once = setup.policy.shape.blocks * (tokens[epoch] - tokens[epoch - 1]) + setup.policy.shape.head * responses
    return (spent[epoch] - spent[epoch - 1]) / once


@pytest.mark.parametrize(("name", "first", "later"), [("dpo", 8, 6), ("ipo", 8, 6), ("dpop", 8, 6), ("kto", 12, 10), ("sft_chosen", 6, 6)])
def test_hand_counts_per_processed_token(name: str, first: float, later: float) -> None:
    """Policy forward and backward 6N; a reference forward 2N where its log-prob is first used; KTO's mismatched rows 2N by each model.

    N counts the head on response tokens only. KTO's mismatched responses are a permutation of its batch, so they cost the same.
    """
    assert per_token(name, epoch=1) == pytest.approx(first, rel=0.05)
    assert per_token(name, epoch=2) == pytest.approx(later, rel=0.05)


def test_what_a_loss_does_not_name_is_neither_computed_nor_charged() -> None:
    seen: list[Group] = []

    class Watched(Metered):
        def logps(self, groups: Sequence[Group]) -> torch.Tensor:
            seen.extend(groups)
            return super().logps(groups)

    setup = toy_setup(policy=Watched, limit=3e8)
    updates = list(load("sft_chosen").updates(setup))
    assert {group.responses for group in seen} <= {(pair.chosen,) for pair in setup.pairs}
    assert setup.ledger.canonical["reference"] == 0
    assert not {"rejected", "gap", "accuracy"} & updates[0].metrics.keys()


def test_phases_and_counts() -> None:
    """One epoch of 24 pairs in three steps: a forward by the reference, three by the policy, at the price of the shape."""
    setup = toy_setup(limit=inf)
    for update in load("dpo").updates(setup):
        if update.step == 3:
            break
    forward = setup.policy.shape.scoring([Group(p.prompt, (p.chosen, p.rejected)) for p in setup.pairs])
    assert setup.ledger.canonical["reference"] == pytest.approx(forward)
    assert setup.ledger.canonical["update"] == pytest.approx(3 * forward)
    unique = {"unique_pairs": 24, "unique_prompts": len({p.prompt for p in setup.pairs})}
    assert setup.ledger.counts == pytest.approx({"steps": 3, "pairs": 24, "labels": 24, "epochs": 1.0, **unique})
    assert update.metrics["epoch"] == 1


def test_same_seed_same_bytes_and_another_seed_another_order() -> None:
    first, second, other = (list(load("kto").updates(toy_setup(limit=8e8, seed=seed))) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_kto_reads_z0_from_mismatched_rows_and_clamps_it_itself() -> None:
    """At step 0 policy = reference, so z0 = 0 and every loss is 1/2; rows of a batch are half desirable."""
    update = next(load("kto").updates(toy_setup()))
    assert update.metrics["loss"] == pytest.approx(0.5, abs=1e-6)


def test_z0_is_the_mean_log_ratio_of_prompts_with_responses_to_other_prompts() -> None:
    seen: list[torch.Tensor] = []

    @preference_loss
    def spy(logps: torch.Tensor, desirable: torch.Tensor, z0: torch.Tensor) -> torch.Tensor:
        assert not z0.requires_grad
        seen.append(z0)
        return torch.where(desirable, -logps, logps)

    scored: list[list[Group]] = []

    class Watched(Metered):
        def logps(self, groups: Sequence[Group]) -> torch.Tensor:
            scored.append(list(groups))
            return super().logps(groups)

    setup = toy_setup(policy=Watched, dtype="float64")
    updates = spy.updates(setup)
    next(updates)
    before = setup.policy.frozen()
    next(updates)
    strangers, own = scored[2], scored[3]
    assert sorted(g.responses for g in strangers) == sorted(g.responses for g in own)
    assert all(a.prompt == b.prompt and a.responses != b.responses for a, b in zip(strangers, own, strict=True))
    with torch.no_grad():
        expected = (before.logps(strangers) - setup.reference.logps(strangers)).mean()
    assert abs(float(expected)) > 1e-3
    torch.testing.assert_close(seen[1], expected, rtol=0, atol=1e-10)


def test_a_loss_that_is_not_finite_ends_the_run_without_a_step() -> None:
    @preference_loss
    def explodes(chosen: torch.Tensor, progress: float) -> torch.Tensor:
        return -chosen if progress == 0 else chosen * nan

    setup = toy_setup()
    updates = explodes.updates(setup)
    assert isfinite(next(updates).metrics["loss"])
    before = weights(setup)
    (last,) = updates
    assert isnan(last.metrics["loss"])
    assert torch.equal(weights(setup), before)


def test_a_gradient_that_is_not_finite_ends_the_run_without_a_step() -> None:
    @preference_loss
    def kinked(chosen: torch.Tensor, ref_chosen: torch.Tensor) -> torch.Tensor:
        return (chosen - chosen.detach()).sqrt() - 0 * ref_chosen

    setup = toy_setup()
    before = weights(setup)
    (update,) = kinked.updates(setup)
    assert isnan(update.metrics["loss"])
    assert torch.equal(weights(setup), before)


def test_settings_override_the_file() -> None:
    update = next(load("dpo").updates(toy_setup(learning_rate=5e-4, clip=1e-3)))
    assert update.metrics["learning_rate"] == pytest.approx(5e-4 * schedule(update.metrics["progress"]))
    assert update.metrics["clipped"] == 1


def test_ipo_declares_its_clip() -> None:
    assert load("ipo").optimiser["clip"] == 10.0


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_beta_must_be_positive(value: float) -> None:
    with pytest.raises(HarnessError, match=rf"dpo\.beta = {value}: must be above 0"):
        next(load("dpo").updates(toy_setup(beta=value)))


def test_a_budget_that_pays_for_no_step_is_an_error() -> None:
    with pytest.raises(HarnessError, match=r"'kto': a budget of 1e\+04 canonical FLOPs pays for no step"):
        next(load("kto").updates(toy_setup(limit=1e4)))


def test_batch_statistics_of_one_row_are_an_error() -> None:
    with pytest.raises(HarnessError, match=r"'kto' compares rows of a batch, so it needs at least 2"):
        next(load("kto").updates(toy_setup(batch_pairs=1)))


def test_an_annotation_that_the_data_lack_is_an_error() -> None:
    @preference_loss
    def wants(chosen: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
        return -chosen * margin

    pairs = [*toy_pairs(3), toy_pairs(4)[3]._replace(margin=None)]
    assert next(wants.updates(toy_setup(pairs=toy_pairs(4)))).metrics["loss"] > 0
    with pytest.raises(HarnessError, match="needs 'margin', which pair 3 of these data does not have"):
        next(wants.updates(toy_setup(pairs=pairs)))


def test_a_loss_that_averages_is_an_error() -> None:
    @preference_loss
    def averages(chosen: torch.Tensor) -> torch.Tensor:
        return -chosen.mean()

    with pytest.raises(HarnessError, match=r"must return one value per row, shape \(8,\), not \(\)"):
        next(averages.updates(toy_setup()))


def test_rounding_does_not_decide_whom_dpop_penalises_at_the_start() -> None:
    """In float32 one forward of 64 responses and 32 of two differ by up to 4e-6 nats; a bare relu made the first gradient 4.82 of 3.61."""
    setups = (toy_setup(pairs=toy_pairs(400), batch_pairs=32, policy=policy, penalty=5.0) for policy in (Metered, OneByOne))
    whole, cut = (next(load("dpop").updates(setup)).metrics["gradient_norm"] for setup in setups)
    assert cut == pytest.approx(whole, rel=1e-4)


def test_state_is_kept_from_step_to_step_and_counts_steps_not_parts() -> None:
    seen: list[float] = []

    @preference_loss
    def counting(chosen: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
        state["steps"] = state.get("steps", torch.zeros(())) + 1
        seen.append(float(state["steps"]))
        return -chosen

    list(islice(counting.updates(toy_setup(policy=OneByOne)), 3))
    assert seen == [1.0] * 8 + [2.0] * 8 + [3.0] * 8


@preference_loss
def token_level(tokens: TokenLogps, ref_tokens: TokenLogps) -> torch.Tensor:
    """DPO by token sums."""
    gap = (tokens.chosen - ref_tokens.chosen).sum(1) - (tokens.rejected - ref_tokens.rejected).sum(1)
    return -torch.nn.functional.logsigmoid(0.1 * gap)


def test_a_loss_of_tokens_trains_as_one_of_sums_does_and_is_charged_alike() -> None:
    """Two epochs: reference tokens are read once, when a pair is first used, and kept."""
    setups = [toy_setup(limit=2e9, beta=0.1) for _ in range(2)]
    by_tokens, by_sums = (list(loss.updates(setup)) for loss, setup in zip((token_level, load("dpo")), setups, strict=True))
    assert by_tokens[-1].metrics["epoch"] > 1
    for one, other in zip(by_tokens, by_sums, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4, abs=1e-4)
    assert setups[0].ledger.canonical == pytest.approx(setups[1].ledger.canonical, rel=1e-9)


def test_tokens_are_padded_to_the_longest_of_their_part_and_reference_tokens_are_charged_only_when_named() -> None:
    seen: list[TokenLogps] = []

    @preference_loss
    def policy_alone(tokens: TokenLogps) -> torch.Tensor:
        seen.append(tokens)
        return (tokens.rejected - tokens.chosen).sum(1)

    setup = toy_setup()
    next(policy_alone.updates(setup))
    assert setup.ledger.canonical["reference"] == 0
    rows = [found for tokens in seen for found in zip(tokens.chosen_mask.sum(1), tokens.rejected_mask.sum(1), strict=True)]
    lengths = {(len(pair.chosen), len(pair.rejected)) for pair in setup.pairs}
    assert {(int(a), int(b)) for a, b in rows} <= lengths
    assert all(not tokens.chosen.detach()[~tokens.chosen_mask].any() for tokens in seen)


def test_a_list_is_a_pair_with_the_better_response_first() -> None:
    setups = [toy_setup(limit=1e9, beta=0.1) for _ in range(2)]
    lists, pairs = (list(load(name).updates(setup)) for name, setup in zip(("plackett_luce", "dpo"), setups, strict=True))
    assert [u.metrics for u in lists] == [pytest.approx(u.metrics, rel=1e-4, abs=1e-5) for u in pairs]
    assert setups[0].ledger.canonical == setups[1].ledger.canonical
