"""Which kernels multiply: refused where inexact or slow, decided once for a machine, the same for all that a seed shares."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.execute.kernels import choose
from harness.execute.local import Job, run_jobs
from harness.models import kernels
from harness.models.kernels import Probe
from harness.planning.experiment import resolve, study_key
from harness.plugins import registry
from harness.running import supervised
from harness.types import Group
from tests.models.toys import metered
from tests.training.toy import toy_setup


@pytest.fixture(autouse=True)
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    before = kernels.in_use()
    yield
    kernels.use(before)


def test_the_probe_is_exact_about_this_machine_and_leaves_it_as_it_was() -> None:
    for name in kernels.KERNELS:
        kernels.use(name)
        found = kernels.probe(64)
        assert kernels.in_use() == name
    assert found.gain > 0
    assert found.error < 1e-2  # bfloat16 at the worst


@pytest.mark.parametrize(
    ("gain", "error", "why"),
    [(2.0, 3e-7, None), (2.0, 3e-3, "relative error 0.003"), (2.0, math.nan, "relative error"), (0.7, 3e-7, "0.70 times as fast")],
)
def test_what_is_inexact_or_slow_is_refused(gain: float, error: float, why: str | None) -> None:
    refused = kernels._judged(gain, error).refused
    assert refused is None if why is None else why in str(refused)


def told(monkeypatch: pytest.MonkeyPatch, found: Probe) -> None:
    monkeypatch.setattr(kernels, "probe", lambda width: found)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_the_first_verdict_stays_so_that_all_processes_of_a_machine_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, Probe(2.0, 3e-7, None))
    assert choose("auto", 64) == "onednn" == kernels.in_use()
    told(monkeypatch, Probe(0.9, 3e-7, "slow"))
    assert choose("auto", 64) == "onednn"
    assert choose("default", 64) == "default" == kernels.in_use()


def test_a_refusal_is_one_logged_line_and_leaves_the_default(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    told(monkeypatch, Probe(0.9, 3e-7, "0.90 times as fast"))
    with caplog.at_level(logging.INFO):
        assert choose("auto", 64) == "default"
    assert [record.getMessage() for record in caplog.records] == ["oneDNN is not used: 0.90 times as fast"]
    assert choose("onednn", 64) == "onednn"  # slow is the user's business


def test_onednn_that_is_inexact_cannot_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, Probe(2.0, 3e-3, "relative error 0.003 against float64"))
    with pytest.raises(HarnessError, match="relative error"):
        choose("onednn", 64)


def refuse() -> None:
    raise HarnessError("this machine will not do")


def test_a_worker_that_cannot_be_prepared_says_why() -> None:
    """Not that it was killed, which is what the pool makes of an error in an initialiser."""
    job = Job("one", int, ("1",))
    with pytest.raises(HarnessError, match="will not do"):
        run_jobs([job], workers=1, threads=1, verbose=False, heard=lambda *_: None, done=lambda *_: None, prepare=refuse)


def test_every_width_has_a_verdict_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, Probe(2.0, 3e-7, None))
    assert choose("auto", 128) == "onednn"
    told(monkeypatch, Probe(0.5, 3e-7, "slow"))
    assert choose("auto", 16) == "default"
    assert choose("auto", 100) == "onednn"  # as 128


def test_what_a_seed_shares_is_keyed_by_the_kernels() -> None:
    task = registry.load("tasks", "tldr").task(None)
    experiment = resolve({"task": "tldr"}, None, task.defaults, judges=task.judges)
    kernels.use("default")
    plain = supervised.key(experiment, task, 0)
    kernels.use("onednn")
    assert supervised.key(experiment, task, 0) == {**plain, "kernels": "onednn"}


def test_kernels_are_part_of_the_study() -> None:
    """Studies that were told to multiply otherwise are not pooled; what ``auto`` finds on a machine is in each record."""
    task = registry.load("tasks", "tldr").task(None)
    auto, fixed = (
        resolve(flags, None, task.defaults, judges=task.judges) for flags in ({"task": "tldr"}, {"task": "tldr", "kernels": "default"})
    )
    assert study_key(auto) != study_key(fixed)


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_a_policy_that_has_not_moved_has_no_margin(name: str) -> None:
    """The reference's log-probs, cached in one large forward, against those of a copy batch by batch, in the same kernels."""
    kernels.use(name)
    setup = toy_setup()
    groups = [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in setup.pairs]
    for start in range(0, len(groups), 8):
        seen = setup.policy.logps(groups[start : start + 8]).view(-1, 2).detach()
        assert (seen - setup.reference_logps[start : start + 8]).abs().max() <= 1e-5 * float(seen.abs().max())


def test_greedy_samples_do_not_depend_on_the_kernels() -> None:
    drawn = []
    for name in kernels.KERNELS:
        kernels.use(name)
        drawn.append(
            metered().sample([(1, 7, 9), (1, 3, 4, 5, 6)], max_tokens=8, temperature=0, generator=torch.Generator().manual_seed(0))
        )
    assert [[s.ids for s in rows] for rows in drawn[0]] == [[s.ids for s in rows] for rows in drawn[1]]
