"""The nouns in token ids: a prompt with its responses, a labelled pair, a sample. ``harness.types`` has them with all the others."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Token ids of one prompt and of the responses scored with it; the prompt is processed once for all of them."""

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]


class TokenPair(NamedTuple):
    """A tokenised pair; ``row`` is its place in the data set, whatever the order of batches.

    Of a response that was labelled alone, desirable or not, the other side is ().
    """

    row: int
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    agreement: float | None = None
    margin: float | None = None
    weight: float = 1.0

    @property
    def sides(self) -> tuple[int, ...]:
        """Which responses there are: 0 chosen, 1 rejected."""
        return tuple(side for side, ids in enumerate((self.chosen, self.rejected)) if ids)

    @property
    def single(self) -> bool:
        """Whether it is one labelled response."""
        return not (self.chosen and self.rejected)

    @property
    def group(self) -> Group:
        """The prompt with the responses that there are, chosen before rejected."""
        return Group(self.prompt, tuple(ids for ids in (self.chosen, self.rejected) if ids))


class Sample(NamedTuple):
    """One sampled response: ids with EOS where it was emitted, log pi of each id under the sampled distribution (nats)."""

    ids: tuple[int, ...]
    logps: tuple[float, ...]
    finished: bool
