"""pretrain: a pretrained backbone looks at images of the user's domain without labels, before it learns from labels.

It stays as it was where that does not help: two heads are fitted, on the features before and after, and the new ones
are taken only where they recognise more of the labelled images that a head has not seen: those of val, and training
images left out in turn. On the few images that one has, val alone would be a coin toss (docs/finetune.md).

Whether it was done, and with what result, stands in the header of RUN.partial/start.safetensors, together with the
weights: a resumed run does not do it again. One that was interrupted in the middle of it begins it anew.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
from numpy.typing import NDArray

from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.files import write_file
from edgexfer.train.begin import START
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.domain.self_supervised import Recipe, check_lightly, learn_without_labels
from edgexfer.train.domain.set_shift import shift_of_caches
from edgexfer.train.head.probe import Probe, fit_probe, write_head
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.judge import probabilities
from edgexfer.train.task import Task

log = logging.getLogger(__name__)

_HEADER = "edgexfer_pretrain"
_LEAST_IMAGES = 32
_IMAGES_SEEN, _LEAST_EPOCHS, _MOST_EPOCHS = 10_000, 5, 20
_TIME_SHARE = 0.5  # of what is left of the time budget
_VIEWS = Augmentation(smallest_crop=0.6, brightness=0.2, contrast=0.3, rotation=0.15)


@dataclass(frozen=True)
class Standing:
    """How well a head on frozen features does.

    Attributes:
        val_top1: on the validation images, 0 to 1.
        val_loss: the same, mean negative log likelihood in nats.
        folds_top1: of training images by heads that had not seen them; None where a class has one image.
        unseen_top1: of both together.
    """

    val_top1: float
    val_loss: float
    folds_top1: float | None
    unseen_top1: float

    def beats(self, before: Standing) -> bool:
        """Whether these features are better; see the module's docstring. Of equals the surer are."""
        # The loss alone says little: it depends on the penalty that a head was given.
        return (self.unseen_top1, -self.val_loss) > (before.unseen_top1, -before.val_loss)


def check_pretrain(unlabeled: object, start: object) -> None:
    """Checks what pretraining needs, before anything is read.

    Args:
        unlabeled: where images without labels come from; None for nowhere.
        start: a checkpoint to go on with, or None.

    Raises:
        SettingsError: no unlabeled images, or a checkpoint to start from.
        MissingPartError: lightly is not installed.
    """
    if unlabeled is None:
        raise SettingsError("strategy 'pretrain' needs images of your domain", "give them with --unlabeled DIR")
    if start is not None:
        raise SettingsError(
            "strategy 'pretrain' begins with a backbone, and --from gives a checkpoint", "leave one of them away"
        )
    check_lightly()


def pretrain_on_domain(task: Task) -> None:
    """Lets the task's network learn from its unlabeled and training images without labels, in place.

    The head is fitted anew where the features have changed; `task.notes["pretrain"]` says what came of it, and
    `task.found["probe"]` is that of the features that are kept.

    Args:
        task: with unlabeled images, and a head that is fitted.

    Raises:
        SettingsError: no unlabeled images, or a checkpoint to start from.
        DataError: too few images.
        MissingPartError: lightly is not installed.
    """
    check_pretrain(task.unlabeled, task.start)
    assert task.unlabeled is not None  # noqa: S101 - just checked
    if (done := _done_before(task)) is not None:
        task.notes["pretrain"] = done["notes"]
        task.found["probe"] = done["probe"]
        log.info("pretraining was done before the interruption: %s", done["notes"]["decision"])
        return
    images = len(task.unlabeled) + len(task.train)
    if images < _LEAST_IMAGES:
        raise DataError(
            f"there are {images} images to pretrain on, expected {_LEAST_IMAGES} or more",
            "give more with --unlabeled DIR, some hundred at least",
        )
    _pretrained(task, task.unlabeled, images)


