"""prune: RUN -> a narrower RUN, with the target's own engine at hand where it is on this machine.

Latency is that of one inference, without decoding the image, with one thread; both networks take turns in one process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgexfer.backends import check_layer_timer, find_backend, layer_timer_of, why_no_layer_timer
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, BackendError
from edgexfer.core.held import held_place
from edgexfer.core.target import Target
from edgexfer.flow.race import race
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.goal import Goal, pruned_place
from edgexfer.train.prune.prune import asked_for
from edgexfer.train.prune.prune import prune as prune_checkpoint
from edgexfer.train.prune.stand_ins import Engine, Engines
from edgexfer.train.prune.way import check_way, drop_way, is_begun

log = logging.getLogger(__name__)

_FLOATS = ("float32", "float16")
PATIENCE_S = 4 * 3600.0


def prune(
    run: str | Path,
    out: Path | None,
    target: Target,
    goal: Goal,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
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
        resume: go on with what an interrupted call for the same left; where `out` is None and there is none, begin.
        overwrite: replace an older `out`; without `resume` also drop what was interrupted.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too; whoever opened it ends it.

    Raises:
        MissingPartError: latency is asked for, and the target's engine is not on this machine.
        EdgexferError: see edgexfer/train/prune/prune.py.
    """
    checkpoint = open_checkpoint(run)
    engines = engines_here(target)
    if goal.measure == "latency":
        check_layer_timer(target)
    place = pruned_place(checkpoint.folder, goal, target) if out is None else out
    # Two exports of one run want the same pruned checkpoint: the second takes what the first has made.
    with held_place(place, wait_s=PATIENCE_S if out is None else 0.0):
        asked = asked_for(checkpoint, target, goal, engines, epochs)
        if (out is None or resume) and (there := made_before(place, "pruning", asked)) is not None:
            log.info("taking the pruned checkpoint %s, which was made from this run before", place)
            drop_way(place)  # killed between the two, it would lie there for ever
            return there
        resume = resume and (out is not None or is_begun(place))
        check_way(place, asked, resume=resume, overwrite=overwrite)
        return prune_checkpoint(
            checkpoint,
            target,
            goal,
            place,
            engines=engines,
            data=data,
            epochs=epochs,
            device=device,
            resume=resume,
            overwrite=overwrite or out is None,
            progress=progress,
            tracked=tracked,
        )


def engines_here(target: Target) -> Engines | None:
    """Returns the target's engines on this machine, None where there are none or the machine is of another kind."""
    names = [name for name in (target.backend, *target.rivals) if not why_no_layer_timer(target, name)]
    if not names:
        return None
    precision = "float32" if target.precision in _FLOATS else "int8"
    return Engines(precision, partial(_fastest, names), partial(_named, names))


def _fastest(names: Sequence[str], bundle: Bundle) -> Engine:
    best, *rivals = names
    for name in rivals:
        try:
            found = race(bundle, bundle, backend=name, against_backend=best)
        except BackendError as error:  # the CPU cannot compute this file exactly in it
            log.info("%s was left out: %s", name, error.message)
            continue
        log.info(
            "%s takes %.2f (%.2f to %.2f) of the time that %s takes", name, found.ratio, found.low, found.high, best
        )
        best = name if found.high < 1 else best
    return _engine(best)


def _named(names: Sequence[str], version: str) -> Engine | None:
    return next((engine for engine in map(_engine, names) if engine.version == version), None)


def _engine(name: str) -> Engine:
    timer = layer_timer_of(find_backend(name))
    assert timer is not None  # noqa: S101 - those without one are not among the names
    return Engine(timer, partial(race, backend=name, against_backend=name), timer.engine_version())


def made_before(place: Path, record: str, asked: dict[str, Any]) -> Checkpoint | None:
    """Returns the checkpoint that an earlier call left at `place`, None where there is none that was asked for alike.

    Args:
        place: where it would be.
        record: the key of its manifest that says how it was made.
        asked: what must stand there; "made" does not, and epochs of None are any.
    """
    if not place.exists():
        return None
    try:
        there = open_checkpoint(place)
    except ArtifactError:
        log.warning("%s is damaged and is made again", place)
        return None
    found = there.manifest.get(record) or {}
    wanted = {key: value for key, value in asked.items() if key != "made" and (key, value) != ("epochs", None)}
    return there if all(found.get(key) == value for key, value in wanted.items()) else None


def pruning_doubts(checkpoint: Checkpoint, target: Target) -> tuple[str, ...]:
    """Returns what a user must know before shipping a pruned network, in sentences."""
    record = checkpoint.manifest.get("pruning")
    if record is None:
        return ()
    return doubts_of(record["points"], target, f"pruning to {record['goal']}", "--prune ... --prune-epochs N")


def doubts_of(points: Sequence[dict[str, Any]], target: Target, what: str, longer: str) -> tuple[str, ...]:
    """Returns what to say of a network that lost more on the way than the target allows, in sentences.

    Float and INT8 are compared with each other at export; what both have lost before is not seen there.

    Args:
        points: of the checkpoint's record, the network as it was first.
        target: says how much may be lost.
        what: was done to it.
        longer: options of `compress` that let it learn longer.
    """
    before, after = (point["metrics"].get("test", point["metrics"]["val"]) for point in (points[0], points[-1]))
    loss = before["right"] / before["images"] - after["right"] / after["images"]
    if target.allows(loss):
        return ()
    said = (
        f"{what} lost {100 * loss:.2f} points of top-1 ({before['right'] - after['right']} of {before['images']} "
        f"held-out images), {target.name} allows {100 * target.max_drop:.2f}: ask for less, or let it learn longer "
        f"with `edgexfer compress {longer}`"
    )
    return (said,)
