"""The loss of mixed targets: one class each gives what ids give, whatever weights and smoothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.train.loop.loss import cross_entropy

pytestmark = pytest.mark.train

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(12) % 3
WEIGHT = torch.tensor([0.5, 1.0, 4.0])


@given(st.floats(0, 0.9), st.booleans())
def test_shares_of_one_class_each_are_ids(smoothing: float, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    by_id = cross_entropy(LOGITS, IDS, weight, smoothing)
    torch.testing.assert_close(cross_entropy(LOGITS, F.one_hot(IDS, 3).float(), weight, smoothing), by_id)


def test_without_smoothing_or_without_weights_it_is_the_usual_one() -> None:
    torch.testing.assert_close(cross_entropy(LOGITS, IDS, WEIGHT, 0.0), F.cross_entropy(LOGITS, IDS, weight=WEIGHT))
    expected = F.cross_entropy(LOGITS, IDS, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(LOGITS, IDS, None, 0.1), expected)


@given(st.floats(0.01, 0.5), st.lists(st.floats(0.1, 10), min_size=3, max_size=3))
def test_what_the_best_answer_is_does_not_depend_on_the_weights(smoothing: float, weights: list[float]) -> None:
    wanted = (1 - smoothing) * F.one_hot(IDS, 3).double() + smoothing / 3
    logits = wanted.log().requires_grad_()
    cross_entropy(logits, IDS, torch.tensor(weights, dtype=torch.float64), smoothing).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-9, rtol=0)


@given(st.floats(0, 1), st.booleans())
def test_a_mixed_batch_lies_between_what_it_was_mixed_from(share: float, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    one, other = F.one_hot(IDS, 3).float(), F.one_hot(IDS.roll(1), 3).float()
    mixed = cross_entropy(LOGITS, share * one + (1 - share) * other, weight, 0.1)
    ends = [cross_entropy(LOGITS, targets, weight, 0.1) for targets in (one, other)]
    assert min(ends) - 1e-5 <= mixed <= max(ends) + 1e-5
