"""Metered: a language model with its tokenizer's ids, its optimiser and the ledger that every call charges.

Policy, reference, reward model and critic are all Metered: an algorithm cannot use a model without paying for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from harness.models import adapters, sampling, shards, threads
from harness.models.bodies import read
from harness.models.charged import Charged
from harness.models.forwards import over
from harness.models.optimiser import Optimiser, StepStats
from harness.models.packing import Packed, Past
from harness.models.readings import Divergence, TokenReadings, TokenValues, divergence, scalar_head
from harness.training.ledger import CHARGED
from harness.training.schedule import schedule
from harness.types import Group, Sample

R = TypeVar("R")


class Metered(Charged):
    """A causal language model that charges ``ledger``; ids in, tensors out. ``pad`` is masked out of the distribution unless it is EOS.

    ``kl_bound`` is the most that its KL to its own weights can be, nats, where what it says is no draw from them (``best_of``), else None.
    """

    kl_bound: float | None = None

    # -- scoring ------------------------------------------------------------------------------------------------------------------

    def token_logps(self, groups: Sequence[Group]) -> TokenValues:
        """Log pi of every response token given its prompt and what precedes it, nats."""
        return self.token_logps_and_entropies(groups, entropies=False)[0]

    def logps(self, groups: Sequence[Group], past: Past | None = None) -> Tensor:
        """Log pi of every response, (responses,), nats per sequence; ``past`` are the groups' prompts where this model has read them."""
        return self.token_logps_and_entropies(groups, entropies=False, past=past)[0].sums()

    def token_logps_and_entropies(
        self, groups: Sequence[Group], *, entropies: bool = True, past: Past | None = None
    ) -> tuple[TokenValues, TokenValues]:
        """Log-probs and entropies from one forward; entropies are detached, and zeros where not asked for."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            return (*self.output.chosen(self.body.run(packed, packed.sources), packed.targets, entropies), packed.lengths)

        values, spread, lengths = over(self, groups, read, past=past)
        return TokenValues(values, lengths), TokenValues(spread, lengths)

    def token_readings(self, groups: Sequence[Group], *, entropies: bool = True) -> TokenReadings:
        """Log-probs, entropies and the scalar head's values from one forward of a policy that has a head (``attach_head``)."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            states = self.body.run(packed, packed.sources)
            return (*self.output.chosen(states, packed.targets, entropies), self._scalar(states), packed.lengths)

        *found, lengths = over(self, groups, read, self.shape.valued())
        return TokenReadings(*(TokenValues(values, lengths) for values in found))

    def scalars(self, groups: Sequence[Group], *, at: str, past: Past | None = None) -> TokenValues:
        """The scalar head at every response token (``at="token"``, rewards) or where it is predicted (``at="state"``, values)."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            return self._scalar(self.body.run(packed, packed.own if at == "token" else packed.sources)), packed.lengths

        return TokenValues(*over(self, groups, read, self.shape.scalar(), past=past))

    @torch.no_grad()
    def divergence(self, other: Metered, groups: Sequence[Group], past: Past | None = None, theirs: Past | None = None) -> Divergence:
        """Rao-Blackwellised KL(self || other) on given samples (Amini et al. 2025, arXiv 2504.10637), k1 and entropy; no gradients.

        ``past`` and ``theirs`` are the groups' prompts where this model and the other have read them.
        """

        def read(packed: Packed, row: Packed) -> tuple[Tensor, ...]:
            states = self.body.run(packed, packed.sources), other.body.run(row, row.sources)
            parts = self.output.parts(len(packed.targets))
            log_probs = ((self.output.log_probs(states[0][part]), other.output.log_probs(states[1][part])) for part in parts)
            found = [divergence(*both, packed.targets[part]) for both, part in zip(log_probs, parts, strict=True)]
            return tuple(TokenValues(torch.cat(values), packed.lengths).sums() for values in zip(*found, strict=True))

        return Divergence(*over(self, groups, read, beside=((other, theirs),), past=past))

    @torch.no_grad()
    def distributions(self, groups: Sequence[Group], past: Past | None = None) -> tuple[Tensor, Tensor]:
        """Log-probs of every next token at every response token, (tokens, vocabulary), and lengths (responses,); no gradients."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            return self.output.log_probs(self.body.run(packed, packed.sources)), packed.lengths

        log_probs, lengths = over(self, groups, read, past=past)
        return log_probs, lengths

    # -- sampling -----------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, prompts: Sequence[tuple[int, ...]], max_tokens: int, samples: int = 1) -> Past | None:
        """Prompts that sampling and scoring go on from, as long as the weights are what they are now; None where they do not fit in memory.

        Charges nothing: whoever goes on from it is charged as if it had read them.
        """
        longest = max(map(len, prompts), default=0)
        rows = 2 * len(prompts)  # as many again for what else is kept
        if not longest or threads.count(self.device) > 1 or rows > self._fitting(longest, samples, max_tokens):
            return None
        return read(self.body, prompts, self.device)

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[tuple[int, ...]],
        *,
        samples: int = 1,
        max_tokens: int,
        temperature: float = 1.0,
        generator: torch.Generator,
        past: Past | None = None,
    ) -> list[list[Sample]]:
        """``samples`` responses for every prompt, [prompt][sample], from the full distribution at ``temperature`` (0: greedy)."""
        drawn = sampling.sample(
            sampling.Speaker(self.body, self.output.logits, self.eos, self.device),
            prompts,
            samples=samples,
            max_tokens=max_tokens,
            temperature=temperature,
            generator=generator,
            fitting=lambda longest: self._fitting(longest, samples, max_tokens),
            past=past,
        )
        for prompt, rows in zip(prompts, drawn, strict=True):
            self.ledger.charge(self.shape.sampling(len(prompt), [len(s.ids) for s in rows]))
        if self.ledger.current in CHARGED:  # what evaluation samples is no effort of the algorithm's
            self.ledger.count(sampled_tokens=sum(len(s.ids) for rows in drawn for s in rows))
        return drawn

    # -- training -----------------------------------------------------------------------------------------------------------------

    def optimise(
        self,
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        clip: float = 1.0,
        head_learning_rate: float | None = None,
    ) -> None:
        """A fresh AdamW for what is trainable; ``learning_rate`` is the peak of the schedule, ``clip`` the gradient norm allowed."""
        groups = [([p for p in self.model.parameters() if p.requires_grad], learning_rate)]
        if self.head is not None:
            groups.append((list(self.head.parameters()), head_learning_rate or learning_rate))
        self._optimiser = Optimiser(groups, betas=betas, weight_decay=weight_decay, clip=clip)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients; charges twice the forwards that built the loss, less what frozen weights spare (``Shape.unlearnt``)."""
        loss.backward()  # type: ignore[no-untyped-call]
        canonical, executed = self.pending
        self.ledger.charge(2 * canonical, 2 * executed)
        self.pending = [0.0, 0.0]

    def step(self, progress: float, *, plan: Callable[[float], float] = schedule) -> StepStats:
        """One optimiser step at the peak rate times ``plan(progress)``; a gradient norm that is not finite steps nothing."""
        assert self._optimiser is not None, "call optimise first"
        return self._optimiser.step(plan(progress))

    def fork(self, *, scalar_head: bool = False) -> Self:
        """A trainable copy charging the same ledger, with a scalar head if asked for (``attach_head``).

        Independent but for what an adapter adapts: that is frozen, and stays the same weights in both.
        """
        twin = self._copied(adapters.shared(self.model))
        adapters.train(twin.model)
        if scalar_head:
            twin.attach_head()
        return twin

    def attach_head(self) -> None:
        """Give this very model a fresh scalar head unless it has one; only ``scalars`` and ``token_readings`` read it."""
        if self.head is None:
            self.head = scalar_head(self.model.config.hidden_size, self.device, next(self.model.parameters()).dtype)

    def twin(self) -> Self:
        """The model once more on the same weights, with gradients of its own: for a thread of its own (``in_parts``)."""
        modules = [self.model] if self.head is None else [self.model, self.head]
        return self._copied({id(p): nn.Parameter(p.detach(), p.requires_grad) for m in modules for p in m.parameters()})

    def _copied(self, known: dict[int, Any]) -> Self:
        """A copy of the modules, but for what is ``known``, by identity, to be something else."""
        model, head = copy.deepcopy((self.model, self.head), known)
        twin = self._made(model, head)
        if self.spared is not None:
            twin.recompute()
        return twin

    def _made(self, model: Any, head: nn.Linear | None) -> Self:
        return type(self)(model, eos=self.eos, pad=self.pad, ledger=self.ledger, head=head)

    def frozen(self) -> Self:
        """A copy without gradients, charging the same ledger, independent as that of ``fork`` is."""
        twin = self.fork()
        twin.model.requires_grad_(False)
        if twin.head is not None:
            twin.head.requires_grad_(False)
        return twin

    @torch.no_grad()
    def follow(self, other: Metered, share: float) -> None:
        """Go ``share`` of the way to the other's weights, each where it stands: an exponential moving average of what it was and is."""
        for mine, theirs in zip(self.model.parameters(), other.model.parameters(), strict=True):
            if mine is not theirs:  # an adapter's base is one for both
                mine.lerp_(theirs.to(mine), share)

    def best_of(self, n: int, scores: Callable[[Sequence[Group], Sequence[Sample]], Tensor]) -> Metered:
        """This model where it gives the best by ``scores`` of ``n`` answers (``models.answering``)."""
        from harness.models.answering import BestOf

        return BestOf(self, scores, n)

    def prompted(self, examples: tuple[int, ...], longest: int) -> Metered:
        """This model where every prompt follows ``examples``; ``longest`` is a prompt with its response (``models.answering``)."""
        from harness.models.answering import Prompted

        return Prompted(self, examples, longest)

    def bare(self) -> Self:
        """The model below an adapter, frozen, on the same weights and charging the same ledger."""
        return self._made(adapters.without(self.model).requires_grad_(False), None)

    def in_parts(self, groups: Sequence[Group], function: Callable[[Self, slice], R]) -> list[R]:
        """What ``function`` gives of the model and each part of a batch; gradients that it adds add up, whatever thread does it."""
        return shards.in_parts(self, groups, function)

    # -- inside -------------------------------------------------------------------------------------------------------------------

    def _scalar(self, states: Tensor) -> Tensor:
        assert self.head is not None, "this model has no scalar head"
        return self.head(states).squeeze(-1).float()  # type: ignore[no-any-return]
