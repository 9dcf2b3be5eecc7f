"""The control: plain supervised fine-tuning on the chosen responses, rejected ones unread, at the same compute.

What preference optimisation adds is what it adds over this. There is no reference and nothing to turn: one setting.
"""

from torch import Tensor

from harness import preference_loss

optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "clip": (0.25, 4.0, "log", "a factor 4 around the default"),
}


@preference_loss(source="maximum likelihood", control=True, has_nll=True, conventions={"reduction": "sum"})
def algorithm(chosen: Tensor) -> Tensor:
    """-log pi(y_w | x) per pair, (pairs,), token sums in nats."""
    return -chosen
