"""auto's plan: which strategy, at which rate, for how long, and why. Decided once; a resumed run keeps to it.

What it knows: how many images and classes there are, how well the frozen features fit (a head judged on images left
out, LogME), how far the images lie from what the backbone was pretrained on, how long an image takes here, and the
time budget.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from dataclasses import dataclass

import numpy as np

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file
from edgexfer.core.toml import from_table
from edgexfer.train.suited import affordable_epochs, suited
from edgexfer.train.task import Task

log = logging.getLogger(__name__)

PLAN = "plan.json"
_LEAST_EPOCHS = 2  # a cosine over fewer never gets past its warm-up


@dataclass(frozen=True)
class Plan:
    """What auto decided.

    Attributes:
        strategy: its name.
        learning_rate: of the classifier at its peak; None where nothing is trained.
        epochs: passes over the training images, of shards windows (train/streaming/windows.py).
        why: the reasons, a line each.
    """

    strategy: str
    learning_rate: float | None
    epochs: int | None
    why: tuple[str, ...]

    def applied_to(self, task: Task) -> Task:
        """Returns the task with these settings."""
        rate = None if task.settings.find_learning_rate else self.learning_rate  # what is looked for is not known yet
        settings = dataclasses.replace(task.settings, learning_rate=rate, epochs=self.epochs)
        return dataclasses.replace(task, settings=settings)


def plan(task: Task) -> Plan:
    """Returns the plan for `task`, logs why, and keeps it in the run's folder and in the task's notes."""
    path = task.folder / PLAN
    if path.exists():
        try:
            made = from_table(Plan, json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}", "begin anew with --overwrite") from error
    else:
        made = _made(task)
        write_file(path, json.dumps(dataclasses.asdict(made), indent=2) + "\n")
        for line in made.why:
            log.info("auto: %s", line)
    task.notes["auto"] = dataclasses.asdict(made)
    return made


def _made(task: Task) -> Plan:
    counts = np.bincount(task.prepared.class_ids[task.train])
    images, classes, fewest = len(task.train), int((counts > 0).sum()), int(counts[counts > 0].min())
    why = [f"{images} training images of {classes} classes, {fewest} or more of each"]
    probe, shift = task.found.get("probe"), task.found.get("domain_shift")
    if probe is not None and probe["folds_top1"] is not None:
        why.append(
            f"a head on frozen features recognises {100 * probe['folds_top1']:.1f} % of images left out "
            f"(LogME {probe['log_maximum_evidence']:.2f})"
        )
    if shift is not None:
        why.append(f"domain shift {shift['score']:.2f}: the images are {shift['words']}")
    single = float(np.median(counts[counts > 0])) == 1
    if single and task.start is None and task.pretrained != "none" and task.settings.epochs is None:
        why.append("most classes have a single image: prototypes, nothing is trained")
        return Plan("prototype", None, None, tuple(why))
    how = suited(task)
    epochs = how.epochs
    if task.settings.time_budget_s is not None:
        left = max(0.0, task.settings.time_budget_s - (time.monotonic() - task.began))
        affordable = affordable_epochs(task, left)
        if affordable is not None and affordable < epochs:
            why.append(f"{left:.0f} s are left of the time budget: {affordable} of {epochs} epochs fit into it")
            if affordable < _LEAST_EPOCHS and task.start is not None:
                why.append("the network that it began with is the answer")
                return Plan("prototype", None, None, tuple(why))  # which trains nothing of a checkpoint's network
            if affordable < _LEAST_EPOCHS and task.pretrained != "none":
                why.append("the fitted head is the answer")
                return Plan("linear-probe", None, None, tuple(why))
            epochs = affordable
    why.append(f"{how.reason}; all layers learn at {how.learning_rate:.1e} for up to {epochs} epochs")
    return Plan("finetune", how.learning_rate, max(1, epochs), tuple(why))
