"""The bandit's world: its words, its rewards, who writes its demonstrations, and the comparisons that annotators make of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.errors import HarnessError
from harness.types import Array, Pair, Response

LARGEST = 64  # prompts or responses: a table of 64 x 64 x 64 numbers is still small
MOST = 1_000_000  # pairs of finite data


@dataclass(frozen=True)
class Bandit:
    """``rows`` prompts x0, x1, ... and ``columns`` responses y0, y1, ... with rewards and a writer's logits that are standard normal.

    Raises HarnessError where there are too few to compare or too many to enumerate.
    """

    rows: int
    columns: int
    seed: int

    def __post_init__(self) -> None:
        for name, value, least in (("prompts", self.rows, 1), ("responses", self.columns, 2)):
            if not least <= value <= LARGEST:
                raise HarnessError(f"bandit.{name}: {value} is not from {least} to {LARGEST}.")
        if self.seed < 0:
            raise HarnessError(f"bandit.world: {self.seed} is negative; worlds are numbered from 0.")

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """The words that ask."""
        return tuple(f"x{row}" for row in range(self.rows))

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """The words that answer."""
        return tuple(f"y{column}" for column in range(self.columns))

    @cached_property
    def _drawn(self) -> tuple[Array, Array]:
        """Rewards in nats and log-probs of the writer, both (prompts, responses): the fixtures of ``harness.exact.world.drawn``."""
        generator = np.random.default_rng(self.seed)
        reward, logits = (generator.normal(size=(self.rows, self.columns)) for _ in range(2))
        return reward, logits - np.log(np.exp(logits).sum(1, keepdims=True))

    @property
    def reward(self) -> Array:
        """r(x, y) in nats, (prompts, responses)."""
        return self._drawn[0]

    @property
    def writer(self) -> Array:
        """Log-probs of whoever writes the demonstrations, (prompts, responses)."""
        return self._drawn[1]

    @property
    def likeliest(self) -> tuple[str, ...]:
        """What the writer is most likely to answer to each prompt."""
        return tuple(self.responses[column] for column in self.writer.argmax(1))

    def reward_of(self, prompt: str, response: str) -> float:
        """The reward of a response, nats; of what is none, that of the prompt's worst less 1."""
        row, said = self.prompts.index(prompt), response.strip()
        if said not in self.responses:
            return float(self.reward[row].min() - 1)
        return float(self.reward[row, self.responses.index(said)])

    def written(self, generator: np.random.Generator, n: int) -> list[tuple[str, str]]:
        """Returns n prompts, all equally likely, each with an answer of the writer's."""
        rows = generator.integers(self.rows, size=n)
        reached = np.exp(self.writer).cumsum(1)[rows] < generator.random(n)[:, None]
        columns = np.minimum(reached.sum(1), self.columns - 1)
        return [(self.prompts[row], self.responses[column]) for row, column in zip(rows, columns, strict=True)]


@dataclass(frozen=True)
class Data:
    """What annotators compare, and how they say what is better."""

    labels: str
    flipped: float
    coverage: float

    def __post_init__(self) -> None:
        if not 0 <= self.flipped < 0.5:
            raise HarnessError(f"bandit.flipped: {self.flipped:g} is not a share from 0 to below 0.5; beyond it labels say the opposite.")
        if not 0 < self.coverage <= 1:
            raise HarnessError(f"bandit.coverage: {self.coverage:g} is not a share above 0 and up to 1.")

    def kept(self, known: Bandit) -> int:
        """How many responses of each prompt are ever compared: two at least, or there would be no pair."""
        return max(2, round(self.coverage * known.columns))

    def most(self, known: Bandit) -> int:
        """How many pairs there are: of the population every ordered one of what is compared."""
        kept = self.kept(known)
        return known.rows * kept * (kept - 1) if self.labels == "population" else MOST


def pairs(known: Bandit, data: Data, generator: np.random.Generator, reference: Array, n: int) -> list[Pair]:
    """Returns the training pairs given log ref, (prompts, responses): of finite data n of them, each response drawn from the reference.

    Weights of the population have mean 1, so that they mean the same in a world of another size.
    """
    from harness.exact import world  # late: it loads scipy, which naming a task needs not

    exact = world.World(reference, known.reward)
    if data.labels == "population":
        seen = world.covered(exact, data.coverage)
        both = seen[:, :, None] * seen[:, None, :]
        rows = world.population(exact, world.preferred(exact) * both)
    else:
        rows = world.sampled(exact, n, generator, labels=data.labels, coverage=data.coverage, flipped=data.flipped)
    mean = sum(row.weight for row in rows) / len(rows)
    places = [(exact.row(row.prompt), exact.column(row.chosen), exact.column(row.rejected)) for row in rows]
    return [
        _pair(known, *place, agreement=row.agreement, margin=row.margin, weight=row.weight / mean)
        for place, row in zip(places, rows, strict=True)
    ]


def ordered(known: Bandit) -> list[Pair]:
    """Returns every two responses of every prompt, the better first: what a policy's own preferences are held against."""
    found = []
    for row, rewards in enumerate(known.reward):
        for better, worse in np.argwhere(rewards[:, None] > rewards[None, :]):
            margin = float(rewards[better] - rewards[worse])
            found.append(_pair(known, row, int(better), int(worse), agreement=1 / (1 + np.exp(-margin)), margin=margin, weight=1.0))
    return found


def _pair(known: Bandit, row: int, better: int, worse: int, *, agreement: float | None, margin: float | None, weight: float) -> Pair:
    better_one, worse_one = (Response(known.responses[column], finished=False) for column in (better, worse))
    said = None if agreement is None else float(agreement)
    return Pair(known.prompts[row], better_one, worse_one, agreement=said, margin=margin, weight=weight)
