"""update: a trained network meets new images or new classes, and keeps what it knew.

The new images are learned together with the exemplars that the checkpoint carries (exemplars.py), in equal number of
every class, so that the classifier has no reason to prefer the new ones (Castro et al. 2018 balance the set in the
end, this one all along); what is learned is held near what was known (forgetting.py). Rows of the classifier that
new classes begin with point to their mean features (network.grow_head).

Of each epoch's network the one is kept that is best on old and new classes alike, each counting the same.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import SettingsError
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.continual.earlier_task import HeldOut, exemplars_of, held_out
from edgexfer.train.continual.exemplars import with_exemplars
from edgexfer.train.continual.forgetting import KeepEarlier
from edgexfer.train.head.probe import fit_probe, write_head
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.judge import figures
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.suited import schedule, suited
from edgexfer.train.task import Task

log = logging.getLogger(__name__)

_MOST_REPEATS = 8  # of an exemplar in one epoch
_DISTILLATION, _START_PULL = 1.0, 0.01


def update_from(task: Task) -> dict[str, Any]:
    """Trains `task.network`, which began as `task.start`'s, on new images without forgetting the old task.

    Returns:
        The record of the epoch that was kept.

    Raises:
        SettingsError: the run did not begin from a checkpoint.
        EdgexferError: the checkpoint has no exemplars and its images are gone.
    """
    start = task.start
    if start is None:
        raise SettingsError("strategy 'update' goes on from a checkpoint", "say which one with --from RUN")
    exemplars = exemplars_of(start, per_class=task.settings.exemplars, device=task.device)
    known, new = len(start.labels), task.prepared.labels[len(start.labels) :]
    log.info("%d images of %d known classes are repeated; new classes: %d", len(exemplars.of("train")), known, len(new))
    earlier = held_out(start, exemplars)
    try:
        before = _judged(start, earlier, task)
        joined = with_exemplars(task.prepared, exemplars)
        with joined.cache:
            best = _fit(task, joined, start)
        after = _top1(task, earlier)
    finally:
        if earlier is not None:
            earlier.cache.close()
    learned = _new_figures(task)
    figures_before = {"images": 0 if earlier is None else len(earlier.class_ids), "top1_before": before}
    said = [f"new images: {100 * learned['top1']:.1f} % recognised ({learned['images']} {learned['judged_by']})"]
    if earlier is not None and before is not None and after is not None:
        count = len(earlier.class_ids)
        said.append(
            f"earlier classes: {100 * before:.1f} % recognised before, {100 * after:.1f} % after "
            f"({count} {earlier.origin})"
        )
    if task.stream is not None:
        said.append(f"of the shards only the sample of {len(task.train)} training images was learned")
    log.info("%s", "; ".join(said))
    task.notes["update"] = {
        "said": said,
        "new_classes": list(new),
        "repeated_images": len(exemplars.of("train")),
        "earlier_task": earlier and {"judged_by": earlier.origin, **figures_before, "top1_after": after},
        "new_images": learned,
    }
    return best


def _fit(task: Task, joined: Prepared, start: Checkpoint) -> dict[str, Any]:
    seed = task.settings.seed
    train = balanced(joined.indices("train"), joined.class_ids, seed, _MOST_REPEATS)
    val = balanced(joined.indices("val"), joined.class_ids, seed, _MOST_REPEATS)
    found = {**task.found, "probe": _fit_head(task, joined)}
    # Of shards it learns the sample alone, and so its epochs are no windows of a stream.
    task = replace(task, prepared=joined, train=train, val=val, found=found, stream=None)
    how = suited(task)
    chosen = schedule(task, how, weight_decay=0.0)  # L2-SP stands in its place
    log.info("%s, %.1e for up to %d epochs", how.reason, how.learning_rate, chosen.epochs)
    keep = KeepEarlier(start.float_network().eval(), _DISTILLATION, _START_PULL)
    ids = joined.class_ids
    trainee = Trainee(task.network, joined.cache, ids, train, val, chosen, task.augmentation, extra_loss=keep)
    return fit(trainee, task.folder, stage="update", patience=how.patience, device=task.device, tracked=task.tracked)


def _fit_head(task: Task, joined: Prepared) -> dict[str, Any] | None:
    """Fits the head on all classes, where exemplars show all of them, and returns what `suited` takes rates from.

    Until then new rows of the head are mean features: good enough to begin with, but far from what training ends at.
    """
    rows = joined.indices("train")
    if len(np.unique(joined.class_ids[rows])) < len(joined.labels):
        return None
    probe = fit_probe(task.network.to(task.device), joined.cache, joined.class_ids, rows, joined.indices("val"))
    write_head(task.network.network, probe)
    return dict(probe.to_json())


def balanced(rows: NDArray[np.int64], class_ids: NDArray[np.int64], seed: int, most_repeats: int) -> NDArray[np.int64]:
    """Returns `rows` with those of rarer classes repeated until each class has as many as the largest.

    Args:
        rows: of any classes.
        class_ids: int64, the class of every row there is.
        seed: of the draw among those that are repeated once more than others.
        most_repeats: how often one row is there at most.
    """
    groups = [rows[class_ids[rows] == label] for label in np.unique(class_ids[rows])]
    largest = max(len(group) for group in groups)
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [np.resize(generator.permutation(group), min(largest, most_repeats * len(group))) for group in groups]
    )


def _judged(start: Checkpoint, earlier: HeldOut | None, task: Task) -> float | None:
    if earlier is None:
        return None
    network = start.float_network().to(task.device)
    return _accuracy(network, earlier)


def _top1(task: Task, earlier: HeldOut | None) -> float | None:
    return None if earlier is None else _accuracy(task.network.to(task.device), earlier)


def _accuracy(network: Any, earlier: HeldOut) -> float:
    rows = np.arange(len(earlier.class_ids))
    return float(figures(network, earlier.cache, earlier.class_ids, rows)["top1"])


def _new_figures(task: Task) -> dict[str, Any]:
    split = "test" if len(task.prepared.indices("test")) else "val"
    rows = task.prepared.indices(split)
    found = figures(task.network, task.prepared.cache, task.prepared.class_ids, rows)
    return {"judged_by": f"{split} images", "images": len(rows), "top1": float(found["top1"])}
