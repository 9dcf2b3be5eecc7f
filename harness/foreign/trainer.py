"""What every trainer of TRL is given here: a model on the policy's weights, a tokenizer that knows ids alone, no voice, a log of each step.

Tried with TRL 1.16.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import HarnessError
from harness.foreign.stepped import Told
from harness.types import Setup

if TYPE_CHECKING:
    from harness.models.metered import Metered

BETAS = (0.9, 0.99)  # of the offline loop
NEVER = -1e4  # nats: e to this is 0 in float32, and 0 times it is no NaN


def refuse(setup: Setup, name: str) -> None:
    """HarnessError in one line where TRL is absent, or the policy is not one that it can be given as it is."""
    from harness.models import adapters

    package()
    model = setup.policy.model
    if adapters.has(model) or model.dtype != torch.float32:
        held = "an adapter" if adapters.has(model) else f"stored in {str(model.dtype).removeprefix('torch.')}"
        raise HarnessError(f"algorithm '{name}': trains whole models in float32, and the policy is {held}; say --dtype float32.")


@contextmanager
def undisturbed() -> Iterator[None]:
    """No word of what TRL does that transformers will do otherwise one day: nobody here can change it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@cache
def package() -> Any:
    """TRL, or HarnessError that says how to get it; it sends no telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with undisturbed():
            import trl
    except ImportError as error:
        raise HarnessError("TRL is not installed; pip install trl==1.16.0, or the extra 'trl' of this project.") from error
    return trl


def common(setup: Setup, folder: str, clip: float) -> dict[str, Any]:
    """What every trainer is told: float32 on the run's device, a log of every step, nothing kept and nothing sent."""
    return {
        "output_dir": folder,
        "max_grad_norm": clip,
        "use_cpu": setup.policy.device.type == "cpu",
        "bf16": False,
        "activation_checkpointing": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "seed": setup.seed,
    }


def twin(policy: Metered) -> Any:
    """The model as transformers builds it, with its own attention, on the same weights in memory.

    Its distribution is the policy's too: padding that is no EOS is never said, which a bias of the output head tells TRL.
    """
    from transformers import AutoModelForCausalLM

    model = policy.model
    config = copy.deepcopy(model.config)
    config._attn_implementation = None
    made = AutoModelForCausalLM.from_config(config, dtype=model.dtype).to(model.device)  # type: ignore[no-untyped-call]
    theirs = dict(model.named_parameters())
    for name, parameter in made.named_parameters():
        parameter.data = theirs[name].data
    if policy.pad != policy.eos:
        head = made.get_output_embeddings()
        bias = torch.zeros(len(head.weight), device=model.device, dtype=model.dtype)
        bias[policy.pad] = NEVER
        head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return made


def words(policy: Metered) -> Any:
    """A tokenizer that knows the special ids and is asked for nothing else, for rows are ids."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pad, eos = f"<{policy.pad}>", f"<{policy.eos}>"
    core = Tokenizer(models.WordLevel({f"<{place}>": place for place in range(policy.model.config.vocab_size)}, unk_token=pad))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, eos_token=eos)  # type: ignore[no-untyped-call]


def run(trainer: Any, tell: Callable[[Told], None], before: Callable[[Any], None] = lambda optimiser: None) -> None:
    """Train, telling what is logged of every step once its weights have moved; ``before`` sees the optimiser just before each."""
    from transformers import PrinterCallback, TrainerCallback

    class Telling(TrainerCallback):
        """Stands between the trainer and whoever waits for its steps."""

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **named: Any) -> None:
            before(optimizer)

        def on_log(self, args: Any, state: Any, control: Any, logs: Told | None = None, **named: Any) -> None:
            if logs is not None and "loss" in logs:
                tell(logs)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Telling())
    with undisturbed():
        trainer.train()
