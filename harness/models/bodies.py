"""How a model without its output head is run: through its layers where their layout is known, else through transformers' own forward.

Only some tokens of a row are read afterwards (those that predict a response), and nothing behind the last layer's attention looks at
another token. So where the layers are known, all others leave there: exact, with gradients, and a quarter of a forward of two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.models import kernels, precision
from harness.models.decoding import Decoding
from harness.models.enumerable import Enumerable
from harness.models.layers import Layers, Rotation, layers_of
from harness.models.packing import Layout, Packed, Past, pack
from harness.types import Group

PART = 1024  # prompt tokens that a CPU reads at a time; half as many take longer (docs/performance.md)


class Body(Protocol):
    """A model without its output head, on one flat row of N tokens."""

    def run(self, packed: Packed, places: Tensor) -> Tensor:
        """The hidden states of the tokens at ``places``, (places, hidden)."""

    def say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        """The hidden states of one more token for every row, (rows, hidden); the cache keeps its keys and values."""

    def skipped(self, packed: Packed, places: int, *, frozen: bool = False) -> float:
        """FLOPs of a full forward of a row that ``run`` does without where so many places of it are read.

        Those of its ``frozen`` matrices alone where that is asked for.
        """


def body(model: Any) -> Body:
    """The body of a transformers model; a model of ours without attention is its own."""
    if isinstance(model, Enumerable):
        return model
    layers = layers_of(model)
    return Whole(model) if layers is None else Layered(model, layers)


@dataclass(frozen=True)
class Whole:
    """Any model that takes the packed layout."""

    model: Any

    def run(self, packed: Packed, places: Tensor) -> Tensor:
        """See ``Body``."""
        return self._forward(packed.ids, packed.positions, packed)[places]

    def say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        """See ``Body``."""
        return self._forward(ids.unsqueeze(0), positions.unsqueeze(0), cache)

    def skipped(self, packed: Packed, places: int, *, frozen: bool = False) -> float:
        """See ``Body``."""
        return 0.0

    def _forward(self, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        with precision.of(self.model):
            output = self.model.base_model(input_ids=ids, position_ids=positions, use_cache=False, layout=layout)
        return output.last_hidden_state[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Layered:
    """A model whose layers are called one by one."""

    model: Any
    layers: Layers

    def run(self, packed: Packed, places: Tensor) -> Tensor:
        """See ``Body``."""
        with precision.of(self.model):
            return self._run(packed, places)

    def say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        """See ``Body``."""
        with precision.of(self.model):
            return self._say(ids, positions, cache)

    def _run(self, packed: Packed, places: Tensor) -> Tensor:
        kept = F.pad(places, (0, kernels.rounded(len(places)) - len(places)))  # with token 0, whose row is dropped
        x, rotation = self.layers.embed(packed.ids[0], packed.positions[0])
        *inner, last = range(len(self.layers.blocks))
        for layer in inner:
            x = self.layers.finish(layer, x, self._attended(packed, layer, x, rotation, None))
        if packed.undivided(x):
            attended = self._attended(packed, last, x, rotation, None)[kept]
        else:
            attended = self._attended(packed, last, x, rotation, kept)
        return self.layers.normed(self.layers.finish(last, x[kept], attended))[: len(places)]

    def _attended(self, packed: Packed, layer: int, x: Tensor, rotation: Rotation, asking: Tensor | None) -> Tensor:
        """What attention gives the tokens of the row, or those that ask, (N, heads x d)."""
        q, k, v = (each.transpose(0, 1).unsqueeze(0) for each in self.layers.project(layer, x, rotation, asking))
        return packed.attend(layer, q, k, v, self.layers.scaling(layer), asking)[0].flatten(1)

    def _say(self, ids: Tensor, positions: Tensor, cache: Decoding) -> Tensor:
        x, rotation = self.layers.embed(ids, positions)
        for layer in range(len(self.layers.blocks)):
            projected = self.layers.project(layer, x, rotation)
            x = self.layers.finish(layer, x, cache.attended(layer, *projected, self.layers.scaling(layer)))
        return self.layers.normed(x)

    def skipped(self, packed: Packed, places: int, *, frozen: bool = False) -> float:
        """See ``Body``."""
        unread, last = packed.ids.numel() - places, len(self.layers.blocks) - 1
        if frozen:
            unasked = () if packed.asked is None else self.layers.asked(last)
            return 2.0 * _weights((*self.layers.behind(last), *unasked), frozen=True) * unread
        if packed.asked is None:
            return 2.0 * _weights(self.layers.behind(last)) * unread
        products = packed.attended - packed.asked.products
        matrices = _weights((*self.layers.behind(last), *self.layers.asked(last)))
        return 2.0 * matrices * unread + 4.0 * int(self.model.config.hidden_size) * products


def _weights(modules: Sequence[Any], *, frozen: bool = False) -> int:
    """Weights that a token is multiplied with, or those of them that no gradient is computed of."""
    return sum(p.numel() for module in modules for p in module.parameters() if p.ndim == 2 and not (frozen and p.requires_grad))


def read(model: Body, prompts: Sequence[tuple[int, ...]], device: torch.device) -> Past:
    """Process prompts, on a CPU so many at a time that what a layer makes of them stays in its caches."""
    lengths = [len(prompt) for prompt in prompts]
    found = [_read(model, prompts[part], device) for part in parts(lengths, PART if device.type == "cpu" else sum(lengths))]
    cache = []
    for layer in zip(*(layers for _, layers in found), strict=True):
        keys, values = zip(*layer, strict=True)
        cache.append((_stacked(keys, max(lengths)), _stacked(values, max(lengths))))
    return Past(torch.tensor(lengths, device=device), torch.cat([last for last, _ in found]), cache)


def parts(lengths: Sequence[int], most: int) -> list[slice]:
    """Runs of prompts of at most so many tokens together, or of one prompt that is longer."""
    found, start, held = [], 0, 0
    for place, length in enumerate(lengths):
        if place > start and held + length > most:
            found.append(slice(start, place))
            start, held = place, 0
        held += length
    return [*found, slice(start, len(lengths))]


def _read(model: Body, prompts: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Hidden states after the prompts, and of each layer keys and values."""
    packed = pack([Group(prompt, ()) for prompt in prompts], device)
    packed.keep = []
    ends = torch.tensor([len(prompt) for prompt in prompts], device=device).cumsum(0) - 1
    return model.run(packed, ends), packed.keep


def _stacked(parts: Sequence[Tensor], longest: int) -> Tensor:
    """Keys or values of all parts, (P, key heads, longest, d), zeros behind the longest of a part: no step of decoding copies them."""
    _, heads, _, size = parts[0].shape
    stacked = parts[0].new_empty(sum(map(len, parts)), heads, longest, size)
    for place, part in zip(torch.split(stacked, [len(part) for part in parts]), parts, strict=True):
        place[:, :, : part.shape[2]] = part
        place[:, :, part.shape[2] :] = 0.0
    return stacked
