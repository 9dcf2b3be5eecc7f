"""TRL's own loss code on chosen log-probs, without model, data or trainer: values and gradients agree with ours to 1e-9.

``DPOTrainer._compute_loss`` and ``KTOTrainer._compute_loss`` are called unbound on a stub whose "model" returns the per-token log-probs
that a test chose. They are private, so the oracle is pinned.
"""

from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.plugins import registry
from harness.plugins.laws import evaluate
from harness.training.loss_inputs import paired_tokens
from harness.training.loss_signature import BatchStatistics, TokenLogps

PINNED = "1.16.0"


def installed() -> str:
    try:
        return version("trl")
    except PackageNotFoundError:
        return "none"


pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(installed() != PINNED, reason=f"the oracle is trl {PINNED}, installed: {installed()}"),
    pytest.mark.filterwarnings("ignore"),
]

PAIRS, LONGEST, PROMPT = 5, 12, 3


class SpokenFor(nn.Module):
    """A model that answers its n-th call with the n-th set of per-token log-probs."""

    is_gradient_checkpointing = False
    is_activation_checkpointing = False

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = list(answers)

    def forward(self, **inputs: Tensor) -> Any:
        from trl.trainer.utils import FusedCausalLMOutput

        logps = self.answers.pop(0).masked_fill(inputs["labels"][:, 1:] == -100, 0)
        zeros = torch.zeros_like(logps)
        return FusedCausalLMOutput(
            loss=None, log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), log_sum_sq_probs=zeros
        )


def trainer(policy: nn.Module, reference: nn.Module, **settings: Any) -> SimpleNamespace:
    """What the two methods read of ``self``."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x, unwrap_model=lambda model: model
    )
    return SimpleNamespace(
        model=policy,
        ref_model=reference,
        accelerator=accelerator,
        aux_loss_enabled=False,
        precompute_ref_logps=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05),
        _tp_size=1,
        _total_train_tokens=0,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        **settings,
    )


class Batch:
    """Random log-probs of 2 x PAIRS responses, chosen first, as TRL collates them; float64."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, LONGEST - PROMPT, (2 * PAIRS,), generator=self.generator)
        places = torch.arange(LONGEST)
        self.mask = ((places >= PROMPT) & (places < PROMPT + self.lengths[:, None])).long()
        self.policy, self.reference = self.draw().requires_grad_(), self.draw()

    def draw(self) -> Tensor:
        """Log-probs of every token after the first, (responses, LONGEST - 1)."""
        return -3 * torch.rand(2 * PAIRS, LONGEST - 1, dtype=torch.float64, generator=self.generator)

    def sums(self, logps: Tensor) -> Tensor:
        return (logps * self.mask[:, 1:]).sum(1)

    def inputs(self, prefix: str = "") -> dict[str, Tensor]:
        ones = torch.ones_like(self.mask)
        return {f"{prefix}input_ids": ones, f"{prefix}attention_mask": ones.clone(), f"{prefix}completion_mask": self.mask}

    def case(self) -> dict[str, Tensor]:
        (chosen, rejected), (ref_chosen, ref_rejected) = self.sums(self.policy).chunk(2), self.sums(self.reference).chunk(2)
        names = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_lengths", "rejected_lengths")
        return dict(zip(names, (chosen, rejected, ref_chosen, ref_rejected, *self.lengths.double().chunk(2)), strict=True))


def trl_dpo(batch: Batch, policy: Tensor, loss_type: str, beta: float, **settings: Any) -> Tensor:
    """TRL's loss; ``settings`` are its label_smoothing and ld_alpha, and loss_types and loss_weights where it adds several."""
    from trl import DPOTrainer

    model = SpokenFor(policy)
    usual = {"loss_types": [loss_type], "loss_weights": [1.0], "label_smoothing": 0.0, "ld_alpha": None}
    settings = {"beta": beta, **usual, **settings}
    stub = trainer(
        model, SpokenFor(batch.reference), f_divergence_type="reverse_kl", f_alpha_divergence_coef=0.5, use_weighting=False, **settings
    )
    loss: Tensor = DPOTrainer._compute_loss(stub, model, batch.inputs(), False)
    return loss


