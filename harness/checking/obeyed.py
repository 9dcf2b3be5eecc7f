"""The laws over one loss, a line each: obeyed, exempt by what its file declares, or broken with a counter-example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.plugins import cases, constant, laws
from harness.training.preference import PreferenceLoss
from harness.training.returned import checked, place
from harness.types import Setting

SEEDS, FAR = 5, 1e4
STEP = 1e-5  # nats, of central differences
LONGEST = 160  # characters of a counter-example


def refused(loss: PreferenceLoss) -> None:
    """HarnessError in one line naming file and line where the loss cannot be called, or returns what cannot be trained on."""
    from harness.errors import HarnessError

    case = cases.draw_case(0)
    leaves = {name: case[name].clone().requires_grad_() for name in ("chosen", "rejected", "logps")}
    try:
        values = cases.evaluate(loss, {**case, **leaves}, {})
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"{place(loss.loss)}: algorithm '{loss.name}' raised {type(error).__name__}: {error}") from error
    checked(values, len(case["chosen"]), loss.loss, loss.name)
    if not values.isfinite().all():
        raise HarnessError(f"{place(loss.loss)}: algorithm '{loss.name}' returned a value that is not finite: {short(values.tolist())}")
    constant.refuse(loss, {})


def lines(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> Iterator[str]:
    """A line for each law, and how far autograd and central differences are apart."""
    for law in laws.LAWS:
        found = next(((seed, said) for seed in range(SEEDS) if (said := law(loss, cases.draw_case(seed), settings))), None)
        name = law.__name__.replace("_", " ")
        if found:
            yield f"BROKEN  {name}: {short(found[1])} (cases.draw_case({found[0]}))"
        elif reason := laws.exemption(loss, law):
            yield f"exempt  {name}: {reason}"
        else:
            yield f"obeyed  {name}"
    said = laws.one_finite_value_per_row(loss, cases.draw_case(0, spread=FAR), settings)
    yield f"BROKEN  far from the reference: {short(said)}" if said else f"obeyed  far from the reference (log-ratios up to {FAR:g} nats)"
    yield _differences(loss, settings)


def short(text: Any) -> str:
    """What is printed of a counter-example."""
    whole = str(text)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} ..."


def _differences(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> str:
    """How far autograd's gradients of the summed loss are from central differences, at most over all rows."""
    worst, rows = 0.0, 0
    for seed in range(SEEDS):
        case = cases.draw_case(seed)
        for name, gradient in cases.gradients(loss, case, settings).items():
            for row in range(len(gradient)):
                numeric = _difference(loss, case, settings, name, row)
                worst, rows = max(worst, abs(numeric - float(gradient[row]))), rows + 1
    return f"gradients and central differences (step {STEP:g} nats, float64) differ by at most {worst:.1e} over {rows} partial derivatives"


def _difference(loss: PreferenceLoss, case: cases.Case, settings: Mapping[str, Setting], name: str, row: int) -> float:
    bump = torch.zeros_like(case[name])
    bump[row] = STEP
    up, down = (cases.evaluate(loss, {**case, name: case[name] + sign * bump}, settings).sum() for sign in (1, -1))
    return float(up - down) / (2 * STEP)
