"""A bandit with contexts: prompts, responses of one token each, a reference's log-probs and a known reward. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_softmax

from harness.types import Array, Sample, TokenPair

PAD, BOS, EOS = 0, 1, 2
FIRST = 3  # the id of the first prompt; responses come behind the last
COVERED = 2  # responses per prompt that are covered at least, or no pair could be made of them


@dataclass(frozen=True)
class World:
    """``reference`` holds log ref(y | x), ``reward`` r(x, y) in nats, both (prompts, responses); prompts are equally frequent."""

    reference: Array
    reward: Array

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """Token ids of each prompt."""
        return [(BOS, FIRST + row) for row in range(len(self.reference))]

    @property
    def responses(self) -> list[tuple[int, ...]]:
        """Token ids of each response: one."""
        return [(FIRST + len(self.reference) + column,) for column in range(self.reference.shape[1])]

    @property
    def vocabulary(self) -> int:
        """How many token ids there are: padding, beginning, end, prompts, responses."""
        return FIRST + sum(self.reference.shape)

    def row(self, prompt: Sequence[int]) -> int:
        """Which prompt these ids are."""
        return int(prompt[-1]) - FIRST

    def column(self, response: Sequence[int]) -> int:
        """Which response these ids are."""
        return int(response[0]) - FIRST - len(self.reference)

    def score(self, prompts: Sequence[tuple[int, ...]], samples: Sequence[Sample]) -> Array:
        """The exact reward of each sample, (samples,)."""
        places = [(self.row(prompt), self.column(sample.ids)) for prompt, sample in zip(prompts, samples, strict=True)]
        return np.array([self.reward[place] for place in places])


def drawn(seed: int = 0, *, prompts: int = 4, responses: int = 6) -> World:
    """A world with rewards and reference logits that are standard normal, as 16 x 16 ones are in the design's fixtures."""
    generator = np.random.default_rng(seed)
    reward = generator.normal(size=(prompts, responses))
    return World(log_softmax(generator.normal(size=(prompts, responses)), axis=1), reward)


def preferred(world: World) -> Array:
    """p(y beats y' | x) of a Bradley-Terry annotator, (prompts, responses, responses)."""
    return np.asarray(expit(world.reward[:, :, None] - world.reward[:, None, :]))


def covered(world: World, coverage: float) -> Array:
    """Whether a response is ever compared, (prompts, responses): the reference's likeliest, that share of each prompt's, two at least."""
    kept = max(COVERED, round(coverage * world.reference.shape[1]))
    ranks = np.argsort(np.argsort(-world.reference, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(ranks < kept, dtype=np.float64)


def population(world: World, preferences: Array | None = None) -> list[TokenPair]:
    """Every ordered pair of different responses, weighted by ref(y) ref(y') p(y beats y'): a mean over it is the loss's expectation.

    ``preferences`` replace the Bradley-Terry annotator's. ``agreement`` is p of the label, ``margin`` the difference of the rewards.
    Pairs of a response with itself are left out: their gap is 0 whatever the policy is.
    """
    p, ref = preferred(world) if preferences is None else preferences, np.exp(world.reference)
    return [
        _pair(world, row, x, y, z, p, float(ref[x, y] * ref[x, z] * p[x, y, z]))
        for row, (x, y, z) in enumerate((x, y, z) for x, y, z in np.ndindex(p.shape) if y != z and p[x, y, z] > 0)
    ]


def sampled(
    world: World, pairs: int, generator: np.random.Generator, *, labels: str = "bt", coverage: float = 1.0, flipped: float = 0.2
) -> list[TokenPair]:
    """Finite data: ``pairs`` comparisons of two different responses drawn from the reference, each labelled once.

    ``labels``: ``bt`` draws the label with the Bradley-Terry probability, ``deterministic`` prefers the higher reward, ``noisy`` does so
    too and then turns a share ``flipped`` of labels round. With ``coverage`` below 1 only that share of each prompt's responses, two at
    least and the reference's likeliest, is ever compared; a loss learns of the others by nothing but normalisation.
    """
    p, label = preferred(world), LABELS[labels]
    seen = covered(world, coverage)
    found = []
    for row in range(pairs):
        x = int(generator.integers(len(world.reference)))
        among = np.argsort(-world.reference[x], kind="stable")[: int(seen[x].sum())]
        weights = np.exp(world.reference[x, among])
        y, z = (int(each) for each in generator.choice(among, 2, replace=False, p=weights / weights.sum()))
        if not label(float(p[x, y, z]), generator, flipped):
            y, z = z, y
        found.append(_pair(world, row, x, y, z, p, 1.0))
    return found


def _drawn(p: float, generator: np.random.Generator, flipped: float) -> bool:
    return bool(generator.random() < p)


def _better(p: float, generator: np.random.Generator, flipped: float) -> bool:
    return p >= 0.5


def _noisy(p: float, generator: np.random.Generator, flipped: float) -> bool:
    return (p >= 0.5) != bool(generator.random() < flipped)


LABELS: Mapping[str, Callable[[float, np.random.Generator, float], bool]] = {"bt": _drawn, "deterministic": _better, "noisy": _noisy}


def _pair(world: World, row: int, x: int, y: int, z: int, p: Array, weight: float) -> TokenPair:
    chosen, rejected = world.responses[y], world.responses[z]
    margin = float(world.reward[x, y] - world.reward[x, z])
    return TokenPair(row, world.prompts[x], chosen, rejected, float(p[x, y, z]), margin, weight)
