"""The paper's prompts word for word, and what counts as an answer."""

from __future__ import annotations

import re

import pytest

from harness.errors import HarnessError
from harness.judges.templates import HH, TEMPLATES, TLDR_C, TLDR_S, WHICH, Template, named, template_of

CONCISE = """Which of the following summaries does a better job of summarizing the most important points in the given forum post, without \
including unimportant or irrelevant details? A good summary is both precise and concise.

Post:
a post {x}

Summary A:
one

Summary B:
two

FIRST provide a one-sentence comparison of the two summaries, explaining which you prefer and why. SECOND, on a new line, state only "A" \
or "B" to indicate your choice. Your response should use the format:
Comparison: <one-sentence comparison and explanation>
Preferred: <"A" or "B">"""
DIALOGUE = """For the following query to a chatbot, which response is more helpful?

Query: a post {x}

Response A:
one

Response B:
two

FIRST provide a one-sentence comparison of the two responses and explain which you feel is more helpful. SECOND, on a new line, state \
only "A" or "B" to indicate which response is more helpful. Your response should use the format:
Comparison: <one-sentence comparison and explanation>
More helpful: <"A" or "B">"""


def test_the_prompts_are_the_paper_s() -> None:
    """Rafailov et al. 2023, arXiv 2305.18290, appendix C.2; line breaks as in the authors' code."""
    details = ", without including unimportant or irrelevant details? A good summary is both precise and concise."
    for template, text in ((TLDR_C, CONCISE), (TLDR_S, CONCISE.replace(details, "?")), (HH, DIALOGUE)):
        assert template.messages("a post {x}", "one", "two") == [{"role": "user", "content": text}]


def test_the_own_question_has_a_system_message() -> None:
    assert [each["role"] for each in WHICH.messages("p", "a", "b")] == ["system", "user"]


@pytest.mark.parametrize(
    ("template", "said", "verdict"),
    [
        (TLDR_C, "Comparison: A is shorter.\nPreferred: B", "B"),
        (TLDR_C, 'Comparison: Preferred: A would be wrong.\n\n**Preferred:** "B".', "B"),
        (TLDR_C, "<think>Preferred: A</think>\nComparison: x\nPreferred: Summary B", "B"),
        (TLDR_C, 'Comparison: <one-sentence>\nPreferred: <"A" or "B">', None),
        (TLDR_C, "Comparison: both are good", None),
        (TLDR_C, "Preferred: Both", None),
        (TLDR_C, "Preferred: A because it is short", None),
        (HH, "Comparison: A says more.\nMore helpful: A", "A"),
        (HH, "Comparison: A says more.\nMore helpful: Response A", "A"),
        (HH, "Preferred: A", None),
        (WHICH, "**Response A**", "A"),
        (WHICH, "<think>B?</think> tie.", "tie"),
        (WHICH, "A or B", None),
    ],
)
def test_what_an_answer_is_read_as(template: Template, said: str, verdict: str | None) -> None:
    found = re.fullmatch(template.answer, said, re.IGNORECASE | re.DOTALL)
    assert (found and found[1]) == verdict


def test_templates_have_names() -> None:
    assert [named(template_of(name)) for name in TEMPLATES] == list(TEMPLATES)
    assert named(WHICH._replace(system="Else.")) == "own"
    with pytest.raises(HarnessError, match=r"template 'dpo-tldr' is unknown\. Did you mean 'dpo-tldr-[cs]'\? Legal: which, dpo-tldr-c"):
        template_of("dpo-tldr")
