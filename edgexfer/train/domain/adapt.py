"""adapt: a trained network meets images of another domain (light, camera, place) that nobody labelled.

    1. Each layer's statistics on the target are brought back to what they were on the source
       (train/domain/target_statistics.py).
    2. The network learns from its own surest answers on the target, and from the labelled images with them
       (train/domain/self_training.py).
    3. It is compared with what it was, and stays what it was where it got no better (train/domain/adaptation_check.py).

A fifth of the unlabeled images takes no part in 1 and 2: where there are no labelled images of the target, these judge.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.files import write_file
from edgexfer.core.intake import inspect
from edgexfer.train.domain.adaptation_check import Seen, Verdict, choose, judge_with_labels, judge_without_labels
from edgexfer.train.domain.self_training import STAGE, Round, self_train
from edgexfer.train.domain.target_statistics import adapt_statistics
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.fit import COLUMNS, HISTORY
from edgexfer.train.loop.judge import probabilities
from edgexfer.train.task import Task

log = logging.getLogger(__name__)

ROUNDS = "adapt"  # folder of the rounds' state
_LOOKED_AT = 512  # images of each domain, at most, for the layers' statistics
_KEPT_OUT = 0.2
_LEAST_IMAGES = 10
_KEPT = {
    "self-training": "statistics and self-training are kept",
    "statistics": "the target's statistics are kept, self-training is not",
    "nothing": "the network stays as it was",
}


def adapt_to(task: Task, train_source: Callable[[Task], dict[str, Any]]) -> dict[str, Any]:
    """Adapts `task.network` to `task.unlabeled`, in place, or leaves it as it is where that would not help.

    Args:
        task: with unlabeled images.
        train_source: trains the network first, where it comes from no checkpoint.

    Returns:
        The record of the epoch that was kept.

    Raises:
        SettingsError: no unlabeled images, or new classes.
        DataError: too few of them, or labelled target images that cannot be used.
    """
    if task.unlabeled is None:
        raise SettingsError("strategy 'adapt' needs images of the new domain", "give them with --unlabeled DIR")
    if task.start is not None and len(task.prepared.labels) > len(task.start.labels):
        new = ", ".join(task.prepared.labels[len(task.start.labels) :])
        raise SettingsError(
            f"strategy 'adapt' learns no new classes, found {new}", "take --strategy update to learn these first"
        )
    labelled = _labelled_target(task)
    with labelled[0] if labelled else nullcontext():
        parts = _divided(task.unlabeled, labelled and labelled[0], task.settings.seed)  # too few end it before training
        best = train_source(task) if task.start is None else {"epoch": 0}
        return _adapted(task, task.unlabeled, parts, labelled, best)


def _adapted(
    task: Task,
    unlabeled: PixelCache,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    labelled: tuple[PixelCache, NDArray[np.int64]] | None,
    best: dict[str, Any],
) -> dict[str, Any]:
    learning, kept_out = parts
    network = task.network.to(task.device).eval()
    look = _Look(task, unlabeled, kept_out, labelled)
    before, answers = copy.deepcopy(network.state_dict()), look()
    source = np.random.default_rng(task.settings.seed).permutation(task.train)[:_LOOKED_AT]
    count = adapt_statistics(network, task.prepared.cache, source, unlabeled, learning[:_LOOKED_AT])
    log.info("the statistics of %d layers were brought back with %d unlabeled images", count, len(learning))
    restated, verdict = copy.deepcopy(network.state_dict()), look.verdict(answers, look())
    rounds = self_train(task, unlabeled, learning, task.folder / ROUNDS)
    trained = look.verdict(answers, look()) if rounds else None
    kept, decisive = choose(verdict, trained)
    if kept != "self-training":
        network.load_state_dict(restated if kept == "statistics" else before)
    network.cpu().eval()
    task.notes["adapt"] = {
        "said": [f"adaptation: {_KEPT[kept]}: {decisive.reason}"],
        "adapted_by": kept,
        "reason": decisive.reason,
        "judged_by": "labelled target images" if labelled else "confidence, class shares and source accuracy",
        "unlabeled_images": {"learned_from": len(learning), "kept_out": len(kept_out)},
        "layers_restated": count,
        "rounds": [{"pseudo_labels": done.pseudo_labels, "labelled": done.labelled} for done in rounds],
        "statistics": verdict.figures,
        "self_training": None if trained is None else trained.figures,
    }
    log.info("adapted by %s: %s", kept, decisive.reason)
    epochs = _write_history(task.folder / HISTORY, rounds)
    return best if kept == "nothing" else {**best, "epoch": epochs if kept == "self-training" else 0}


class _Look:
    """Answers of the network as it is now, on what judges it."""

    def __init__(
        self,
        task: Task,
        unlabeled: PixelCache,
        kept_out: NDArray[np.int64],
        labelled: tuple[PixelCache, NDArray[np.int64]] | None,
    ) -> None:
        self._task, self._unlabeled, self._kept_out, self._labelled = task, unlabeled, kept_out, labelled
        ids, classes = task.prepared.class_ids, len(task.prepared.labels)
        self._val_ids = ids[task.val]
        self._shares = np.bincount(ids[task.train], minlength=classes) / len(task.train)

    def __call__(self) -> Seen:
        task, network = self._task, self._task.network.to(self._task.device)
        source = probabilities(network, task.prepared.cache, task.val).numpy()
        if self._labelled is None:
            return Seen(source, probabilities(network, self._unlabeled, self._kept_out).numpy())
        return Seen(source, probabilities(network, self._labelled[0], np.arange(len(self._labelled[0]))).numpy())

    def verdict(self, before: Seen, after: Seen) -> Verdict:
        """Returns whether `after` is better than `before`."""
        if self._labelled is None:
            return judge_without_labels(before, after, self._val_ids, self._shares)
        return judge_with_labels(before, after, self._labelled[1], self._val_ids)


def _divided(
    unlabeled: PixelCache, labelled: PixelCache | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the unlabeled rows to learn from and those kept out; a labelled target image is in neither."""
    known = set() if labelled is None else {_digest(labelled, row) for row in range(len(labelled))}
    rows = [row for row in range(len(unlabeled)) if not known or _digest(unlabeled, row) not in known]
    if len(rows) < _LEAST_IMAGES:
        raise DataError(
            f"there are {len(rows)} unlabeled images that do not judge as well, expected {_LEAST_IMAGES} or more",
            "give more with --unlabeled DIR, some hundred if you can",
        )
    shuffled = np.random.default_rng(seed).permutation(np.array(rows, dtype=np.int64))
    kept_out = max(1, round(_KEPT_OUT * len(rows)))
    return shuffled[kept_out:], shuffled[:kept_out]


