"""The walk from the unpruned network to the goal: points that each lose a little more and learn again.

At each point channels are chosen (importance on training images, cost counted or from the latency table), removed, and
the network learns. With the target's engine at hand every point is also timed against the unpruned network.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.target import CalibrationRecipe, Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.choose_channels import BLOCK
from edgexfer.train.prune.clock import aim_on, stand_ins_on
from edgexfer.train.prune.cut import cut, narrowed_again, unpruned
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.groups import channel_groups
from edgexfer.train.prune.kept_points import keep_cut, keep_point, kept_cut, kept_points
from edgexfer.train.prune.points import counts_at, point, start_at
from edgexfer.train.prune.recover import epochs_learned, recover, recovery
from edgexfer.train.prune.smaller_input import SmallerInput
from edgexfer.train.prune.stand_ins import Engines
from edgexfer.train.prune.way import RUNNING
from edgexfer.train.quantize.calibrate import calibration_rows

log = logging.getLogger(__name__)

_JUDGING = 256  # images that importance is measured on


@dataclass(frozen=True)
class Work:
    """What is pruned, for what, and on which images.

    Attributes:
        checkpoint: the unpruned one, where its input has become smaller with that.
        network: its network; it teaches, and is not changed.
        target: what the pruned one shall be fast on.
        goal: what shall be left.
        engines: the target's; None where none is here.
        prepared: the checkpoint's images: they judge.
        learning: those and what else the network works for, see quantize/learning_images.py: they are learned from.
        device: "cpu" or "cuda".
        epochs: of training at each point; None lets the number of images decide.
        way: PLACE.partial, see way.py: points that were reached are taken from there, and go there.
        folder: for what is needed until the end alone.
        tracked: takes the epochs.
        smaller: what the checkpoint was before its input became smaller; None where it did not.
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
    way: Path
    folder: Path
    tracked: Tracking
    smaller: SmallerInput | None


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
    """Prunes point by point; those that `work.way` holds are taken from there.

    Raises:
        EdgexferError: no channel can be removed, or the goal cannot be reached.
    """
    network = copy.deepcopy(work.network)
    now = unpruned(network, channel_groups(network.network, example_for(work.checkpoint, network)))
    groups, full = now.groups, now.widths
    images, goal = work.learning, work.goal
    seen = calibration_rows(images.rows, CalibrationRecipe("importance", images=_JUDGING))
    counts = counts_at(now, work.checkpoint)
    stand_ins = stand_ins_on(
        *(work.way, work.checkpoint, work.network, groups, images, seen),
        *(work.target, work.engines, work.folder, work.smaller),
    )
    start = start_at(now, work.checkpoint, work.smaller, work.prepared, counts, goal.measure, stand_ins, work.way)
    aim = aim_on(work.way, counts, goal.measure, full, stand_ins, start=start.left[goal.measure])
    ratios = goal.points_from(start.left[goal.measure])
    reached = kept_points(work.way, work.checkpoint)
    if reached:
        now = narrowed_again(reached[-1].float_network(), groups, reached[-1].manifest["point"])
    for number in range(len(reached) + 1, len(ratios) + 1):
        before = reached[-1] if reached else work.checkpoint
        aim.slope = now.slope
        if (begun := kept_cut(work.way, before)) is not None:
            now = narrowed_again(begun[0], groups, begun[1])
        else:
            now = cut(now, aim, ratios[number - 1], images, seen, work.device)
            keep_cut(work.way, before, now.network, now.record())
        schedule = _schedule(work, last=number == len(ratios))
        shares = {name: start.left[name] * costs.of(now.widths) / costs.of(full) for name, costs in counts.items()}
        left = [f"{share:.2f} of the {counts[name].unit}" for name, share in shares.items()]
        left += [] if now.timed is None else [f"{now.timed.ratio:.2f} of the latency"]
        log.info("point %d of %d: %s; up to %d epochs", number, len(ratios), ", ".join(left), schedule.epochs)
        running = work.way / RUNNING
        best = recover(
            now.network,
            work.network,
            now.groups,
            now.kept,
            images,
            schedule,
            running,
            mirror=bool(work.checkpoint.manifest["mirror"]),
            device=work.device,
            tracked=work.tracked,
            tracked_as=f"prune-{number}",
        )
        figures = figures_by_split(now.network, work.prepared)
        made = point(ratios[number - 1], now, work.checkpoint, counts, stand_ins, figures, epochs_learned(running))
        log.info("top-1 on val %.1f %%, unpruned %.1f %%", _top1(made), _top1(start.points[0]))
        reached.append(
            keep_point(
                work.way,
                before,
                now.network,
                number=number,
                record={**now.record(), "made": made},
                best_epoch=int(best["epoch"]),
                metrics=figures,
            )
        )
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
        "learning_rate": _schedule(work, last=True).learning_rate,
        "distillation": _schedule(work, last=True).distillation,
        "removed": {g.name: [int(had), g.width] for g, had in zip(now.groups, full, strict=True) if g.width != had},
        "images": [images.rows[row].sha256 for row in seen],
        "input_size": [start.points[0]["input_size"], start.points[-1]["input_size"]],
        "points": [*start.points, *(found.manifest["point"]["made"] for found in reached)],
    }
    folders = tuple(found.folder for found in reached)
    return Walked(now.network, record, folders, int(reached[-1].manifest["best_epoch"]))


def _schedule(work: Work, *, last: bool) -> Schedule:
    seed = int(work.checkpoint.manifest["settings"]["seed"])
    return recovery(len(work.learning.indices("train")), epochs=work.epochs, last=last, seed=seed)


def _top1(point: dict[str, Any]) -> float:
    found = point["metrics"]["val"]
    return float(100 * found["right"] / found["images"])
