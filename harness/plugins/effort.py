"""What an algorithm needs and what it costs, read off its declaration: a loss by the names of its signature, a class by what it reads.

Costs are in FLOPs per weight N and processed token of a pair, as docs/compute.md counts them: a forward is 2 N, and a backward 4 N.
"""

from __future__ import annotations

from harness.plugins.declaration import Declaration
from harness.training.loss_signature import LossSignature
from harness.training.names import UNPAIRED

# What a class must read to have it, and how it is called.
READ = {
    "reference": "reference",
    "fit_reward_model": "reward model",
    "reward_model": "reward model",
    "fitted": "reward model",
    "sample": "sampling",
    "duels": "sampling",
    "serve": "sampling",
}
ANNOTATIONS = {"margin": "margins", "agreement": "agreements"}


def needs(declared: Declaration) -> tuple[str, ...]:
    """What a run takes beside pairs: reference, reward model, sampling, single responses, annotations.

    A class is known by what its file reads, or says so in its literal ``needs`` where others read for it.
    """
    if not declared.loss and "needs" in declared.metadata:
        return tuple(declared.metadata["needs"])
    if not declared.loss:
        read = dict.fromkeys(said for name, said in READ.items() if name in declared.uses)
        return tuple("gold labels" if said == "reward model" and declared.metadata.get("oracle") is True else said for said in read)
    signature = LossSignature(declared.arguments, {})
    found = ["reward model"] * signature.reads_reward + ["reference"] * (signature.reads_reference or "z0" in declared.arguments)
    found += ["single responses"] * any(name in UNPAIRED for name in declared.arguments)
    return (*found, *(said for name, said in ANNOTATIONS.items() if name in declared.arguments))


def learns_from_single(declared: Declaration) -> bool:
    """Whether it learns from responses that were labelled one by one, of which no two were compared.

    A loss per response does, one that reads chosen responses alone, and whatever binds ``single`` in its file; nobody who fits a reward
    model on pairs.
    """
    wanted = needs(declared)
    if "reward model" in wanted or set(wanted) & {*ANNOTATIONS.values()}:
        return False
    if not declared.loss or declared.single:
        return declared.single or "single responses" in wanted
    signature = LossSignature(declared.arguments, {})
    return signature.unpaired or ({*signature.policy_sides, *signature.reference_sides} == {0} and "batch" not in declared.arguments)


def cost(declared: Declaration) -> str:
    """FLOPs per weight and token of the responses that are read: of the first pass, and of later ones where the reference is known.

    A class says so in its literal ``cost``, at its default settings and without the fit of a reward model, which is no token of a
    response; an empty string where it does not.
    """
    if not declared.loss:
        return str(declared.metadata.get("cost", ""))
    again = 6 + 4 * ("z0" in declared.arguments)  # mismatched rows are read by policy and reference anew in every batch
    signature = LossSignature(declared.arguments, {})
    first = again + 2 * signature.reads_reference + 2 * signature.reads_reward
    return f"{first} N" if first == again else f"{first} N, then {again} N"
