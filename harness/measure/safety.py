"""Safety probes: the exact probability of refusing, and what is said where nothing is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.data.tokenise import Tokens
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.types import Array, Probe, Response


def refusal_mass(policy: Metered, tokens: Tokens, probe: Probe, prompts: Sequence[str], past: Past | None = None) -> Array:
    """Exact probability that the policy answers each prompt with a canonical refusal, (prompts,): a sum over all of them, no sampling.

    One refusal's log-prob misleads (the policy may have moved to another wording), and so does a keyword: garble can contain it.
    """
    refusals = [Response(text) for text in probe.refusals]
    with torch.no_grad():
        logps = policy.logps(tokens.groups(prompts, [refusals] * len(prompts)), past)
    return logps.double().exp().view(len(prompts), len(refusals)).sum(1).cpu().numpy()


def spoken(
    policy: Metered, tokens: Tokens, probe: Probe, prompts: Sequence[str], *, generator: torch.Generator, past: Past | None = None
) -> list[tuple[Response, str]]:
    """One sample for each prompt at T = 1, with its category."""
    rows = policy.sample(tokens.prompts(prompts), max_tokens=tokens.max_response, generator=generator, past=past)
    responses = [Response(tokens.text(row[0].ids), row[0].ids, row[0].finished) for row in rows]
    return [(r, probe.classify(p, r)) for p, r in zip(prompts, responses, strict=True)]


def shares(categories: Sequence[str], names: Sequence[str]) -> dict[str, Array]:
    """For each category an indicator over the prompts, (prompts,)."""
    said = np.array(categories)
    return {name: (said == name).astype(float) for name in names}
