"""What ``harness list algorithms`` says of needs and costs, held against what runs are charged; nothing is imported for it."""

import re
import subprocess
import sys

import pytest

from harness.checking import price
from harness.commands import listing
from harness.plugins import effort, registry
from harness.plugins.registry import Entry
from tests.test_ppo import setup

TRAINED = [entry for entry in registry.describe("algorithms") if not entry.declaration.metadata.get("untrained")]
LOSSES = [entry for entry in TRAINED if entry.declaration.loss]
SAMPLERS = [entry for entry in TRAINED if "sampling" in effort.needs(entry.declaration) and "requires" not in entry.declaration.metadata]

SAID = {
    "dpo": (("reference",), "8 N, then 6 N"),
    "ld_dpo": (("reference",), "8 N, then 6 N"),
    "plackett_luce": (("reference",), "8 N, then 6 N"),
    "kto": (("reference", "single responses"), "12 N, then 10 N"),
    "odpo": (("reference", "margins"), "8 N, then 6 N"),
    "simpo": ((), "6 N"),
    "sft_chosen": ((), "6 N"),
    "ppo": (("reference", "reward model", "sampling"), "22 N"),
    "ppo_gold": (("reference", "gold labels", "sampling"), "20 N"),
    "grpo": (("reference", "reward model", "sampling"), "12 N"),
    "rloo": (("reference", "reward model", "sampling"), "12 N"),
    "online_dpo": (("reference", "reward model", "sampling"), "12 N"),
    "iterative_dpo": (("reference", "reward model", "sampling"), "12 N"),
    "best_of_n": (("reference", "reward model", "sampling"), "4 n N an answer"),
    "prompted": (("sampling",), "2 N an answer, examples included"),
    "trl_dpo": (("reference",), "8 N, then 6 N"),
    "trl_kto": (("reference", "single responses"), "12 N, then 10 N"),
    "trl_grpo": (("reference", "reward model", "sampling"), "12 N"),
    "distilled_dpo": (("reward model", "reference"), "10 N, then 6 N"),
}


@pytest.mark.parametrize("name", SAID)
def test_needs_and_cost(name: str) -> None:
    """The costs of dpo, kto and sft_chosen are those that tests/training/test_offline.py counts by hand."""
    declared = registry.find("algorithms", name).declaration
    assert (effort.needs(declared), effort.cost(declared)) == SAID[name]


@pytest.mark.parametrize("entry", TRAINED, ids=lambda entry: entry.name)
def test_every_trained_algorithm_says_what_a_token_costs(entry: Entry) -> None:
    assert re.fullmatch(r"\d+ N(, then \d+ N)?", effort.cost(entry.declaration))


@pytest.mark.parametrize("entry", LOSSES, ids=lambda entry: entry.name)
def test_the_costs_of_a_loss_are_apart_as_its_prices_in_the_ledger_are(entry: Entry) -> None:
    """The first pass over the later ones; a head of one output, where a reward model scores, is a little less than 2 N."""
    first, *later = map(int, re.findall(r"\d+", effort.cost(entry.declaration)))
    found = price.price(registry.load_entry(entry).algorithm)
    assert found.later / found.first == pytest.approx((later or [first])[0] / first, rel=0.02)


@pytest.mark.parametrize("entry", SAMPLERS, ids=lambda entry: entry.name)
def test_an_algorithm_that_samples_is_charged_what_it_says(entry: Entry) -> None:
    """At default settings, per processed token, the reward model's fit apart; a wide model makes attention and heads small beside N."""
    given, algorithm = setup(8e9, hidden=128), registry.load_entry(entry).algorithm
    for _ in (algorithm() if isinstance(algorithm, type) else algorithm).updates(given):
        pass
    ledger = given.ledger
    processed = ledger.counts["sampled_tokens"] + 6 * ledger.counts["prompts"]
    weights = (ledger.spent - ledger.canonical["reward"]) / processed / given.policy.shape.blocks
    assert effort.cost(entry.declaration) == f"{2 * round(weights / 2)} N"
    assert weights == pytest.approx(2 * round(weights / 2), rel=0.05)


def test_the_list_shows_them_beside_family_and_source() -> None:
    lines = {line.split()[0]: line for line in listing.plugins("algorithms")}
    assert "(offline; arXiv:2402.01306 eq. 7; needs reference, single responses; FLOPs per token: 12 N, then 10 N)" in lines["kto"]
    assert "(offline; arXiv:2405.14734 eq. 6; needs pairs alone; FLOPs per token: 6 N)" in lines["simpo"]
    assert "(online; Ouyang et al. 2022, arXiv 2203.02155; needs reference, reward model, sampling; FLOPs per token: 22 N)" in lines["ppo"]
    assert lines["best_of_n"].endswith("; FLOPs per token: 4 n N an answer)")
    assert lines["prompted"].endswith("; FLOPs per token: 2 N an answer, examples included)")
    assert "needs" not in "".join(listing.plugins("tasks"))


def test_listing_imports_no_torch() -> None:
    code = "import sys; from harness.commands import listing; listing.plugins('algorithms'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
