import pytest
import torch
from toy import toy_pairs

from harness.training.batches import Example
from harness.training.loss_inputs import batch_statistics, loss_inputs, metrics
from harness.training.loss_signature import LossSignature

PAIRS = [Example(pair, (0, 1)) for pair in toy_pairs(3)]
SINGLES = [Example(pair, (side,)) for pair, side in zip(toy_pairs(3), (0, 1, 0), strict=True)]
LOGPS = torch.tensor([[-5.0, -8.0], [-6.0, -6.0], [-7.0, -6.0]])
REFERENCE = torch.tensor([[-6.0, -7.0], [-6.0, -6.0], [-7.0, -7.0]])


def test_metrics_of_pairs() -> None:
    """Changes of chosen 1, 0, 0 and of rejected -1, 0, 1: gaps 2, 0, -1; one right, one tie: accuracy 1.5 of 3."""
    found = metrics(PAIRS, LOGPS, REFERENCE)
    assert found == pytest.approx(
        {"chosen": -6, "rejected": -20 / 3, "chosen_change": 1 / 3, "rejected_change": 0, "gap": 1 / 3, "accuracy": 0.5}
    )


def test_metrics_of_single_responses() -> None:
    """Desirable changes 1 and 0 against an undesirable 0: couples 1 and 0, one right and one tie: 0.75."""
    found = metrics(SINGLES, torch.tensor([[-5.0], [-6.0], [-7.0]]), REFERENCE)
    assert found == pytest.approx({"chosen": -6, "rejected": -6, "chosen_change": 0.5, "rejected_change": 0, "gap": 0.5, "accuracy": 0.75})


def test_what_was_not_scored_is_absent() -> None:
    assert metrics([Example(e.pair, (0,)) for e in PAIRS], LOGPS[:, :1], REFERENCE).keys() == {"chosen", "chosen_change"}


def test_batch_statistics() -> None:
    """Gaps 2, 0, -1: mean 1/3, population variance (4 + 0 + 1)/3 - 1/9 = 14/9. Without references the gap is that of log pi."""
    both = LossSignature(("chosen", "rejected", "ref_chosen", "ref_rejected", "batch"), {})
    found = batch_statistics(PAIRS, LOGPS.requires_grad_(), REFERENCE, both)
    assert not found.gap.requires_grad
    assert [float(x) for x in (found.chosen_ratio, found.rejected_ratio, found.gap)] == pytest.approx([1 / 3, 0, 1 / 3])
    assert float(found.gap_std) == pytest.approx((14 / 9) ** 0.5)
    assert float(found.chosen_length) == pytest.approx(sum(len(e.pair.chosen) for e in PAIRS) / 3)
    free = batch_statistics(PAIRS, LOGPS, REFERENCE, LossSignature(("chosen", "rejected", "batch"), {}))
    assert float(free.gap) == pytest.approx(2 / 3)


def test_each_name_gets_its_own_column() -> None:
    names = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_lengths", "rejected_lengths", "margin", "agreement", "progress")
    found = loss_inputs(PAIRS, LOGPS.detach(), REFERENCE, LossSignature(names, {}), {"progress": 0.25})
    assert tuple(found) == names
    assert found["progress"] == 0.25
    for name, column in zip(names[:4], (*LOGPS.detach().T, *REFERENCE.T), strict=True):
        assert found[name].tolist() == column.tolist()
    assert found["rejected_lengths"].tolist() == [len(e.pair.rejected) for e in PAIRS]
    assert found["agreement"].tolist() == pytest.approx([0.9] * 3)


def test_a_single_response_gets_the_reference_of_its_own_side() -> None:
    signature = LossSignature(("logps", "ref_logps", "desirable", "lengths"), {})
    found = loss_inputs(SINGLES, LOGPS.detach()[:, :1], REFERENCE, signature, {})
    assert found["ref_logps"].tolist() == [-6, -6, -7]
    assert found["desirable"].tolist() == [True, False, True]
    assert found["lengths"].tolist() == [len(e.group().responses[0]) for e in SINGLES]
