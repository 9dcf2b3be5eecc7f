"""Where a model lies on this machine: a folder, a hub id in the Hugging Face cache, or an adapter over another model. No torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
OWN_BASE = "base"  # below an adapter's folder, where its base is in no other place
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?")  # ./here and ../there are folders


def place(model: str) -> Path | None:
    """The folder of a model: its own, or the snapshot of a hub id (``OWNER/NAME`` or ``OWNER/NAME@REVISION``) in the cache; else None."""
    if Path(model).is_dir():
        return Path(model)
    if not HUB_ID.fullmatch(model):
        return None
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = model.partition("@")
    for file in ("config.json", ADAPTER):
        found = try_to_load_from_cache(name, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found).parent
    return None


def absent(model: str) -> HarnessError:
    """What is raised for a hub id that the cache does not hold: what to download, and where it belongs."""
    from huggingface_hub.constants import HF_HUB_CACHE

    name, _, revision = model.partition("@")
    command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
    return HarnessError(
        f"Model {model!r} is neither a folder nor in the Hugging Face cache {HF_HUB_CACHE}; "
        f"fetch it on a machine with a network ({command}) and copy the cache, or name a folder that holds it."
    )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter and no model of its own."""
    return (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path) -> Path:
    """The folder of the model that an adapter is over, as its configuration names it; HarnessError where it is not on this machine."""
    if (folder / OWN_BASE).is_dir():
        return folder / OWN_BASE
    named = base_named(folder)
    found = place(named) if named else None
    if found is None:
        raise HarnessError(f"adapter {folder}: its base {named or None!r} is not on this machine; fetch it, or correct {ADAPTER}.")
    if is_adapter(found):
        raise HarnessError(f"adapter {folder}: its base {found} is an adapter too; merge that one first.")
    return found


def base_named(folder: Path) -> str:
    """The model that an adapter is over, as its configuration names it; empty where it names none, HarnessError where it cannot be read."""
    return str(_configuration(folder).get("base_model_name_or_path") or "")


def adapter_facts(folder: Path) -> dict[str, Any]:
    """The configuration of an adapter's folder; HarnessError where it is not LoRA or has no safetensors weights."""
    facts = _configuration(folder)
    if facts.get("peft_type") != "LORA" or facts.get("modules_to_save"):
        raise HarnessError(f"adapter {folder}: {facts.get('peft_type')} with modules of its own is not supported; plain LORA is wanted.")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise HarnessError(f"adapter {folder}: no {ADAPTER_WEIGHTS}; pickled adapters are never loaded.")
    return facts


def _configuration(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"adapter {folder}: {ADAPTER} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise HarnessError(f"adapter {folder}: {ADAPTER} holds no object.")
    return facts


def lasting(model: str) -> str:
    """The name by which an adapter may call a model that is here: a hub id as it is, a folder by its whole path.

    An id at a revision is called by its snapshot in the hub's cache, for what loads adapters elsewhere reads no revision of a base.
    """
    folder = place(model)
    return model if folder is None or (not Path(model).is_dir() and "@" not in model) else str(folder.resolve())


def public(model: str) -> str:
    """The id by which a hub knows a model, its revision left out; empty for a preset or a folder, whose path means nothing elsewhere."""
    return "" if Path(model).is_dir() or not HUB_ID.fullmatch(model) else model.partition("@")[0]


def has_template(folder: Path) -> bool:
    """Whether the tokenizer of a model brings a chat template."""
    place = tokenizer_of(folder)
    if any((place / name).is_file() for name in TEMPLATES):
        return True
    try:
        return bool(json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return False


def tokenizer_of(folder: Path) -> Path:
    """Where the tokenizer of a model lies: with it, or with its base where it is an adapter that brings none."""
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    return folder if own or not is_adapter(folder) else base_of(folder)