def _pretrained(task: Task, unlabeled: PixelCache, images: int) -> None:
    recipe = _recipe(task, images)
    network = task.network.to(task.device)
    shift = shift_of_caches(
        network, (task.prepared.cache, task.train), (unlabeled, np.arange(len(unlabeled))), task.settings.seed
    )
    if shift is not None and shift.differs:
        log.warning("%s", shift.line("DATA", "--unlabeled"))
    before, _ = _standing(network, task)
    log.info(
        "pretraining on %d unlabeled and %d training images for up to %d epochs; interrupted, it begins anew",
        len(unlabeled),
        len(task.train),
        recipe.epochs,
    )
    began = time.monotonic()
    student = copy.deepcopy(network)
    epochs = learn_without_labels(
        student,
        lambda rows: _pixels(task, unlabeled, rows),
        images,
        recipe,
        replace(_VIEWS, mirror=task.augmentation.mirror),
        task.device,
    )
    seconds = time.monotonic() - began
    after, fitted = _standing(student.to(task.device), task) if _is_finite(student) else (None, None)
    kept = epochs > 0 and after is not None and after.beats(before)
    notes = {
        "kept": kept,
        "decision": _decision(before, after, kept),
        "epochs": epochs,
        "images": {"unlabeled": len(unlabeled), "training": len(task.train)},
        "seconds": round(seconds, 1),
        "before": asdict(before),
        "after": None if after is None else asdict(after),
        "unlabeled_against_data": None if shift is None else shift.to_json(),
    }
    if kept and fitted is not None:
        write_head(student.network, fitted)
        task.found["probe"] = fitted.to_json()
        task.network.load_state_dict(student.state_dict())
    task.network.cpu().eval()
    log.info("pretraining: %s", notes["decision"])
    task.notes["pretrain"] = notes
    _keep(task)


def _recipe(task: Task, images: int) -> Recipe:
    settings = task.settings
    epochs = settings.pretrain_epochs or min(_MOST_EPOCHS, max(_LEAST_EPOCHS, math.ceil(_IMAGES_SEEN / images)))
    seconds = None
    if settings.time_budget_s is not None:
        seconds = max(0.0, _TIME_SHARE * (settings.time_budget_s - (time.monotonic() - task.began)))
    return Recipe(epochs, seed=settings.seed, seconds=seconds)


def _pixels(task: Task, unlabeled: PixelCache, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    foreign = rows < len(unlabeled)
    return np.concatenate([unlabeled[rows[foreign]], task.prepared.cache[task.train[rows[~foreign] - len(unlabeled)]]])


def _standing(network: DeployNetwork, task: Task) -> tuple[Standing, Probe]:
    """Fits a head on the network's features; the network itself is not changed."""
    cache, ids = task.prepared.cache, task.prepared.class_ids
    probe = fit_probe(network, cache, ids, task.train, task.val)
    judged = copy.deepcopy(network)
    write_head(judged.network, probe)
    found = probabilities(judged, cache, task.val).numpy()
    said = np.log(found[np.arange(len(task.val)), ids[task.val]].clip(1e-12))
    top1, folds = float((found.argmax(1) == ids[task.val]).mean()), probe.folds_top1
    unseen = top1 if folds is None else float(np.average([top1, folds], weights=[len(task.val), len(task.train)]))
    return Standing(top1, -float(said.mean()), folds, unseen), probe


def _is_finite(network: DeployNetwork) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def _decision(before: Standing, after: Standing | None, kept: bool) -> str:
    if after is None:
        return "learning without labels went astray: the weights are the original ones"
    figures = (
        f"val top-1 {100 * before.val_top1:.1f} -> {100 * after.val_top1:.1f} %, "
        f"loss {before.val_loss:.3f} -> {after.val_loss:.3f}"
    )
    if before.folds_top1 is not None and after.folds_top1 is not None:
        figures += f", training images left out {100 * before.folds_top1:.1f} -> {100 * after.folds_top1:.1f} %"
    if kept:
        return f"the head on the new features is better, they are kept ({figures})"
    return f"the head on the new features is no better, the weights are the original ones ({figures})"


def _keep(task: Task) -> None:
    state = {name: value.contiguous() for name, value in task.network.state_dict().items()}
    record = json.dumps({"notes": task.notes["pretrain"], "probe": task.found.get("probe")})
    write_file(task.folder / START, safetensors.torch.save(state, {_HEADER: record}))


def _done_before(task: Task) -> dict[str, Any] | None:
    """Returns what an interrupted run noted; its weights are the task's already (train/begin.go_on)."""
    path = task.folder / START
    if not path.is_file():
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        record = (file.metadata() or {}).get(_HEADER)
    return None if record is None else dict(json.loads(record))
