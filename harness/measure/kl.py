"""KL(policy || reference) per sequence: the Rao-Blackwellised estimate, and k1 as its cross-check."""

from __future__ import annotations

import numpy as np

from harness.types import Array

ALARM = 5.0  # standard errors of the paired difference; a correct estimator passes it once in two million checks


def cross_check(kl: Array, k1: Array, errors: float = ALARM) -> str | None:
    """None, or a line saying that the two estimates of one KL disagree by more than so many standard errors.

    Both are unbiased on the same samples (Amini et al. 2025, arXiv 2504.10637), so their paired difference has mean 0. Against the
    Rao-Blackwellised estimate's own standard error, which is far smaller, most correct runs would alarm.
    """
    difference = k1 - kl
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    gap = abs(float(difference.mean()))
    if gap <= errors * error + 1e-6:
        return None
    apart = gap / max(error, 1e-12)
    return f"KL estimates disagree: Rao-Blackwellised {kl.mean():.3f}, k1 {k1.mean():.3f} nats, {apart:.1f} standard errors apart"
