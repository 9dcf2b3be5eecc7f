"""TRL and transformers as sides of a comparison: their own trainer's loop, a step at a time, under declared configurations."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from queue import Queue
from typing import Any

import torch

from harness.types import Pair
from tests.bench import workloads
from tests.bench.speed import clock
from tests.bench.workloads import Workload

PINNED = "1.16.0"
ONEDNN, BLAS = "bf16", "ieee"  # names of torch.backends.mkldnn.matmul.fp32_precision; on CPUs without AMX oneDNN stays float32


@dataclass(frozen=True)
class Configuration:
    """How TRL is set up. Its defaults: bfloat16 autocast, checkpointing, a live reference, sdpa attention, the BLAS's products."""

    name: str
    bf16: bool = True
    checkpointing: bool = True
    precomputed: bool = False
    attention: str = "sdpa"
    matmul: str = BLAS

    def __str__(self) -> str:
        words = ["bf16 amp" if self.bf16 else "fp32", "checkpointing" if self.checkpointing else "no checkpointing"]
        words += ["precomputed reference" if self.precomputed else "live reference", f"{self.attention} attention"]
        return ", ".join([*words, "oneDNN" if self.matmul == ONEDNN else "BLAS"])


def tuned(name: str, *, bf16: bool, checkpointing: bool = False) -> Configuration:
    """TRL with everything that helped it on a CPU: eager attention, oneDNN, a precomputed reference."""
    return Configuration(name, bf16, checkpointing, precomputed=True, attention="eager", matmul=ONEDNN)


DEFAULTS = Configuration("TRL defaults")
DEFAULTS_FP32 = Configuration("TRL defaults in fp32", bf16=False)
TUNED_FP32 = tuned("TRL tuned, fp32", bf16=False)
TUNED_AMP = tuned("TRL tuned, amp", bf16=True)
CONFIGURATIONS = {c.name: c for c in (DEFAULTS, DEFAULTS_FP32, TUNED_FP32, TUNED_AMP)}


def absent() -> str:
    """Why there is no peer here, empty where there is one."""
    try:
        found = version("trl")
    except PackageNotFoundError:
        found = "none"
    return "" if found == PINNED else f"the peer is trl {PINNED}, installed: {found}"


def trainer(workload: Workload, rows: Sequence[Pair], configuration: Configuration, callbacks: Sequence[Any] = ()) -> Any:
    """A ``DPOTrainer`` on these rows with the workload's weights, logging every ten steps as TRL does by default."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    data = [{"prompt": row.prompt, "chosen": f" {row.chosen.text}", "rejected": f" {row.rejected.text}"} for row in rows]
    arguments = DPOConfig(
        output_dir=tempfile.mkdtemp(),
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        per_device_train_batch_size=workload.batch,
        max_steps=10**6,
        learning_rate=1e-6,
        beta=0.1,
        bf16=configuration.bf16,
        gradient_checkpointing=configuration.checkpointing,
        precompute_ref_log_probs=configuration.precomputed,
    )
    made = DPOTrainer(
        model=workloads.plain_model(workload, attention=configuration.attention),
        ref_model=None if configuration.precomputed else workloads.plain_model(workload, attention=configuration.attention),
        processing_class=workloads.tokenizer(workload),
        train_dataset=Dataset.from_list(data),
        args=arguments,
        callbacks=list(callbacks),
    )
    made.remove_callback(PrinterCallback)
    return made


class Steps(Iterator[int]):
    """The steps of a trainer's own loop: ``train()`` runs in a thread that stands still between two calls of ``next``."""

    def __init__(self, workload: Workload, rows: Sequence[Pair], configuration: Configuration) -> None:
        self.asked: Queue[bool] = Queue()
        self.done: Queue[int | BaseException] = Queue()
        self.trainer = trainer(workload, rows, configuration, [_callback(self)])
        self.thread: threading.Thread | None = None

    def __next__(self) -> int:
        """Runs to the end of the next step and returns its number; raises what the trainer raised."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._train, daemon=True)
            self.thread.start()
        else:
            self.asked.put(True)
        found = self.done.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """Ends the training after the step that it stands at."""
        if self.thread is not None:
            self.asked.put(False)
            self.thread.join(60)  # a daemon: one that does not stop holds nobody up

    def stand(self, step: int) -> bool:
        """Called by the trainer after each step: says so, waits, and returns whether to go on."""
        self.done.put(step)
        return self.asked.get()

    def _train(self) -> None:
        try:
            self.trainer.train()
        except BaseException as error:
            self.done.put(error)


def _callback(steps: Steps) -> Any:
    from transformers import TrainerCallback

    class Standing(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop |= not steps.stand(state.global_step)

    return Standing()


@dataclass(frozen=True)
class Decoding:
    """How transformers generates: its cache, attention and the products' kernel."""

    cache: str
    attention: str
    matmul: str

    def __str__(self) -> str:
        return f"{self.cache} cache, {self.attention} attention, {'oneDNN' if self.matmul == ONEDNN else 'BLAS'}"


DECODINGS = [Decoding(c, a, m) for c in ("dynamic", "static") for a in ("sdpa", "eager") for m in (BLAS, ONEDNN)]


def generate(model: Any, tokenizer: Any, prompts: Sequence[tuple[int, ...]], new_tokens: int, decoding: Decoding, *, greedy: bool) -> Any:
    """Response ids of transformers' ``generate``, cut after EOS; left padding, the full distribution, no pad token sampled."""
    longest, pad, eos = max(map(len, prompts)), tokenizer.pad_token_id, tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    model.set_attn_implementation(decoding.attention)
    how = {} if greedy else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    settings = {"max_new_tokens": new_tokens, "do_sample": not greedy, "pad_token_id": pad, "eos_token_id": eos, "disable_compile": True}
    if pad != eos:
        settings["suppress_tokens"] = [pad]
    with torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=mask, cache_implementation=decoding.cache, **settings, **how)
    return [_to_eos(row, eos) for row in out[:, longest:].tolist()]


def _to_eos(row: list[int], eos: int) -> tuple[int, ...]:
    return tuple(row[: row.index(eos) + 1] if eos in row else row)


def tokens_per_second(model: Any, tokenizer: Any, prompts: Sequence[tuple[int, ...]], new_tokens: int, decoding: Decoding) -> float:
    """Sampled tokens, up to and with EOS, per second."""
    begun = clock()
    drawn = generate(model, tokenizer, prompts, new_tokens, decoding, greedy=False)
    return sum(map(len, drawn)) / (clock() - begun)
