"""What every preference loss must obey, as plain functions: tests drive them over the registry, ``violations`` over one loss.

A law takes a loss, a case (values for every name of the closed set, float64) and settings, and returns an empty string or one line
that says what was broken. A loss that cannot obey a law says so by a trait in its file, and the trait is shown in every table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.plugins.cases import CHOSEN, FURTHER, REJECTED, SINGLE, Case, at_reference, draw_case, evaluate, gradients
from harness.training.preference import PreferenceLoss
from harness.types import Setting

Law = Callable[[PreferenceLoss, Case, Mapping[str, Setting]], str]

EXACT = 1e-10  # float64, absolute and relative: design invariant 1


def one_finite_value_per_row(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """Shape (rows,), values and gradients finite wherever the case lies (log-ratios up to 1e4 in the tests)."""
    values = evaluate(loss, case, settings)
    if values.shape != case["chosen"].shape:
        return f"returned shape {tuple(values.shape)} for {len(case['chosen'])} rows"
    if not values.isfinite().all():
        return f"a value is not finite: {values.tolist()}"
    wrong = [name for name, gradient in gradients(loss, case, settings).items() if not gradient.isfinite().all()]
    return f"the gradient in {wrong[0]} is not finite" if wrong else ""


def gradients_are_derivatives(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """Autograd lies between the differences to either side, which are nearly one but at a kink; float64. Exempt: ``stops_gradient``."""
    if exemption(loss, gradients_are_derivatives):
        return ""
    step, here = 1e-5, evaluate(loss, case, settings)
    for name, gradient in gradients(loss, case, settings).items():
        up, down = (evaluate(loss, {**case, name: case[name] + sign * step}, settings) for sign in (1, -1))
        sides = (up - here) / step, (here - down) / step
        if not loss.uses_batch_statistics and not _between(gradient, *sides):
            return f"the gradient in {name} is {gradient.tolist()}, differences give {sides[0].tolist()} and {sides[1].tolist()}"
        if not _between(gradient.sum(), sides[0].sum(), sides[1].sum()):
            return f"the gradient in {name} sums to {float(gradient.sum())}, differences to {float(sides[0].sum())}"
    return ""


def order_is_irrelevant(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """Reversing the rows reverses the values."""
    turned = {name: value.flip(0) if _per_row(value) else value for name, value in case.items()}
    return _same(evaluate(loss, turned, settings).flip(0), evaluate(loss, case, settings), "values change with the order of the batch")


def rows_are_independent(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """A row's value does not depend on which rows share its part of the batch, so 1 x 8 equals 8 x 1. Exempt: ``uses_batch_statistics``."""
    if exemption(loss, rows_are_independent):
        return ""
    rows = range(len(case["chosen"]))
    alone = [evaluate(loss, {n: v[i : i + 1] if _per_row(v) else v for n, v in case.items()}, settings) for i in rows]
    return _same(torch.cat(alone), evaluate(loss, case, settings), "a row alone has another value than in a batch")


