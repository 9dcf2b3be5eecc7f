"""A sequence classifier in a transformers folder as a judge: a reward model of one output, or the log-odds of a label.

What a folder holds is read from its configuration first, without torch (``declared``); weights are loaded when it is first asked
(``loaded``). Safetensors only, no code of the folder is run, and a folder whose weights lack the head is refused: a fresh one is noise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.errors import HarnessError, near
from harness.judges.dialogue import turns
from harness.judges.scored import joined
from harness.types import Array, Response

HEAD = "ForSequenceClassification"
BATCH = 16  # inputs at a time
DECIMALS = 4  # of a score in nats: what batches of other shapes leave of equal inputs is a tie
READING = 1  # of how texts become inputs; raised when that moves a score
Texts = tuple[str, str]


class Declared(NamedTuple):
    """What a folder says it is: the place, the label whose log-odds are the score (empty: one output, a reward), and its position.

    ``independent`` labels are not exclusive: each has a probability of its own.
    """

    folder: Path
    label: str
    position: int
    independent: bool = False


class Inputs(NamedTuple):
    """One input's ids, and its segments where the model has them."""

    ids: Sequence[int]
    segments: Sequence[int]


def declared(folder: Path, label: str, word: str) -> Declared:
    """What a folder holds; HarnessError where it is no sequence classifier, or where ``label`` and its labels do not go together."""
    config = classifying(folder, f"judge {word!r}")
    labels = labels_of(config)
    if len(labels) == 1 and not label:
        return Declared(folder, "", 0)
    place = word.partition("#")[0]
    if len(labels) == 1:
        raise HarnessError(f"judge {word!r}: it has one output, a reward, and no labels; leave #{label} out.")
    if label not in labels:
        said = (
            f"label {label!r} is none of its own.{near(label, labels)}"
            if label
            else f"it has {len(labels)} labels; name the one that is better."
        )
        raise HarnessError(f"judge {word!r}: {said} Legal: {place}#LABEL with {', '.join(labels)}.")
    return Declared(folder, label, labels.index(label), config.get("problem_type") == "multi_label_classification")


def classifying(folder: Path, what: str) -> Mapping[str, Any]:
    """The configuration of a sequence classifier; HarnessError that ``what`` opens where the folder holds none."""
    try:
        config: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures = [str(name) for name in config.get("architectures") or ()]
        labels_of(config)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise HarnessError(f"{what}: {folder / 'config.json'} cannot be read; a transformers folder is wanted.") from error
    if not any(name.endswith(HEAD) for name in architectures):
        found = ", ".join(architectures) or "a model of no named architecture"
        raise HarnessError(f"{what}: holds {found}, no sequence classifier (...{HEAD}).")
    if not list(folder.glob("*.safetensors")):
        raise HarnessError(f"{what}: no *.safetensors in it; weights in pickles are not read.")
    return config


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """The names of a model's outputs, in order; two without names where the configuration says nothing, as transformers has it."""
    names = config.get("id2label") or {}
    count = int(config.get("num_labels") or len(names) or 2)
    return [str(names.get(str(index), f"LABEL_{index}")) for index in range(count)]


class Classifier:
    """Scores in nats, higher is better: the output of a reward model, or log p / (1 - p) of the label. Loaded when first asked.

    A reward model reads the prompt and the response as its chat template has them; without one as two segments where its tokenizer has a
    separator, else as one text that EOS ends. A label is that of the response alone. What is longer than the model can read loses
    the beginning of its prompt, then the end of its response, and is counted.
    """

    def __init__(self, found: Declared) -> None:
        """``found`` by ``declared``."""
        self.found = found
        self.counts: Counter[str] = Counter()
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, prompts: Sequence[str], responses: Sequence[Response]) -> Array:
        """(responses,), in nats; equal texts have equal scores."""
        texts = [(prompt if self.reads_prompt else "", response.text) for prompt, response in zip(prompts, responses, strict=True)]
        distinct = list(dict.fromkeys(texts))
        scores = dict(zip(distinct, self._scores(distinct), strict=True))
        return np.array([scores[each] for each in texts])

    @property
    def reads_prompt(self) -> bool:
        """Whether the prompt is read: by a reward model it is."""
        return not self.found.label

    def _scores(self, texts: Sequence[Texts]) -> list[float]:
        """Batches of like length, so that little is padded."""
        if self._loaded is None:
            self._loaded = loaded(self.found.folder, "judge")
        model, tokenizer = self._loaded
        inputs = [self._read(tokenizer, longest(model, tokenizer), *each) for each in texts]
        order = sorted(range(len(inputs)), key=lambda index: len(inputs[index].ids))
        scores = [0.0] * len(inputs)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for index, score in zip(chosen, nats(logits(model, [inputs[i] for i in chosen]), self.found), strict=True):
                scores[index] = round(float(score), DECIMALS)
        return scores

    def _read(self, tokenizer: Any, most: int, prompt: str, response: str) -> Inputs:
        """One input, cut to ``most`` ids where it is longer, and counted."""
        found, cut = fitted(tokenizer, most, prompt, response)
        self.counts["read"] += 1
        self.counts["cut"] += cut
        return found


