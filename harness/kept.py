"""The policies that finished runs leave behind, so that they can be measured again without being trained again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.models.metered import Metered
from harness.models.storage import load_model, save_model
from harness.store.records import POLICY
from harness.training.ledger import Ledger

SMALL = 5_000_000  # weights up to which "auto" keeps a policy: 20 MB a cell in float32


def keeps(experiment: Experiment, weights: int) -> bool:
    """Whether a run of this experiment saves its policy, which has so many weights."""
    return experiment.keep_policies == "all" or (experiment.keep_policies == "auto" and weights < SMALL)


def keep(policy: Metered, tokenizer: object, folder: Path) -> None:
    """Save a policy below a cell's folder, whole or not at all: weights and tokenizer as a transformers folder in safetensors."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{POLICY}-", dir=folder))
    try:
        save_model(scratch, policy.model, tokenizer)
        scratch.chmod(0o755)
        shutil.rmtree(folder / POLICY, ignore_errors=True)
        scratch.rename(folder / POLICY)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def load(folder: Path, ledger: Ledger) -> Metered:
    """The policy that a cell's folder keeps, charging ``ledger``.

    Raises:
        HarnessError: the run kept none.
    """
    if not (folder / POLICY).is_dir():
        raise HarnessError(f'{folder.name} kept no policy: run it again with --force and keep_policies = "all" (--keep-policies all).')
    return load_model(folder / POLICY, ledger)[0]
