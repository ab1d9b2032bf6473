"""The walk from the unpruned network to the goal: points that each lose a little more and learn again.

At each point channels are chosen (importance on training images, cost counted or from the latency table), removed, and
the network learns. With the target's engine at hand every point is also timed against the unpruned network.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.core.target import CalibrationRecipe, Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.aim import Aim
from edgexfer.train.prune.choose_channels import BLOCK, best_channels
from edgexfer.train.prune.cost import Cost, Widths, counted
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.groups import Group, channel_groups
from edgexfer.train.prune.importance import importances, input_means
from edgexfer.train.prune.narrow import remove_channels
from edgexfer.train.prune.recover import epochs_learned, recover, recovery
from edgexfer.train.prune.stand_ins import CALIBRATING, Engines, StandIns, Timed
from edgexfer.train.quantize.calibrate import calibration_rows

log = logging.getLogger(__name__)

_JUDGING = 256  # images that importance is measured on


@dataclass(frozen=True)
class Work:
    """What is pruned, for what, and on which images.

    Attributes:
        checkpoint: the unpruned one.
        network: its network; it teaches, and is not changed.
        target: what the pruned one shall be fast on.
        goal: what shall be left.
        engines: the target's; None where none is here.
        prepared: the checkpoint's images: they judge.
        learning: those and what else the network works for, see quantize/learning_images.py: they are learned from.
        device: "cpu" or "cuda".
        epochs: of training at each point; None lets the number of images decide.
        folder: for what is needed on the way.
        tracked: takes the epochs.
    """

    checkpoint: Checkpoint
    network: DeployNetwork
    target: Target
    goal: Goal
    engines: Engines | None
    prepared: Prepared
    learning: Prepared
    device: str
    epochs: int | None
    folder: Path
    tracked: Tracking


@dataclass(frozen=True)
class Walked:
    """Where the walk ended.

    Attributes:
        network: what is left.
        record: `pruning` of the manifest, see prune.py.
        folders: of each point, with its history.
        best_epoch: the epoch of the last point that was kept.
    """

    network: DeployNetwork
    record: dict[str, Any]
    folders: tuple[Path, ...]
    best_epoch: int


def walk(work: Work) -> Walked:
    """Prunes point by point.

    Raises:
        EdgexferError: no channel can be removed, or the goal cannot be reached.
    """
    network = copy.deepcopy(work.network)
    example = example_for(work.checkpoint, network)
    groups = channel_groups(network.network, example)
    full = _widths(groups)
    images = work.learning
    seen = calibration_rows(images.rows, CalibrationRecipe("importance", images=_JUDGING))
    counts = {measure: counted(network.network, groups, example, measure) for measure in ("params", "macs")}
    stand_ins = _stand_ins(work, groups, seen)
    aim = _aim(work, counts, full, stand_ins)
    kept = [torch.arange(group.width) for group in groups]
    points = [_point(1.0, full, counts, stand_ins, None, figures_by_split(work.network, work.prepared), 0)]
    folders: list[Path] = []
    best: dict[str, Any] = {}
    for number, ratio in enumerate(work.goal.points, 1):
        network.to(work.device)
        means = input_means(network, groups, images.cache, seen)
        worth = importances(network, groups, means, images.cache, images.class_ids, seen)
        network.cpu()
        widths, timed = aim.at(ratio, worth)
        stays = best_channels(worth, widths)
        remove_channels(network.network, groups, stays, means)
        kept = [had[channels] for had, channels in zip(kept, stays, strict=True)]
        groups = tuple(replace(group, width=int(width)) for group, width in zip(groups, widths, strict=True))
        schedule = recovery(
            len(images.indices("train")),
            epochs=work.epochs,
            last=number == len(work.goal.points),
            seed=int(work.checkpoint.manifest["settings"]["seed"]),
        )
        left = [f"{costs.of(widths) / costs.of(full):.2f} of the {costs.unit}" for costs in counts.values()]
        left += [] if timed is None else [f"{timed.ratio:.2f} of the latency"]
        log.info("point %d of %d: %s; up to %d epochs", number, len(work.goal.points), ", ".join(left), schedule.epochs)
        folders.append(work.folder / f"point-{number}")
        folders[-1].mkdir()
        best = recover(
            network,
            work.network,
            groups,
            kept,
            images,
            schedule,
            folders[-1],
            mirror=bool(work.checkpoint.manifest["mirror"]),
            device=work.device,
            tracked=work.tracked,
            tracked_as=f"prune-{number}",
        )
        figures = figures_by_split(network, work.prepared)
        points.append(_point(ratio, widths, counts, stand_ins, timed, figures, epochs_learned(folders[-1])))
        log.info("top-1 on val %.1f %%, unpruned %.1f %%", *(_top1(point) for point in (points[-1], points[0])))
    record = {
        "goal": str(work.goal),
        "measure": work.goal.measure,
        "ratio": work.goal.ratio,
        "target": work.target.name,
        "precision": None if work.engines is None else work.engines.precision,
        "engine": None if stand_ins is None else stand_ins.engine.version,
        "parent": work.checkpoint.digest,
        "block": BLOCK,
        "epochs": work.epochs,
        "learning_rate": schedule.learning_rate,
        "distillation": schedule.distillation,
        "removed": {g.name: [int(had), g.width] for g, had in zip(groups, full, strict=True) if g.width != had},
        "images": [images.rows[row].sha256 for row in seen],
        "points": points,
    }
    return Walked(network, record, tuple(folders), int(best["epoch"]))


def _stand_ins(work: Work, groups: Sequence[Group], seen: NDArray[np.int64]) -> StandIns | None:
    if work.engines is None:
        return None
    log.info("writing the unpruned network in %s, to be timed", work.engines.precision)
    pixels = work.learning.cache[seen[:CALIBRATING]]
    made = StandIns(work.checkpoint, work.network, groups, pixels, work.target, work.engines, work.folder)
    log.info("%s runs it here and times what is narrower", made.engine.version)
    return made


def _aim(work: Work, counts: Mapping[str, Cost], full: Widths, stand_ins: StandIns | None) -> Aim:
    if work.goal.measure != "latency" or stand_ins is None:
        return Aim(counts[work.goal.measure], full, stand_ins, by_clock=False)
    log.info("timing its layers at other widths")
    return Aim(stand_ins.table(_told("layers")), full, stand_ins, by_clock=True)


def _point(
    ratio: float,
    widths: Widths,
    counts: Mapping[str, Cost],
    stand_ins: StandIns | None,
    timed: Timed | None,
    figures: dict[str, Any],
    epochs: int,
) -> dict[str, Any]:
    return {
        "ratio": ratio,
        **{measure: round(cost.of(widths)) for measure, cost in counts.items()},
        "size_bytes": None if stand_ins is None else stand_ins.size_bytes(widths),
        "latency": None if timed is None else asdict(timed),
        "metrics": {
            split: {"images": found["images"], "right": round(found["top1"] * found["images"])}
            for split, found in figures.items()
        },
        "epochs": epochs,
    }


def _widths(groups: Sequence[Group]) -> NDArray[np.int64]:
    return np.array([group.width for group in groups], np.int64)


def _top1(point: dict[str, Any]) -> float:
    found = point["metrics"]["val"]
    return float(100 * found["right"] / found["images"])


def _told(what: str) -> Callable[[int, int], None]:
    """Returns a progress that says every quarter of the way in the log."""

    def tell(done: int, whole: int) -> None:
        if done * 4 // whole != (done - 1) * 4 // whole:
            log.info("%s timed: %d of %d files", what, done, whole)

    return tell
