"""What an algorithm converges to where everything can be enumerated, as its knob varies: beside the optimum, and below each frontier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.exact import training, truth, world
from harness.planning.settings import around_default
from harness.plugins import effort, registry
from harness.plugins.registry import Entry
from harness.training.preference import PreferenceLoss
from harness.types import Setting, Update

PROMPTS, RESPONSES, SEED = 3, 4, 0
STEPS, ROLLOUTS, BATCH = 400, 80, 64
# As many steps as a loss takes go to a reward model, fitted until it stands; a head of zeros would not move on a table of zeros.
FITTED: Mapping[str, Setting] = {
    "reward_pooling": "last",
    "reward_epochs": 1e4,
    "reward_learning_rate": 0.1,
    "reward_batch": 1000,
}
STILL = 1e-3  # norm of the gradient at which a policy has not arrived
HEADER = f"{'setting':<28}{'KL':>8}{'reward':>8}{'below':>9}{'wins':>7}{'below':>9}{'nearest reward tilt':>26}{'nearest win tilt':>24}"


def knob_settings(entry: Entry) -> list[dict[str, Setting]]:
    """The values of the declared grid, or those around the first number, each with every other setting at its default."""
    grid: Mapping[str, Sequence[Any]] = entry.declaration.grid or around_default(entry)
    return [{name: value} for name, values in grid.items() for value in values] or [{}]


def lines(algorithm: Any, entry: Entry, settings: Sequence[Mapping[str, Setting]]) -> Iterator[str]:
    """A row for each setting: where the policy ends, what the frontiers have more of, and the tilt of the reference it is nearest to."""
    known = world.drawn(SEED, prompts=PROMPTS, responses=RESPONSES)
    for setting in settings:
        label = " ".join([entry.name, *(f"{name}={_short(value)}" for name, value in setting.items())])
        yield f"{label:<28}{_row(algorithm, entry, setting, known)}"


def unanswerable(entry: Entry) -> str:
    """Why there is nothing that it converges to here, or an empty string."""
    package = entry.declaration.metadata.get("requires")
    if package and not entry.declaration.loss:
        return f"it trains by {package}, which takes language models and not tables"
    return "it trains nothing" if entry.declaration.metadata.get("untrained") else ""


def _row(algorithm: Any, entry: Entry, setting: Mapping[str, Setting], known: world.World) -> str:
    last: dict[str, float] = {}

    def heard(update: Update) -> None:
        last.update(update.metrics)

    offline = isinstance(algorithm, PreferenceLoss)
    size: Any = {"steps": STEPS} if offline else {"steps": ROLLOUTS, "batch": BATCH, "exact": False}
    if "reward model" in effort.needs(entry.declaration):  # whose head reads float32 alone
        setting = {**FITTED, "reward_share": STEPS / (STEPS + size["steps"]), **setting}
        size = {**size, "steps": STEPS + size["steps"], "exact": False}
    try:
        policy = training.converge(algorithm, training.setup(known, setting, **size), known, heard=heard)
    except training.Diverged as error:
        return f"  diverged: {error}"
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(registry.raised(entry.path, error)) from error
    place = truth.place(known, policy)
    text = f"{place.kl:8.3f}{place.reward:8.3f}{max(place.below_reward, 0.0):9.5f}{place.wins:7.3f}{max(place.below_wins, 0.0):9.5f}"
    for name, scores in (("beta", known.reward), ("tau", truth.wins(known))):
        found = truth.nearest(known, policy, scores)
        text += f"{f'{name} {found.temperature:.3g} (KL {max(found.distance, 0.0):.1e})':>{26 if name == 'beta' else 24}}"
    moving = offline and last.get("gradient_norm", 0.0) > STILL
    return text + (f"  still moving after {STEPS} steps: gradient {last['gradient_norm']:.1e}" if moving else "")


def _short(value: Setting) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
