"""Data order of the offline loop: reshuffled epochs, pairs or single responses, mismatched partners, and what a batch costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch

from harness.training.ledger import Ledger, Shape
from harness.training.loss_signature import LossSignature
from harness.training.rankings import rankings
from harness.types import Group, TokenPair

ReferenceKey = tuple[int, ...]  # a pair's index and the sides that one reference forward scores


class Example(NamedTuple):
    """What one row of a batch scores: a pair and the sides (0 chosen, 1 rejected) of it; one side where the loss is unpaired.

    Of a ranking it is the first two, ``below`` the comparisons of neighbours further down, ``implied`` the rows of all others.
    """

    pair: TokenPair
    sides: tuple[int, ...]
    below: tuple[TokenPair, ...] = ()
    implied: tuple[int, ...] = ()

    def group(self, sides: Iterable[int] | None = None) -> Group:
        """The prompt with these sides' responses (its own sides where none are given), and with what a ranking has below them."""
        both = (self.pair.chosen, self.pair.rejected)
        responses = tuple(both[side] for side in (self.sides if sides is None else sides))
        return Group(self.pair.prompt, responses + tuple(pair.rejected for pair in self.below))

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows of the data that it is made of: one, or every comparison of a ranking."""
        return (self.pair.row, *(pair.row for pair in self.below), *self.implied)

    def reference_sides(self, signature: LossSignature) -> tuple[int, ...]:
        """The sides whose reference log-prob the loss reads."""
        if signature.unpaired:
            return self.sides if "ref_logps" in signature.arguments else ()
        return signature.reference_sides


class Batch(NamedTuple):
    """An optimiser batch: rows, mismatched groups of the z0 term, reference forwards not yet paid for, price in FLOPs.

    ``unscored`` are the pairs by row that no reward model has scored yet, where the loss reads rewards.
    """

    examples: list[Example]
    mismatched: list[Group]
    due: dict[ReferenceKey, Group]
    price: float
    unscored: dict[int, Group]


def cycle(size: int, generator: torch.Generator) -> Iterator[int]:
    """0..size-1 for ever, in a fresh order every epoch."""
    while True:
        yield from torch.randperm(size, generator=generator).tolist()


def rows(pairs: Sequence[TokenPair], signature: LossSignature, generator: torch.Generator) -> Iterator[Example]:
    """Examples for ever: pairs, rankings where the loss is on lists, or single responses where it is unpaired.

    Unpaired: chosen and rejected responses are shuffled apart and dealt in turn, so a pair's two responses do not travel together
    and no batch of two or more, shrunk or not, is all of one label. Where data label single responses, more of them with one label than
    with the other, the scarcer ones come round more often. A loss of chosen responses alone is given those.
    """
    if signature.listed:
        lists = [Example(each.neighbours[0], (0, 1), each.neighbours[1:], each.implied) for each in rankings(pairs)]
        yield from (lists[i] for i in cycle(len(lists), generator))
    if not signature.unpaired:
        found = usable(pairs, signature)
        yield from (Example(pairs[found[i]], signature.policy_sides) for i in cycle(len(found), generator))
    sides = [[place for place, pair in enumerate(pairs) if side in pair.sides] for side in (0, 1)]
    streams = [cycle(len(found), generator) for found in sides]
    while True:
        yield from (Example(pairs[sides[side][next(stream)]], (side,)) for side, stream in enumerate(streams))


def usable(pairs: Sequence[TokenPair], signature: LossSignature) -> list[int]:
    """The places of the pairs, or of single labelled responses those with a label that the loss reads."""
    read = set(signature.policy_sides)
    return [place for place, pair in enumerate(pairs) if signature.unpaired or read <= {*pair.sides}]


def largest(pairs: Sequence[TokenPair], signature: LossSignature) -> int:
    """How many rows a batch may have at most: every one that there is, once; of pairs under an unpaired loss both responses."""
    return sum(len(pair.sides) for pair in pairs) if signature.unpaired else len(usable(pairs, signature))


def take(stream: Iterator[Example], size: int) -> list[Example]:
    """The next examples, as many as are made of ``size`` rows of the data, or a few more where the last is a ranking."""
    taken: list[Example] = []
    held = 0
    while held < size:
        taken.append(next(stream))
        held += len(taken[-1].rows)
    return taken


def derangement(prompts: Sequence[tuple[int, ...]], keys: Sequence[tuple[int, int]], generator: torch.Generator) -> list[int]:
    """For each row the row whose response it borrows: a permutation in which nobody keeps a response to their own prompt.

    It depends on the set of rows (``keys`` are example ids) and on the generator, never on the order of the batch: rows are put in
    blocks of one prompt, blocks are shuffled, and everybody borrows from ``shift`` rows further on, with a shift between the largest
    block and what is left beside it. Where one prompt holds more than half the rows (a bandit has a single prompt) that is
    impossible, and only the response is another's.
    """
    blocks: dict[tuple[int, ...], list[int]] = {}
    for row in sorted(range(len(keys)), key=lambda row: keys[row]):
        blocks.setdefault(prompts[row], []).append(row)
    shuffled = [list(blocks.values())[i] for i in torch.randperm(len(blocks), generator=generator).tolist()]
    order, widest = list(chain.from_iterable(shuffled)), max(map(len, shuffled))
    least, most = (widest, len(order) - widest) if 2 * widest <= len(order) else (1, len(order) - 1)
    shift = int(torch.randint(least, most + 1, (), generator=generator))
    borrowed = {row: order[(place + shift) % len(order)] for place, row in enumerate(order)}
    return [borrowed[row] for row in range(len(order))]


def mismatched(examples: Sequence[Example], generator: torch.Generator) -> list[Group]:
    """Every prompt of an unpaired batch with somebody else's response (KTO's KL term), in the order of the batch."""
    partners = derangement([e.pair.prompt for e in examples], [(e.pair.row, e.sides[0]) for e in examples], generator)
    return [Group(e.pair.prompt, examples[partner].group().responses) for e, partner in zip(examples, partners, strict=True)]


def reference_due(examples: Sequence[Example], signature: LossSignature, paid: set[ReferenceKey]) -> dict[ReferenceKey, Group]:
    """Reference forwards that this run has not paid for yet: one per pair, or per response where the loss is unpaired."""
    due: dict[ReferenceKey, Group] = {}
    for example in examples:
        sides = example.reference_sides(signature)
        if sides and (example.pair.row, *sides) not in paid:
            due[example.pair.row, *sides] = example.group(sides)
    return due


def affordable(
    examples: list[Example],
    signature: LossSignature,
    shape: Shape,
    paid: set[ReferenceKey],
    ledger: Ledger,
    generator: torch.Generator,
    reference: Shape | None = None,
    scored: Collection[int] = (),
) -> Batch | None:
    """The longest prefix of the batch that the ledger affords, None where not even the smallest meaningful one fits.

    The price is known before anything runs: 3 forwards of the batch by the policy, the references due, and for z0 one forward of
    the mismatched rows by policy and reference, whose shape is the policy's unless ``reference`` is another. Where the loss reads
    rewards, a pair is scored once, both responses of it; ``scored`` are the rows that are.
    """
    theirs = reference or shape
    smallest = examples[: signature.least]
    if not ledger.affords(shape.learning([e.group() for e in smallest]), pairs=pairs_in(smallest, signature), steps=1):
        return None  # before each size is priced: at the end of a budget of large batches that took as long as the steps
    for size in range(len(examples), signature.least - 1, -1):
        kept = sorted(examples[:size], key=lambda example: len(example.below))  # a part of a batch has lists of one length
        strangers = mismatched(kept, generator) if "z0" in signature.arguments else []
        due = reference_due(kept, signature, paid)
        price = shape.learning([e.group() for e in kept]) + theirs.scoring(list(due.values()))
        price += shape.scoring(strangers) + theirs.scoring(strangers)
        fresh = [example for example in kept if example.pair.row not in scored] if signature.reads_reward else []
        unscored = {example.pair.row: example.group((0, 1)) for example in fresh}
        price += shape.scalar().scoring(list(unscored.values()))
        if ledger.affords(price, pairs=pairs_in(kept, signature), steps=1):
            return Batch(kept, strangers, due, price, unscored)
    return None


def pairs_in(examples: Sequence[Example], signature: LossSignature) -> float:
    """Pairs that a batch learns from: every comparison of a ranking, and half of one where a row is a single response."""
    single = signature.unpaired or any(example.pair.single for example in examples)
    return sum(len(example.rows) for example in examples) / (2 if single else 1)


def passes(pairs: float, data: Sequence[TokenPair]) -> float:
    """Epochs of the data that so many pairs are: two single responses with their labels are one pair's worth."""
    return pairs / (len(data) / 2 if next(iter(data)).single else len(data))


def of_one_length(examples: Sequence[Example], part: slice) -> list[slice]:
    """A part of a batch cut where its lists become longer."""
    cuts = [i for i in range(part.start + 1, part.stop) if len(examples[i].below) != len(examples[i - 1].below)]
    return [slice(*ends) for ends in zip([part.start, *cuts], [*cuts, part.stop], strict=True)]
