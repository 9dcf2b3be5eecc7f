"""Chat templates: what is learnt is what is sampled, EOS is the template's, and the mask is the assistant's last turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.data import chat
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.types import Response

ASSISTANT = "{{ '<as> ' }}{% generation %}{{ m['content'] + ' <end>' }}{% endgeneration %}{{ ' ' }}"
USER = "{{ '<us> ' + m['content'] + ' <end> ' }}"
OPEN = "{% if add_generation_prompt %}{{ '<as> ' }}{% endif %}"
TEMPLATE = f"{{% for m in messages %}}{{% if m['role'] == 'assistant' %}}{ASSISTANT}{{% else %}}{USER}{{% endif %}}{{% endfor %}}{OPEN}"
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
WORDS = ("<pad>", "<eos>", "<us>", "<as>", "<end>", "hi", "there", "what", "now", "this", "that")


def tokenizer(template: str | None = TEMPLATE, *, eos: str | None = "<eos>") -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, eos_token=eos, pad_token="<pad>", additional_special_tokens=["<us>", "<as>", "<end>"]
    )
    found.chat_template = template
    return found


def tokens(found: Any) -> Tokens:
    return Tokens(chat.adopt(found, "toy"), 30, 10, templated=True)


DIALOGUE = "\n\nHuman: hi there\n\nAssistant: what now\n\nHuman: this\n\nAssistant:"


def ids(text: str) -> tuple[int, ...]:
    return tuple(WORDS.index(word) for word in text.split())


def test_a_dialogue_and_a_bare_prompt_become_turns() -> None:
    assert chat.messages(" what now ") == [{"role": "user", "content": "what now"}]
    assert [(turn["role"], turn["content"]) for turn in chat.messages(DIALOGUE)] == [
        ("user", "hi there"),
        ("assistant", "what now"),
        ("user", "this"),
    ]


def test_eos_is_the_token_that_ends_an_assistant_s_turn() -> None:
    assert chat.adopt(tokenizer(), "toy").eos_token == "<end>"
    assert chat.adopt(tokenizer(eos=None), "toy").eos_token == "<end>"
    assert chat.adopt(tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}"), "toy").eos_token == "<eos>"


def test_prompt_and_response_by_hand() -> None:
    """The prompt ends in the generation prompt, the response in the template's EOS once, whatever the text had around it."""
    (group,) = tokens(tokenizer()).groups([DIALOGUE], [(Response(" that  this "), Response("that", finished=False))])
    assert group.prompt == ids("<us> hi there <end> <as> what now <end> <us> this <end> <as>")
    assert group.responses == (ids("that this <end>"), ids("that"))


def test_the_response_is_the_assistant_mask_of_the_last_turn() -> None:
    """A template that marks what the assistant says, as transformers reads it: its last marked run is our response, EOS included."""
    found = tokenizer()
    turns = [*chat.messages(DIALOGUE), {"role": "assistant", "content": "that this"}]
    encoded = found.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    (group,) = tokens(found).groups([DIALOGUE], [(Response("that this"),)])
    mask, row = encoded["assistant_masks"], tuple(encoded["input_ids"])
    assert row == group.prompt + group.responses[0]
    assert mask[len(group.prompt) :] == [1, 1, 1] and mask[len(group.prompt) - 1] == 0
    assert sum(mask) == 3 + 3  # the earlier turn is the assistant's too, and is context here


def test_a_prompt_read_out_of_ids_is_the_same_ids_again() -> None:
    made = tokens(tokenizer())
    (prompt,) = made.prompts([DIALOGUE])
    assert made.prompts([made.prompt_text(prompt)]) == [prompt]
    (group,) = made.groups([made.prompt_text(prompt)], [(Response("that"),)])
    assert group == (prompt, (ids("that <end>"),))


def test_a_base_model_on_chat_data_and_a_template_that_refuses_are_one_line() -> None:
    with pytest.raises(HarnessError, match=r"model toy: its tokenizer has no chat template, and this data is chat: a base model"):
        chat.adopt(tokenizer(None), "toy")
    with pytest.raises(HarnessError, match="neither its chat template nor its tokenizer ends a turn"):
        chat.adopt(tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}", eos=None), "toy")
    with pytest.raises(HarnessError, match="refuses turns of system, user: no system turns"):
        chat.rendered(tokenizer(STRICT + TEMPLATE), "System: be kind\n\nHuman: hi")


def test_a_real_template_ends_turns_where_its_tokenizer_says(tmp_path: Path) -> None:
    """ChatML with pad == EOS, as SmolLM2 and Qwen2 have it: EOS is scored once, though it is the pad token."""
    chatml = (
        "{% for m in messages %}{{ '<us> ' + m['content'] + '<end>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<as>\n' }}{% endif %}"
    )
    found = tokenizer(chatml)
    found.pad_token = "<end>"
    made = tokens(found)
    assert made.tokenizer.pad_token_id == made.eos
    (group,) = made.groups(["hi"], [(Response("that"),)])
    assert group.responses == (ids("that <end>"),) and made.text(group.responses[0]) == "that"
