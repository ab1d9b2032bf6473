"""The walk from the dense network to the zeros that were asked for: points that each set some more and learn again."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.groups import channel_groups
from edgexfer.train.prune.kept_points import keep_cut, keep_point, kept_cut, kept_points
from edgexfer.train.prune.recover import epochs_learned, recover, recovery
from edgexfer.train.prune.way import RUNNING
from edgexfer.train.sparse.asked import Sparsity
from edgexfer.train.sparse.masks import apply_magnitude, apply_two_four
from edgexfer.train.sparse.zeros import counted_zeros, keep_zeros

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is made sparse, and on which images.

    Attributes:
        checkpoint: the dense one.
        network: its network; it teaches, and is not changed.
        sparsity: how many zeros, and which.
        prepared: the checkpoint's images: they judge.
        learning: those and what else the network works for, see quantize/learning_images.py: they are learned from.
        device: "cpu" or "cuda".
        epochs: of training at each point; None lets the number of images decide.
        way: PLACE.partial, see train/prune/way.py: points that were reached are taken from there, and go there.
        tracked: takes the epochs.
    """

    checkpoint: Checkpoint
    network: DeployNetwork
    sparsity: Sparsity
    prepared: Prepared
    learning: Prepared
    device: str
    epochs: int | None
    way: Path
    tracked: Tracking


def walk(work: Work) -> tuple[DeployNetwork, list[Checkpoint], dict[str, Any]]:
    """Sets zeros point by point; points that `work.way` holds are taken from there.

    Returns:
        The network, the points, and `sparsity` of the manifest (sparsify.py).
    """
    points = work.sparsity.points
    first = _point(0.0, 0, figures_by_split(work.network, work.prepared))
    reached = kept_points(work.way, work.checkpoint)
    network = reached[-1].float_network() if reached else copy.deepcopy(work.network)
    for number in range(len(reached) + 1, len(points) + 1):
        before = reached[-1] if reached else work.checkpoint
        schedule = _schedule(work, last=number == len(points))
        if (begun := kept_cut(work.way, before)) is not None:
            network = begun[0]
        else:
            _set_zeros(network, work, points[number - 1], schedule)
            keep_cut(work.way, before, network, {})
        log.info("point %d of %d: %s; up to %d epochs", number, len(points), _said(network), schedule.epochs)
        network, best = _learned(network, work, schedule, number)
        figures = figures_by_split(network, work.prepared)
        made = _point(_share(network), epochs_learned(work.way / RUNNING), figures)
        reached.append(
            keep_point(
                work.way,
                before,
                network,
                number=number,
                record={"made": made},
                best_epoch=int(best["epoch"]),
                metrics=figures,
            )
        )
    counted = counted_zeros(network.network)
    schedule = _schedule(work, last=True)
    record = {
        "asked": str(work.sparsity),
        "how": work.sparsity.how,
        "parent": work.checkpoint.digest,
        "weights": sum(of for _, of in counted.values()),
        "zeros": sum(zeros for zeros, _ in counted.values()),
        "layers": {name: list(found) for name, found in counted.items()},
        "epochs": work.epochs,
        "learning_rate": schedule.learning_rate,
        "distillation": schedule.distillation,
        "points": [first, *(point.manifest["point"]["made"] for point in reached)],
    }
    return network, reached, record


def _schedule(work: Work, *, last: bool) -> Schedule:
    seed = int(work.checkpoint.manifest["settings"]["seed"])
    return recovery(len(work.learning.indices("train")), epochs=work.epochs, last=last, seed=seed)


def _set_zeros(network: DeployNetwork, work: Work, share: float, schedule: Schedule) -> None:
    if work.sparsity.share is None:
        apply_two_four(network.network)
    elif work.sparsity.how == "magnitude":
        apply_magnitude(network.network, example_for(work.checkpoint, network), share)
    else:
        from edgexfer.train.sparse.regularise import apply_regularised  # noqa: PLC0415 - NNCF

        mirror = bool(work.checkpoint.manifest["mirror"])
        apply_regularised(network, work.network, work.learning, schedule, share, mirror=mirror, device=work.device)


def _learned(
    network: DeployNetwork, work: Work, schedule: Schedule, number: int
) -> tuple[DeployNetwork, dict[str, Any]]:
    """Returns a copy that has learned again, and the record of the epoch that was kept. Its zeros may be moved anew."""
    own = copy.deepcopy(network)
    before = counted_zeros(own.network)
    groups = channel_groups(own.network, example_for(work.checkpoint, own))
    keep_zeros(own.network)
    best = recover(
        own,
        work.network,
        groups,
        [torch.arange(group.width) for group in groups],
        work.learning,
        schedule,
        work.way / RUNNING,
        mirror=bool(work.checkpoint.manifest["mirror"]),
        device=work.device,
        tracked=work.tracked,
        tracked_as=f"sparsity-point-{number}",
        stage="sparsity",
    )
    own.cpu()
    after = counted_zeros(own.network)
    lost = [name for name, (zeros, _) in before.items() if after[name][0] < zeros]
    if lost:
        raise RuntimeError(f"training moved zeros of {', '.join(lost)}")
    return copy.deepcopy(own), best


def _point(share: float, epochs: int, figures: dict[str, Any]) -> dict[str, Any]:
    metrics = {
        split: {"images": found["images"], "right": round(found["top1"] * found["images"])}
        for split, found in figures.items()
    }
    found = metrics["val"]
    log.info("top-1 on val %.1f %% with %.1f %% zeros", 100 * found["right"] / found["images"], 100 * share)
    return {"share": round(share, 6), "epochs": epochs, "metrics": metrics}


def _share(network: DeployNetwork) -> float:
    counted = counted_zeros(network.network).values()
    return sum(zeros for zeros, _ in counted) / sum(of for _, of in counted)


def _said(network: DeployNetwork) -> str:
    return f"{100 * _share(network):.1f} % of the weights are zero"
