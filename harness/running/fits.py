"""Reward models that several runs of a seed fit alike: the first leaves its fit behind, the others are charged for it as for their own.

Settings that only later stages read do not change a fit, so a grid over them would repeat it bit for bit. What a run is charged, logs and
draws afterwards is the same either way; its seconds are those of the fit, whenever and by whichever run it was made.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.models import adapters, storage
from harness.models.loading import device
from harness.running.stages import REWARD_VERSION, Shared
from harness.store.cache import cache_root, key_of, stage
from harness.training.ledger import Ledger
from harness.training.reward import RewardModel
from harness.types import Update

if TYPE_CHECKING:
    from harness.types import Fitting

PHASE, FACTS, STATE, FOUND = "reward", "fit.json", "generator.safetensors", "found.json"
BOOKS = ("canonical", "executed", "wall_seconds", "cpu_seconds")


def reusing(
    shared: Shared, ledger: Ledger, generator: torch.Generator, *, checkpointing: bool = False
) -> Callable[[Mapping[str, Any], Fitting], Fitting]:
    """What a setup calls ``reuse``: a fit with these settings, made now or as an earlier run of the same seed, pairs and budget made it.

    A budget in seconds buys what it buys on the day, so there every run fits its own.
    """

    def reuse(settings: Mapping[str, Any], fit: Fitting) -> Fitting:
        if ledger.match == "device-seconds":
            return fit
        state = generator.get_state()
        where = {"pairs": shared.pair_folder.name, "limit": ledger.limit, "match": ledger.match, "checkpointing": checkpointing}
        where |= {"threads": torch.get_num_threads(), "device": device().type}  # whose seconds are charged again
        if shared.below is not None:  # the same SFT model and pairs serve whole models as well
            where |= {"adapter": shared.mode, "lora": list(shared.lora or ())}
        key = {"version": REWARD_VERSION, "settings": dict(settings), "generator": state.tolist(), **where}
        folder = cache_root() / "fit" / key_of(key)[:32]
        return _again(folder, shared, ledger, generator) if folder.exists() else _kept(folder, fit, shared, ledger, generator)

    return reuse


def _kept(folder: Path, fit: Fitting, shared: Shared, ledger: Ledger, generator: torch.Generator) -> Fitting:
    """The fit itself, written to ``folder`` once it is whole. Two runs that make it at the same time both do, and one is kept."""
    steps: list[dict[str, Any]] = []
    before = _books(ledger)
    while True:
        try:
            update = next(fit)
        except StopIteration as end:
            reward: RewardModel = end.value
            break
        after = _books(ledger)
        steps.append({**update.__dict__, "spent": _difference(after, before)})
        before = after
        yield update
    facts = {"steps": steps, "spent": _difference(_books(ledger), before), "pairs": list(ledger.met["pairs"])}
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fit-", dir=folder.parent))
    storage.save_reward(scratch, reward, shared.tokens.tokenizer, {}, shared.below)
    storage.save_tensor(scratch / STATE, generator.get_state())
    (scratch / FACTS).write_text(json.dumps(facts))
    try:
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError:
        shutil.rmtree(scratch)
    return reward


def _again(folder: Path, shared: Shared, ledger: Ledger, generator: torch.Generator) -> Fitting:
    """The updates, charges and draws of a fit that was kept, and its reward model."""
    facts = json.loads((folder / FACTS).read_text())
    for step in facts["steps"]:
        _spend(ledger, step["spent"])
        yield Update(step["phase"], step["step"], step["metrics"])
    _spend(ledger, facts["spent"])
    prompts = {pair.row: pair.prompt for pair in shared.pairs}
    ledger.met["pairs"].update(facts["pairs"])
    ledger.met["prompts"].update(prompts[row] for row in facts["pairs"])
    generator.set_state(storage.load_tensor(folder / STATE))
    reward, _ = storage.load_reward(folder, ledger)
    assert reward.model.head is not None
    adapters.train(reward.model.model)  # as after a fit: a value function may start from a copy
    reward.model.head.requires_grad_(True)
    return reward


def once(reward: RewardModel, key: Mapping[str, Any], look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``look`` finds of a reward model, kept for every run that has the very same one; ``key`` is what else decides it."""
    assert reward.model.head is not None
    digest = hashlib.sha256(f"{reward.pooling} {reward.offset!r}".encode())
    for tensor in (*reward.model.model.state_dict().values(), *reward.model.head.state_dict().values()):
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    folder = stage("probes", {**key, "reward": digest.hexdigest()}, lambda path: _write(path, look()))
    return json.loads((folder / FOUND).read_text())  # type: ignore[no-any-return]


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    (folder / FOUND).write_text(json.dumps(found))


def _books(ledger: Ledger) -> dict[str, float]:
    """What the phase has cost so far, and every count of the second page, each under the name of its book."""
    spent = {f"{book}/{PHASE}": getattr(ledger, book)[PHASE] for book in BOOKS}
    return spent | {f"counts/{name}": amount for name, amount in ledger.counts.items()}


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: amount - before.get(name, 0) for name, amount in after.items()}


def _spend(ledger: Ledger, amounts: Mapping[str, float]) -> None:
    for name, amount in amounts.items():
        book, _, entry = name.partition("/")
        getattr(ledger, book)[entry] += amount
