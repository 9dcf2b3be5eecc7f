"""The shape that FLOPs depend on, for a preset or for a transformers folder, read without torch: the price comes before the work."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import checkpoints as places
from harness.errors import HarnessError, near
from harness.training.ledger import Shape

TOKEN_EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings")
POSITION_EMBEDDINGS = ("embed_positions", "wpe", "position_embeddings")
HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Preset:
    """A Llama made from scratch in the process, its head tied to its embedding."""

    hidden: int
    layers: int
    heads: int

    @property
    def feed_forward(self) -> int:
        """Width of the gated feed-forward block: 8/3 of the hidden width, down to a multiple of 8 (Touvron et al. 2023, section 2.2)."""
        return int(self.hidden * 8 / 3) // 8 * 8

    def shape(self, vocabulary_size: int) -> Shape:
        """Four square attention matrices and three of the gated block per layer; the tied head once."""
        block = 4 * self.hidden**2 + 3 * self.hidden * self.feed_forward
        return Shape(blocks=self.layers * block, head=self.hidden * vocabulary_size, layers=self.layers, width=self.hidden)

    def matrices(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Name and sides of every matrix of the blocks."""
        for layer in range(self.layers):
            for part in "qkvo":
                yield f"model.layers.{layer}.self_attn.{part}_proj.weight", (self.hidden, self.hidden)
            for part in ("gate", "up", "down"):
                yield f"model.layers.{layer}.mlp.{part}_proj.weight", (self.feed_forward, self.hidden)


