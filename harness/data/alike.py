"""What a tokenizer loses of texts: different ones that are the same ids, and folders that transformers reads by a class not their own.

Transformers chooses a tokenizer's class by the model's type for some types (Qwen2 is one), and that class builds a pipeline of its own
around the vocabulary in ``tokenizer.json``: what was made by hand for such a model may come out as another tokenizer, without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.types import Demonstration

SHOWN = 40  # characters of a text in a line
ASKED = 32  # rows whose responses are tried before anything is trained


def differ(one: str, other: str) -> bool:
    """Whether two texts are not the same but for white space."""
    return one.split() != other.split()


def explained(tokenizer: Any, one: str, other: str) -> str:
    """An example of two texts that are the same ids to a tokenizer, what they come back as, and the likely cause."""
    back = _decoded(tokenizer, _ids(tokenizer, one))
    return f"such as {_short(one)} and {_short(other)}, which come back as {back}: words or signs that its vocabulary has not"


def refuse_rebuilt(tokenizer: Any, rows: Sequence[Demonstration]) -> None:
    """HarnessError where most responses of the first rows are lost, and the folder's ``tokenizer.json`` itself gives them other ids."""
    file = Path(str(getattr(tokenizer, "name_or_path", ""))) / "tokenizer.json"
    if not file.is_file():
        return
    from tokenizers import Tokenizer

    own, asked = Tokenizer.from_file(str(file)), [text for row in rows[:ASKED] for text in row.responses]
    other = [text for text in asked if own.encode(text, add_special_tokens=False).ids != _ids(tokenizer, text)]
    lost = [text for text in other if not gives_back(tokenizer, text)]
    if len(lost) * 2 > len(asked):
        raise HarnessError(
            f"model folder {file.parent}: transformers reads it as a {type(tokenizer).__name__}, by the model's type, and not as its "
            f"tokenizer.json has it: {len(lost)} of {len(asked)} responses get other ids and are lost, {_short(lost[0])} comes back as "
            f"{_decoded(tokenizer, _ids(tokenizer, lost[0]))}. Give the folder a tokenizer of that kind, or choose another type of model."
        )


def gives_back(tokenizer: Any, text: str) -> bool:
    """Whether the ids of a text decode to it, but for white space and case."""
    found = tokenizer.decode(_ids(tokenizer, text), clean_up_tokenization_spaces=False)
    return "".join(found.split()).lower() == "".join(text.split()).lower()


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    return _short(str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= SHOWN else plain[:SHOWN] + "…")
