"""``harness reward train``: a Bradley-Terry reward model from pairs, measured on pairs held out and saved as a folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from harness.checkpoints import public
from harness.errors import HarnessError, near
from harness.rewards import card, measured
from harness.rewards.folders import FACTS
from harness.rewards.material import Asked, Material, Say, gathered, quiet
from harness.store.hashes import weights_hash
from harness.types import Pair, TokenPair

if TYPE_CHECKING:
    from harness.models.metered import Metered
    from harness.training.reward import RewardModel

SMALL, BATCH = 6, 128  # layers below which a model is trained as an embedded one; pairs scored at a time
SAME = 1e-4  # nats that a saved folder may differ by
CARD = "README.md"


@dataclass(frozen=True)
class Fit:
    """How a reward model is fitted. ``rate`` and ``batch`` of None follow the model and the number of pairs, as its proxies' do.

    ``pooling`` is ``last``, the token that ends a response, or ``mean`` or ``sum`` of a score per token; ``margin`` the nats of gap that
    a pair is to have per unit by which its chosen response was rated better, 0 leaving ratings out.
    """

    pooling: str = "last"
    margin: float = 0.0
    epochs: float = 1.0
    rate: float | None = None
    batch: int | None = None


def train(asked: Asked, fit: Fit, out: Path, say: Say = print) -> Path:
    """Fit, measure and save; the folder. Raises HarnessError in one line before anything is trained where it cannot be."""
    _refuse(fit, out)
    quiet()
    material = gathered(asked, say)
    if material.base is None:
        raise HarnessError(f"{asked.word}: give --model FOLDER, the model that the reward model starts from.")
    start, tokenizer, longest = _start(material.base)
    from harness.rewards.reading import token_pairs

    pairs, _, dropped = token_pairs(material.train, tokenizer, longest)
    held, kept, _ = token_pairs(material.heldout, tokenizer, longest)
    _refuse_pairs(material, pairs, held, dict(dropped), fit, longest)
    say(f"{material.name}: {len(pairs):,} pairs to train on, {len(held):,} held out")
    reward, training, loss = _fitted(start, pairs, fit, asked.seed)
    named = public(str(asked.model)) or Path(str(asked.model)).name  # a path of this machine tells a reader elsewhere nothing
    facts: dict[str, Any] = {"name": material.name, "base": named, "base_sha256": weights_hash(str(material.base))}
    facts |= {"source": material.facts, "pairs": len(pairs), "heldout": len(held), "dropped": dict(dropped), "pooling": fit.pooling}
    facts |= {"training": training, "flops": start.ledger.canonical["reward"], "offset": 0.0}
    found = _measured(reward, [material.heldout[place] for place in kept], held, material)
    _save(out, reward, tokenizer, facts, found)
    say(f"trained: loss {loss:.3f} at the end, {facts['flops']:.4g} FLOPs\n" + "\n".join(measured.lines(found)))
    if fit.pooling != "last":
        say(f"pooling {fit.pooling!r}: transformers' classifiers read the last token, so only harness reads this folder.")
    say(f"Reward model: {out}")
    return out


def _refuse(fit: Fit, out: Path) -> None:
    from harness.training.reward import Pooling

    if fit.pooling not in get_args(Pooling):
        legal = get_args(Pooling)
        raise HarnessError(f"--pooling {fit.pooling!r} is unknown.{near(fit.pooling, legal)} Legal: {', '.join(legal)}.")
    if not (fit.epochs > 0 and fit.margin >= 0 and (fit.rate is None or fit.rate > 0)):
        raise HarnessError("--epochs and --learning-rate are above 0, --margin is 0 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"--out {out}: there is something already; name another folder, or remove it.")


def _refuse_pairs(
    material: Material, pairs: Sequence[TokenPair], held: Sequence[TokenPair], dropped: dict[str, int], fit: Fit, longest: int
) -> None:
    if not pairs:
        raise HarnessError(f"{material.name}: no pair is left to train on; of at most {longest} ids, left out: {dropped or 'none'}.")
    if not held:
        raise HarnessError(f"{material.name}: no pair is held out; raise --heldout, or bring more than {len(pairs)} pairs.")
    if fit.margin and (without := sum(pair.margin is None for pair in pairs)):
        said = f"{without} of {len(pairs)} pairs have no margin and no two ratings"
        raise HarnessError(f"{material.name}: {said}; leave --margin out, or leave these out.")


def _start(base: Path) -> tuple[Metered, Any, int]:
    """The model that is trained, in float32, its tokenizer, and how many ids it reads."""
    from harness.judges.classifier import longest
    from harness.models.loading import load_model, meter
    from harness.training.ledger import Ledger

    model, tokenizer = load_model(str(base), dtype="float32", vocabulary=(), seed=0)
    metered = meter(model, tokenizer, Ledger(float("inf")))
    metered.attach_head()
    return metered, tokenizer, longest(model, tokenizer)


def _fitted(model: Metered, pairs: Sequence[TokenPair], fit: Fit, seed: int) -> tuple[RewardModel, dict[str, Any], float]:
    """The reward model, not centred (a stock classifier's head has no bias), what it was trained with, and its last loss."""
    import torch

    from harness.training.reward import fit_reward_model

    batch = fit.batch or min(32, max(4, len(pairs) // 20))
    rate = fit.rate or (2e-3 if model.shape.layers < SMALL else 1e-5)
    options: dict[str, Any] = {"epochs": fit.epochs, "learning_rate": rate, "batch_pairs": batch, "margin": fit.margin}
    updates = fit_reward_model(model, pairs, generator=torch.Generator().manual_seed(seed), pooling=fit.pooling, **options)  # type: ignore[arg-type]
    loss = float("nan")
    while True:
        try:
            loss = next(updates).metrics["loss"]
        except StopIteration as end:
            return uncentred(end.value), {**options, "seed": seed}, loss


def uncentred(reward: RewardModel) -> RewardModel:
    """The same without the constants that pairs cannot know: its offset and, where one token is read, the bias of its head.

    That bias cancels in every gap, so its gradient is rounding, which Adam divides by its own size and follows.
    """
    import torch

    if reward.pooling == "last" and reward.model.head is not None:
        torch.nn.init.zeros_(reward.model.head.bias)
    return replace(reward, offset=0.0)


def _measured(reward: RewardModel, pairs: Sequence[Pair], ids: Sequence[TokenPair], material: Material) -> measured.Measured:
    """Held-out quality, read off the ids of these pairs."""
    from harness.training.reward import pair_group

    groups = [pair_group(pair) for pair in ids]
    with reward.model.ledger.phase("evaluation"):
        parts = [reward.scores(groups[at : at + BATCH]).double().cpu().numpy() for at in range(0, len(groups), BATCH)]
    return measured.measured(np.concatenate(parts).reshape(-1, 2), pairs, material.gold)


def _save(out: Path, reward: RewardModel, tokenizer: Any, facts: dict[str, Any], found: measured.Measured) -> None:
    """The folder, whole or not at all: weights, tokenizer, facts, card and curve."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".reward-", dir=out.parent))
    try:
        _weights(scratch, reward, tokenizer)
        numbers = {words: number._asdict() for words, number in found.numbers()}
        about = {**facts, "quality": numbers, "mean": found.mean}
        (scratch / FACTS).write_text(json.dumps(about, indent=1, default=str), encoding="utf-8")
        (scratch / CARD).write_text(card.text(facts, found, chat=bool(tokenizer.chat_template)), encoding="utf-8")
        measured.draw(found, f"Reward model of {facts['name']}", scratch)
        scratch.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        scratch.rename(out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _weights(folder: Path, reward: RewardModel, tokenizer: Any) -> None:
    """A sequence classifier where the last token is read, else the trunk and the head beside it."""
    from harness.models.storage import save_reward
    from harness.rewards.exported import classifier_of

    if reward.pooling != "last":
        save_reward(folder, reward, tokenizer, {})
        return
    model = classifier_of(reward, tokenizer)
    _refuse_other_scores(model, reward)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _refuse_other_scores(model: Any, reward: RewardModel) -> None:
    """HarnessError where the classifier says anything else than what was measured, of ids that are nobody's text."""
    import torch

    from harness.types import Group

    ids = tuple(range(3, 11))
    with torch.no_grad(), reward.model.ledger.phase("evaluation"):
        ours = float(reward.scores([Group(ids[:4], (ids[4:],))])[0])
        theirs = float(model(input_ids=torch.tensor([ids], device=model.device)).logits[0, 0])
    if abs(ours - theirs) > SAME * max(1.0, abs(ours)):
        said = f"its sequence classifier scores {theirs:.5f} where {ours:.5f} was trained"
        raise HarnessError(f"models of type {model.config.model_type}: {said}; take pooling 'mean'.")
