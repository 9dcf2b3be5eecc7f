"""The layers of a causal language model one by one, in the layouts that are known: Llama and Qwen2, GPT-NeoX, GPT-2.

The model's own modules are called, so weights, norms and activations are its own, but for those whose backward pass is written out
(harness/models/fused.py); what transformers' forward adds for everybody (masks, caches, hooks and wrappers at every call) is left out, and
a caller decides which tokens go on behind each attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from harness.models import fused

Rotation = tuple[Tensor, Tensor] | None


class Projected(NamedTuple):
    """Queries (N, heads, d), or of those tokens that ask, keys and values (N, key heads, d) of a flat row, positions turned in."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class Layers(Protocol):
    """A model's layers over a flat row of N tokens; ``x`` is (N, hidden)."""

    blocks: Sequence[Any]

    def embed(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation]:
        """What enters the first layer, and what every layer turns its queries and keys by."""

    def project(self, layer: int, x: Tensor, rotation: Rotation, asking: Tensor | None = None) -> Projected:
        """What a layer's attention is made of; queries of the tokens at the places ``asking`` alone, where it is given."""

    def asked(self, layer: int) -> Sequence[Any]:
        """The modules that hold matrices which only tokens that ask are multiplied with."""

    def scaling(self, layer: int) -> float:
        """What queries are multiplied by."""

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """What leaves a layer whose attention gave ``attended``, (N, heads x d)."""

    def behind(self, layer: int) -> Sequence[Any]:
        """The modules that ``finish`` calls and that hold matrices."""

    def normed(self, x: Tensor) -> Tensor:
        """What the output head reads."""


class Llama:
    """Llama and Qwen2: projections apart, a rotation of every dimension, two residual branches one after the other."""

    def __init__(self, base: Any) -> None:
        self.base, self.blocks = base, base.layers

    def embed(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation]:
        """See ``Layers``."""
        x = self.base.embed_tokens(ids)
        return x, turning(self.base.rotary_emb, x, positions)

    def project(self, layer: int, x: Tensor, rotation: Rotation, asking: Tensor | None = None) -> Projected:
        """See ``Layers``."""
        block = self.blocks[layer]
        attention, normed = block.self_attn, fused.normed(block.input_layernorm, x)
        chosen = normed if asking is None else normed[asking]
        queries = attention.q_proj(chosen).view(len(chosen), -1, attention.head_dim)
        keys, values = (linear(normed).view(len(x), -1, attention.head_dim) for linear in (attention.k_proj, attention.v_proj))
        return Projected(turned(queries, _at(rotation, asking)), turned(keys, rotation), values)

    def asked(self, layer: int) -> Sequence[Any]:
        """See ``Layers``."""
        return (self.blocks[layer].self_attn.q_proj,)

    def scaling(self, layer: int) -> float:
        """See ``Layers``."""
        return float(self.blocks[layer].self_attn.scaling)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """See ``Layers``."""
        block = self.blocks[layer]
        x = x + block.self_attn.o_proj(attended)
        return x + block.mlp(fused.normed(block.post_attention_layernorm, x))  # type: ignore[no-any-return]

    def behind(self, layer: int) -> Sequence[Any]:
        """See ``Layers``."""
        return (self.blocks[layer].self_attn.o_proj, self.blocks[layer].mlp)

    def normed(self, x: Tensor) -> Tensor:
        """See ``Layers``."""
        return fused.normed(self.base.norm, x)


class GPTNeoX:
    """GPT-NeoX: one projection with each head's three together, a rotation of some dimensions, branches beside each other or not."""

    def __init__(self, base: Any) -> None:
        self.base, self.blocks = base, base.layers

    def embed(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation]:
        """See ``Layers``."""
        x = self.base.embed_in(ids)
        return x, turning(self.base.rotary_emb, x, positions)

    def project(self, layer: int, x: Tensor, rotation: Rotation, asking: Tensor | None = None) -> Projected:
        """See ``Layers``."""
        block = self.blocks[layer]
        three = block.attention.query_key_value(block.input_layernorm(x)).view(len(x), -1, 3 * block.attention.head_size)
        queries, keys, values = three.chunk(3, -1)
        queries = queries if asking is None else queries[asking]
        return Projected(turned(queries, _at(rotation, asking)), turned(keys, rotation), values)

    def asked(self, layer: int) -> Sequence[Any]:
        """See ``Layers``; one product makes all three."""
        return ()

    def scaling(self, layer: int) -> float:
        """See ``Layers``."""
        return float(self.blocks[layer].attention.scaling)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """See ``Layers``."""
        block = self.blocks[layer]
        after = x + block.attention.dense(attended)
        return after + block.mlp(block.post_attention_layernorm(x if block.use_parallel_residual else after))  # type: ignore[no-any-return]

    def behind(self, layer: int) -> Sequence[Any]:
        """See ``Layers``."""
        return (self.blocks[layer].attention.dense, self.blocks[layer].mlp)

    def normed(self, x: Tensor) -> Tensor:
        """See ``Layers``."""
        return self.base.final_layer_norm(x)  # type: ignore[no-any-return]


