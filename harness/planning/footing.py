"""What runs start from and are held against: SFT, reference, adapters, chat template, device; settings of an experiment. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from harness.checkpoints import HUB_ID, absent, has_template, is_adapter, place
from harness.data import vocabulary as tokens
from harness.data.shapes import PRESETS, check_folder
from harness.errors import HarnessError, near
from harness.planning import settings
from harness.planning.plan import AlgorithmPlan, Frozen
from harness.plugins import registry

Sft = Literal["demonstrations", "chosen", "none"]
Mode = Literal["copy", "cached", "adapter-off", "merged", "frozen-adapter"]
START, BASE = "sft", "base"
REFUSALS = 0.08  # share of refusals among demonstrations of real tasks: that of the embedded world of TL;DR
ADAPTED = ("adapter-off", "merged", "frozen-adapter")  # modes whose policy is an adapter
BARE = ("adapter-off", "merged")  # of them those whose reference has none
FITTED = ("merged", "frozen-adapter")  # of them those whose SFT is one
FAR = 1.25  # ratio of perplexities that is far: 0.22 nats a token, 9 nats for a response of 40
LORA = ("lora_rank", "lora_alpha", "lora_targets")


class Footing(Frozen):
    """What the policies of a seed start from, what their reference is, and how both are held in memory (docs/models.md)."""

    sft: Sft = "demonstrations"  # what supervised fine-tuning is on; none: the model as it is
    refusals: Annotated[float, Field(ge=0, lt=1)] = REFUSALS  # share of refusals among its demonstrations, of real tasks alone
    reference: str = START  # sft: what policies start from; base: the model before it; or another model
    reference_mode: Mode = "copy"
    lora_rank: PositiveInt = 16
    lora_alpha: PositiveFloat = 32.0
    lora_targets: str = "all-linear"  # or names of linear modules with commas
    chat: Literal["auto", "template", "plain"] = "auto"  # auto: the model's chat template where the data is chat
    device: Literal["auto", "cpu", "cuda"] = "auto"
    attention: Literal["auto", "padded"] = "auto"  # padded: never by sequences (harness/models/varlen.py)

    @property
    def adapted(self) -> bool:
        """Whether policies are adapters over frozen weights."""
        return self.reference_mode in ADAPTED


NAMES = tuple(Footing.model_fields)


def settled(given: Footing) -> set[str]:
    """The settings that are at their defaults: a key of what is computed leaves them out, so that it is what it was before they came."""
    return {name for name in NAMES if getattr(given, name) == Footing.model_fields[name].default}


def departures(given: Footing, names: Sequence[str]) -> dict[str, Any]:
    """Those of the named settings that are not at their defaults, for the keys of cached stages."""
    return {name: getattr(given, name) for name in names if name not in settled(given)}


def lora(given: Footing) -> dict[str, Any]:
    """Rank, alpha and targets where policies are adapters; nothing elsewhere."""
    return {name: getattr(given, name) for name in LORA} if given.adapted else {}


def refuse(given: Footing, model: str, *, embedded: bool) -> None:
    """Raise HarnessError where settings contradict one another, the model or a task that is ``embedded``: its SFT model makes its pairs."""
    found = place(model)
    adapter = found is not None and is_adapter(found)
    if given.sft == "chosen" and embedded:
        raise HarnessError("sft 'chosen': this task samples its pairs from the SFT model, so none exist before it; legal: demonstrations.")
    if given.sft == "none" and model in PRESETS:
        raise HarnessError(f"sft 'none': {model} has random weights, which are no reference; legal: demonstrations, or --model FOLDER.")
    if given.sft == "none" and given.reference_mode in FITTED and not adapter:
        said = "this mode keeps an SFT adapter, and none is fitted; legal here: adapter-off, or an adapter's folder as --model"
        raise HarnessError(f"reference_mode {given.reference_mode!r} with sft 'none': {said}.")
    if given.adapted and given.reference != START:
        said = "the reference is what lies below the policy's adapter, or beside it; legal with another reference: copy, cached"
        raise HarnessError(f"reference_mode {given.reference_mode!r} with reference {given.reference!r}: {said}.")
    if not given.adapted and (idle := [name for name in LORA if name not in settled(given)]):
        legal = ", ".join(ADAPTED)
        raise HarnessError(f"{idle[0]}: under reference_mode {given.reference_mode!r} no policy is an adapter; legal with it: {legal}.")
    _known(given.reference)


def refuse_chat(given: Footing, model: str, *, dialogues: bool) -> None:
    """Raise HarnessError where the data are ``dialogues``, or a template is asked for, and the model brings none."""
    found = place(model)
    if found is None or given.chat == "plain" or not (dialogues or given.chat == "template") or has_template(found):
        return
    why = "this data is chat" if dialogues else "chat = 'template' asks for one"
    said = "choose a model tuned on chat, give it a chat template, or say --chat plain"
    raise HarnessError(f"model {model}: its tokenizer has no chat template, and {why}: {said}.")


def refuse_tokens(given: Footing, model: str, vocabulary: Sequence[str], *, dialogues: bool) -> None:
    """Raise HarnessError where files say that the model cannot end a response, or that another reference has other tokens than it.

    ``vocabulary`` is that of the task, which a preset is made of. What only transformers can tell, the first stage refuses.
    """
    folder = place(model)
    if folder is not None:
        templated = given.chat == "template" or (given.chat == "auto" and dialogues)
        tokens.refuse_endless(f"model {model}", folder, templated=templated)
    if beyond(given) is not None and (other := place(given.reference)) is not None:
        tokens.refuse_endless(f"reference {given.reference}", other, templated=True)  # it is asked under the policy's tokenizer
        _refuse_other_tokens(f"reference {given.reference}", other, folder, vocabulary)


def _refuse_other_tokens(said: str, other: Path, folder: Path | None, vocabulary: Sequence[str]) -> None:
    ours = {word: index for index, word in enumerate(vocabulary)} if folder is None else tokens.words(folder)
    theirs, whose = tokens.words(other), "the policy's"
    if ours is not None and theirs is not None:
        left = tokens.unsure(other) | (set() if folder is None else tokens.unsure(folder))
        one, two = ({word: index for word, index in each.items() if word not in left} for each in (theirs, ours))
        tokens.refuse_other(said, one, two, whose)
    tokens.refuse_other_width(said, tokens.outputs(other), len(vocabulary) if folder is None else tokens.outputs(folder), whose)


def refuse_starts(given: Footing, algorithms: Sequence[AlgorithmPlan]) -> None:
    """Raise HarnessError where a policy cannot start where its algorithm's paper, or its setting, has it start."""
    for plan in algorithms:
        entry = registry.find("algorithms", plan.path or plan.name)
        if any(settings.init(entry, setting) == BASE for setting in plan.settings):
            _refuse_base(given, plan.name)


