"""What fits in memory: how much of a batch one forward and backward may hold, and how many prompts are sampled at a time.

How work is cut is never charged, and the gradients of parts add up; but samples are drawn chunk by chunk, so that another limit on
sampling draws others from the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.training.ledger import Shape
from harness.types import Group

# Bytes of activations that one forward and backward may hold; about what two processes leave free on a small machine.
ACTIVATION_BYTES = 2_500_000_000
SAMPLING_BYTES = 500_000_000


def slices(groups: Sequence[Group], layers: int, hidden: int) -> list[slice]:
    """How to cut a batch so that each forward and backward fits in memory; one slice wherever the whole batch fits."""
    limit, found, start, held = _token_limit(layers, hidden), [], 0, 0
    for index, group in enumerate(groups):
        tokens = len(group.prompt) + sum(map(len, group.responses))
        if index > start and held + tokens > limit:
            found.append(slice(start, index))
            start, held = index, 0
        held += tokens
    return [*found, slice(start, len(groups))]


def _token_limit(layers: int, hidden: int) -> int:
    # Measured on a 135M Llama in float32: about 2.3 MB a token with gradients, that is 34 floats a layer and hidden unit.
    return max(64, int(ACTIVATION_BYTES // (layers * hidden * 34 * 4)))


def sampling_rows(shape: Shape, vocabulary: int, *, prompt: int, samples: int, max_tokens: int) -> int:
    """How many prompts of at most ``prompt`` tokens may be sampled at once: keys and values of prompts and samples, and the logits."""
    own = samples * (max_tokens * 2 * shape.layers * shape.width * 4 + vocabulary * 16)
    return int(SAMPLING_BYTES // (own + prompt * 2 * shape.layers * shape.width * 4))