class GPT2:
    """GPT-2: learned positions, one projection with all queries before all keys."""

    def __init__(self, base: Any) -> None:
        self.base, self.blocks = base, base.h

    def embed(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation]:
        """See ``Layers``."""
        return self.base.wte(ids) + self.base.wpe(positions), None

    def project(self, layer: int, x: Tensor, rotation: Rotation, asking: Tensor | None = None) -> Projected:
        """See ``Layers``."""
        block = self.blocks[layer]
        queries, keys, values = block.attn.c_attn(block.ln_1(x)).view(len(x), 3, -1, block.attn.head_dim).unbind(1)
        return Projected(queries if asking is None else queries[asking], keys, values)

    def asked(self, layer: int) -> Sequence[Any]:
        """See ``Layers``; one product makes all three."""
        return ()

    def scaling(self, layer: int) -> float:
        """See ``Layers``."""
        return float(self.blocks[layer].attn.scaling)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """See ``Layers``."""
        block = self.blocks[layer]
        x = x + block.attn.c_proj(attended)
        return x + block.mlp(block.ln_2(x))  # type: ignore[no-any-return]

    def behind(self, layer: int) -> Sequence[Any]:
        """See ``Layers``."""
        return (self.blocks[layer].attn.c_proj, self.blocks[layer].mlp)

    def normed(self, x: Tensor) -> Tensor:
        """See ``Layers``."""
        return self.base.ln_f(x)  # type: ignore[no-any-return]


KNOWN: Mapping[str, Callable[[Any], Layers]] = {"LlamaModel": Llama, "Qwen2Model": Llama, "GPTNeoXModel": GPTNeoX, "GPT2Model": GPT2}


def layers_of(model: Any) -> Layers | None:
    """The layers of a transformers model whose layout is known; None elsewhere, which is logged once."""
    base = model.base_model
    windows = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}
    if type(base).__name__ in KNOWN and not windows:
        return KNOWN[type(base).__name__](base)
    _unknown(type(base).__name__)
    return None


@cache
def _unknown(name: str) -> None:
    import logging

    logging.getLogger(__name__).warning("models of type %s run through transformers' own forward, which is slower", name)


def turning(embedding: Any, x: Tensor, positions: Tensor) -> Rotation:
    """Cosines and signed sines of every token, (N, 1, turned dimensions)."""
    cosine, sine = embedding(x.unsqueeze(0), positions.unsqueeze(0))
    half = sine.shape[-1] // 2
    return cosine[0].unsqueeze(1), torch.cat([-sine[0, :, :half], sine[0, :, half:]], -1).unsqueeze(1)


def _at(rotation: Rotation, places: Tensor | None) -> Rotation:
    """The rotation of the tokens at these places, or of all."""
    return rotation if rotation is None or places is None else (rotation[0][places], rotation[1][places])


def turned(x: Tensor, rotation: Rotation) -> Tensor:
    """(N, heads, d) with its first dimensions rotated by position, halves paired (Su et al. 2021, arXiv 2104.09864, as in Llama)."""
    if rotation is None:
        return x
    cosine, sine = rotation
    size = cosine.shape[-1]
    if size == x.shape[-1] and fused.written_out(x, cosine):
        return fused.rotated(x, cosine, sine)
    part = x[..., :size]
    out = torch.addcmul(part * cosine, part.roll(size // 2, -1), sine)
    return out if size == x.shape[-1] else torch.cat([out, x[..., size:]], -1)
