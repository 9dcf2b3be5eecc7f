"""The command ``check``: what can be said of an algorithm in a minute without a language model, in lines as they are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.checking import alike, card, limits, obeyed, price
from harness.errors import HarnessError
from harness.models import threads
from harness.planning.settings import legal_grid, middle
from harness.plugins import registry
from harness.plugins.registry import Entry
from harness.report.escape import visible
from harness.training.preference import PreferenceLoss
from harness.types import Setting


def check(name: str, folder: Path) -> Iterator[str]:
    """What ``harness check NAME`` prints, line by line; the card goes into ``folder``. HarnessError where the algorithm cannot be used.

    What its file raises somewhere on the way is one such line too, with the file's own.
    """
    entry = registry.find("algorithms", name)
    try:
        yield from _checked(entry, folder)
    except Exception as error:
        said = registry.raised(entry.path, error)
        if isinstance(error, HarnessError) or not said.startswith(str(entry.path)):
            raise
        raise HarnessError(said) from error


def _checked(entry: Entry, folder: Path) -> Iterator[str]:
    legal_grid(entry)
    with threads.using(1):  # tables gain nothing by more, and what runs beside them would lose
        yield from _said(_made(entry), entry, folder)


def _said(algorithm: Any, entry: Entry, folder: Path) -> Iterator[str]:
    yield visible(f"{entry.name}: {entry.declaration.summary or 'says nothing of itself'} ({entry.path})", lines=False)
    if isinstance(algorithm, PreferenceLoss):
        yield from _of_loss(algorithm, entry)
    else:
        yield "It is no loss on logged responses: laws, price, look-alikes and card are of such losses alone."
    yield from _converges(algorithm, entry)
    if isinstance(algorithm, PreferenceLoss):
        yield ""
        for path in card.save([_line(algorithm, entry), *_yardsticks(entry)], folder):
            yield f"card: {path}"


def _made(entry: Entry) -> Any:
    """The algorithm, of a class one instance; HarnessError in one line where making it raises."""
    bound = registry.load_entry(entry).algorithm
    try:
        return bound() if isinstance(bound, type) else bound
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(registry.raised(entry.path, error)) from error


def _of_loss(loss: PreferenceLoss, entry: Entry) -> Iterator[str]:
    """Laws, gradients, price and look-alikes at the default settings."""
    for form in filter(None, (loss, loss.single)):
        obeyed.refused(form)
    settings: Mapping[str, Setting] = {}
    defaults = ", ".join(f"{name} = {value}" for name, value in loss.hyperparameters.items())
    yield f"asks for {', '.join(loss.signature.arguments)}; checked at {defaults or 'no setting'}"
    yield "\nlaws"
    yield from (f"  {visible(line, lines=False)}" for line in obeyed.lines(loss, settings))
    if loss.single:
        yield "laws of single, its loss where responses were labelled one by one"
        yield from (f"  {visible(line, lines=False)}" for line in obeyed.lines(loss.single, settings))
    yield f"\nprice of a pair ({price.MODEL}, prompt {price.PROMPT}, responses of {price.RESPONSE} tokens; a backward is two forwards)"
    for each in (_line(loss, entry), *_yardsticks(entry)[:1]):
        yield f"  {each.loss.name}: {price.price(each.loss).text()}"
    yield "\nresembles"
    yield from (f"  {line}" for line in alike.lines(loss, settings, entry))


def _converges(algorithm: Any, entry: Entry) -> Iterator[str]:
    """The rows of what it converges to, then a row of each yardstick."""
    if reason := limits.unanswerable(entry):
        yield f"\nconverges to nothing that can be enumerated here: {reason}."
        return
    about = f"{limits.PROMPTS} prompts, {limits.RESPONSES} responses, exact Bradley-Terry labels, a table in the model's place"
    yield f"\nconverges to ({about})"
    yield f"  {limits.HEADER}"
    yield from (f"  {line}" for line in limits.lines(algorithm, entry, limits.knob_settings(entry)))
    for each in registry.yardsticks("algorithms"):
        if each.path != entry.path:
            settings = limits.knob_settings(each)
            yield from (f"  {line}" for line in limits.lines(registry.load_entry(each).algorithm, each, settings[1:2] or settings))


def _yardsticks(entry: Entry) -> list[card.Line]:
    """The losses that it is shown next to, without itself."""
    return [_line(registry.load_entry(each).algorithm, each) for each in registry.yardsticks("algorithms") if each.path != entry.path]


def _line(loss: PreferenceLoss, entry: Entry) -> card.Line:
    """A loss at the middle of its declared grid, which a quick comparison runs too."""
    settings = {name: values[0] for name, values in middle(entry.declaration.grid).items()}
    return card.Line(loss, settings, " ".join([loss.name, *(f"{name} = {value}" for name, value in settings.items())]))
