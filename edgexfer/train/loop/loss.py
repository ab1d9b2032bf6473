"""The loss of a batch whose targets may be mixed, with label smoothing and class weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None, label_smoothing: float) -> Tensor:
    """Returns the cross-entropy, averaged over the batch by the weight of each image's class.

    PyTorch weighs the smoothing term of every class by that class's own weight. With 0.1 of smoothing and a class that
    weighs ten times as much, the best answer to an image of the other would be the wrong one: 0.49 against 0.51. Here
    a weight is an image's, and what the answer should be does not depend on it.

    Args:
        logits: [N, classes].
        targets: ids, int64 [N], or shares, float32 [N, classes], whose rows sum to 1.
        weight: float32 [classes], or None for 1 each; a mixed image is a share of each of its classes' images.
        label_smoothing: 0 to 1 (Szegedy et al. 2016).
    """
    if weight is None:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    surprise = -logits.log_softmax(1)
    by_class = torch.lerp(surprise, surprise.mean(1, keepdim=True), label_smoothing)
    shares = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    weights = shares * weight
    return (by_class * weights).sum() / weights.sum()