def agree(theirs: Tensor, ours: Tensor, batch: Batch) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    (wanted,), (found,) = (torch.autograd.grad(loss, batch.policy, retain_graph=True) for loss in (theirs, ours))
    assert wanted.abs().max() > 1e-6
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def ours(name: str, case: dict[str, Tensor], **settings: float | str) -> Tensor:
    return evaluate(registry.load("algorithms", name).algorithm, case, settings).mean()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("beta", [0.02, 0.1, 1.0])
def test_dpo_is_sigmoid(beta: float, seed: int) -> None:
    batch = Batch(seed)
    agree(trl_dpo(batch, batch.policy, "sigmoid", beta), ours("dpo", batch.case(), beta=beta), batch)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("beta", [0.02, 0.1, 1.0])
def test_ipo_mean_is_ipo_with_a_target_of_half_over_beta_per_token(beta: float, seed: int) -> None:
    batch = Batch(seed)
    agree(trl_dpo(batch, batch.policy, "ipo", beta), ours("ipo", batch.case(), target_gap=1 / (2 * beta), normalize="mean"), batch)


def test_ipo_sum_is_not_what_trl_computes() -> None:
    batch = Batch(0)
    assert not torch.allclose(trl_dpo(batch, batch.policy, "ipo", 0.1), ours("ipo", batch.case(), target_gap=5.0))


@pytest.mark.parametrize("penalty", [0.0, 5.0, 50.0])
def test_dpop_is_sigmoid_with_the_chosen_log_prob_lowered(penalty: float) -> None:
    """TRL has no DPO-positive; lowering one chosen token by lambda max(0, -c) makes its sigmoid loss one."""
    batch = Batch(2)
    case = batch.case()
    shortfall = penalty * (case["ref_chosen"] - case["chosen"]).relu()
    assert (shortfall > 0).any() == (penalty > 0)
    lowered = batch.policy - torch.cat([shortfall, torch.zeros(PAIRS)])[:, None] * (torch.arange(LONGEST - 1) == PROMPT - 1)
    agree(trl_dpo(batch, lowered, "sigmoid", 0.1), ours("dpop", case, beta=0.1, penalty=penalty), batch)


@pytest.mark.parametrize("shift", [0.4, -0.4], ids=["z0 above 0", "z0 clamped"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 1.33), (2.0, 0.5)])
def test_kto(weights: tuple[float, float], shift: float) -> None:
    from trl import KTOTrainer

    batch = Batch(3)
    desirable = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 0, 0], dtype=torch.bool)
    stray = batch.draw()
    model, reference = SpokenFor(stray, batch.policy), SpokenFor(stray - shift, batch.reference)
    stub = trainer(
        model, reference, beta=0.1, loss_type="kto", desirable_weight=weights[0], undesirable_weight=weights[1], calculate_KL=True
    )
    stub._compute_kl_logps = MethodType(KTOTrainer._compute_kl_logps, stub)
    theirs = KTOTrainer._compute_loss(stub, model, batch.inputs() | batch.inputs("KL_") | {"label": desirable}, False)
    z0 = (batch.sums(stray) - batch.sums(stray - shift)).mean()
    assert (z0 > 0) == (shift > 0)
    case = {"logps": batch.sums(batch.policy), "ref_logps": batch.sums(batch.reference), "desirable": desirable, "z0": z0}
    agree(theirs, ours("kto", case, beta=0.1, desirable_weight=weights[0], undesirable_weight=weights[1]), batch)


