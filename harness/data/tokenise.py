"""From text to token ids, once, with one rule for everybody.

Prompt and response are tokenised jointly and cut where the joint ids leave the prompt's own: a tokenizer that merges across the boundary
would otherwise train on ids that generation never sees. A response ends in exactly one EOS, which is scored; text that a model was still
writing when it was cut off has none. Masks come from lengths, never from ``token != pad``, so a pad token that equals EOS changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.data import alike, chat
from harness.types import NO_RESPONSE, Demonstration, Group, Pair, Response, TokenPair

SAME_TEXT, SAME_IDS = "pairs: identical responses", "pairs: different responses that are the same tokens"


@dataclass(frozen=True)
class Tokens:
    """The tokenizer of a task: ids of prompts and responses within the task's limits, (prompt, response) in tokens.

    With ``templated`` prompts go through the model's chat template (harness/data/chat.py), which brings its own special tokens.
    """

    tokenizer: Any
    max_prompt: int
    max_response: int
    dropped: Counter[str] = field(default_factory=Counter)
    templated: bool = False
    _alike: list[tuple[str, str]] = field(default_factory=list)  # the first two different responses that are the same ids
    _given_back: dict[str, tuple[int, ...]] = field(default_factory=dict)  # prompts that were read out of ids: the same ids again

    @cached_property
    def eos(self) -> int:
        """The id that ends a response; asked for once, since a tokenizer looks it up anew each time."""
        return int(self.tokenizer.eos_token_id)

    def prompts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Ids of each prompt, with the tokenizer's own opening token."""
        if self.templated:
            rows = zip(texts, self._ids([self._rendered(text) for text in texts]), strict=True)
            return [self._given_back.get(text, tuple(row)) for text, row in rows]
        return [tuple(self._without_eos(row)) for row in self._ids([text.rstrip() for text in texts])]

    def _rendered(self, prompt: str) -> str:
        return prompt if prompt in self._given_back else chat.rendered(self.tokenizer, prompt)

    def groups(self, prompts: Sequence[str], responses: Sequence[Sequence[Response]]) -> list[Group]:
        """A group for every prompt with its responses; nothing is dropped here (see ``fits``)."""
        joint = [self._joint(p, r.text) for p, rs in zip(prompts, responses, strict=True) for r in rs if not r.ids]
        ids = iter(self._ids(joint)) if joint else iter(())
        groups = []
        for prompt, rs in zip(self.prompts(prompts), responses, strict=True):
            groups.append(Group(prompt, tuple(r.ids or self._response(prompt, next(ids), r.finished) for r in rs)))
        return groups

    def _joint(self, prompt: str, response: str) -> str:
        return self._rendered(prompt) + response.strip() if self.templated else _join(prompt, response)

    def _response(self, prompt: tuple[int, ...], joint: Sequence[int], finished: bool) -> tuple[int, ...]:
        """The joint ids after the prompt's; where the boundary merged, from the first id that differs. EOS exactly once.

        A response that is one token has no room for it.
        """
        body = self._without_eos(joint)
        start = next((i for i, (a, b) in enumerate(zip(prompt, body, strict=False)) if a != b), min(len(prompt), len(body)))
        return (*body[start:], self.eos) if finished and self.max_response > 1 else tuple(body[start:])

    def _without_eos(self, ids: Sequence[int]) -> list[int]:
        ids, eos = list(ids), self.eos
        while ids and ids[-1] == eos:
            ids.pop()
        return ids

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        rust = self._rust
        if rust is None:
            return self.tokenizer(list(texts), add_special_tokens=not self.templated)["input_ids"]  # type: ignore[no-any-return]
        return [encoding.ids for encoding in rust.encode_batch_fast(list(texts), add_special_tokens=not self.templated)]

    @cached_property
    def _rust(self) -> Any | None:
        """The tokenizer below, a third of whose time the masks and offsets take that nothing here reads; None where there is none."""
        rust = getattr(self.tokenizer, "backend_tokenizer", None)
        other = getattr(self.tokenizer, "split_special_tokens", False)  # set below at each of transformers' own calls
        return None if rust is None or other or rust.truncation or rust.padding else rust

    def fits(self, group: Group, what: str) -> bool:
        """Whether a row is used; over-long and empty rows are dropped, the same for every algorithm, and counted by reason."""
        reason = None
        if len(group.prompt) > self.max_prompt:
            reason = "prompt too long"
        elif any(len(r) > self.max_response for r in group.responses):
            reason = "response too long"
        elif any(len(r) == 0 or r == (self.eos,) for r in group.responses):
            reason = "response of no tokens"
        if reason:
            self.dropped[f"{what}: {reason}"] += 1
        return reason is None

    def pairs(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        """Every pair, or single labelled response, that fits; pairs whose responses are the same ids teach nothing and are dropped."""
        groups = self.groups([p.prompt for p in pairs], [[r for r in (p.chosen, p.rejected) if r != NO_RESPONSE] for p in pairs])
        kept: list[TokenPair] = []
        for pair, group in zip(pairs, groups, strict=True):
            if not self.fits(group, "labelled responses" if pair.single else "pairs"):
                continue
            if pair.single:
                chosen, rejected = (group.responses[0], ()) if pair.rejected == NO_RESPONSE else ((), group.responses[0])
            elif group.responses[0] == group.responses[1]:
                self._drop_alike(pair)
                continue
            else:
                chosen, rejected = group.responses
            kept.append(TokenPair(len(kept), group.prompt, chosen, rejected, pair.agreement, pair.margin, pair.weight))
        return kept

    def _drop_alike(self, pair: Pair) -> None:
        both = pair.chosen.text, pair.rejected.text
        self.dropped[SAME_IDS if alike.differ(*both) else SAME_TEXT] += 1
        if alike.differ(*both) and not self._alike:
            self._alike.append(both)

    def reasons(self) -> str:
        """What was dropped, by reason, in one line; with an example and the likely cause where different texts are the same ids."""
        example = "".join(f" ({alike.explained(self.tokenizer, *both)})" for both in self._alike)
        said = [f"{n} {reason}{example if reason == SAME_IDS else ''}" for reason, n in sorted(self.dropped.items())]
        return "; ".join(said) or "nothing was dropped"

    def demonstrations(self, rows: Sequence[Demonstration]) -> list[Group]:
        """Prompts with their references as groups; over-long references are dropped one by one, a row without any wholly."""
        groups = self.groups([d.prompt for d in rows], [[Response(r) for r in d.responses] for d in rows])
        kept = []
        for group in groups:
            responses = tuple(r for r in group.responses if self.fits(Group(group.prompt, (r,)), "demonstrations"))
            if responses:
                kept.append(Group(group.prompt, responses))
        return kept

    def prompt_text(self, ids: Sequence[int]) -> str:
        """The words of a prompt, without the tokenizer's own opening token; a chat prompt as its template renders it."""
        if self.templated:
            text = str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
            self._given_back[text] = tuple(ids)
            return text
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()

    def text(self, ids: Sequence[int]) -> str:
        """The words of a response, EOS and what follows it left out; other special tokens stay visible."""
        body = list(ids)
        if self.eos in body:
            body = body[: body.index(self.eos)]
        return str(self.tokenizer.decode(body, skip_special_tokens=False, clean_up_tokenization_spaces=False)).strip()


def _join(prompt: str, response: str) -> str:
    """One space at the boundary, whatever the file had."""
    return f"{prompt.rstrip()} {response.strip()}"
