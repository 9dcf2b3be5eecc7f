"""TRL's own RLOO and GRPO on chosen log-probs and rewards, without model, data or trainer: advantages, values and gradients.

Methods of ``RLOOTrainer`` and ``GRPOTrainer`` are called unbound on a stub that says what was sampled, how it scored and what its
log-probs are; whatever else they read of it is None. They are private, so the oracle is pinned.
"""

from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms import grpo, rloo
from harness.training.groups import Tokens
from tests.oracle.test_trl_losses import PINNED, installed

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(installed() != PINNED, reason=f"the oracle is trl {PINNED}, installed: {installed()}"),
    pytest.mark.filterwarnings("ignore"),
]

GROUPS, SAMPLES, LONGEST = 3, 4, 6
ROWS = GROUPS * SAMPLES


class Stub(SimpleNamespace):
    """A trainer that has what it is given, and None of everything else."""

    def __getattr__(self, name: str) -> None:
        return None


class Rollout:
    """Random log-probs, float64, of a policy, of it when it sampled, and of a reference; rewards; responses of several lengths."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, LONGEST + 1, (ROWS,), generator=self.generator)
        self.lengths[0] = LONGEST
        self.mask = (torch.arange(LONGEST) < self.lengths[:, None]).long()
        self.old, self.reference = self.draw(), self.draw()
        self.policy = (self.old + 0.3 * (self.draw() - self.old)).requires_grad_()
        self.rewards = torch.randn(ROWS, dtype=torch.float64, generator=self.generator)

    def draw(self) -> Tensor:
        return -3 * torch.rand(ROWS, LONGEST, dtype=torch.float64, generator=self.generator)

    def flat(self, values: Tensor) -> Tensor:
        """(tokens,) of what is no padding."""
        return values[self.mask.bool()]

    def known(self, advantages: Tensor, old: Tensor) -> Tokens:
        each = [values.repeat_interleave(self.lengths) for values in (advantages.flatten(), self.lengths.double())]
        return Tokens(self.flat(old), self.flat(self.reference), *each)

    def inputs(self, advantages: Tensor, old: Tensor) -> dict[str, Any]:
        ones = torch.ones(ROWS, 2, dtype=torch.long)
        found = {"prompt_ids": ones, "prompt_mask": ones, "completion_ids": torch.ones_like(self.mask), "completion_mask": self.mask}
        sums = (old * self.mask).sum(1)
        return found | {
            "advantages": advantages.flatten(),
            "old_logps": sums,
            "old_per_token_logps": old,
            "ref_per_token_logps": self.reference,
        }


def trainer(rollout: Rollout, **settings: Any) -> Stub:
    """What the methods read of ``self``; the model is a name for the log-probs that it has."""
    same = lambda values, *_, **__: values  # noqa: E731
    accelerator = SimpleNamespace(device=torch.device("cpu"), process_index=0, num_processes=1, gather=same, reduce=same)
    known = {"policy": rollout.policy, "old": rollout.old, "reference": rollout.reference}

    def logps(model: Any, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        return known[model.name], torch.zeros(ROWS, LONGEST, dtype=torch.float64), None

    return Stub(
        model=Stub(name="old", training=True),
        ref_model=Stub(name="reference"),
        accelerator=accelerator,
        args=Stub(per_device_train_batch_size=ROWS, steps_per_generation=1, gradient_accumulation_steps=1),
        num_iterations=1,
        epsilon_low=0.2,
        epsilon_high=0.2,
        top_entropy_quantile=1.0,
        importance_sampling_level="token",
        loss_type="grpo",
        current_gradient_accumulation_steps=1,
        num_generations=SAMPLES,
        scale_rewards="group",
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.ones(1),
        reward_func_names=["reward"],
        _metrics={"train": defaultdict(list)},
        _logs={
            name: defaultdict(deque) if name in ("rewards", "extra") else deque()
            for name in ("prompt", "completion", "rewards", "advantages", "extra")
        },
        _pending_extra_logs={},
        _pending_metrics={},
        _tokenizer=SimpleNamespace(pad_token_id=0),
        _generate=lambda prompts: ([[1, 1]] * ROWS, [[1] * int(n) for n in rollout.lengths], [""] * ROWS),
        _calculate_rewards=lambda *_: rollout.rewards[:, None].clone(),
        _get_per_token_logps_and_entropies=logps,
        **settings,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_rloo_advantages(seed: int, kl_coef: float) -> None:
    from trl import RLOOTrainer

    rollout = Rollout(seed)
    found = RLOOTrainer._generate_and_score_completions(trainer(rollout, beta=kl_coef), [{"prompt": "x"}] * ROWS)["advantages"]
    apart = ((rollout.old - rollout.reference) * rollout.mask).sum(1)
    returns = (rollout.rewards - kl_coef * apart).view(GROUPS, SAMPLES)
    torch.testing.assert_close(rloo.leave_one_out(returns).flatten(), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_rloo_gradient_where_the_policy_has_just_sampled(seed: int) -> None:
    """TRL's loss is -rho A with the ratio of whole responses, ours -A log pi: at rho = 1 their gradients are one."""
    from trl import RLOOTrainer

    rollout = Rollout(seed)
    advantages, old = rloo.leave_one_out(rollout.rewards.view(GROUPS, SAMPLES)), rollout.policy.detach()
    stub, model = trainer(rollout), SimpleNamespace(name="policy", training=True)
    theirs = RLOOTrainer._compute_loss(stub, model, rollout.inputs(advantages, old))
    ours = rloo.reinforce(rollout.flat(rollout.policy), rollout.known(advantages, old)).sum() / ROWS
    slopes = [torch.autograd.grad(value, rollout.policy)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.0, 0.04, 1.0])
def test_grpo_loss_and_gradient(seed: int, beta: float) -> None:
    """Ratios inside and outside the clip, k3 beside them, and every response's own mean."""
    from trl import GRPOTrainer

    rollout = Rollout(seed)
    advantages = grpo.standardised(rollout.rewards.view(GROUPS, SAMPLES))
    stub, model = trainer(rollout, beta=beta), SimpleNamespace(name="policy", training=True)
    theirs = GRPOTrainer._compute_loss(stub, model, rollout.inputs(advantages, rollout.old))
    known = rollout.known(advantages, rollout.old)
    ours = grpo.clipped(rollout.flat(rollout.policy), known, ratio_clip=0.2, beta=beta).sum() / ROWS
    ratios = (rollout.flat(rollout.policy) - known.old).exp()
    assert bool(((ratios - 1).abs() > 0.2).any())
    assert bool(((ratios - 1).abs() < 0.2).any())
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    slopes = [torch.autograd.grad(value, rollout.policy)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_grpo_advantages(seed: int) -> None:
    from trl import GRPOTrainer

    rollout = Rollout(seed)
    stub = trainer(rollout, beta=0.0)
    said = stub._generate([])
    stub._generate = lambda prompts: (*said[:2], None, said[2], None, {}, None, None)
    found = GRPOTrainer._generate_and_score_completions(stub, [{"prompt": "x"}] * ROWS)["advantages"]
    ours = grpo.standardised(rollout.rewards.view(GROUPS, SAMPLES)).flatten()
    torch.testing.assert_close(ours, found, rtol=1e-7, atol=1e-9)  # TRL's correction n / (n - 1) is a float32
