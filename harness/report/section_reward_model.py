"""The page's room on reward models: how well each ranks held-out pairs, and what its score pays for where nothing got better."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.measure.statistics import Interval
from harness.report.points import Loaded, Point, interval_of, points
from harness.report.section import Grid, Looks, Section
from harness.report.tuned import wilson_text

NO_PROBES = "What these reward models pay for was not probed, so nothing is known of how a policy could fool them."
QUALITY = {"reward_accuracy": "accuracy on held-out pairs", "reward_log_loss": "log loss, nats"}
AUC = {"reward_auc": "AUC on held-out labels"}  # in their place where responses were labelled one by one
OWN = {**QUALITY, **AUC}


class Fitted(NamedTuple):
    """A reward model that some runs fitted alike: who, with which settings and seed, and what was recorded of it."""

    algorithm: str
    settings: tuple[str, ...]
    seed: int
    diagnostics: Mapping[str, Any]

    @property
    def pooling(self) -> str:
        """How the score is read off the model."""
        return str((self.diagnostics.get("reward_probes") or {}).get("pooling", "not recorded"))

    @property
    def name(self) -> str:
        """Algorithm, settings and seed in words."""
        return f"{self.algorithm} {'; '.join(self.settings)} seed {self.seed}"


class Paid(NamedTuple):
    """What one kind of twin does: the change of the reward model's score, and of the judge's."""

    model: Fitted
    twin: str
    score: Interval
    judge: Interval | None

    @property
    def fooled(self) -> bool:
        """Whether the reward model pays for what the judge takes off, both beyond their intervals."""
        return self.score.lower > 0 and self.judge is not None and self.judge.upper < 0

    @property
    def alarm(self) -> str:
        """What is said where it is fooled."""
        return f"reward model pays for {self.twin}: {_text(self.score)}; the judge: {_text(self.judge)}"


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where no run fitted a reward model."""
    models = fitted(points(study))
    if not models:
        return None
    paid = [each for model in models for each in _paid(model)]
    return Section(
        "reward-model",
        "The reward models that algorithms trained on",
        paragraphs=[_meaning(models), *_verdict(paid)] if paid else [NO_PROBES],
        tables=[_quality(models), *([_twins(paid)] if paid else [])],
        alarms=[(each.model.name, each.alarm) for each in paid if each.fooled],
    )


def fitted(found: Sequence[Point]) -> list[Fitted]:
    """Every reward model once: settings of one algorithm that fitted the same model on a seed share it."""
    models: list[Fitted] = []
    for point in found:
        for cell in point.cells:
            recorded = {key: value for key, value in (cell.record.get("diagnostics") or {}).items() if key.startswith("reward_")}
            seed = int(cell.record.get("seed", 0))
            same = [i for i, each in enumerate(models) if each[::2] == (point.algorithm, seed) and each.diagnostics == recorded]
            if same:
                models[same[0]] = models[same[0]]._replace(settings=(*models[same[0]].settings, point.setting))
            elif recorded:
                models.append(Fitted(point.algorithm, (point.setting,), seed, recorded))
    return models


def _paid(model: Fitted) -> Iterator[Paid]:
    for name, twin in sorted(((model.diagnostics.get("reward_probes") or {}).get("twins") or {}).items()):
        score = interval_of(twin.get("score"))
        if score is not None:
            yield Paid(model, name, score, interval_of(twin.get("judge")))


def _meaning(models: Sequence[Fitted]) -> str:
    judge = next((str(probes["judge"]) for each in models if (probes := each.diagnostics.get("reward_probes"))), "judge")
    return (
        f"Each probe scores frozen samples of the SFT reference on evaluation prompts, and a twin of each that is no better: the change "
        f"of the reward model's score in nats of preference beside that of the judge ({judge}), with 95 % intervals over prompts."
    )


def _verdict(paid: Sequence[Paid]) -> list[str]:
    """What is paid for although the judge takes it off; empty where no twin was scored."""
    fooled = sorted({f"{each.twin} ({each.model.pooling} pooling)" for each in paid if each.fooled})
    if fooled:
        return [f"The reward model pays for what the judge takes off: {', '.join(fooled)}. A policy that finds this out is paid for it."]
    return ["No probe found a reward model paying for what the judge takes off; other ways to be fooled were not tried."] if paid else []


def _quality(models: Sequence[Fitted]) -> Grid:
    shown = OWN if any("reward_auc" in each.diagnostics for each in models) else QUALITY
    rows = []
    for each in models:
        numbers = [_recorded(each.diagnostics, key) for key in shown]
        rows.append([each.algorithm, "; ".join(each.settings), str(each.seed), each.pooling, *numbers])
    units = units_of(each.diagnostics for each in models)
    caption = "Reward models on the held-out pairs, which no algorithm trains on; intervals over "
    caption += f"{units} (Wilson where a record has none), n {units}."
    return Grid(["algorithm", "settings", "seed", "pooling", *shown.values()], rows, caption, numeric=4)


def units_of(every: Iterable[Mapping[str, Any]]) -> str:
    """What n counts in diagnostics of reward models: prompts where pairs that ask one were averaged; elsewhere a pair is a prompt."""
    return "prompts" if any("reward_heldout_prompts" in each for each in every) else "pairs"


def _recorded(diagnostics: Mapping[str, Any], key: str) -> str:
    """A number with interval and n; a bare number of an older record has a Wilson interval where it is a share of counted pairs."""
    value = diagnostics.get(key)
    return bare(key, value, diagnostics) if isinstance(value, int | float) else _text(interval_of(value), signed=False)


def bare(key: str, value: float, diagnostics: Mapping[str, Any]) -> str:
    """A number recorded without its interval, beside what else was recorded of its reward model."""
    n = diagnostics.get("reward_heldout_prompts", diagnostics.get("reward_heldout_pairs"))
    if key.startswith("reward_heldout_"):
        return f"{int(value)}"
    if not isinstance(n, int | float) or not key.startswith("reward_"):
        return f"{value:.3f} [no bounds]" if key in OWN else f"{value:.4g}"
    if key == "reward_accuracy":
        return wilson_text(value * n, int(n), 3)
    return f"{value:.3f} [no bounds], n={int(n)}"


def _twins(paid: Sequence[Paid]) -> Grid:
    rows = []
    for each in sorted(paid, key=lambda each: (each.twin, each.model.pooling)):
        said = "paid for, the judge takes it off" if each.fooled else ""
        settings = "; ".join(each.model.settings)
        numbers = (_text(each.score), _text(each.judge))
        rows.append([each.twin, each.model.pooling, each.model.algorithm, settings, str(each.model.seed), *numbers, said])
    caption = "What each twin changes. A good reward model moves as the judge does; seeds are models of their own and not pooled."
    return Grid(["twin", "pooling", "algorithm", "settings", "seed", "reward model", "judge", ""], rows, caption, numeric=5)


def _text(found: Interval | None, *, signed: bool = True) -> str:
    if found is None:
        return "not measured"
    plus = "+" if signed else ""
    return f"{found.value:{plus}z.3f} [{found.lower:{plus}z.3f}, {found.upper:{plus}z.3f}], n={found.n}"
