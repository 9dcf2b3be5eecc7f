"""Sampling of ours and transformers' ``generate`` in one process, in turns, on the same prompts and weights."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.models.precision import STORED
from tests.bench import engine, peer, speed, workloads
from tests.bench.workloads import Workload

FINALISTS = 2  # of transformers' settings, after one round of all


class Contest:
    """Both sides of a workload in one dtype, on the same prompts and weights."""

    def __init__(self, workload: Workload, precision: str) -> None:
        self.workload, self.tokenizer = workload, workloads.tokenizer(workload)
        self.prompts = [p.prompt for p in workloads.token_pairs(workloads.texts(workload, workload.prompts), self.tokenizer)]
        self.ours = engine.policy(workload, precision)
        self.plain = workloads.plain_model(workload, dtype=STORED[engine.PRECISIONS[precision]])

    def same_tokens(self, decoding: peer.Decoding) -> bool:
        """Whether both say the same under greedy decoding."""
        theirs = peer.generate(self.plain, self.tokenizer, self.prompts, self.workload.new_tokens, decoding, greedy=True)
        return bool(engine.sample(self.ours, self.prompts, self.workload.new_tokens, temperature=0) == theirs)

    def our_speed(self) -> float:
        """Tokens per second."""
        return engine.tokens_per_second(self.ours, self.prompts, self.workload.new_tokens)

    def their_speed(self, decoding: peer.Decoding) -> float:
        """Tokens per second."""
        with speed.matmul(decoding.matmul):
            return peer.tokens_per_second(self.plain, self.tokenizer, self.prompts, self.workload.new_tokens, decoding)

    def rates(self, decodings: Sequence[peer.Decoding], cycles: int) -> dict[str, list[float]]:
        """Tokens per second, in turns: ours, and the finalists of one round of all of transformers' settings."""
        workloads.keep_memory(self.workload)
        first = {decoding: self.their_speed(decoding) for decoding in decodings}
        finalists = sorted(decodings, key=lambda decoding: -first[decoding])[:FINALISTS]
        sides: dict[str, speed.Cycle] = {str(d): lambda d=d: self.their_speed(d) for d in finalists}  # type: ignore[misc]
        return speed.interleaved({"ours": self.our_speed, **sides}, cycles) | {f"first round: {d}": [rate] for d, rate in first.items()}


def best(found: dict[str, list[float]]) -> str:
    """The fastest of transformers' finalists."""
    return max((name for name in found if name != "ours" and not name.startswith("first")), key=lambda name: median(found[name]))