@pytest.mark.parametrize(
    ("name", "theirs", "settings"),
    [
        ("hinge", "hinge", {}),
        ("apo_zero", "apo_zero", {}),
        ("dpo_norm", "sigmoid_norm", {}),
        ("robust_dpo", "robust", {"label_smoothing": 0.1}),
        ("robust_dpo", "robust", {"label_smoothing": 0.4}),
    ],
)
@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_losses_that_both_have(name: str, theirs: str, settings: dict[str, float], beta: float) -> None:
    batch = Batch(4)
    agree(trl_dpo(batch, batch.policy, theirs, beta, **settings), ours(name, batch.case(), beta=beta, **settings), batch)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_dpo_sft_is_sigmoid_plus_sft_where_chosen_responses_are_equally_long(weight: float) -> None:
    """TRL's likelihood is a mean over the tokens of a micro-batch, ours over each response's own; equal lengths make them one."""
    batch = Batch(5)
    batch.lengths[:PAIRS] = 6
    places = torch.arange(LONGEST)
    batch.mask = ((places >= PROMPT) & (places < PROMPT + batch.lengths[:, None])).long()
    theirs = trl_dpo(batch, batch.policy, "", 0.1, loss_types=["sigmoid", "sft"], loss_weights=[1.0, weight])
    agree(theirs, ours("dpo_sft", batch.case(), beta=0.1, nll_weight=weight), batch)


@pytest.mark.parametrize("kind", ["sigmoid", "simpo"])
def test_cpo_and_simpo(kind: str) -> None:
    """CPO's preference term on sums, its likelihood left out; SimPO on means, where TRL divides gamma by beta and multiplies again."""
    from trl.experimental.cpo import CPOTrainer

    batch = Batch(6)
    case = batch.case()
    stub = SimpleNamespace(alpha=0.0, beta=0.7, label_smoothing=0.0, loss_type=kind, simpo_gamma=0.4)
    stub.accelerator = SimpleNamespace(device=torch.device("cpu"))
    lengths = (case["chosen_lengths"], case["rejected_lengths"]) if kind == "simpo" else (1, 1)
    theirs = CPOTrainer.cpo_loss(stub, case["chosen"] / lengths[0], case["rejected"] / lengths[1])[0].mean()
    name, settings = ("simpo", {"gamma": 0.4}) if kind == "simpo" else ("cpo", {"nll_weight": 0.0})
    agree(theirs, ours(name, case, beta=0.7, **settings), batch)


def test_orpo() -> None:
    """Values to 1e-6: TRL computes its odds in float32. Its loss is the likelihood less beta log sigma(log-odds)."""
    from trl.experimental.orpo import ORPOTrainer

    case = Batch(7).case()
    good, bad = case["chosen"] / case["chosen_lengths"], case["rejected"] / case["rejected_lengths"]
    stub = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device=torch.device("cpu")))
    theirs = (-good - ORPOTrainer.odds_ratio_loss(stub, good, bad)[0]).mean()
    torch.testing.assert_close(ours("orpo", case, weight=0.3), theirs, rtol=1e-6, atol=1e-6)


def tokens(batch: Batch, logps: Tensor) -> TokenLogps:
    """The chosen and rejected log-probs of every response token, in pairs."""
    rows = [row[PROMPT - 1 : PROMPT - 1 + length] for row, length in zip(logps, batch.lengths.tolist(), strict=True)]
    return paired_tokens([rows[i + side * PAIRS] for i in range(PAIRS) for side in (0, 1)])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_ld_dpo(alpha: float) -> None:
    batch = Batch(8)
    theirs = trl_dpo(batch, batch.policy, "sigmoid", 0.2, ld_alpha=alpha)
    loss = registry.load("algorithms", "ld_dpo").algorithm.loss
    mine = loss(tokens(batch, batch.policy), tokens(batch, batch.reference), beta=0.2, alpha=alpha).mean()
    agree(theirs, mine, batch)


def test_bco_without_a_shift_is_bco_pair() -> None:
    batch = Batch(9)
    zero = torch.zeros((), dtype=torch.float64)
    case = {**batch.case(), "batch": BatchStatistics(*6 * (zero,), PAIRS), "state": {}}
    agree(trl_dpo(batch, batch.policy, "bco_pair", 0.3), ours("bco", case, beta=0.3), batch)
