"""TRL 1.12's PPO, timed by the update: ``python peer_ppo.py '{…}'`` in an environment of its own, which needs nothing of the harness.

TRL removed PPO in 1.13, and two versions of a library do not fit into one process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PrinterCallback,
    TrainerCallback,
)

PINNED = "1.12.0"
clock = {"wall": time.perf_counter, "cpu": time.process_time}[os.environ.get("HARNESS_BENCH_CLOCK", "wall")]


class Clock(TrainerCallback):
    """The time at the end of every update."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(clock())


def trainer(spec: dict[str, Any], clock: Clock) -> Any:
    """A ``PPOTrainer`` whose value model is separate and as large as the policy; left padding, EOS ends a response."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    how = {"attn_implementation": spec["attention"], "dtype": torch.float32}
    policy, reference = (AutoModelForCausalLM.from_pretrained(spec["model"], **how) for _ in range(2))
    reward, value = (AutoModelForSequenceClassification.from_pretrained(spec["model"], num_labels=1, **how) for _ in range(2))
    policy.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    arguments = PPOConfig(
        output_dir=tempfile.mkdtemp(),
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=spec["episodes"],
        num_mini_batches=1,
        num_ppo_epochs=spec["epochs"],
        total_episodes=spec["episodes"] * (spec["updates"] + 1),
        response_length=spec["new_tokens"],
        temperature=1.0,
        stop_token="eos",
        num_sample_generations=0,
        missing_eos_penalty=1.0,
        learning_rate=1e-6,
    )
    rows = Dataset.from_list([{"input_ids": prompt} for prompt in spec["prompts"]])
    made = PPOTrainer(arguments, tokenizer, policy, reference, reward, rows, value, eval_dataset=rows, callbacks=[clock])
    made.remove_callback(PrinterCallback)
    return made


def main(spec: dict[str, Any]) -> None:
    """Train, and print the seconds of every update but the first."""
    import trl

    assert trl.__version__ == PINNED, trl.__version__
    torch.backends.mkldnn.matmul.fp32_precision = spec["matmul"]
    clock = Clock()
    trainer(spec, clock).train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]
    print(json.dumps({"seconds": seconds, "transformers": __import__("transformers").__version__}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
