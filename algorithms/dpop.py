"""DPO-positive (Smaug; Pal et al. 2024, https://arxiv.org/abs/2402.13228v2): DPO that may not lower the chosen response.

DPO widens the gap even while both log-probs fall. Here a chosen response less likely than under the reference costs ``penalty``
times the shortfall. The penalty stands inside the sigmoid **and** inside beta, as in version 2 of the paper; outside, the loss takes
off (LLaMA-Factory issue 2587). The paper uses beta 0.3 and lambda 50. The knob is lambda (``penalty``): 0 is DPO, and from about 5 on
KL barely moves.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid, threshold

from harness import preference_loss

ALIASES = ("dpo_positive",)
# About KL 0.5, 1.5 and 2.1 on tuning prompts; 3 is beyond DPO at beta 0.3, so no penalty reaches it.
grid = {"penalty": (2.0, 0.3, 0.03)}
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "clip": (0.25, 4.0, "log", "a factor 4 around the default"),
}


@preference_loss(source="arXiv:2402.13228v2 L_DPOP", knob="penalty", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float = 0.3, penalty: float = 5.0
) -> Tensor:
    """-log sigma(beta (h - lambda max(0, log ref(y_w)/pi(y_w)))) per pair, (pairs,); token sums in nats.

    Training starts on the kink, where rounding of two forwards (1.5e-5 nats in float32) would decide which pairs are penalised: a
    shortfall under 1e-4 counts as none, so the first step is DPO's.
    """
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    shortfall = threshold(ref_chosen - chosen, 1e-4, 0.0)
    return -logsigmoid(beta * (gap - penalty * shortfall))
