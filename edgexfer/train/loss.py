"""The loss of a batch whose targets may be mixed, with label smoothing and class weights."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None, label_smoothing: float) -> Tensor:
    """Returns the cross-entropy, averaged over the batch by the weight of each image's classes.

    PyTorch divides by these weights where targets are ids, but by the number of images where they are shares: a batch
    of rare classes would then weigh more mixed than plain. Here both are divided alike, so that targets of one class
    each give what their ids give.

    Args:
        logits: [N, classes].
        targets: ids, int64 [N], or shares, float32 [N, classes], whose rows sum to 1.
        weight: float32 [classes], or None for 1 each.
        label_smoothing: 0 to 1 (Szegedy et al. 2016).
    """
    if not targets.is_floating_point() or weight is None:
        return F.cross_entropy(logits, targets, weight=weight, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, targets, weight=weight, label_smoothing=label_smoothing, reduction="sum")
    return total / (targets @ weight).sum()
