"""``harness rank``: candidates of every prompt in order, by a reward model or by the implicit reward of a policy over its reference.

The implicit reward of Rafailov et al. 2023 (arXiv 2305.18290, equation 6) is beta (log pi(y|x) - log ref(y|x)), up to a term of the prompt
alone: it orders candidates of one prompt, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.shapes import check_folder
from harness.errors import HarnessError, near
from harness.rewards import candidates
from harness.rewards.candidates import Candidates
from harness.rewards.folders import Cost, reader
from harness.rewards.material import Say, quiet
from harness.types import Array, Response

CHAT = ("auto", "template", "plain")
LONGEST = 1 << 20  # tokens: nothing is cut


@dataclass(frozen=True)
class By:
    """Who ranks: a reward model's folder, or a policy and its reference, ``beta`` scaling their log-ratio.

    ``chat`` says whether the policy reads prompts through its chat template: where it has one (``auto``), always or never.
    """

    reward: Path | None = None
    policy: str | None = None
    reference: str | None = None
    beta: float = 1.0
    chat: str = "auto"


def rank(rows: Path, by: By, out: Path, limit: int | None = None, say: Say = print) -> Path:
    """Write a row for every prompt with its candidates, the best first, their scores and their places in the file; the file's path.

    Raises HarnessError in one line where nothing can be ranked or nobody can.
    """
    _refuse(by)
    quiet()
    found = candidates.read(rows, limit)
    alone = sum(len(each.responses) < 2 for each in found)
    if alone or not found:
        said = f"{alone} of {len(found)} prompts have one candidate" if found else "no row in it"
        raise HarnessError(f"{rows}: {said}; ranking wants two or more responses to each prompt.")
    scores, cost = _by_reward(found, by.reward) if by.reward is not None else _implicit(found, by)
    candidates.write(out, (_row(each, values) for each, values in zip(found, scores, strict=True)))
    moved = sum(int(np.argmax(values)) != 0 for values in scores)
    say(f"{len(found):,} prompts, {sum(map(len, scores)):,} candidates; another than the first is best for {moved:,} prompts")
    per = "" if cost.flops is None else f"; {cost.flops / len(found):.4g} FLOPs per prompt"
    say(f"cost: {cost}{per}\nRanking: {out}")
    return out


def _refuse(by: By) -> None:
    implicit = by.policy is not None or by.reference is not None
    if (by.reward is None) == (not implicit) or (implicit and (by.policy is None or by.reference is None)):
        raise HarnessError("One of two is wanted: --reward FOLDER, or --policy FOLDER with --reference FOLDER.")
    if by.chat not in CHAT:
        raise HarnessError(f"--chat {by.chat!r} is unknown.{near(by.chat, CHAT)} Legal: {', '.join(CHAT)}.")
    if not 0 < by.beta < float("inf"):
        raise HarnessError(f"--beta {by.beta:g}: a number above 0 is wanted; a negative one would rank the worst first.")


def _row(found: Candidates, scores: Array) -> dict[str, Any]:
    order = np.argsort(-scores, kind="stable")  # of equal scores the earlier candidate first
    ranked = [{"response": found.responses[place], "score": float(scores[place]), "place": int(place)} for place in order]
    return {"prompt": found.prompt, "ranked": ranked}


def _by_reward(found: Sequence[Candidates], folder: Path) -> tuple[list[Array], Cost]:
    model = reader(folder)
    texts = [(each.prompt, response) for each in found for response in each.responses]
    scores = model.scores([prompt for prompt, _ in texts], [response for _, response in texts])
    return _by_prompt(scores, found), model.cost


def _by_prompt(scores: Array, found: Sequence[Candidates]) -> list[Array]:
    return np.split(scores, np.cumsum([len(each.responses) for each in found])[:-1])


def _implicit(found: Sequence[Candidates], by: By) -> tuple[list[Array], Cost]:
    """A forward of each candidate by the policy and one by the reference; a prompt is read once for all its candidates by either."""
    import torch

    from harness.data import chat
    from harness.data.tokenise import Tokens
    from harness.models.loading import load_model, meter
    from harness.running.supervised import refuse_vocabulary
    from harness.training.ledger import Ledger

    assert by.policy is not None and by.reference is not None
    check_folder(by.policy), check_folder(by.reference)
    ledger = Ledger(float("inf"))
    loaded = [load_model(name, dtype="float32", vocabulary=(), seed=0) for name in (by.policy, by.reference)]
    tokenizer = loaded[0][1]
    refuse_vocabulary(f"reference {by.reference}", loaded[1][1], tokenizer, "the policy's")
    templated = by.chat == "template" or (by.chat == "auto" and bool(tokenizer.chat_template))
    tokens = Tokens(chat.adopt(tokenizer, by.policy) if templated else tokenizer, LONGEST, LONGEST, templated=templated)
    groups = tokens.groups([each.prompt for each in found], [[Response(text) for text in each.responses] for each in found])
    with torch.no_grad(), ledger.phase("evaluation"):
        policy, reference = (meter(model, tokenizer, ledger).logps(groups).double().cpu().numpy() for model, _ in loaded)
    read = 2 * sum(len(group.prompt) + sum(map(len, group.responses)) for group in groups)
    cost = Cost(2 * sum(len(group.responses) for group in groups), read, ledger.canonical["evaluation"])
    return _by_prompt(by.beta * (policy - reference), found), cost
