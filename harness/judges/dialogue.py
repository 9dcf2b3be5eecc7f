"""A dialogue written as one text, as the HH data has it, in turns (Bai et al. 2022, arXiv 2204.05862)."""

from __future__ import annotations

import re

SPEAKERS = {"Human": "user", "Assistant": "assistant"}
OPENING = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")


def turns(prompt: str) -> list[dict[str, str]]:
    """The turns of a prompt as chat messages: those of ``Human:`` and ``Assistant:`` where it opens with one, else one of the user.

    The last turn of such a dialogue is the opening of the response and holds nothing; it is left out.
    """
    text = prompt.strip()
    found = [*OPENING.finditer(text)]
    if not found or found[0].start() != 0:
        return [{"role": "user", "content": text}]
    ends = [*(each.start() for each in found[1:]), len(text)]
    said = [(SPEAKERS[each[1]], text[each.end() : end].strip()) for each, end in zip(found, ends, strict=True)]
    spoken = said[:-1] if said[-1] == ("assistant", "") else said
    return [{"role": role, "content": content} for role, content in spoken] or [{"role": "user", "content": text}]
