"""Keys and values while decoding: a prompt's are shared by all its samples, and rows that have ended leave when enough of them have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHRUNK = 0.5  # of the rows: fewer must still be speaking before what the others hold is dropped, which copies what is kept


@dataclass
class Decoding:
    """What P prompts x S samples attend to, each row one new token at a time.

    ``prompts`` holds per layer keys and values (P, key heads, longest, d), contiguous, or every product would copy them; ``absent``
    (P, 1, 1, longest) is 0 and minus infinity on padding; ``own`` is (layers, 2, tokens, P x S, key heads, d).
    """

    prompts: list[tuple[Tensor, Tensor]]
    absent: Tensor
    own: Tensor
    samples: int
    step: int = 0

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The layout that transformers calls: one row (1, heads, P x S, d) to (1, P x S, heads, d)."""
        queries, keys, values = (x[0].transpose(0, 1) for x in (query, key, value))
        return self.attended(layer, queries, keys, values, scaling).view(1, *queries.shape)

    def attended(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Attention of one new token per row, (P x S, heads, d), to its prompt and to what it has already said, (P x S, heads x d)."""
        rows, heads, size = keys.shape
        own = self.own[layer, :, : self.step + 1]
        own[0, -1], own[1, -1] = keys, values
        q = (queries * scaling).view(rows, heads, -1, size)
        prompt_keys, prompt_values = self.prompts[layer]
        to_prompt = self._split((self._share(q) @ prompt_keys.transpose(2, 3)).add_(self.absent))
        # One query per row: a sum of products over contiguous steps takes a third to a tenth of the time of a product of matrices.
        to_own = (q * own[0].unsqueeze(3)).sum(-1).permute(1, 2, 3, 0)
        weights = softmax(torch.cat([to_prompt, to_own], -1))
        longest = prompt_values.shape[2]
        said = (weights[..., longest:].permute(3, 0, 1, 2).contiguous().unsqueeze(4) * own[1].unsqueeze(3)).sum(0)
        return (self._split(self._share(weights[..., :longest]) @ prompt_values) + said).reshape(rows, -1)

    def _share(self, x: Tensor) -> Tensor:
        """(P x S, heads, repeats, d) to (P, heads, S x repeats, d): the samples of a prompt become rows of one product."""
        _, heads, repeats, size = x.shape
        return x.view(-1, self.samples, heads, repeats, size).transpose(1, 2).reshape(-1, heads, self.samples * repeats, size)

    def _split(self, x: Tensor) -> Tensor:
        """The inverse of ``_share``."""
        prompts, heads, rows, size = x.shape
        repeats = rows // self.samples
        return x.view(prompts, heads, self.samples, repeats, size).transpose(1, 2).reshape(-1, heads, repeats, size)

    def shrink(self, alive: Tensor) -> Tensor | None:
        """Keep the rows that still speak, (P x S,), and return which are kept; None where too few have ended for that to pay.

        A prompt stays while one of its samples speaks, and every prompt with as many rows as the one with most: some kept have ended.
        """
        table = alive.view(-1, self.samples)
        counts = table.sum(1)
        prompts, width = counts.nonzero().squeeze(1), int(counts.max())
        if len(prompts) * width > SHRUNK * len(alive):
            return None
        places = table[prompts].byte().argsort(dim=1, descending=True, stable=True)[:, :width]
        rows = (prompts.unsqueeze(1) * self.samples + places).flatten()
        self.prompts = [(keys[prompts], values[prompts]) for keys, values in self.prompts]
        self.absent, self.own, self.samples = self.absent[prompts], self.own[:, :, :, rows], width
        return rows


def decoding(prompts: list[tuple[Tensor, Tensor]], lengths: Tensor, samples: int, max_tokens: int) -> Decoding:
    """An empty cache behind prompts of these lengths, (P,)."""
    _, values = prompts[0]
    shape = len(prompts), 2, max_tokens, len(lengths) * samples, values.shape[1], values.shape[3]
    past = torch.arange(values.shape[2], device=lengths.device) >= lengths.unsqueeze(1)
    absent = values.new_zeros(past.shape).masked_fill_(past, float("-inf"))
    return Decoding(prompts, absent[:, None, None, :], values.new_empty(shape), samples)


def softmax(scores: Tensor) -> Tensor:
    """Over the last dimension, computed in float32 at least and returned in the dtype of the scores."""
    wide = torch.float32 if scores.dtype.itemsize < 4 else scores.dtype
    return scores.softmax(-1, dtype=wide).to(scores.dtype)