def _digest(cache: PixelCache, row: int) -> bytes:
    return hashlib.sha256(cache[[row]].tobytes()).digest()


def _labelled_target(task: Task) -> tuple[PixelCache, NDArray[np.int64]] | None:
    """Decodes the labelled images of the target; the caller closes the cache."""
    if task.settings.target_val is None:
        return None
    dataset, labels = read_dataset(task.settings.target_val), task.prepared.labels
    if unknown := [label for label in dataset.labels if label not in labels]:
        raise DataError(
            f"{task.settings.target_val} has the class {unknown[0]}, the network knows {', '.join(labels)}",
            "--target-val takes class folders with the names of the classes of DATA",
        )
    cache = PixelCache(len(dataset.samples), task.prepared.cache.preprocess)
    try:
        intake = inspect(dataset, at_least=cache.preprocess.at_least, on_image=cache.keep)
        if not intake.samples:
            raise DataError(f"{task.settings.target_val} has no image that can be used")
        cache.select(np.array([item.index for item in intake.samples], dtype=np.int64))
    except BaseException:
        cache.close()
        raise
    return cache, np.array([labels.index(item.sample.label) for item in intake.samples], dtype=np.int64)


def _write_history(path: Path, rounds: tuple[Round, ...]) -> int:
    """Adds the rounds' rows to the history, epochs counted through, and returns the number of the last one."""
    rows: list[dict[str, str]] = []
    for done in rounds:
        found = _rows(done.folder / HISTORY)
        first = len(rows)
        rows += [{**row, "epoch": str(first + int(row["epoch"]) - (first > 0))} for row in found[first > 0 :]]
    before = [row for row in _rows(path) if row["stage"] != STAGE]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*before, *rows])
    write_file(path, text.getvalue())
    return max(0, len(rows) - 1)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