@dataclass(frozen=True)
class Table:
    """A policy that is a table of the vocabulary's size, or a network of as many units as are ``hidden`` (models/enumerable.py)."""

    hidden: int

    def shape(self, vocabulary_size: int) -> Shape:
        """What is looked up is no matmul; the network's two layers, and the head, which is as wide as the vocabulary."""
        network = self.hidden * (self.hidden + vocabulary_size)
        return Shape(blocks=network, head=vocabulary_size**2, layers=1, width=1)

    def matrices(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """None that an adapter could be over."""
        return iter(())


PRESETS: Mapping[str, Preset | Table] = {
    "tiny-128": Preset(hidden=128, layers=2, heads=4),
    "tiny-64": Preset(hidden=64, layers=2, heads=4),
    "table": Table(hidden=0),
    "network": Table(hidden=16),
}


def shape(model: str, vocabulary_size: int, adapter: Mapping[str, Any] | None = None) -> Shape:
    """The shape of a preset with this vocabulary, or of a local transformers folder, whose own vocabulary counts.

    With an ``adapter`` (``lora_rank`` and ``lora_targets``) over it, a matrix of a x b gains rank times a + b weights, and what was there
    is frozen.
    """
    folder = None if model in PRESETS else below(check_folder(model))
    bare = PRESETS[model].shape(vocabulary_size) if folder is None else folder_shape(folder)
    if not adapter:
        return bare
    names = [name.strip() for name in str(adapter["lora_targets"]).split(",")]
    matrices = dict(PRESETS[model].matrices()) if folder is None else _blocks(folder)
    _refuse_targets(names, matrices)
    chosen = [sides for name, sides in matrices.items() if names == ["all-linear"] or name.split(".")[-2] in names]
    gained = int(adapter["lora_rank"]) * sum(map(sum, chosen))
    return Shape(bare.blocks + gained, bare.head, bare.layers, bare.width, frozen=bare.blocks, frozen_head=bare.head)


def _refuse_targets(names: Sequence[str], matrices: Mapping[str, object]) -> None:
    """HarnessError where an adapter is to be over a module that the model has not; one without matrices is left to the run."""
    known = {name.rpartition(".")[0].rpartition(".")[2] for name in matrices}
    wrong = [name for name in names if name not in known] if known and list(names) != ["all-linear"] else []
    if wrong:
        legal = f"legal: all-linear, {', '.join(sorted(known))}"
        raise HarnessError(f"lora_targets: this model has no linear module {wrong[0]!r}; {legal}.{near(wrong[0], known)}")


def below(folder: Path) -> Path:
    """The folder that holds the weights of a model: itself, or its base where it is an adapter."""
    return places.base_of(folder) if places.is_adapter(folder) else folder


def check_folder(model: str) -> Path:
    """The folder of a local model that has its configuration, safetensors weights and tokenizer; HarnessError naming what is missing.

    A hub id is looked for in the Hugging Face cache; an adapter's folder needs its own weights and its base.
    """
    folder = places.place(model)
    if folder is None and places.HUB_ID.fullmatch(model):
        raise places.absent(model)
    if folder is None:
        legal = ", ".join(PRESETS)
        raise HarnessError(f"Unknown model {model!r}: neither a folder nor one of {legal}.{near(model, PRESETS)}")
    if places.is_adapter(folder):
        places.adapter_facts(folder)
        check_folder(str(places.base_of(folder)))
        return folder
    if not (folder / "config.json").is_file():
        raise HarnessError(f"Model folder {folder} has no config.json; a transformers folder (save_pretrained) is wanted.")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        found = f"only pickled weights ({pickles[0]}), which are never loaded" if pickles else "no weights"
        raise HarnessError(f"Model folder {folder} has {found}; *.safetensors is wanted (save_pretrained writes it).")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise HarnessError(f"Model folder {folder} has no tokenizer; one of {', '.join(TOKENIZERS)} is wanted.")
    return folder


def folder_shape(folder: Path) -> Shape:
    """Matmul weights of the blocks and of the head from the safetensors headers, layers and attention width from config.json."""
    config = _config(folder)
    if config.get("model_type") == "enumerable":
        return Table(int(config["hidden"])).shape(int(config["vocab_size"]))
    sizes = {name: rows * columns for name, (rows, columns) in _matrices(folder)}
    embeddings = _named(sizes, TOKEN_EMBEDDINGS)
    heads = {name: size for name, size in sizes.items() if name.endswith(HEADS)}
    looked_up = {**embeddings, **_named(sizes, POSITION_EMBEDDINGS)}  # a look-up is no matmul
    if not embeddings and not heads:
        raise HarnessError(f"Model folder {folder}: no embedding among its {len(sizes)} matrices; a causal language model is wanted.")
    layers, width = _attention(config, folder)
    return Shape(
        blocks=sum(sizes.values()) - sum(looked_up.values()) - sum(heads.values()),
        head=max((heads or embeddings).values()),
        layers=layers,
        width=width,
    )


def _blocks(folder: Path) -> dict[str, tuple[int, int]]:
    """Name and sides of every matrix that is no embedding and no output head."""
    every = dict(_matrices(folder))
    apart = {*_named(dict.fromkeys(every, 0), (*TOKEN_EMBEDDINGS, *POSITION_EMBEDDINGS)), *(name for name in every if name.endswith(HEADS))}
    return {name: sides for name, sides in every.items() if name not in apart}


def _named(sizes: Mapping[str, int], parts: tuple[str, ...]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if any(part in parts for part in name.split("."))}


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise HarnessError(f"{path}: an object is wanted, found {type(config).__name__}.")
    return config


def _attention(config: Mapping[str, Any], folder: Path) -> tuple[int, int]:
    """Layers and attention width (query heads times head size); GPT-2 calls them n_layer and n_embd."""
    layers, hidden = (
        next((config[key] for key in keys if key in config), None) for keys in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))
    )
    if layers is None or hidden is None:
        raise HarnessError(f"{folder / 'config.json'}: names no num_hidden_layers or hidden_size; a causal language model is wanted.")
    heads, size = config.get("num_attention_heads"), config.get("head_dim")
    return int(layers), int(heads * size if heads and size else hidden)


def _matrices(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and sides of every two-dimensional weight; vectors (norms, biases) cost no matmul."""
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in _header(path).items():
            if name != "__metadata__" and len(tensor["shape"]) == 2:
                yield name, (tensor["shape"][0], tensor["shape"][1])


def _header(path: Path) -> Mapping[str, Any]:
    """The JSON header of a safetensors file: eight bytes of length (little endian), then the header."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
    except (struct.error, ValueError) as error:
        raise HarnessError(f"{path}: not a safetensors file: {error}") from error
    return dict(header)
