"""What data sets come down to: rows with a preference or a reference, and single responses with a verdict or a rating."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One prompt with what the data say about it: a judged pair, a reference response, or both.

    ``margin`` is how much better the chosen response was rated, in the raters' own unit; ``agreement`` the share of annotators who chose
    it. ``source`` names the data set of a mixture that the row is from, and is empty where there is only one. Where data say of responses
    one by one whether they are desirable, a row has one of both: ``chosen`` where it is, ``rejected`` where it is not.
    """

    prompt: str
    chosen: str | None = None
    rejected: str | None = None
    reference: str | None = None
    margin: float | None = None
    agreement: float | None = None
    source: str = ""

    @property
    def judged(self) -> bool:
        """Whether anybody said what they prefer, be it of two responses or of one."""
        return self.chosen is not None or self.rejected is not None

    @property
    def single(self) -> bool:
        """Whether it is one response with its label, which nothing was compared with."""
        return (self.chosen is None) != (self.rejected is None)


@dataclass(frozen=True)
class Rated:
    """One response with what somebody said of it alone: whether it is desirable, or a rating, higher being better."""

    prompt: str
    response: str
    desirable: bool | None = None
    rating: float | None = None
