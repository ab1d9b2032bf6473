"""What a sweep decides by: which networks none other beats, and which training falls behind its equals.

Accuracy alone would choose the largest network, and ending every training with less of it would throw away the small
and fast ones. So a network is on the front unless another is at least as good in both, and a training is compared with
networks that are at most as slow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

LEAST_PEERS = 3


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns which points no other point beats, the fastest first.

    A point is beaten by one that is not worse in either and better in one; of points that are alike in both the first
    one counts.

    Args:
        points: (accuracy, latency) of each: the first is better when higher, the second when lower.

    Returns:
        Positions in `points`. Points with a nan are on no front.
    """
    known = [index for index, point in enumerate(points) if not any(map(math.isnan, point))]
    front: list[int] = []
    best = -math.inf
    for index in sorted(known, key=lambda index: (points[index][1], -points[index][0], index)):
        if points[index][0] > best:
            best = points[index][0]
            front.append(index)
    return front


def falls_behind(own: Sequence[float], peers: Sequence[Sequence[float]]) -> bool:
    """Whether a training's best so far is below the median of its peers' best at the same epoch.

    This is the median stopping rule of Golovin et al. 2017 ("Google Vizier"), section 3.2.2, as Optuna's MedianPruner
    has it. Optuna's own takes one objective and compares with all trials.

    Args:
        own: accuracy after each epoch, epoch 0 (before the first step) first.
        peers: the same of trainings that have ended, of networks that are at most as slow. One that ended earlier is
            judged by the best that it reached.

    Returns:
        False before epoch 1, and with fewer than 3 peers.
    """
    if len(own) < 2 or len(peers) < LEAST_PEERS:
        return False
    return max(own) < median(max(peer[: len(own)]) for peer in peers)