def fitted(tokenizer: Any, most: int, prompt: str, response: str) -> tuple[Inputs, bool]:
    """An input of at most ``most`` ids, and whether it had to be cut: the beginning of the prompt goes first, then the response's end."""
    found = encoded(tokenizer, prompt, response)
    cut = len(found.ids) > most
    while len(found.ids) > most and prompt:
        ids = tokenizer.encode(prompt, add_special_tokens=False, verbose=False)
        kept = ids[len(found.ids) - most :]
        prompt = tokenizer.decode(kept) if len(kept) < len(ids) else ""
        found = encoded(tokenizer, prompt, response)
    return Inputs(found.ids[:most], found.segments[:most]), cut


def encoded(tokenizer: Any, prompt: str, response: str) -> Inputs:
    """A prompt and a response, or a response alone, as a model of this tokenizer is given them."""
    if prompt and tokenizer.chat_template:
        messages = [*turns(prompt), {"role": "assistant", "content": response}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        return Inputs(tokenizer.encode(text, add_special_tokens=False, verbose=False), ())
    if prompt and tokenizer.sep_token_id is None:
        text = joined(prompt, response) + (tokenizer.eos_token or "")
        return Inputs(tokenizer.encode(text, verbose=False), ())
    found = tokenizer(prompt, response, verbose=False) if prompt else tokenizer(response, verbose=False)
    nothing = [int(tokenizer.eos_token_id or 0)]  # an empty text where the tokenizer adds nothing
    return Inputs(found["input_ids"] or nothing, found.get("token_type_ids", ()))


def loaded(folder: Path, what: str) -> tuple[Any, Any]:
    """A classifier, on the accelerator where there is one, and its tokenizer.

    Raises HarnessError in one line, with ``what`` it is to be, where it cannot be read or its weights lack the head.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    shown = is_progress_bar_enabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32 if device.type == "cpu" else "auto", **safe
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise HarnessError(f"{what} folder {folder}: {str(error).splitlines()[0]}") from error
    finally:
        if shown:
            enable_progress_bar()  # type: ignore[no-untyped-call]
    if missing := sorted(report["missing_keys"]):
        raise HarnessError(f"{what} folder {folder}: its weights lack {missing[0]}, so its head would be a fresh one.")
    return model.eval().to(device), tokenizer


def longest(model: Any, tokenizer: Any) -> int:
    """How many ids the model can read: the least of what its tokenizer and its positions allow."""
    config = model.config.get_text_config()
    positions = int(getattr(config, "max_position_embeddings", 0) or getattr(config, "n_positions", 0) or 0)
    if positions and "roberta" in str(config.model_type):  # its positions count from behind the padding's
        positions -= int(config.pad_token_id or 0) + 1
    return min(int(tokenizer.model_max_length), positions or int(tokenizer.model_max_length))


def logits(model: Any, rows: Sequence[Inputs]) -> Array:
    """(inputs, outputs): what the model says of each, padded on the right whatever its tokenizer does, as it would say of each alone.

    A causal classifier reads its answer off the last id that is not its padding, so padding is the model's own where it has one, and
    otherwise an id that none of these inputs holds.
    """
    import torch

    config = model.config.get_text_config()
    own = config.pad_token_id
    pad = int(own) if own is not None else _unused(rows, int(config.vocab_size))
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[pad] * (width - len(row.ids))] for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    given = {"input_ids": ids, "attention_mask": mask}
    if any(row.segments for row in rows):
        given["token_type_ids"] = torch.tensor([[*row.segments, *[0] * (width - len(row.segments))] for row in rows])
    config.pad_token_id = pad
    try:
        with torch.no_grad():
            found = model(**{name: tensor.to(model.device) for name, tensor in given.items()}).logits
    finally:
        config.pad_token_id = own
    return np.asarray(found.double().cpu().numpy())


def _unused(rows: Sequence[Inputs], vocabulary: int) -> int:
    held = {each for row in rows for each in row.ids}
    return next(each for each in range(vocabulary) if each not in held)


def nats(found: Array, declared: Declared) -> Array:
    """(inputs,): the one output, or log p / (1 - p) of the label, which does not saturate as p does."""
    if not declared.label or declared.independent:
        return np.asarray(found[:, declared.position])
    others = np.delete(found, declared.position, axis=1)
    return np.asarray(found[:, declared.position] - np.logaddexp.reduce(others, axis=1))