def only_ratios_matter(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """Lowering policy and reference alike changes nothing, for each response whose reference is named. Exempt: ``has_nll``."""
    if exemption(loss, only_ratios_matter):
        return ""
    lowered, signature = dict(case), loss.signature
    read = [(CHOSEN, REJECTED)[side] for side in signature.reference_sides] + [SINGLE] * ("ref_logps" in signature.arguments)
    read += FURTHER * signature.listed
    for policy, reference in read:
        shift = torch.arange(1, len(case[policy]) + 1, dtype=torch.float64)
        lowered |= {policy: case[policy] - shift, reference: case[reference] - shift}
    return _same(evaluate(loss, lowered, settings), evaluate(loss, case, settings), "the level of log-probs matters, not only ratios")


def neutral_at_reference(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """At policy = reference every row of one label has one value (DPO: log 2). Exempt: ``has_nll``, and losses without reference."""
    if exemption(loss, neutral_at_reference):
        return ""
    values = evaluate(loss, at_reference(case), settings)
    labels = (case["desirable"], ~case["desirable"]) if loss.signature.unpaired else (torch.ones_like(case["desirable"]),)
    found = [_same(values[label], values[label][:1].expand(int(label.sum())), "rows differ at policy = reference") for label in labels]
    return next(filter(None, found), "")


def first_step_prefers_chosen(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """At policy = reference and no gap, descent raises the chosen, lowers the rejected, and orders a list. Exempt: ``raises_chosen`` False.

    Of a list the best response is the chosen one and the last the rejected one; none between is raised more than a better one. The trait
    exempts from raising the chosen alone.
    """
    start = at_reference(case)
    for policy, reference in (REJECTED, *FURTHER):
        start |= {policy: start["chosen"], reference: start["ref_chosen"]}
    found = gradients(loss, start | {"rejected_lengths": start["chosen_lengths"]}, settings)
    if loss.signature.listed:
        slopes = torch.stack(list(found.values()))
        if (slopes.diff(dim=0) < -EXACT).any():
            return f"the first step raises a response of a list more than a better one: gradients {slopes.tolist()}"
        found = {"chosen": slopes[0], "rejected": slopes[-1]}
    if "logps" in found:
        found = {"chosen": found["logps"][case["desirable"]], "rejected": found["logps"][~case["desirable"]]}
    if loss.raises_chosen and "chosen" in found and not (found["chosen"] < 0).all():
        return f"the first step does not raise the chosen log-prob: gradient {found['chosen'].tolist()}"
    if "rejected" in found and not (found["rejected"] > 0).all():
        return f"the first step does not lower the rejected log-prob: gradient {found['rejected'].tolist()}"
    return ""


def repeatable(loss: PreferenceLoss, case: Case, settings: Mapping[str, Setting]) -> str:
    """The same arguments give the same bytes, and are left as they were."""
    kept = {name: value.clone() if isinstance(value, Tensor) else value for name, value in case.items()}
    first, second = evaluate(loss, case, settings), evaluate(loss, case, settings)
    if not torch.equal(first, second):
        return "two calls with the same arguments differ"
    changed = [n for n, v in kept.items() if isinstance(v, Tensor) and not torch.equal(v, case[n])]
    return f"the argument {changed[0]} was changed in place" if changed else ""


def exemption(loss: PreferenceLoss, law: Law) -> str:
    """Why the loss need not obey the law, by what its file declares; an empty string where it must."""
    levelled = "a likelihood term" if loss.has_nll else "no reference" * (not loss.signature.reads_reference)
    annotated = sorted({"margin", "agreement", "reward"} & set(loss.signature.arguments))
    reasons: dict[Law, str] = {
        gradients_are_derivatives: "a detached factor" * loss.stops_gradient,
        rows_are_independent: "statistics of the batch" * loss.uses_batch_statistics,
        only_ratios_matter: levelled,
        neutral_at_reference: levelled or f"reads {', '.join(annotated)}" * bool(annotated),
    }
    return reasons.get(law, "")


LAWS: tuple[Law, ...] = (
    one_finite_value_per_row,
    gradients_are_derivatives,
    order_is_irrelevant,
    rows_are_independent,
    only_ratios_matter,
    neutral_at_reference,
    first_step_prefers_chosen,
    repeatable,
)


def violations(loss: PreferenceLoss, settings: Mapping[str, Setting] | None = None, *, seeds: int = 5) -> list[str]:
    """Every law that the loss breaks on ``seeds`` ordinary cases and on log-ratios of 1e4, one line each; empty where it obeys."""
    chosen, cases = dict(settings or {}), [draw_case(seed) for seed in range(seeds)]
    found = {law.__name__: next(filter(None, (law(loss, case, chosen) for case in cases)), "") for law in LAWS}
    found["far_from_reference"] = one_finite_value_per_row(loss, draw_case(0, spread=1e4), chosen)
    return [f"{loss.name}: {law}: {what}" for law, what in found.items() if what]


def _between(found: Tensor, one: Tensor, other: Tensor) -> bool:
    """Whether ``found`` lies between both, but for the error of a difference (rel 1e-4, abs 1e-6)."""
    slack = 1e-4 * torch.maximum(one.abs(), other.abs()) + 1e-6
    return bool(((found >= torch.minimum(one, other) - slack) & (found <= torch.maximum(one, other) + slack)).all())


def _per_row(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _same(found: Tensor, wanted: Tensor, complaint: str) -> str:
    equal = found.shape == wanted.shape and torch.allclose(found, wanted, rtol=EXACT, atol=EXACT)
    return "" if equal else f"{complaint}: {found.tolist()} against {wanted.tolist()}"
