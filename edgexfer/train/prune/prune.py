"""prune: a float Checkpoint -> a narrower float Checkpoint, by way of points that each lost a little more (walk.py).

`pruning` in the checkpoint's manifest: goal, measure, ratio, target, precision and engine (None where nothing was
timed), parent (digest), block, epochs, learning_rate (of a point that is near, recover.py takes a tenth), distillation,
removed ({group: [channels before, after]}), images (digests of those that importance was measured on), input_size
([before, now], pixels), and points: {"ratio", "input_size", "params", "macs", "size_bytes", "latency": {"ratio", "low",
"high", "latency_ms", "full_ms"}, "metrics": {split: {"images", "right"}}, "epochs"}, the whole network first, then with
a smaller input where it got one; size_bytes and latency are None without an engine.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.held import held_place
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.images.prepared import Progress
from edgexfer.train.images.split import dataset_digest
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.save import save_recovered
from edgexfer.train.prune.smaller_input import smaller_input
from edgexfer.train.prune.stand_ins import CALIBRATING, Engines
from edgexfer.train.prune.walk import Work, walk
from edgexfer.train.prune.way import begin_way, check_way, drop_way, dropped_if_refused
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.task import usable_device


def prune(
    checkpoint: Checkpoint,
    target: Target,
    goal: Goal,
    out: Path,
    *,
    engines: Engines | None,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Removes pixels of the input and channels until the goal is reached, and lets what is left learn.

    Args:
        checkpoint: a float one.
        target: what it shall be fast on.
        goal: what shall be left.
        out: the new checkpoint's folder.
        engines: the target's; None where none is here: nothing is timed then.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of training at each point; None lets the number of images decide.
        device: "auto", "cpu" or "cuda".
        resume: go on from `out`.partial, which a call with the same arguments left when it was interrupted (way.py).
        overwrite: replace an older `out`; without `resume` also drop what was interrupted.
        progress: called with (done, all) while images are read.
        tracked: takes settings and epochs too; whoever opened it ends it.

    Raises:
        EdgexferError: the checkpoint is quantized, the goal cannot be reached, it asks for latency and there is no
            engine, the images are gone, `out` exists or cannot be written, or what was interrupted is there and is not
            resumed, was asked for otherwise, or is not there to be resumed.
    """
    refuse_existing(out, overwrite=overwrite)
    if goal.measure == "latency" and engines is None:
        raise EdgexferError(f"there is nothing to measure latency with for {target.name}", "prune by macs= or params=")
    if "pruning" in checkpoint.manifest:
        raise ArtifactError(f"{checkpoint.folder} is pruned already", "prune the RUN it was made from, and further")
    if "sparsity" in checkpoint.manifest:
        raise ArtifactError(f"{checkpoint.folder} is sparse already", "prune the RUN it was made from, then --sparsity")
    asked = asked_for(checkpoint, target, goal, engines, epochs)
    check_way(out, asked, resume=resume, overwrite=overwrite)
    network = checkpoint.float_network()
    where = usable_device(device)
    keep_freed_memory()
    with ExitStack() as opened:
        opened.enter_context(held_place(out))
        smaller = smaller_input(checkpoint, network, data, target, goal, images=CALIBRATING)
        checkpoint = checkpoint if smaller is None else smaller.checkpoint
        prepared, learning = opened.enter_context(images_again(checkpoint, network, data, progress))
        folder = opened.enter_context(scratch_folder(out))
        asked |= {"images": dataset_digest(learning.rows), "input_size": checkpoint.preprocess.height}
        way = begin_way(out, asked, resume=resume, overwrite=overwrite)
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        tracking.settings({"prune": {"goal": str(goal), "target": target.name, "epochs": epochs}})
        work = Work(
            checkpoint,
            network,
            target,
            goal,
            engines,
            prepared,
            learning,
            where,
            epochs,
            way,
            folder,
            tracking,
            smaller,
        )
        with dropped_if_refused(out):
            walked = walk(work)
        made = save_recovered(
            checkpoint,
            walked.network,
            prepared,
            out,
            records={"pruning": walked.record, "unpruned_metrics": checkpoint.manifest["metrics"]},
            points=walked.folders,
            best_epoch=walked.best_epoch,
            folder=folder,
            tracked=tracking,
            tracked_as="prune",
            overwrite=overwrite,
        )
        drop_way(out)
        return made


def asked_for(
    checkpoint: Checkpoint, target: Target, goal: Goal, engines: Engines | None, epochs: int | None
) -> dict[str, Any]:
    """Returns what another call must ask for too, to go on with one that was interrupted."""
    return {
        "made": "pruning",
        "parent": checkpoint.digest,
        "goal": str(goal),
        "target": target.name,
        "precision": None if engines is None else engines.precision,
        "epochs": epochs,
    }
