"""One TRL script as a user would run it: load, tokenise, precompute the reference, train one epoch, save.

``python -m tests.bench.peer_script '{"loss": "sigmoid", "model": …, "data": …, "folder": …, "batch": 32}'``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.bench.peer import ONEDNN


def arguments(spec: dict[str, Any]) -> dict[str, Any]:
    """What the tuned configuration is for both trainers."""
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    tuned = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "precompute_ref_log_probs": True}
    return {"output_dir": spec["folder"], "per_device_train_batch_size": spec["batch"], "num_train_epochs": 1, **quiet, **tuned}


def trainer(spec: dict[str, Any], model: Any, tokenizer: Any) -> Any:
    """KTO on the shuffled single responses, anything else a loss of ``DPOTrainer``."""
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    pairs = [json.loads(line) for line in Path(spec["data"]).read_text(encoding="utf-8").splitlines()]
    if spec["loss"] == "kto":
        rows = [
            {"prompt": pair["prompt"], "completion": f" {pair[side]}", "label": side == "chosen"}
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
        data = Dataset.from_list(rows).shuffle(seed=0)
        return KTOTrainer(model=model, processing_class=tokenizer, train_dataset=data, args=KTOConfig(**arguments(spec)))
    data = Dataset.from_list([{**pair, "chosen": f" {pair['chosen']}", "rejected": f" {pair['rejected']}"} for pair in pairs])
    losses = spec["loss"].split("+")
    return DPOTrainer(model=model, processing_class=tokenizer, train_dataset=data, args=DPOConfig(loss_type=losses, **arguments(spec)))


def main(spec: dict[str, Any]) -> None:
    """Train and save."""
    torch.backends.mkldnn.matmul.fp32_precision = ONEDNN
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    model = AutoModelForCausalLM.from_pretrained(spec["model"], attn_implementation="eager", dtype=torch.float32)
    run = trainer(spec, model, tokenizer)
    run.train()
    run.save_model(spec["folder"])
    print(json.dumps({"steps": run.state.global_step}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
