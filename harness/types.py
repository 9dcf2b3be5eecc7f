"""The nouns: frozen values that the rooms exchange. Importing this module imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.tokens import Group as Group
from harness.tokens import Sample as Sample
from harness.tokens import TokenPair as TokenPair

if TYPE_CHECKING:
    import torch

    from harness.models.metered import Metered
    from harness.training.ledger import Ledger
    from harness.training.reward import RewardModel

    Fitting = Generator["Update", None, RewardModel]  # an update per optimiser step, and what was fitted

Array = NDArray[np.float64]
Setting = int | float | str | bool
Twin = Callable[[str, str], str | None]  # of a prompt's response: the same with one thing added or made wrong, None where it cannot be
FITTED_JUDGE = "judge"  # the column of a reward model that judges a task without a score
ROUNDING = 1e-3  # nats: what float32 forwards of other shapes leave of equal log-probs; nearer than this is a tie


@dataclass(frozen=True)
class Response:
    """A response to a prompt. ``ids`` is empty for text from a file; ``finished`` says whether EOS ended it."""

    text: str
    ids: tuple[int, ...] = ()
    finished: bool = True


NO_RESPONSE = Response("", finished=False)  # stands in a pair where there is none, for a response that was labelled alone


@dataclass(frozen=True)
class Demonstration:
    """A prompt with one or more reference responses, the material of supervised fine-tuning and the data set's opponent.

    ``source`` names the part of a mixture that it is from, so that results can be given per source; '' where there is one source.
    """

    prompt: str
    responses: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True)
class Pair:
    """A labelled comparison. ``agreement`` and ``margin`` are what annotators said, where they said it.

    Where data label responses one by one it is half of one: ``chosen`` holds a desirable response or ``rejected`` an undesirable one,
    and the other is ``NO_RESPONSE``.
    """

    prompt: str
    chosen: Response
    rejected: Response
    agreement: float | None = None
    margin: float | None = None
    weight: float = 1.0

    @property
    def single(self) -> bool:
        """Whether it is one labelled response."""
        return NO_RESPONSE in (self.chosen, self.rejected)


class Scorer(Protocol):
    """Scores responses: one array of shape (responses,) per name; those that the task's ``judges`` name are rewards, higher is better.

    Of no responses it returns empty arrays under the same names.
    """

    def __call__(self, prompts: Sequence[str], responses: Sequence[Response]) -> Mapping[str, Array]:
        """The judging scores and their components by name."""
        ...


@dataclass(frozen=True)
class Probe:
    """A safety slice: prompts, every canonical refusal of the world, and a classifier of whatever else is said.

    ``categories`` are the values that ``classify`` may return. ``worse`` tells the direction of a regression: ``less_refusal`` for
    harmful prompts, ``more_refusal`` for borderline ones. ``groups`` names each prompt's category: a mean may hide one bad one.
    """

    name: str
    prompts: Sequence[str]
    refusals: tuple[str, ...]
    classify: Callable[[str, Response], str]
    categories: tuple[str, ...] = ("refusal", "comply", "benign", "broken")
    worse: str = "less_refusal"
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Defaults:
    """What a task proposes where the experiment says nothing. All strings and numbers: harness/ knows no names.

    ``kl_range``, in nats, is what frontiers of all algorithms are scored over.
    """

    algorithms: tuple[str, ...]
    model: str
    budget: str = "2epochs"
    pairs: int = 2000
    agreement: float = 0.85
    sft_steps: int = 1000
    sft_batch: int = 16
    sft_learning_rate: float = 3e-3
    batch_pairs: int = 32
    evaluation_prompts: int = 384
    mark_prompts: int = 128
    tuning_prompts: int = 128
    tuning_pairs: int = 2000
    probe_prompts: int = 512
    marks: tuple[float, ...] = (0.25, 0.5, 0.75)
    opponent_samples: int = 4
    frontier_samples: int = 32
    kl_range: float = 3.0
    seeds: int = 1
    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """Every prompt and every response of a task that has no others, one word each, the responses last in its vocabulary.

    ``pairs(generator, reference, n)`` are the training pairs, given log ref of every response, (prompts, responses), nats: n of them, or
    where ``whole`` says so all that there are, weighted, ``most`` in number.
    """

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    pairs: Callable[[np.random.Generator, Array, int], list[Pair]]
    most: int
    whole: bool = False


@dataclass(frozen=True)
class Task:
    """A task is a value: where text comes from and how it is judged. Splits are disjoint by prompt.

    ``demonstrations(generator, n)`` and ``training_prompts(generator, n)`` return n rows of the training split (fresh ones where the
    task can make them, else drawn in reshuffled epochs). ``pairs`` is None where pairs are to be sampled from the SFT reference and
    labelled by a Bradley-Terry draw from ``score``. ``judge_pairs`` are pairs disjoint from all others on which a reward model is
    fitted to judge a task that has no ``score``; ``tuning_pairs`` are disjoint from those too, for the judge that settings are chosen by,
    wherever ``pairs`` is not None. Either all of them compare two responses, or each labels one. ``judges`` names the columns of
    ``score`` that may judge: the first is the reward that labels pairs and judges where nobody says otherwise, the others are second
    opinions that are always recorded beside it.
    What a world may bring beyond that: ``annotators`` weigh the columns of ``score`` each in their own way; ``write(generator, prompts)``
    returns a fresh response of the data's own writer to each; ``own_pairs(generator, n)`` returns those of n pairs that are the task's own
    and not drawn and labelled, the better response first. ``reward_probes`` are twins that a good reward model is not fooled by.
    ``typical_tokens`` prices a pair before any pair exists: (prompt, response) tokens. Where there are ``choices`` policies are measured
    by enumeration: nothing is estimated from samples.
    """

    name: str
    version: str
    source: str
    demonstrations: Callable[[np.random.Generator, int], list[Demonstration]]
    training_prompts: Callable[[np.random.Generator, int], list[str]]
    tuning: Sequence[Demonstration]
    evaluation: Sequence[Demonstration]
    defaults: Defaults
    max_prompt_tokens: int
    max_response_tokens: int
    vocabulary: tuple[str, ...] = ()
    score: Scorer | None = None
    judges: tuple[str, ...] = ("gold",)
    annotators: Sequence[Mapping[str, float]] = ()
    write: Callable[[np.random.Generator, Sequence[str]], list[Response]] | None = None
    own_pairs: Callable[[np.random.Generator, int], list[Pair]] | None = None
    pairs: Sequence[Pair] | None = None
    judge_pairs: Sequence[Pair] = ()
    tuning_pairs: Sequence[Pair] = ()
    heldout_pairs: Sequence[Pair] = ()
    probes: Sequence[Probe] = ()
    reward_probes: Mapping[str, Twin] = field(default_factory=dict)
    typical_tokens: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    verified: str = ""  # the column of ``score`` that is 1 where a response passes a check and 0 where not: pass@k is measured by it
    chat: bool = False  # whether prompts are dialogues, which a model's chat template is for
    choices: Choices | None = None

    @property
    def brought_pairs(self) -> int | None:
        """How many labelled pairs the task brings, None where they are sampled from a reference and labelled."""
        if self.choices is not None:
            return self.choices.most
        return None if self.pairs is None else len(self.pairs)

    @property
    def single(self) -> bool:
        """Whether what it brings are labels of single responses, which make no pairs."""
        return bool(self.pairs) and self.pairs is not None and self.pairs[0].single

    @property
    def judge_names(self) -> tuple[str, ...]:
        """What may judge this task: the rewards of ``score``, or the one reward model that is fitted where there is none."""
        return self.judges if self.score is not None else (FITTED_JUDGE,)


@dataclass(frozen=True)
class Update:
    """One optimiser step as a run records it. ``metrics`` are plain numbers; nats for log-probs, shares in [0, 1]."""

    phase: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Setup:
    """Everything an algorithm may touch. It charges ``ledger`` by using the models.

    ``reference_logps`` holds log ref of each pair's two responses, (pairs, 2), nan where one is missing, computed once per seed; no model
    runs when they are read, so the offline loop charges a row's forward when a run first uses it. ``prompts(n)`` gives up to n fresh
    training prompts as token ids. ``score(prompts, samples)`` is the task's gold reward, (samples,), or None; only an algorithm told
    to trains on it.
    ``inspect(reward_model)`` lets the engine probe a reward model that the algorithm fitted; it changes and charges nothing.
    ``reuse(settings, fit)`` is that fit of a reward model, or the same one as another run made it, charged alike; ``settings`` must name
    everything that the fit depends on beside pairs, budget and generator. ``serve(policy)`` says that from here on another policy is to
    be measured in this one's place, one that answers in another way with the same weights; nothing of it is kept.
    """

    policy: Metered
    reference: Metered
    pairs: Sequence[TokenPair]
    heldout: Sequence[TokenPair]
    reference_logps: torch.Tensor
    prompts: Callable[[int], list[tuple[int, ...]]]
    score: Callable[[Sequence[tuple[int, ...]], Sequence[Sample]], Array] | None
    ledger: Ledger
    settings: Mapping[str, Any]
    generator: torch.Generator
    batch_pairs: int
    max_response_tokens: int
    seed: int = 0
    inspect: Callable[[RewardModel], None] = field(default=lambda reward: None)
    reuse: Callable[[Mapping[str, Any], Fitting], Fitting] = field(default=lambda settings, fit: fit)
    serve: Callable[[Metered], None] = field(default=lambda policy: None)


class Algorithm(Protocol):
    """Anything with a name that turns a setup into a stream of updates."""

    name: str

    def updates(self, setup: Setup) -> Iterator[Update]:
        """Train until the budget is spent, an update for each optimiser step."""
        ...
