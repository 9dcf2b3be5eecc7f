"""What ``harness list algorithms`` says of needs and costs, held against what runs are charged; nothing is imported for it."""

import subprocess
import sys

import pytest

from harness.commands import listing
from harness.plugins import effort, registry

SAID = {
    "dpo": (("reference",), "8 N, then 6 N"),
    "ld_dpo": (("reference",), "8 N, then 6 N"),
    "plackett_luce": (("reference",), "8 N, then 6 N"),
    "kto": (("reference", "single responses"), "12 N, then 10 N"),
    "odpo": (("reference", "margins"), "8 N, then 6 N"),
    "simpo": ((), "6 N"),
    "sft_chosen": ((), "6 N"),
    "ppo": (("reference", "reward model", "sampling"), ""),
    "ppo_gold": (("reference", "gold labels", "sampling"), ""),
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


def test_the_list_shows_them_beside_family_and_source() -> None:
    lines = {line.split()[0]: line for line in listing.plugins("algorithms")}
    assert "(offline; arXiv:2402.01306 eq. 7; needs reference, single responses; 12 N, then 10 N a token)" in lines["kto"]
    assert "(offline; arXiv:2405.14734 eq. 6; needs pairs alone; 6 N a token)" in lines["simpo"]
    assert "(online; Ouyang et al. 2022, arXiv 2203.02155; needs reference, reward model, sampling)" in lines["ppo"]
    assert "needs" not in "".join(listing.plugins("tasks"))


def test_listing_imports_no_torch() -> None:
    code = "import sys; from harness.commands import listing; listing.plugins('algorithms'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
