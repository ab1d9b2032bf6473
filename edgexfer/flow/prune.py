"""prune: RUN -> a narrower RUN, with the target's own engine at hand where it is on this machine.

Latency is that of one inference, without decoding the image, with one thread; both networks take turns in one process.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from pathlib import Path

from edgexfer.backends import builder_of, find_backend, layer_timer_of, missing_here
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, MissingPartError
from edgexfer.core.target import Target
from edgexfer.gate.judge.compare import compare
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.prune import Engine
from edgexfer.train.prune.prune import prune as prune_checkpoint
from edgexfer.train.prune.stand_ins import THREADS, Timed

log = logging.getLogger(__name__)

RACE_SECONDS = 5.0
_FLOATS = ("float32", "float16")


def prune(
    run: str | Path,
    out: Path | None,
    target: Target,
    goal: Goal,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Removes channels of a network until the goal is reached, and lets it learn again.

    Args:
        run: a float checkpoint's folder.
        out: the pruned checkpoint's folder; None for `pruned_place`, where one that was made before is taken.
        target: what it shall be fast on.
        goal: what shall be left, such as Goal("latency", 0.6).
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of training at each point on the way; None lets the number of images decide.
        device: where to train: "auto", "cpu" or "cuda".
        overwrite: replace an older `out`.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too; whoever opened it ends it.

    Raises:
        MissingPartError: latency is asked for, and the target's engine is not on this machine.
        EdgexferError: see edgexfer/train/prune/prune.py.
    """
    checkpoint = open_checkpoint(run)
    engine = engine_here(target)
    if goal.measure == "latency" and engine is None:
        raise MissingPartError(f"latency= cannot be measured for {target.name} here: {_why_not(target)}", _REMEDY)
    place = pruned_place(checkpoint.folder, goal, target) if out is None else out
    if out is None and (there := _made_before(place, checkpoint, target, goal, epochs)) is not None:
        log.info("taking the pruned checkpoint %s, which was made from this run before", place)
        return there
    return prune_checkpoint(
        checkpoint,
        target,
        goal,
        place,
        engine=engine,
        data=data,
        epochs=epochs,
        device=device,
        overwrite=overwrite or out is None,
        progress=progress,
        tracked=tracked,
    )


_REMEDY = "prune by what can be counted anywhere, such as --prune macs=0.5, or run this on the device itself"


def pruned_place(run: Path, goal: Goal, target: Target) -> Path:
    """Returns where the pruned sibling of `run` lies: RUN.pruned-MEASURE-RATIO, for latency with the target's name."""
    name = f"{run.name}.pruned-{goal.measure}-{goal.ratio:g}"
    return run.with_name(f"{name}-{target.name}" if goal.measure == "latency" else name)


def engine_here(target: Target) -> Engine | None:
    """Returns the target's engine, None where it is not on this machine or the machine is of another kind."""
    if _why_not(target):
        return None
    backend = find_backend(target.backend)
    precision = "float32" if target.precision in _FLOATS else "int8"
    return Engine(layer_timer_of(backend), _race, precision, backend.engine_version())


def _why_not(target: Target) -> str:
    if missing := missing_here(target.backend):
        return missing
    machine = target.host.get("machine", platform.machine())
    if machine != platform.machine():
        return f"the target is {machine}, this machine is {platform.machine()}"
    backend = find_backend(target.backend)
    if builder_of(backend) is not None or layer_timer_of(backend) is None:
        return f"{target.backend} does not say how long a layer takes"
    return ""


def _race(narrow: Bundle, full: Bundle) -> Timed:
    found = compare(narrow, full, seconds=RACE_SECONDS, threads=THREADS, step="inference")
    narrow_ms, full_ms = (side.percentile("inference", 50) / 1e6 for side in (found.bundle, found.against))
    return Timed(found.ratio, found.low, found.high, narrow_ms, full_ms)


def _made_before(
    place: Path, checkpoint: Checkpoint, target: Target, goal: Goal, epochs: int | None
) -> Checkpoint | None:
    if not place.exists():
        return None
    try:
        there = open_checkpoint(place)
    except ArtifactError:
        log.warning("%s is damaged and is made again", place)
        return None
    learned = there.manifest.get("pruning") or {}
    same = (checkpoint.digest, str(goal), target.name, epochs)
    return there if same == tuple(learned.get(key) for key in ("parent", "goal", "target", "epochs")) else None
