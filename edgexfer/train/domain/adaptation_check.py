"""Whether an adapted network may be shipped: judged on labelled images of the target, else by what needs no labels.

With labels: both networks answer the same images, and what counts is where they differ. More lost than gained, or as
many, and the network stays as it was; how likely chance alone is to gain so much is said (exact McNemar test).

Without labels, all three must hold:
- the accuracy that is promised on unlabeled images kept out of the adaptation rises. Confidence promises one: that on
  labelled source images, less what confidence falls from these to the target (difference of confidences, Guillory et
  al. 2021). So do the classes: whoever predicts them in other shares than they have is wrong at least as often as these
  differ (total variation), however sure. The lower of the two counts,
- no class takes over: the shares of the predicted classes are no further from those of the training images than
  before, or by a tenth at most,
- what was learned is kept: top-1 on the source's validation images falls by 2 points or 2 images at most, or by half of
  what is promised on the target where that is more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

_FORGIVEN_SHIFT = 0.1
_FORGIVEN_POINTS, _FORGIVEN_IMAGES, _FORGIVEN_SHARE = 0.02, 2, 0.5

Answers = NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to.

    Attributes:
        ship: whether the adapted network is better.
        reason: why, in words.
        merit: the accuracy on the target, as measured or as promised.
        figures: what it was decided by, JSON values.
    """

    ship: bool
    reason: str
    merit: float
    figures: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A network's probabilities.

    Attributes:
        source: float32 [source validation images, classes].
        target: float32 [images of the target, classes]: the labelled ones, else those kept out of the adaptation.
    """

    source: Answers
    target: Answers


def choose(statistics: Verdict, self_training: Verdict | None) -> tuple[str, Verdict]:
    """Returns what of an adaptation is kept, and the verdict that decided it.

    Args:
        statistics: of the network whose statistics were brought back.
        self_training: of the network that learned on from there; None where it was sure of too few images.

    Returns:
        "self-training" or "statistics", the one with more merit of those that may be shipped; else "nothing".
    """
    found = {"statistics": statistics} | ({} if self_training is None else {"self-training": self_training})
    shipping = {name: verdict for name, verdict in found.items() if verdict.ship}
    # Of equals the later one: it has learned from the images.
    best = max(reversed((shipping or found).items()), key=lambda pair: pair[1].merit)
    return best if shipping else ("nothing", best[1])


def judge_with_labels(
    before: Seen, after: Seen, class_ids: NDArray[np.int64], source_ids: NDArray[np.int64]
) -> Verdict:
    """Compares two networks on the same labelled images of the target.

    Args:
        before: answers of the network as it was.
        after: those of the adapted one.
        class_ids: of the labelled target images, int64.
        source_ids: of the source's validation images, int64; their figures are said and decide nothing.
    """
    right_before, right_after = before.target.argmax(1) == class_ids, after.target.argmax(1) == class_ids
    gained, lost = int((right_after & ~right_before).sum()), int((right_before & ~right_after).sum())
    chance = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    figures = {
        "images": len(class_ids),
        "top1_before": float(right_before.mean()),
        "top1_after": float(right_after.mean()),
        "gained": gained,
        "lost": lost,
        "p_value": chance,
        "source_top1_before": _top1(before.source, source_ids),
        "source_top1_after": _top1(after.source, source_ids),
    }
    merit = figures["top1_after"]
    said = f"of {len(class_ids)} labelled target images {gained} were gained and {lost} lost"
    if gained <= lost:
        return Verdict(False, said, merit, figures)
    return Verdict(True, said if chance <= 0.05 else f"{said}, which may be chance (p = {chance:.2f})", merit, figures)


def judge_without_labels(
    before: Seen, after: Seen, class_ids: NDArray[np.int64], shares: NDArray[np.float64]
) -> Verdict:
    """Compares two networks by what can be known without labels of the target; see the module's docstring.

    Args:
        before: answers of the network as it was.
        after: those of the adapted one.
        class_ids: of the source's validation images, int64.
        shares: of each class among the training images, [classes].
    """
    shifts = [_shift(seen.target, shares) for seen in (before, after)]
    chance = shift_by_chance(shares, len(before.target))
    promised = [
        min(promised_accuracy(seen.source, class_ids, seen.target), 1 - max(0.0, shift - chance))
        for seen, shift in zip((before, after), shifts, strict=True)
    ]
    top1 = [_top1(seen.source, class_ids) for seen in (before, after)]
    figures = {
        "images": len(before.target),
        "promised_top1_before": promised[0],
        "promised_top1_after": promised[1],
        "class_shift_before": shifts[0],
        "class_shift_after": shifts[1],
        "class_shift_by_chance": chance,
        "source_top1_before": top1[0],
        "source_top1_after": top1[1],
    }
    against = []
    if promised[1] <= promised[0]:
        against.append("confidence and class shares on unlabeled images promise no higher accuracy")
    if shifts[1] > shifts[0] + _FORGIVEN_SHIFT:
        against.append("some classes are predicted far more often than the training images have them")
    forgiven = max(_FORGIVEN_POINTS, _FORGIVEN_IMAGES / len(class_ids), _FORGIVEN_SHARE * (promised[1] - promised[0]))
    if top1[0] - top1[1] > forgiven:
        against.append("accuracy on the source's validation images is lost")
    if against:
        return Verdict(False, " and ".join(against), promised[1], figures)
    said = f"unlabeled images promise {100 * promised[1]:.1f} % instead of {100 * promised[0]:.1f} % on the target"
    return Verdict(True, f"{said}; no labelled target images judged it", promised[1], figures)


def promised_accuracy(source: Answers, class_ids: NDArray[np.int64], target: Answers) -> float:
    """Returns the accuracy on `target` that confidence promises (Guillory et al. 2021, difference of confidences).

    Args:
        source: probabilities of labelled images, [images, classes].
        class_ids: their classes, int64.
        target: probabilities of unlabeled images, [images, classes].
    """
    fallen = source.max(1).mean() - target.max(1).mean()
    return float(np.clip(_top1(source, class_ids) - fallen, 0, 1))


def shift_by_chance(shares: NDArray[np.float64], images: int) -> float:
    """Returns how far the shares of a random sample lie from those of where it is drawn, on average (total variation).

    A class of share p is met in a share that errs by sqrt(2 p (1 - p) / (pi n)) on average, as a normal variable does.

    Args:
        shares: of each class, [classes], of sum 1.
        images: in the sample, n.
    """
    return float(np.sqrt(2 * shares * (1 - shares) / (np.pi * images)).sum() / 2)


def _top1(answers: Answers, class_ids: NDArray[np.int64]) -> float:
    return float((answers.argmax(1) == class_ids).mean())


def _shift(answers: Answers, shares: NDArray[np.float64]) -> float:
    found = np.bincount(answers.argmax(1), minlength=answers.shape[1]) / len(answers)
    return float(np.abs(found - shares).sum() / 2)
