"""Fine-tuning strategies: a new one is a function here. Each starts from a network whose head is already fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.train.continual.update import update_from
from edgexfer.train.domain.adapt import adapt_to
from edgexfer.train.domain.pretrain import pretrain_on_domain
from edgexfer.train.head.probe import features, fit_probe, write_head
from edgexfer.train.head.prototype import prototype_head
from edgexfer.train.learn import learn
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.network import DEPTHS, head_of
from edgexfer.train.plan import plan
from edgexfer.train.suited import schedule, suited
from edgexfer.train.task import Task

Strategy = Callable[[Task], dict[str, Any]]
_PATIENCE_AFTER_PRETRAINING = 30


def auto(task: Task) -> dict[str, Any]:
    """Looks at the images and at what the frozen features make of them, chooses one of the others, and says why."""
    chosen = plan(task)
    return STRATEGIES[chosen.strategy](chosen.applied_to(task))


def linear_probe(task: Task) -> dict[str, Any]:
    """The backbone stays a fixed feature extractor; only its head is fitted: of a pretrained one that was done before.

    "Do Better ImageNet Models Transfer Better?", Kornblith et al. 2019; edgexfer/train/head/probe.py.
    """
    return learn(_with_new_head(task), Schedule(epochs=0))


def prototype(task: Task) -> dict[str, Any]:
    """Class means of normalised features are the head: one image a class is enough, and a class more trains nothing.

    Snell et al. 2017, Wang et al. 2019; edgexfer/train/head/prototype.py.
    """
    if task.start is None:  # else the head has grown already, by the same means, and the old classes stay as they were
        network, prepared = task.network.to(task.device), task.prepared
        seen = features(network, prepared.cache, task.train)
        _, head = head_of(network.network)
        weight, bias = prototype_head(seen, prepared.class_ids[task.train], head.out_features)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(weight))
            head.bias.copy_(torch.from_numpy(bias))
        task = replace(task, val_logits=None)
    return learn(task, Schedule(epochs=0))


def finetune(task: Task) -> dict[str, Any]:
    """All layers learn, earlier ones at a smaller rate; what the head alone could do is never lost.

    Discriminative fine-tuning, Howard and Ruder 2018, section 3.2; the head first, Kumar et al. 2022.
    """
    how = suited(task)
    return learn(task, schedule(task, how), patience=how.patience)


def gradual(task: Task) -> dict[str, Any]:
    """The head learns first, then the layers before it too, in four steps.

    Gradual unfreezing, Howard and Ruder 2018, section 3.3.
    """
    how = suited(task)
    chosen = schedule(task, how, trainable_groups=(1, 2, DEPTHS // 2, DEPTHS))
    # All layers have their turn before patience runs out.
    return learn(task, chosen, patience=how.patience + chosen.last_turn())


def last_n(task: Task) -> dict[str, Any]:
    """The last layers learn, the others stay: `last_groups` of eight runs of layers, the head among them.

    "How transferable are features in deep neural networks?", Yosinski et al. 2014.
    """
    how = suited(task)
    groups = (min(DEPTHS, task.settings.last_groups),)
    return learn(task, schedule(task, how, trainable_groups=groups), patience=how.patience)


def adapt(task: Task) -> dict[str, Any]:
    """A trained network meets images of another domain that nobody labelled; it stays as it was where that hurts."""
    return adapt_to(task, auto)


def update(task: Task) -> dict[str, Any]:
    """A trained network meets new images or new classes and keeps what it knew."""
    return update_from(task)


def pretrain(task: Task) -> dict[str, Any]:
    """The backbone first looks at images of the user's domain that nobody labelled; then `auto` goes on.

    VICReg, Bardes et al. 2022; edgexfer/train/domain/pretrain.py.
    """
    pretrain_on_domain(task)
    # The new head is a high bar on few val images: fine-tuning first falls below it, and passes it late.
    settings = replace(task.settings, patience=task.settings.patience or _PATIENCE_AFTER_PRETRAINING)
    return auto(replace(task, settings=settings, val_logits=None))


def _with_new_head(task: Task) -> Task:
    """Fits the head of a network that goes on learning; it needs images of all of its classes."""
    if task.start is None:
        return task
    prepared, shown = task.prepared, set(task.prepared.class_ids[task.train].tolist())
    missing = [label for label_id, label in enumerate(prepared.labels) if label_id not in shown]
    if missing:
        raise SettingsError(
            f"strategy 'linear-probe' fits the head of all {len(prepared.labels)} classes, DATA shows no {missing[0]}",
            "take --strategy update, which keeps the classes that DATA does not show",
        )
    network = task.network.to(task.device)
    probe = fit_probe(network, prepared.cache, prepared.class_ids, task.train, task.val)
    write_head(network.network, probe)
    return replace(task, val_logits=probe.val_logits)


def find_strategy(name: str) -> Strategy:
    """Returns the strategy `name`.

    Raises:
        SettingsError: there is none ("did you mean").
    """
    if name not in STRATEGIES:
        raise SettingsError(f"unknown strategy '{name}'", did_you_mean(name, STRATEGIES))
    return STRATEGIES[name]


STRATEGIES: dict[str, Strategy] = {
    "auto": auto,
    "linear-probe": linear_probe,
    "prototype": prototype,
    "finetune": finetune,
    "gradual": gradual,
    "last-n": last_n,
    "adapt": adapt,
    "update": update,
    "pretrain": pretrain,
}
