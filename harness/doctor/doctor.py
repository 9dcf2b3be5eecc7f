"""What a data set is like before anything is trained on it: what was read and dropped, what is wrong, and whether DPO suits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data import files, pinning, sources, splits
from harness.data.mixtures import lacking
from harness.data.places import Place, parse, written
from harness.data.rows import Row
from harness.data.tokenise import Tokens
from harness.doctor import checks, crossfit, suitability
from harness.errors import HarnessError
from harness.measure.statistics import Interval, prompt_interval
from harness.types import Pair, TokenPair

if TYPE_CHECKING:
    from harness.models.metered import Metered


def examine(
    data: str, model: str | None = None, *, split: str = "", revision: str = "", limits: tuple[int, int] = (512, 128), sample: int = 256
) -> Iterator[str]:
    """The lines of a report on ``data``, as they are found.

    ``model`` is a transformers folder whose tokenizer counts, and which is asked about ``sample`` of the pairs; ``limits`` are those of
    prompt and response in tokens. Raises HarnessError where either cannot be read, and behind what was dropped where no row is left.
    """
    places = parse(pinning.pinned(data, split=split, revision=revision))
    source = sources.read_rows(written(places))
    paired = [row for row in source.rows if row.chosen and row.rejected]
    yield from _read(source)
    if not source.rows:
        why = "; ".join(filter(None, (source.counts(), lacking(source.parts))))
        raise HarnessError(f"nothing in the data '{source.name}' can be used: {why}")
    yield from _section("Texts", [*checks.of_texts(source.rows), checks.leaks(source.rows), *_others(places, source.rows)])
    if labels := checks.of_labels(source.rows):
        yield from _section("Labels of single responses", [*labels, "no two responses are compared: only what learns from labels can run"])
        if model is not None:
            yield from _tokens(model, source, Tokens(_tokenizer(model), *limits))
        return
    if not paired and (said := lacking(source.parts)):
        yield from _section("Labels of single responses", [said])
    known = [row.agreement for row in paired if row.agreement is not None]
    agreement: tuple[Interval | None, str] = (_mean(known), "as the data say") if len(known) * 2 > len(paired) else (None, "")
    distance = None
    if model is not None and paired:
        tokens, metered = _load(model, limits)
        yield from _tokens(model, source, tokens)
        asked = tokens.pairs(_sample(paired, sample))
        distance = _distance(metered, asked)
        agreement = agreement if agreement[0] else _crossfitted(metered, asked, tokens)
    alike = checks.collapsed(source.rows, source.dropped)
    found = [suitability.pairs(len(paired)), suitability.agreement(*agreement)]
    yield from _section("Does DPO suit it?", [*found, suitability.distance(distance), suitability.ratings(alike.found, alike.of)])


def _tokens(model: str, source: sources.Source, tokens: Tokens) -> Iterator[str]:
    lines = [*checks.of_tokens(source.rows, tokens), checks.ending(tokens), checks.lengths(source.rows, tokens)]
    return _section(f"Tokens of {Path(model).name}", lines)


def _section(title: str, lines: Sequence[object]) -> Iterator[str]:
    yield f"{title}:"
    yield from (f"  {line}" for line in lines)


def _read(source: sources.Source) -> Iterator[str]:
    lines: list[str] = []
    for part in source.parts:
        kind = "labels alone" if part.single else "pairs"
        lines += [f"{part.name}: {part.read} rows read ({part.layout}), {part.kept} rows made of them, {part.judged} of them {kind}"]
        lines += [f"  {part.place}; licence: {part.licence}"] * bool(part.licence)
        lines += [f"  {n} dropped: {reason}" for reason, n in sorted(part.dropped.items()) if n]
    return _section("Rows", lines)


def _others(places: Sequence[Place], rows: Sequence[Row]) -> Iterator[checks.Count]:
    """What the other published splits of a folder have in common with these rows."""
    for place in places:
        path = Path(place.where)
        if place.on_hub or not path.is_dir() or any((path / name).is_file() for name in files.SAVED):
            continue
        names = list(files.splits(path))
        read = place.split or files.choose(f"folder '{path}'", names, "")
        for name in (each for each in names if each and each != read):
            yield checks.shared(rows, sources.read_rows(str(replace(place, split=name, share=None))).rows, name)


def _load(model: str, limits: tuple[int, int]) -> tuple[Tokens, Metered]:
    from transformers.utils.logging import disable_progress_bar

    from harness.models.loading import load_model, meter
    from harness.training.ledger import Ledger

    _refuse_preset(model)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    loaded, tokenizer = load_model(model, dtype="float32", vocabulary=(), seed=0)
    return Tokens(tokenizer, *limits), meter(loaded, tokenizer, Ledger(float("inf")))


def _tokenizer(model: str) -> Any:
    """The tokenizer of a model alone, without its weights."""
    from harness.models.loading import load_tokenizer

    tokenizer = load_tokenizer(_refuse_preset(model))
    if tokenizer.eos_token_id is None:
        raise HarnessError(f"model folder {model}: the tokenizer has no EOS token, so no response can end")
    return tokenizer


def _refuse_preset(model: str) -> Path:
    """The folder of a model; HarnessError where there is none."""
    from harness.data.shapes import PRESETS, check_folder

    if model in PRESETS:
        raise HarnessError(f"model {model}: a preset has no weights before it is trained; give a transformers folder.")
    return check_folder(model)


def _sample(rows: Sequence[Row], n: int) -> list[Pair]:
    """``n`` of the pairs, those whose prompts hash lowest, so that the choice does not hang on their order."""
    return sources.pairs(sorted(rows, key=lambda row: splits.share_of(f"doctor\n{row.prompt}"))[:n])


def _mean(values: Sequence[float]) -> Interval:
    return prompt_interval(np.asarray(values), generator=np.random.default_rng(0))


def _distance(model: Metered, pairs: Sequence[TokenPair]) -> Interval | None:
    """How much less probable the chosen responses are to the model than text of its own, nats per token, over prompts.

    The sum of -log pi minus the entropy along the same prefixes, over all tokens: for text that the model wrote it is 0 in expectation,
    whatever its length. It is divided by the tokens of all, for a mean of ratios would not be 0: early ends and surprises go together.
    """
    import torch

    from harness.types import Group

    if not pairs:
        return None
    with torch.no_grad():
        logps, entropies = model.token_logps_and_entropies([Group(pair.prompt, (pair.chosen,)) for pair in pairs])
    excess, lengths = (each.double().cpu().numpy() for each in (-(logps.sums() + entropies.sums()), logps.lengths))
    ratio = excess.sum() / lengths.sum()
    return _mean((ratio + (excess - ratio * lengths) / lengths.mean()).tolist())  # the ratio's spread, to first order


def _crossfitted(model: Metered, pairs: Sequence[TokenPair], tokens: Tokens) -> tuple[Interval | None, str]:
    from harness.models.features import mean_states
    from harness.types import Group

    if len(pairs) < crossfit.LEAST:
        return None, f"{len(pairs)} pairs fit the limits and {crossfit.LEAST} are needed to cross-fit a reward model"
    states = mean_states(model, [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]).double().cpu().numpy()
    prompts = [tokens.prompt_text(pair.prompt) for pair in pairs]
    sided = crossfit.right(states[0::2] - states[1::2], prompts)
    return crossfit.agreement(sided, prompts), "a cross-fitted reward model sides with so many labels, a lower bound"
