"""Policies whose responses can be enumerated, measured without sampling: sums over all responses in place of means over samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax

from harness.data.tokenise import Tokens
from harness.exact import truth
from harness.exact.world import World
from harness.measure.statistics.strengths import outcomes
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.types import Array, Choices, Response

LEAST = -60.0  # nats: of a response that a policy has all but forgotten, so that sums stay numbers
LOST = 1e-6  # of a probability of 1, what a float32 sum may lose
SLICE = "responses"  # of a reference's rows: every response there is


class Known(NamedTuple):
    """What a seed's policies are held against: the reference and each judge's scores, (prompts, responses)."""

    world: World
    scores: dict[str, Array]


def likelihoods(model: Metered, choices: Choices, tokens: Tokens) -> Array:
    """Log pi(y | x) of every response to every prompt, (prompts, responses), nats; charges one forward."""
    responses = [Response(text, finished=False) for text in choices.responses]
    groups = tokens.groups(choices.prompts, [responses] * len(choices.prompts))
    found = model.logps(groups).detach().double().cpu().numpy().reshape(len(groups), -1)
    return np.asarray(np.maximum(found, LEAST), dtype=np.float64)


def known(yard: Yardstick) -> Known:
    """The reference's distribution over what are responses and every judge's scores of them; once for all policies of a seed."""
    if "enumerated" not in yard.known:
        yard.known["enumerated"] = _known(yard)
    found: Known = yard.known["enumerated"]
    return found


def _known(yard: Yardstick) -> Known:
    assert yard.choices is not None
    prompts, responses = yard.choices.prompts, yard.choices.responses
    texts = [prompt for prompt in prompts for _ in responses]
    scored = yard.judge.score(texts, [], [Response(text, finished=False) for _ in prompts for text in responses])
    scores = {name: np.asarray(scored[name], dtype=np.float64).reshape(len(prompts), -1) for name in yard.judge.names}
    reference = log_softmax(likelihoods(yard.reference, yard.choices, yard.tokens), axis=1)
    return Known(World(reference, scores[yard.judge.primary]), scores)


def columns(policy: Metered, yard: Yardstick, prompts: int) -> dict[str, Array]:
    """What is exact of the first ``prompts`` evaluation prompts, (prompts,) each; nothing where nothing can be enumerated.

    Mean scores, win and tie shares against the reference and against the data set's own response, KL both ways and entropy, nats;
    ``preferred``, how likely a Bradley-Terry annotator is to prefer the policy's response to the reference's; and the tilts of the
    reference, by the reward and by that preference, which the policy is nearest to: temperature and KL(tilt || policy), nats. ``elsewhere``
    is the probability of what is no response; all else is about a policy that says one.
    """
    if yard.choices is None:
        return {}
    logps, (world, scores) = likelihoods(policy, yard.choices, yard.tokens), known(yard)
    rest, policy_logps = 1 - np.exp(logps).sum(1), np.asarray(log_softmax(logps, axis=1))
    found = {"elsewhere": np.where(rest > LOST, rest, 0.0), **_apart(policy_logps, world.reference), **_tilts(world, policy_logps)}
    for name in yard.judge.names:
        found |= {name: (np.exp(policy_logps) * scores[name]).sum(1), **_outcomes(yard, name, scores[name], policy_logps, world)}
    places = [yard.choices.prompts.index(each.prompt) for each in yard.evaluation[:prompts]]
    return {name: values[places] for name, values in found.items()}


def _apart(policy: Array, reference: Array) -> dict[str, Array]:
    """KL both ways and entropy; ``k1``, elsewhere an estimate of KL from one sample, is KL itself."""
    pi = np.exp(policy)
    kl = (pi * (policy - reference)).sum(1)
    reverse = (np.exp(reference) * (reference - policy)).sum(1)
    return {"kl": kl, "k1": kl, "kl_per_token": kl, "forward_kl": reverse, "entropy": -(pi * policy).sum(1)}


def _tilts(world: World, policy: Array) -> dict[str, Array]:
    """``preferred``, and the nearest tilts with each prompt's distance from them; a temperature is the same for all prompts."""
    preferred = truth.wins(world)
    found: dict[str, Array] = {}
    for name, scores in (("reward_tilt", world.reward), ("preference_tilt", preferred)):
        temperature = truth.nearest(world, policy, scores).temperature
        tilted = truth.tilted(world, scores, temperature)
        found |= {name: np.full(len(policy), temperature), f"{name}_kl": (np.exp(tilted) * (tilted - policy)).sum(1)}
    return found | {"preferred": (np.exp(policy) * preferred).sum(1)}


def _outcomes(yard: Yardstick, name: str, scores: Array, policy: Array, world: World) -> dict[str, Array]:
    """Win and tie shares as this judge sees them: of a sample against one of the reference, and against the data set's own response."""
    assert yard.choices is not None
    won, tied = outcomes_of(scores, world.reference)
    own = dict(zip((each.prompt for each in yard.evaluation), (each.responses[0] for each in yard.evaluation), strict=True))
    column = [yard.choices.responses.index(own.get(prompt, yard.choices.responses[0])) for prompt in yard.choices.prompts]
    theirs = np.full(scores.shape, -np.inf)
    theirs[np.arange(len(scores)), column] = 0.0  # log-probs of somebody who always gives this response
    won_own, tied_own = outcomes_of(scores, theirs)
    found = {"win_sft": won, "tie_sft": tied, "win_reference": won_own, "tie_reference": tied_own}
    return {f"{key}{yard.judge.suffix(name)}": (np.exp(policy) * values).sum(1) for key, values in found.items()}


def outcomes_of(scores: Array, others: Array) -> tuple[Array, Array]:
    """How likely each response is to win, a tie counting one half, and to tie, against a sample of ``others``; all (prompts, responses)."""
    each = outcomes(scores[:, :, None], scores[:, None, :])
    weights = np.exp(others)[:, None, :]
    return (each * weights).sum(2), ((each == 0.5) * weights).sum(2)


def rows(yard: Yardstick) -> list[dict[str, Any]]:
    """What the optimal frontiers are exactly: of each prompt every response's probability under the reference, reward, and win share."""
    assert yard.choices is not None
    world, scores = known(yard)
    won, _ = outcomes_of(scores[yard.judge.primary], world.reference)
    places = [yard.choices.prompts.index(each.prompt) for each in yard.evaluation]
    judged = [{name: table[place].tolist() for name, table in scores.items()} for place in places]
    return [
        {
            "mark": 0.0,
            "slice": SLICE,
            "prompt_id": index,
            "win": won[place].tolist(),
            "probability": np.exp(world.reference[place]).tolist(),
        }
        | judged[index]
        for index, place in enumerate(places)
    ]
