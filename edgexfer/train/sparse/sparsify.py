"""sparsify: a float Checkpoint -> a float Checkpoint with the same layers, many of whose weights are zero.

Some are set to zero, the rest learns the dense network's answers again while those stay zero (recover.py of pruning),
and so on to the share that was asked for: little at a time is mended best (Zhu & Gupta 2017, arXiv:1710.01878).

`sparsity` in the checkpoint's manifest: asked ("0.6" or "2:4"), how, parent (digest of the dense checkpoint), weights
and zeros (of convolutions and linear layers, biases not counted), layers ({name: [zeros, weights]}), epochs (as asked),
learning_rate, distillation, and points: {"share", "epochs", "metrics": {split: {"images", "right"}}}, the dense network
first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.held import held_place
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.images.prepared import Progress
from edgexfer.train.images.split import dataset_digest
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.save import save_recovered
from edgexfer.train.prune.way import begin_way, check_way, drop_way, dropped_if_refused
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.sparse.asked import Sparsity
from edgexfer.train.sparse.two_four import is_eligible
from edgexfer.train.sparse.walk import Work, walk
from edgexfer.train.sparse.zeros import weights_of
from edgexfer.train.task import usable_device


def sparsify(
    checkpoint: Checkpoint,
    sparsity: Sparsity,
    out: Path,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
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
        resume: go on from `out`.partial, which a call with the same arguments left when it was interrupted
            (train/prune/way.py).
        overwrite: replace an older `out`; without `resume` also drop what was interrupted.
        progress: called with (done, all) while images are read.
        tracked: takes settings and epochs too; whoever opened it ends it.

    Raises:
        EdgexferError: the checkpoint is quantized or sparse already, has no layer that 2:4 fits, its images are gone,
            `out` exists or cannot be written, or what was interrupted is there and is not resumed, was asked for
            otherwise, or is not there to be resumed.
    """
    refuse_existing(out, overwrite=overwrite)
    if "sparsity" in checkpoint.manifest:
        raise ArtifactError(f"{checkpoint.folder} is sparse already", "give the RUN it was made from")
    asked = asked_for(checkpoint, sparsity, epochs)
    check_way(out, asked, resume=resume, overwrite=overwrite)
    network = checkpoint.float_network()
    if sparsity.share is None and not any(is_eligible(tuple(w.shape)) for _, w in weights_of(network.network)):
        raise EdgexferError(
            f"{checkpoint.backbone.name} has no layer whose input channels are a multiple of 4, which 2:4 needs",
            "ask for a share, such as --sparsity 0.5",
        )
    where = usable_device(device)
    keep_freed_memory()
    with (
        held_place(out),
        images_again(checkpoint, network, data, progress) as (prepared, learning),
        scratch_folder(out) as folder,
    ):
        way = begin_way(out, {**asked, "images": dataset_digest(learning.rows)}, resume=resume, overwrite=overwrite)
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        tracking.settings({"sparsity": {"asked": str(sparsity), "how": sparsity.how, "epochs": epochs}})
        work = Work(checkpoint, network, sparsity, prepared, learning, where, epochs, way, tracking)
        with dropped_if_refused(out):
            network, reached, record = walk(work)
        sparse = save_recovered(
            checkpoint,
            network,
            prepared,
            out,
            records={"sparsity": record},
            points=[point.folder for point in reached],
            best_epoch=int(reached[-1].manifest["best_epoch"]),
            folder=folder,
            tracked=tracking,
            tracked_as="sparsity",
            overwrite=overwrite,
        )
        drop_way(out)
        return sparse


def asked_for(checkpoint: Checkpoint, sparsity: Sparsity, epochs: int | None) -> dict[str, Any]:
    """Returns what another call must ask for as well, to go on with one that was interrupted."""
    return {
        "made": "sparsity",
        "parent": checkpoint.digest,
        "asked": str(sparsity),
        "how": sparsity.how,
        "epochs": epochs,
    }
