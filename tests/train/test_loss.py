"""The loss of mixed targets: one class each gives what ids give, whatever weights and smoothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.loss import cross_entropy

pytestmark = pytest.mark.train

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(12) % 3
WEIGHT = torch.tensor([0.5, 1.0, 4.0])


@given(st.floats(0, 0.9), st.booleans())
def test_shares_of_one_class_each_are_ids(smoothing: float, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    by_id = cross_entropy(LOGITS, IDS, weight, smoothing)
    torch.testing.assert_close(by_id, F.cross_entropy(LOGITS, IDS, weight=weight, label_smoothing=smoothing))
    torch.testing.assert_close(cross_entropy(LOGITS, F.one_hot(IDS, 3).float(), weight, smoothing), by_id)


@given(st.floats(0, 1), st.booleans())
def test_a_mixed_batch_lies_between_what_it_was_mixed_from(share: float, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    one, other = F.one_hot(IDS, 3).float(), F.one_hot(IDS.roll(1), 3).float()
    mixed = cross_entropy(LOGITS, share * one + (1 - share) * other, weight, 0.1)
    ends = [cross_entropy(LOGITS, targets, weight, 0.1) for targets in (one, other)]
    assert min(ends) - 1e-5 <= mixed <= max(ends) + 1e-5
