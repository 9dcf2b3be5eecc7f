"""Identity preference optimisation (Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 17).

A regression of the log-ratio gap onto a target instead of a classification: the gap stops growing at the target, 1/(2 tau) in the
paper's symbols. ``normalize`` decides what is regressed, and the two are not comparable at one number:

- ``sum`` (equation 17 as written; the DPO authors' code, torchtune): token sums; ``target_gap`` is in nats per sequence;
- ``mean`` (HALOs, TRL since January 2024): per-token means; ``target_gap`` is in nats per token, TRL's 1/(2 beta).

A mean target of 5 asks 40-token responses for about 200 nats. In one published comparison (huggingface.co/blog/pref-tuning, addendum)
going from one to the other moved IPO from below the base model to level with DPO.
"""

from typing import Literal

from torch import Tensor

from harness import preference_loss

grid = {"target_gap": (2.0, 5.0, 13.0)}  # about KL 0.5, 1.5 and 3 on tuning prompts
optimiser = {"learning_rate": 1e-3, "clip": 10.0}
optimum = "win-tilt"  # the KL-regularised optimum of the preference probability itself: Psi-PO with Psi the identity
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "clip": (2.5, 40.0, "log", "a factor 4 around the default: gradients of a squared gap in nats are larger than those of a logit"),
}


@preference_loss(source="arXiv:2310.12036 eq. 17", knob="target_gap", positive=("target_gap",), conventions={"reduction": "normalize"})
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    target_gap: float = 5.0,
    normalize: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """(h - target_gap)^2 per pair, (pairs,): h = c - r for ``sum``, c/n_w - r/n_l for ``mean``.

    c and r are log pi - log ref of the chosen and the rejected response (token sums, nats), n their token counts with EOS.
    """
    chosen_ratio, rejected_ratio = chosen - ref_chosen, rejected - ref_rejected
    if normalize == "mean":
        chosen_ratio, rejected_ratio = chosen_ratio / chosen_lengths, rejected_ratio / rejected_lengths
    return (chosen_ratio - rejected_ratio - target_gap).square()
