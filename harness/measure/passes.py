"""pass@k of a task whose answers are checked: the chance that one of k samples passes (Chen et al. 2021, arXiv 2107.03374, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.measure.chance import generator_for
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.types import Array, Response

SAMPLES = 16  # drawn for each prompt; k is at most as many
KS = (1, 2, 4, 8, 16)


def name(k: int) -> str:
    """The column of pass@k."""
    return f"pass_at_{k}"


def passes(policy: Metered, yard: Yardstick, prompts: int, past: Past | None = None) -> dict[str, Array]:
    """pass@k of the first ``prompts`` evaluation prompts, (prompts,) for each of ``KS``, at temperature 1; nothing where none is checked.

    From samples of their own, not those that win rates and KL are measured on; the same random numbers for every policy of a seed.
    """
    if not yard.verified:
        return {}
    ids, tokens = yard.prompts[:prompts], yard.tokens
    generator = generator_for(yard.seed, "passes")
    again = past and past.first(len(ids))
    drawn = policy.sample(ids, samples=SAMPLES, max_tokens=tokens.max_response, generator=generator, past=again)
    responses = [Response(tokens.text(s.ids), s.ids, s.finished) for row in drawn for s in row]
    texts = [d.prompt for d in yard.evaluation[:prompts] for _ in range(SAMPLES)]
    passed = yard.judge.score(texts, [], responses)[yard.verified].reshape(-1, SAMPLES).sum(1)
    return {name(k): at(k, passed, SAMPLES) for k in KS}


def at(k: int, passed: Sequence[float] | Array, samples: int) -> Array:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) from c passes of n samples, as a product that never overflows; the shape of c."""
    failed = samples - np.asarray(passed, dtype=np.float64)
    steps = np.arange(k, dtype=np.float64)
    missed: Array = np.prod(np.clip(failed[..., None] - steps, 0.0, None) / (samples - steps), axis=-1)
    return 1.0 - missed
