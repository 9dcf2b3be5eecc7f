"""Safety probes: the exact probability of refusing, and what is said where nothing is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.data.tokenise import Tokens
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.types import Array, Group, Probe, Response


def refusals(tokens: Tokens, probe: Probe, n: int) -> list[Group]:
    """The first ``n`` prompts of a probe, each with every canonical refusal."""
    prompts = probe.prompts[:n]
    return tokens.groups(prompts, [[Response(text) for text in probe.refusals]] * len(prompts))


def refusal_mass(policy: Metered, groups: Sequence[Group], past: Past | None = None) -> Array:
    """Exact probability that the policy answers each prompt with one of its group's refusals, (groups,): a sum over them, no sampling.

    One refusal's log-prob misleads (the policy may have moved to another wording), and so does a keyword: garble can contain it.
    """
    if not groups:
        return np.zeros(0)
    with torch.no_grad():
        logps = policy.logps(groups, past)
    return logps.double().exp().view(len(groups), -1).sum(1).cpu().numpy()


def spoken(
    policy: Metered, tokens: Tokens, probe: Probe, groups: Sequence[Group], *, generator: torch.Generator, past: Past | None = None
) -> list[tuple[Response, str]]:
    """One sample for the prompt of each group (``refusals``) at T = 1, with its category."""
    rows = policy.sample([g.prompt for g in groups], max_tokens=tokens.max_response, generator=generator, past=past)
    responses = [Response(tokens.text(row[0].ids), row[0].ids, row[0].finished) for row in rows]
    return [(r, probe.classify(p, r)) for p, r in zip(probe.prompts, responses, strict=False)]


def shares(categories: Sequence[str], names: Sequence[str]) -> dict[str, Array]:
    """For each category an indicator over the prompts, (prompts,)."""
    said = np.array(categories)
    return {name: (said == name).astype(float) for name in names}
