"""sparsify: a float Checkpoint -> a float Checkpoint with the same layers, many of whose weights are zero.

Some are set to zero, the rest learns the dense network's answers again while those stay zero (recover.py of pruning),
and so on to the share that was asked for: little at a time is mended best (Zhu & Gupta 2017, arXiv:1710.01878).

`sparsity` in the checkpoint's manifest: asked ("0.6" or "2:4"), how, parent (digest of the dense checkpoint), weights
and zeros (of convolutions and linear layers, biases not counted), layers ({name: [zeros, weights]}), epochs (as asked),
learning_rate, distillation, and points: {"share", "epochs", "metrics": {split: {"images", "right"}}}, the dense network
first.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch

from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.images.prepared import Prepared, Progress
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.groups import channel_groups
from edgexfer.train.prune.recover import epochs_learned, recover, recovery
from edgexfer.train.prune.save import save_recovered
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.sparse.asked import Sparsity
from edgexfer.train.sparse.masks import apply_magnitude, apply_two_four
from edgexfer.train.sparse.two_four import is_eligible
from edgexfer.train.sparse.zeros import counted_zeros, keep_zeros, weights_of
from edgexfer.train.task import usable_device

log = logging.getLogger(__name__)


def sparsify(
    checkpoint: Checkpoint,
    sparsity: Sparsity,
    out: Path,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Sets weights to zero until there are as many as asked for, and lets the others learn.

    Args:
        checkpoint: a float one, pruned or not.
        sparsity: how many, and which.
        out: the new checkpoint's folder.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of training at each point on the way; None lets the number of images decide.
        device: "auto", "cpu" or "cuda".
        overwrite: replace an older `out`.
        progress: called with (done, all) while images are read.
        tracked: takes settings and epochs too; whoever opened it ends it.

    Raises:
        EdgexferError: the checkpoint is quantized or sparse already, has no layer that 2:4 fits, its images are gone,
            or `out` exists or cannot be written.
    """
    refuse_existing(out, overwrite=overwrite)
    if "sparsity" in checkpoint.manifest:
        raise ArtifactError(f"{checkpoint.folder} is sparse already", "give the RUN it was made from")
    network = checkpoint.float_network()
    if sparsity.share is None and not any(is_eligible(tuple(w.shape)) for _, w in weights_of(network.network)):
        raise EdgexferError(
            f"{checkpoint.backbone.name} has no layer whose input channels are a multiple of 4, which 2:4 needs",
            "ask for a share, such as --sparsity 0.5",
        )
    where = usable_device(device)
    keep_freed_memory()
    with (
        images_again(checkpoint, network, data, progress) as (prepared, learning),
        scratch_folder(out) as folder,
    ):
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        tracking.settings({"sparsity": {"asked": str(sparsity), "how": sparsity.how, "epochs": epochs}})
        dense = network
        network = copy.deepcopy(dense)
        points = [_point(0.0, 0, dense, prepared)]
        folders: list[Path] = []
        best: dict[str, Any] = {}
        for number, share in enumerate(sparsity.points, 1):
            schedule = recovery(
                len(learning.indices("train")),
                epochs=epochs,
                last=number == len(sparsity.points),
                seed=int(checkpoint.manifest["settings"]["seed"]),
            )
            _set_zeros(network, dense, checkpoint, sparsity, share, learning, schedule, where)
            log.info(
                "point %d of %d: %s; up to %d epochs", number, len(sparsity.points), _said(network), schedule.epochs
            )
            folders.append(folder / f"point-{number}")
            folders[-1].mkdir()
            network, best = _learned(network, dense, checkpoint, learning, schedule, folders[-1], where, tracking)
            points.append(_point(_share(network), epochs_learned(folders[-1]), network, prepared))
        counted = counted_zeros(network.network)
        record = {
            "asked": str(sparsity),
            "how": sparsity.how,
            "parent": checkpoint.digest,
            "weights": sum(of for _, of in counted.values()),
            "zeros": sum(zeros for zeros, _ in counted.values()),
            "layers": {name: list(found) for name, found in counted.items()},
            "epochs": epochs,
            "learning_rate": schedule.learning_rate,
            "distillation": schedule.distillation,
            "points": points,
        }
        return save_recovered(
            checkpoint,
            network,
            prepared,
            out,
            records={"sparsity": record},
            points=folders,
            best_epoch=int(best["epoch"]),
            folder=folder,
            tracked=tracking,
            tracked_as="sparsity",
            overwrite=overwrite,
        )


def _set_zeros(
    network: DeployNetwork,
    dense: DeployNetwork,
    checkpoint: Checkpoint,
    sparsity: Sparsity,
    share: float,
    images: Prepared,
    schedule: Schedule,
    device: str,
) -> None:
    if sparsity.share is None:
        apply_two_four(network.network)
    elif sparsity.how == "magnitude":
        apply_magnitude(network.network, example_for(checkpoint, network), share)
    else:
        from edgexfer.train.sparse.regularise import apply_regularised  # noqa: PLC0415 - NNCF

        mirror = bool(checkpoint.manifest["mirror"])
        apply_regularised(network, dense, images, schedule, share, mirror=mirror, device=device)


def _learned(
    network: DeployNetwork,
    dense: DeployNetwork,
    checkpoint: Checkpoint,
    images: Prepared,
    schedule: Schedule,
    folder: Path,
    device: str,
    tracked: Tracking,
) -> tuple[DeployNetwork, dict[str, Any]]:
    """Returns a copy that has learned again, and the record of the epoch that was kept. Its zeros may be moved anew."""
    own = copy.deepcopy(network)
    before = counted_zeros(own.network)
    groups = channel_groups(own.network, example_for(checkpoint, own))
    keep_zeros(own.network)
    best = recover(
        own,
        dense,
        groups,
        [torch.arange(group.width) for group in groups],
        images,
        schedule,
        folder,
        mirror=bool(checkpoint.manifest["mirror"]),
        device=device,
        tracked=tracked,
        tracked_as=f"sparsity-{folder.name}",
        stage="sparsity",
    )
    own.cpu()
    after = counted_zeros(own.network)
    lost = [name for name, (zeros, _) in before.items() if after[name][0] < zeros]
    if lost:
        raise RuntimeError(f"training moved zeros of {', '.join(lost)}")
    return copy.deepcopy(own), best


def _point(share: float, epochs: int, network: DeployNetwork, prepared: Prepared) -> dict[str, Any]:
    metrics = {
        split: {"images": found["images"], "right": round(found["top1"] * found["images"])}
        for split, found in figures_by_split(network, prepared).items()
    }
    found = metrics["val"]
    log.info("top-1 on val %.1f %% with %.1f %% zeros", 100 * found["right"] / found["images"], 100 * share)
    return {"share": round(share, 6), "epochs": epochs, "metrics": metrics}


def _share(network: DeployNetwork) -> float:
    counted = counted_zeros(network.network).values()
    return sum(zeros for zeros, _ in counted) / sum(of for _, of in counted)


def _said(network: DeployNetwork) -> str:
    return f"{100 * _share(network):.1f} % of the weights are zero"