def _refuse_base(given: Footing, named: str) -> None:
    if given.reference_mode in BARE and given.sft != "none":
        said = "adapters lie over the SFT model; legal with it: copy, cached, or sft 'none'"
        raise HarnessError(f"{named} starts from the model before SFT, and under reference_mode {given.reference_mode!r} {said}.")
    if given.reference_mode == "frozen-adapter":
        raise HarnessError(f"{named} starts from the model before SFT, and under 'frozen-adapter' policies go on from the SFT adapter.")


def _known(reference: str) -> None:
    if reference in (START, BASE):
        return
    if place(reference) is not None:
        check_folder(reference)
    elif HUB_ID.fullmatch(reference):
        raise absent(reference)
    else:
        legal = f"{START}, {BASE}, or a model's folder or id"
        raise HarnessError(f"reference {reference!r}: unknown.{near(reference, (START, BASE))} Legal: {legal}.")


def distance(found: Mapping[str, float]) -> str:
    """A warning in words where the perplexities of reference and policy on chosen responses are far apart; empty elsewhere.

    ``found`` has ``reference``, ``policy`` and ``pairs``, as the stage of the pairs measured them before training.
    """
    if not found:
        return ""
    ratio = max(found["reference"], found["policy"]) / min(found["reference"], found["policy"])
    if ratio < FAR:
        return ""
    one, other = (f"{found[name]:.3g}" for name in ("reference", "policy"))
    said = f"the reference's perplexity on {found['pairs']:.0f} chosen responses is {one} and that of what policies start from {other}"
    return f"{said}: the KL to it is not 0 before training, and losses that read it pull policies there."


def beyond(given: Footing) -> str | None:
    """The reference where it is a model of its own, neither what policies start from nor the model before SFT."""
    return None if given.reference in (START, BASE) else given.reference
