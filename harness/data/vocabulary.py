"""What the files of a model's folder say of its tokens: their ids, how many it puts out, whether one of them is EOS. No torch.

Transformers makes the tokenizer, so some of it shows there alone. What is said here is what it cannot change; the rest is left to the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints import base_of, has_template, is_adapter, tokenizer_of
from harness.errors import HarnessError

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
GENERIC = ("TokenizersBackend", "PreTrainedTokenizerFast")  # classes that have no EOS but the one that files name
TYPED = ("qwen", "hyperclovax")  # types for which transformers 5 takes a class with an EOS of its own, whatever the folder names


def words(folder: Path) -> Mapping[str, int] | None:
    """Tokens and their ids in a folder's ``tokenizer.json``; None where it holds no table of them."""
    try:
        core = json.loads((tokenizer_of(folder) / "tokenizer.json").read_text(encoding="utf-8"))
        found = dict(core["model"]["vocab"])
        return found | {each["content"]: each["id"] for each in core.get("added_tokens") or ()}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_other(what: str, theirs: Mapping[str, int], ours: Mapping[str, int], whose: str) -> None:
    """HarnessError where two vocabularies differ, with how many tokens do: a KL needs the same."""
    differing = sorted(word for word in theirs.keys() | ours.keys() if theirs.get(word) != ours.get(word))
    if differing:
        said = f"{len(differing)} of {len(ours)} tokens are missing, added or have another id, such as {differing[0]!r}"
        raise HarnessError(f"{what}: its vocabulary is not {whose}: {said}. KL needs the same tokens.")


def refuse_endless(what: str, folder: Path, *, templated: bool) -> None:
    """HarnessError where the files of a model's folder say that no response can end, so that loading or sampling would refuse it.

    A chat template may end a turn by a token of its own: one excuses what is loaded, and the model whose prompts are ``templated``.
    """
    loaded = base_of(folder) if is_adapter(folder) else folder
    if (not templated and _endless(tokenizer_of(folder))) or (_endless(loaded) and not has_template(loaded)):
        raise HarnessError(f"{what}: the tokenizer has no EOS token, so no response can end; name one as eos_token in {SETTINGS[0]}.")


def _endless(folder: Path) -> bool:
    """Whether files say so: by null, or by no word of it where the class has none of its own."""
    said = [_object(folder / name) for name in SETTINGS]
    if any(each.get("eos_token") is not None for each in said):
        return False
    if any("eos_token" in each for each in said):
        return True
    typed = str(_object(folder / "config.json").get("model_type") or "").startswith(TYPED)
    return said[0].get("tokenizer_class") in GENERIC and not typed


def unsure(folder: Path) -> set[str]:
    """Tokens that settings beside ``tokenizer.json`` name and its table lacks: transformers adds them, by ids that are not said here."""
    place = tokenizer_of(folder)
    settings = [item for each in SETTINGS for item in _object(place / each).items()]
    named = {text for name, value in settings if "token" in name and "tokenizer" not in name for text in _texts(value)}
    return (named | set(_object(place / "added_tokens.json"))) - set(words(folder) or ())


def _texts(value: Any) -> set[str]:
    """The texts of a special token's setting, be it a text, an object with ``content``, or several of them."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return _texts(value.get("content")) | {text for each in value.values() if not isinstance(each, str) for text in _texts(each)}
    return {text for each in value for text in _texts(each)} if isinstance(value, list) else set()


def outputs(folder: Path) -> int | None:
    """How many tokens a model's output has, padding among them, as ``config.json`` has it; None where it does not say."""
    found = _object((base_of(folder) if is_adapter(folder) else folder) / "config.json").get("vocab_size")
    return found if isinstance(found, int) else None


def refuse_other_width(what: str, theirs: int | None, ours: int | None, whose: str) -> None:
    """HarnessError where two models put out other numbers of tokens; where one is not known, nothing is said."""
    if theirs is not None and ours is not None and theirs != ours:
        raise HarnessError(f"{what}: its output has {theirs:,} tokens and {whose} {ours:,}; KL needs the same tokens.")


def _object(file: Path) -> Mapping[str, Any]:
    """The object in a file of JSON; an empty one where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
