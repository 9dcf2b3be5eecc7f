"""Metered: a language model with its tokenizer's ids, its optimiser and the ledger that every call charges.

Policy, reference, reward model and critic are all Metered: an algorithm cannot use a model without paying for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from harness.models import kernels, memory, sampling, shards, threads
from harness.models.bodies import Body, Whole, body
from harness.models.head import OutputHead
from harness.models.optimiser import Optimiser, StepStats
from harness.models.packing import Packed, pack
from harness.models.readings import Cost, Divergence, TokenReadings, TokenValues, divergence, scalar_head, shape_of
from harness.training.ledger import CHARGED, Ledger, Shape
from harness.training.schedule import schedule
from harness.types import Group, Sample

R = TypeVar("R")


class Metered:
    """A causal language model that charges ``ledger``; ids in, tensors out. ``pad`` is masked out of the distribution unless it is EOS."""

    def __init__(self, model: Any, *, eos: int, pad: int, ledger: Ledger, head: nn.Linear | None = None) -> None:
        self.model, self.eos, self.pad, self.ledger, self.head = model, eos, pad, ledger, head
        self.shape = shape_of(model)
        self.twins: list[Self] = []
        self._pending = [0.0, 0.0]
        self._optimiser: Optimiser | None = None
        self._output = OutputHead(model, None if pad == eos else pad)
        self._body: Body = body(model)
        self._spared: int | None = None
        model.eval()  # dropout off everywhere: log-probs of one sequence must not depend on when they are asked for

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(next(self.model.parameters()).device)

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable parameter, the scalar head's included."""
        modules = [self.model] if self.head is None else [self.model, self.head]
        return [p for m in modules for p in m.parameters() if p.requires_grad]

    # -- scoring ------------------------------------------------------------------------------------------------------------------

    def token_logps(self, groups: Sequence[Group]) -> TokenValues:
        """Log pi of every response token given its prompt and what precedes it, nats."""
        return self.token_logps_and_entropies(groups, entropies=False)[0]

    def logps(self, groups: Sequence[Group]) -> Tensor:
        """Log pi of every response, (responses,), nats per sequence."""
        return self.token_logps(groups).sums()

    def token_logps_and_entropies(self, groups: Sequence[Group], *, entropies: bool = True) -> tuple[TokenValues, TokenValues]:
        """Log-probs and entropies from one forward; entropies are detached, and zeros where not asked for."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            return (*self._output.chosen(self._body.run(packed, packed.sources), packed.targets, entropies), packed.lengths)

        values, spread, lengths = self._over(groups, read)
        return TokenValues(values, lengths), TokenValues(spread, lengths)

    def token_readings(self, groups: Sequence[Group], *, entropies: bool = True) -> TokenReadings:
        """Log-probs, entropies and the scalar head's values from one forward of a policy that has a head (``attach_head``)."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            states = self._body.run(packed, packed.sources)
            return (*self._output.chosen(states, packed.targets, entropies), self._scalar(states), packed.lengths)

        *found, lengths = self._over(groups, read, self.shape.valued())
        return TokenReadings(*(TokenValues(values, lengths) for values in found))

    def scalars(self, groups: Sequence[Group], *, at: str) -> TokenValues:
        """The scalar head at every response token (``at="token"``, rewards) or where it is predicted (``at="state"``, values)."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            return self._scalar(self._body.run(packed, packed.own if at == "token" else packed.sources)), packed.lengths

        return TokenValues(*self._over(groups, read, self.shape.scalar()))

    @torch.no_grad()
    def divergence(self, other: Metered, groups: Sequence[Group]) -> Divergence:
        """Rao-Blackwellised KL(self || other) on given samples (Amini et al. 2025, arXiv 2504.10637), k1 and entropy; no gradients."""

        def read(packed: Packed) -> tuple[Tensor, ...]:
            found = divergence(self._log_probs(packed), other._log_probs(packed), packed.targets)
            return tuple(TokenValues(value, packed.lengths).sums() for value in found)

        return Divergence(*self._over(groups, read, self.shape, other))

    # -- sampling -----------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[tuple[int, ...]], *, samples: int = 1, max_tokens: int, temperature: float = 1.0, generator: torch.Generator
    ) -> list[list[Sample]]:
        """``samples`` responses for every prompt, [prompt][sample], from the full distribution at ``temperature`` (0: greedy)."""
        size = {"vocabulary": self.model.config.vocab_size, "samples": samples, "max_tokens": max_tokens}
        drawn = sampling.sample(
            sampling.Speaker(self._body, self._output.logits, self.eos, self.device),
            prompts,
            samples=samples,
            max_tokens=max_tokens,
            temperature=temperature,
            generator=generator,
            fitting=lambda longest: memory.sampling_rows(self.shape, prompt=longest, **size),
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
        """Accumulate gradients; charges twice the forwards that built the loss."""
        loss.backward()  # type: ignore[no-untyped-call]
        canonical, executed = self._pending
        self.ledger.charge(2 * canonical, 2 * executed)
        self._pending = [0.0, 0.0]

    def step(self, progress: float, *, plan: Callable[[float], float] = schedule) -> StepStats:
        """One optimiser step at the peak rate times ``plan(progress)``; a gradient norm that is not finite steps nothing."""
        assert self._optimiser is not None, "call optimise first"
        return self._optimiser.step(plan(progress))

    def fork(self, *, scalar_head: bool = False) -> Self:
        """An independent trainable copy charging the same ledger, with a scalar head if asked for (``attach_head``)."""
        twin = self._copied({})
        twin.model.requires_grad_(True)
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
        twin = type(self)(model, eos=self.eos, pad=self.pad, ledger=self.ledger, head=head)
        if self._spared is not None:
            twin.recompute()
        return twin

    def frozen(self) -> Self:
        """An independent copy without gradients, charging the same ledger."""
        twin = self.fork()
        twin.model.requires_grad_(False)
        if twin.head is not None:
            twin.head.requires_grad_(False)
        return twin

    def recompute(self) -> None:
        """Keep no activations inside layers: every backward computes them again, layer by layer (Chen et al. 2016, arXiv 1604.06174)."""
        self._spared, self._body = memory.checkpoint(self.model), Whole(self.model)  # transformers' layers keep what they are told to

    def micro(self, groups: Sequence[Group]) -> list[slice]:
        """How to cut a batch so that each forward and backward fits in memory; one slice wherever the whole batch fits."""
        return memory.slices(groups, self.shape.layers, self.model.config.hidden_size, beside=threads.count(self.device))

    def in_parts(self, groups: Sequence[Group], function: Callable[[Self, slice], R]) -> list[R]:
        """What ``function`` gives of the model and each part of a batch; gradients that it adds add up, whatever thread does it."""
        return shards.in_parts(self, groups, function)

    # -- inside -------------------------------------------------------------------------------------------------------------------

    def _over(
        self, groups: Sequence[Group], read: Callable[[Packed], tuple[Tensor, ...]], shape: Shape | None = None, *beside: Metered
    ) -> list[Tensor]:
        """What ``read`` gives of the groups packed, column by column; in pieces, and in threads, where no gradient is kept.

        Charges each piece by ``shape``, to models ``beside`` by their own; remembers what a backward will cost.
        """
        remember, shape = torch.is_grad_enabled(), shape or self.shape
        pieces = [groups] if remember else [groups[part] for row in shards.parts(self, groups) for part in row]

        def one(piece: Sequence[Group]) -> tuple[tuple[Tensor, ...], list[Cost]]:
            packed = pack(piece, self.device)
            return read(packed), [self._cost(packed, shape, piece), *(other._cost(packed, other.shape) for other in beside)]

        found = threads.together(one, [piece for piece in pieces if piece], self.device)
        for _, costs in found:
            for model, cost in zip((self, *beside), costs, strict=True):
                model.ledger.charge(cost.canonical, cost.executed)
                if remember:
                    model._pending = [model._pending[0] + cost.canonical, model._pending[1] + cost.executed + cost.again / 2]
        return [torch.cat(column) for column in zip(*(columns for columns, _ in found), strict=True)]

    def _again(self, packed: Packed, shape: Shape) -> float:
        """FLOPs of what a backward computes a second time: layers that kept no activations, logits that were not held."""
        tokens, outputs, found = packed.ids.numel(), kernels.rounded(len(packed.targets)), 0.0
        if self._spared is not None:
            found += shape.forward(tokens, packed.attended, 0) - 2.0 * self._spared * tokens
        if shape.head >= self.shape.head and self._output.cut(outputs):
            found += 2.0 * self.shape.head * outputs
        return found

    def _cost(self, packed: Packed, shape: Shape, groups: Sequence[Group] = ()) -> Cost:
        tokens, outputs = packed.ids.numel(), kernels.rounded(len(packed.targets))
        full = shape.forward(tokens, packed.attended, outputs)
        canonical = shape.scoring(groups) if groups else full
        return Cost(canonical, full - self._body.skipped(tokens, outputs), self._again(packed, shape))

    def _scalar(self, states: Tensor) -> Tensor:
        assert self.head is not None, "this model has no scalar head"
        return self.head(states).squeeze(-1).float()  # type: ignore[no-any-return]

    def _log_probs(self, packed: Packed) -> Tensor:
        return self._output.logits(self._body.run(packed, packed.sources)).log_softmax(-1)
