"""A reward model as transformers' own sequence classifier: the trunk, and the head as its ``score``. No code of ours is needed to load it.

Those classes read the score off the last id that is not padding, so only ``pooling="last"`` can be saved so, and padding must be a token
that no text ends with: many models pad with EOS, which a response ends with.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.training.reward import RewardModel

PADDING = "<pad>"


def classifier_of(reward: RewardModel, tokenizer: Any) -> Any:
    """The ``...ForSequenceClassification`` of one output that gives this reward; the tokenizer learns to pad where it could not.

    Raises HarnessError where the scores are pooled over tokens, or transformers has no classifier with a linear head for such a model.
    """
    from transformers import AutoModelForSequenceClassification

    if reward.pooling != "last" or reward.model.head is None:
        raise HarnessError(f"pooling {reward.pooling!r}: transformers' sequence classifiers read the last token alone.")
    trunk = reward.model.model
    config = copy.deepcopy(trunk.config)
    config.num_labels, config.pad_token_id = 1, padded(tokenizer)
    config._attn_implementation = None  # the packed layout is ours
    try:
        model = AutoModelForSequenceClassification.from_config(config, dtype=trunk.dtype)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise HarnessError(f"models of type {config.model_type} have no sequence classifier; take pooling 'mean'.") from error
    score: Any = getattr(model, "score", None)
    if not isinstance(score, nn.Linear) or getattr(score, "bias", None) is not None:
        raise HarnessError(f"the classifier of models of type {config.model_type} has no linear head named score; take pooling 'mean'.")
    model.base_model.load_state_dict(trunk.base_model.state_dict())
    with torch.no_grad():
        score.weight.copy_(reward.model.head.weight)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return model.to(reward.model.device).eval()


def padded(tokenizer: Any) -> int:
    """The id that the tokenizer pads with, another than EOS: its own, else a special token that ends no text, else one that is added."""
    ends = (tokenizer.eos_token, tokenizer.bos_token, None)
    if tokenizer.pad_token in (tokenizer.eos_token, None):
        spare = next((token for token in tokenizer.all_special_tokens if token not in ends), None)
        if spare is None:
            tokenizer.add_special_tokens({"pad_token": PADDING})
        else:
            tokenizer.pad_token = spare
    return int(tokenizer.pad_token_id)
