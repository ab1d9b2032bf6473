"""Guards: what a user should be told after training, said out loud. Answers to the same images in, lines of text out.

- Negative transfer: fine-tuning against training from the frozen features, image by image (exact McNemar test,
  Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms").
- Overfitting: accuracy on training images against that on images held out, with the interval of the difference
  (Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10).
- Domain shift: how far the images lie from what the backbone was pretrained on (train/domain/domain_shift.py).

A difference that chance explains is called so: on a small split one image more or less is a point or several.
"""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from edgexfer.train.begin import START
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.domain.domain_shift import FAR
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.fit import HISTORY
from edgexfer.train.loop.judge import logits
from edgexfer.train.task import Task

Right = Mapping[str, NDArray[np.bool_]]
_STAGE = "finetune"
_TRAIN_IMAGES = 256
_SURE = 0.05
_LEAST_GAP = 0.02  # the lower end of the gap's interval from which on it is called overfitting
_Z = 1.96


def guards_of(task: Task, best: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what there is to say about a training that has ended.

    Args:
        task: its network is the one that was kept.
        best: the record of the kept epoch, as a strategy returns it.
    """
    # `adapt` goes on after what it trained, and judges that itself.
    tried = () if task.settings.strategy == "adapt" else _tried(task.folder / HISTORY)
    kept = right_answers(task.network, task.prepared, task.settings.seed)
    first: Right | None = None
    if tried and best["epoch"] > 0:
        network = copy.deepcopy(task.network)
        network.load_state_dict(safetensors.torch.load_file(task.folder / START))
        first = right_answers(network, task.prepared, task.settings.seed, splits=("val", "test"))
    before = "the frozen features" if task.start is None else "the network it began with"
    lines = guards(kept, first, tried=tried, shift=task.found.get("domain_shift"), before=before)
    pretrained = task.notes.get("pretrain")
    lines = lines if pretrained is None else (f"pretraining: {pretrained['decision']}", *lines)
    said = [line for name in ("adapt", "update") for line in (task.notes.get(name) or {}).get("said", ())]
    return (*said, *lines)


def guards(
    kept: Right,
    first: Right | None = None,
    *,
    tried: tuple[float, ...] = (),
    shift: Mapping[str, Any] | None = None,
    before: str = "the frozen features",
) -> tuple[str, ...]:
    """Returns the lines.

    Args:
        kept: for "val", and "train" and "test" where there are any, whether each image was recognised by the network
            that was kept, bool [images].
        first: the same for "val" and "test" by the network before the first step; None where that is the one kept.
        tried: top-1 on val after each epoch of training, 0 to 1; empty where nothing was trained.
        shift: the record of a DomainShift, or None.
        before: how the network before the first step is called.
    """
    lines = []
    if first is not None:
        lines += [_compared(first[split], kept[split], split, before) for split in ("val", "test") if split in first]
    elif tried:
        lines.append(_thrown_away(kept["val"], max(tried), len(tried), before))
    if "train" in kept:
        held_out = "test" if "test" in kept else "val"
        lines.append(_gap(kept["train"], kept[held_out], held_out))
    if shift is not None:
        lines.append(_shifted(shift))
    return tuple(lines)


def right_answers(
    network: DeployNetwork, prepared: Prepared, seed: int, *, splits: tuple[str, ...] = ("train", "val", "test")
) -> dict[str, NDArray[np.bool_]]:
    """Returns for each image of each split whether `network` recognises it; of train up to 256 are drawn by `seed`."""
    found = {}
    for split in splits:
        rows = prepared.indices(split)
        if split == "train":
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_TRAIN_IMAGES])
        if len(rows):
            answers = logits(network, prepared.cache, rows).argmax(1).numpy()
            found[split] = answers == prepared.class_ids[rows]
    return found


def chance_of(gained: int, lost: int) -> float:
    """Returns how likely chance alone makes so large a difference: the exact two-sided McNemar test."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def difference_interval(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the 95 % interval of the difference between two shares of right answers, of different images."""
    share, low, high = _wilson(one)
    share2, low2, high2 = _wilson(other)
    difference = share - share2
    return (
        difference - math.hypot(share - low, high2 - share2),
        difference + math.hypot(high - share, share2 - low2),
    )


def _compared(first: NDArray[np.bool_], kept: NDArray[np.bool_], split: str, before: str) -> str:
    gained, lost = int((kept & ~first).sum()), int((first & ~kept).sum())
    counted = f"{gained} gained and {lost} lost of {_counted(len(kept), 'image')} of {split} against {before}"
    chance = chance_of(gained, lost)
    if gained == lost:
        return f"fine-tuning: {counted}: no difference"
    if abs(gained - lost) == 1:
        return f"fine-tuning: {counted}: one image more or less, which is chance"
    if chance > _SURE:
        return f"fine-tuning: {counted}: may be chance (p = {chance:.2f})"
    if gained > lost:
        return f"fine-tuning: {counted}: better (p = {_p(chance)})"
    return f"negative transfer: {counted}: worse (p = {_p(chance)}); --strategy linear-probe keeps these"


def _thrown_away(kept: NDArray[np.bool_], best_tried: float, epochs: int, before: str) -> str:
    fewer = int(kept.sum()) - round(best_tried * len(kept))
    reached = f"fine-tuning reached {100 * best_tried:.1f} % on val in {_counted(epochs, 'epoch')}"
    counted = f"{reached}, {before} {100 * kept.mean():.1f} %"
    if fewer <= 0:
        return f"no gain: {counted}; what was trained is thrown away"
    # Image by image it is not known any more. So few in all can be no significant difference, whatever they were.
    chance = ", which may be chance" if chance_of(0, fewer) > _SURE else ""
    lost = f"{_counted(fewer, 'image')} of {len(kept)} fewer{chance}"
    return f"negative transfer: {counted}: {lost}; what was trained is thrown away"


def _gap(train: NDArray[np.bool_], held_out: NDArray[np.bool_], name: str) -> str:
    gap = 100 * float(train.mean() - held_out.mean())
    low, high = (100 * end for end in difference_interval(train, held_out))
    counted = (
        f"{100 * train.mean():.1f} % of training images recognised, {100 * held_out.mean():.1f} % of {name}: "
        f"{gap:+.1f} points (95 %: {low:+.1f} to {high:+.1f})"
    )
    if low <= 100 * _LEAST_GAP:
        return f"overfitting: none to be seen: {counted}"
    return f"overfitting: {counted}; more images of each class help, and stronger augmentation"


def _shifted(shift: Mapping[str, Any]) -> str:
    line = f"domain shift {shift['score']:.2f} of 1: the images are {shift['words']}"
    if shift["score"] < FAR:
        return line
    return f"{line}; frozen features often do not fit such images"


def _wilson(right: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Returns share, and both ends of its interval (Wilson 1927)."""
    n, share = len(right), float(right.mean())
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    return share, middle - half, middle + half


def _tried(history: Path) -> tuple[float, ...]:
    if not history.is_file():
        return ()
    with history.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == _STAGE and int(row["epoch"]) > 0]
    return tuple(float(row["val_top1"]) for row in rows)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _p(chance: float) -> str:
    return f"{chance:.3f}" if chance >= 0.001 else "below 0.001"
