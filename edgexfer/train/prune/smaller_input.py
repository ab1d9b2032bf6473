"""A smaller input: the pixels that a network answers as well without are the first thing that can go.

What a layer costs falls with the square of the input's side, and a network whose classifier looks at means over all
places can be asked at any side. So before channels are removed, which a network has to learn to do without, it is asked
as it is at smaller sides, and takes the smallest that loses nothing. After the compound scaling of Tan and Le,
"EfficientNet", ICML 2019, where resolution is one of the sizes that are traded for each other.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.dataset import Dataset
from edgexfer.core.target import CalibrationRecipe, Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.finetune import dataset_of
from edgexfer.train.images.prepared import prepare_again
from edgexfer.train.images.split import SplitRow
from edgexfer.train.loop.judge import logits
from edgexfer.train.prune.goal import Goal
from edgexfer.train.quantize.calibrate import calibration_rows

log = logging.getLogger(__name__)

_STEP = 32  # what the strides of a network multiply to: other sides would pad it otherwise
_SMALLEST = 64
_MOST_JUDGES = 512  # images of val; half as many of train
_OF_WHAT_IS_ALLOWED = 0.5  # the rest is for channels and for INT8


@dataclass(frozen=True)
class SmallerInput:
    """A network with a smaller input, and what it had before.

    Attributes:
        checkpoint: the network's, with the smaller side in its preprocessing; it lies nowhere.
        before: the checkpoint as it lies on disk.
        pixels: uint8 [N, S, S, 3], training images at the side that it had.
    """

    checkpoint: Checkpoint
    before: Checkpoint
    pixels: NDArray[np.uint8]


def smaller_input(
    checkpoint: Checkpoint, network: DeployNetwork, data: str | Path | None, target: Target, goal: Goal, *, images: int
) -> SmallerInput | None:
    """Returns the network with the smallest input that costs it nothing and is not smaller than the goal asks for.

    Nothing is half of the top-1 that the target allows to be lost, on up to 512 images of val and 256 of train.

    Args:
        checkpoint: a float one.
        network: its network.
        data: the images, where they are no longer where the checkpoint was trained.
        target: says how much may be lost.
        goal: what shall be left; parameters do not depend on the input.
        images: of training, that are given back at the side that it has now.

    Returns:
        None where the input stays as it is.

    Raises:
        EdgexferError: the images are gone or were changed.
    """
    sides = _sides(checkpoint, goal)
    # What it repeats of earlier classes is stored as pixels, at the side that they had.
    if not sides or checkpoint.earlier_rows():
        return None
    dataset, rows = _judges(checkpoint, dataset_of(checkpoint, data))

    def asked(which: Checkpoint) -> tuple[int, NDArray[np.uint8]]:
        judges = prepare_again(dataset, which.preprocess, rows, which.labels, None)
        with judges.cache as cache:
            answers = logits(network, cache, np.arange(len(rows))).argmax(1).numpy()
            return int((answers == judges.class_ids).sum()), cache[judges.indices("train")[:images]]

    right, shown = asked(checkpoint)
    found = None
    for side in sides:
        smaller = at_side(checkpoint, side)
        lost = right - asked(smaller)[0]
        log.info("with an input of %d pixels the network loses %d of %d images as it is", side, lost, len(rows))
        if lost > _OF_WHAT_IS_ALLOWED * target.max_drop * len(rows):
            break
        found = smaller
    return None if found is None else SmallerInput(found, checkpoint, shown)


def at_side(checkpoint: Checkpoint, side: int) -> Checkpoint:
    """Returns the checkpoint with another side of its input; nothing is written."""
    preprocess = dataclasses.replace(checkpoint.preprocess, height=side, width=side)
    settings = {**checkpoint.manifest["settings"], "input_size": side}
    manifest: dict[str, Any] = {**checkpoint.manifest, "preprocess": preprocess.to_json(), "settings": settings}
    return dataclasses.replace(checkpoint, preprocess=preprocess, manifest=manifest)


def _sides(checkpoint: Checkpoint, goal: Goal) -> list[int]:
    """Returns the sides that cost no less than the goal asks for, the largest first."""
    own = checkpoint.preprocess
    if goal.keep_input_size or goal.measure == "params" or own.height != own.width or own.height % _STEP:
        return []
    smaller = range(own.height - _STEP, _SMALLEST - 1, -_STEP)
    return [side for side in smaller if (side / own.height) ** 2 >= goal.ratio]


def _judges(checkpoint: Checkpoint, dataset: Dataset) -> tuple[Dataset, tuple[SplitRow, ...]]:
    """Draws the images that judge, and returns the data set without the others."""
    rows = checkpoint.rows
    val = np.random.default_rng(0).permutation([i for i, row in enumerate(rows) if row.split == "val"])
    train = calibration_rows(rows, CalibrationRecipe("input", images=_MOST_JUDGES // 2))
    drawn = tuple(rows[i] for i in (*val[:_MOST_JUDGES], *train))
    names = {row.path for row in drawn}
    samples = tuple(sample for sample in dataset.samples if dataset.name_of(sample.path) in names)
    return dataclasses.replace(dataset, samples=samples), drawn
