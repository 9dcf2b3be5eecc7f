"""Who labels pairs: every assumption reaches the agreement asked for, and is different in the way that its name says."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import labels
from harness.data.labels import LABELS, Evidence, annotators, bradley_terry, flip, label_scale, length_biased, shuffled, siding
from harness.errors import HarnessError
from harness.types import Response
from tasks.tldr import task

POST = (
    "r/parenting TITLE : my friend and my guitar POST : my colleague likes fishing . three days ago my friend sold my guitar . my ex told "
    "me to quit . i think revenge is behind this . people say boredom is common . honestly i am so betrayed . i am forty years old . "
    "should i apologize ? TL;DR :"
)
CYCLE = (
    "trouble with my friend because of revenge , we met at beach , should i apologize",
    "long story short , due to revenge , also my colleague likes fishing , should i apologize ?",
    "so",
)


def evidence(n: int = 3000) -> Evidence:
    """Gaps, lengths that go along with them a little, and three tastes that lean apart."""
    generator = np.random.default_rng(0)
    gaps = generator.normal(0, 2, n)
    gaps[: n // 50] = 0.0
    tastes = gaps + generator.normal(0, 1.0, (3, n))
    return Evidence(gaps, 0.5 * gaps + generator.normal(0, 5, n), tastes)


@pytest.mark.parametrize("agreement", [0.6, 0.7, 0.85])
def test_the_scale_reaches_the_agreement(agreement: float) -> None:
    gaps = np.random.default_rng(0).normal(0, 2, 5000)
    scale = label_scale(gaps, agreement)
    assert np.mean(1 / (1 + np.exp(-scale * np.abs(gaps)))) == pytest.approx(agreement, abs=1e-6)


@pytest.mark.parametrize("name", ["bt", "annotators", "length-biased"])
@pytest.mark.parametrize("agreement", [0.6, 0.8])
def test_labels_side_with_the_better_response_as_often_as_asked(name: str, agreement: float) -> None:
    found = evidence()
    first = LABELS[name](found, agreement, 0.1)
    assert siding(first, found.gaps) == pytest.approx(agreement, abs=1e-6)
    assert ((first > 0) & (first < 1)).all()


def test_flips_do_not_look_at_the_size_of_the_difference() -> None:
    first = flip(Evidence(np.array([0.01, 5.0, -0.01, -5.0, 0.0]), np.zeros(5), np.zeros((0, 5))), 0.8)
    assert first == pytest.approx([0.8, 0.8, 0.2, 0.2, 0.5])


def test_shuffled_labels_know_nothing_and_say_so() -> None:
    assert shuffled(evidence(), 0.85).tolist() == [0.5] * 3000


def test_length_bias_is_the_weight_that_was_declared() -> None:
    """Two pairs of the same gap: so many tokens more, and the log-odds rise by scale x weight x tokens; no weight is Bradley-Terry."""
    found = evidence()
    assert length_biased(found, 0.8, 0.0) == pytest.approx(bradley_terry(found, 0.8), abs=1e-6)
    first = length_biased(found, 0.8, 0.2)
    logit = np.log(first / (1 - first))
    design = np.stack([found.gaps, found.lengths], axis=1)
    per_gap, per_token = np.linalg.lstsq(design, logit, rcond=None)[0]
    assert per_token / per_gap == pytest.approx(0.2, rel=1e-6)


def test_the_task_s_annotators_are_intransitive_as_a_population_at_the_default_agreement() -> None:
    """Three summaries of one post, found by search: the population prefers the first to the second to the third to the first."""
    world = task()
    generator = np.random.default_rng(1)
    prompts = world.training_prompts(generator, 400)
    assert world.write is not None
    one, two = world.write(generator, prompts), world.write(generator, prompts)
    train = labels.evidence(world, list(zip(prompts, one, two, strict=True)))
    pairs = [(POST, Response(CYCLE[i]), Response(CYCLE[(i + 1) % 3])) for i in range(3)]
    cycle = labels.evidence(world, pairs)
    both = Evidence(*(np.concatenate([a, b], axis=-1) for a, b in zip(train, cycle, strict=True)))
    first = annotators(both, 0.85)
    assert siding(first, both.gaps) == pytest.approx(0.85, abs=1e-6)
    assert first[-3:].min() > 0.52
    assert cycle.gaps.sum() == pytest.approx(0), "a reward cannot go round"


def test_what_cannot_be_reached_is_one_line_with_what_can() -> None:
    with pytest.raises(HarnessError, match=r"agreement 0.9: must lie between 0.5 and 0.750, what perfect labels"):
        label_scale(np.array([0.0, 0.0, 1.0, 2.0]), 0.9)
    against = Evidence(np.array([1.0, 1.0, -1.0]), np.array([-9.0, -9.0, 9.0]), np.zeros((0, 3)))
    with pytest.raises(HarnessError, match=r"agreement 0.8: must lie between 0.5 and .*a length weight of 1 would reach"):
        length_biased(against, 0.8, 1.0)
    with pytest.raises(HarnessError, match=r"labels 'annotators': this task declares none"):
        annotators(against, 0.8)
