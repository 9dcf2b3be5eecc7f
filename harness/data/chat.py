r"""Chat templates: a prompt as the model's own template renders it, and the token by which the template ends an assistant's turn.

A prompt is one user turn, or a dialogue as HH writes it ("\n\nHuman: ...", "\n\nAssistant: ..."), whose open last turn is the response.
The response follows the generation prompt as the model would write it, so what is learnt is what is sampled.
"""

from __future__ import annotations

import re
from typing import Any

from harness.errors import HarnessError

TURN = re.compile(r"(?:^|\n\n)(Human|Assistant|System):")
ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}
MARKER = "answer"


def messages(prompt: str) -> list[dict[str, str]]:
    """The turns of a prompt, the last of them the one that is answered."""
    text = prompt.strip()
    if not TURN.match(text):
        return [{"role": "user", "content": text}]
    pieces = TURN.split(text)[1:]
    turns = [{"role": ROLES[role], "content": said.strip()} for role, said in zip(pieces[::2], pieces[1::2], strict=True)]
    return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns


def rendered(tokenizer: Any, prompt: str) -> str:
    """The prompt as text with its generation prompt; HarnessError where the template refuses its turns."""
    return _applied(tokenizer, messages(prompt), add_generation_prompt=True)


def adopt(tokenizer: Any, model: str) -> Any:
    """The tokenizer, its EOS the token by which the template ends an assistant's turn; HarnessError where there is no template."""
    if not getattr(tokenizer, "chat_template", None):
        said = "a base model; choose one tuned on chat, give it a chat template, or say --chat plain"
        raise HarnessError(f"model {model}: its tokenizer has no chat template, and this data is chat: {said}.")
    both = [{"role": "user", "content": "question"}, {"role": "assistant", "content": MARKER}]
    tail = _applied(tokenizer, both, add_generation_prompt=False).rpartition(MARKER)[2]
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = next((token for token in ids if token in special), None)
    if end is None and tokenizer.eos_token_id is None:
        raise HarnessError(f"model {model}: neither its chat template nor its tokenizer ends a turn by a token, so no response can end.")
    if end is not None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    return tokenizer


def _applied(tokenizer: Any, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))
    except (TemplateError, ValueError) as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise HarnessError(f"the model's chat template refuses turns of {roles}: {error}") from error
