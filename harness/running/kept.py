"""The policies that finished runs leave behind, so that they can be measured again without being trained again."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from harness.checkpoints import base_of, is_adapter
from harness.errors import HarnessError
from harness.models.metered import Metered
from harness.models.storage import FACTS, load_model, save_model
from harness.planning.experiment import Experiment
from harness.planning.room import SMALL
from harness.store.hashes import folder_hash, tensors_hash
from harness.store.records import ON_THE_WAY, POLICY
from harness.training.ledger import Ledger

__all__ = ["ON_THE_WAY", "POLICY", "SMALL", "keep", "keeps", "load", "refuse_other_base"]

CARD, HASH = "README.md", "base_sha256"


def keeps(experiment: Experiment, weights: int) -> bool:
    """Whether a run of this experiment saves the policy that it ends with, which has so many weights."""
    return experiment.keep_policies in ("final", "best", "all") or (experiment.keep_policies == "auto" and weights < SMALL)


def keep(policy: Metered, tokenizer: object, folder: Path, *, name: str = POLICY, base: str | None = None, told: str | None = None) -> None:
    """Save a policy below a cell's folder, whole or not at all: a transformers folder, or an adapter over ``base``; safetensors.

    ``told`` is the model card. An adapter says by their hash which weights it is over.
    """
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{POLICY}-", dir=folder))
    try:
        save_model(scratch, policy.model, tokenizer, base)
        if base is not None and is_adapter(scratch):
            facts = json.loads((scratch / FACTS).read_text())
            (scratch / FACTS).write_text(json.dumps({**facts, HASH: tensors_hash(base)}))
        if told is not None:
            (scratch / CARD).write_text(told, encoding="utf-8")
        scratch.chmod(0o755)
        shutil.rmtree(folder / name, ignore_errors=True)
        scratch.rename(folder / name)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def load(folder: Path, ledger: Ledger) -> Metered:
    """The policy that a cell's folder keeps, charging ``ledger``.

    Raises:
        HarnessError: the run kept none, or it is an adapter whose base is gone or has other weights now.
    """
    if not (folder / POLICY).is_dir():
        raise HarnessError(f'{folder.name} kept no policy: run it again with --force and keep_policies = "final" (--keep final).')
    refuse_other_base(folder / POLICY)
    return load_model(folder / POLICY, ledger)[0]


def refuse_other_base(folder: Path) -> None:
    """HarnessError where a folder holds an adapter that was made over other weights than its base has; the rest passes."""
    file = folder / FACTS
    if not is_adapter(folder) or not file.is_file():
        return
    made, found = json.loads(file.read_text()).get(HASH), base_of(folder)
    known = (tensors_hash(str(found)), folder_hash(str(found)))  # the second is of the whole folder, as adapters were kept before
    if made is not None and made not in known:
        raise HarnessError(f"adapter {folder}: made over weights {made[:8]}, and its base {found} has others; an adapter fits one base.")
