"""The network that training starts from: a backbone with a fitted head, or a checkpoint's with room for new classes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgexfer.train.backbones import Normalization, find_backbone
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.domain.domain_shift import shift_of_rows
from edgexfer.train.head.probe import features, fit_probe, write_head
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import logits
from edgexfer.train.network import build_network, grow_head
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.weights import load_pretrained

log = logging.getLogger(__name__)

_FIRST_IMAGES = 8


@dataclass(frozen=True)
class FirstNetwork:
    """What training starts from.

    Attributes:
        network: in deploy form, its head fitted.
        pretrained: where its weights came from; "none" for random ones.
        mirror: whether training may mirror images.
        found: what was found out about the images on the way, JSON values: "probe" and "domain_shift"; of a
            checkpoint's network "forward_ms", the time of one image through it in milliseconds.
        val_logits: what it answers to the validation images, float32 [images, classes], where that is known already.
    """

    network: DeployNetwork
    pretrained: str
    mirror: bool
    found: dict[str, Any] = field(default_factory=dict)
    val_logits: Tensor | None = None


def backbone_network(settings: FinetuneSettings, classes: int) -> tuple[nn.Module, str]:
    """Returns the pretrained network of `settings.backbone` with `classes` outputs, and where its weights came from.

    Raises:
        SettingsError: an unknown backbone.
        MissingPartError: the weights are not at hand.
    """
    backbone = find_backbone(settings.backbone)
    torch.manual_seed(settings.seed)  # of random weights
    network = build_network(backbone, classes)
    return network, load_pretrained(network, backbone, settings.weights)


def with_fitted_head(
    network: nn.Module, pretrained: str, prepared: Prepared, settings: FinetuneSettings, device: str
) -> FirstNetwork:
    """Returns the network in deploy form on `device`, its head fitted on the frozen features."""
    normalization = find_backbone(settings.backbone).normalization
    if pretrained == "none":
        _measure_batch_norms(network, prepared, normalization)
    train, val = prepared.indices("train"), prepared.indices("val")
    shift = None  # statistics that were measured on these very images say nothing of another domain
    if pretrained != "none":
        shift = shift_of_rows(network, normalization, prepared.cache, train, seed=settings.seed, device=device)
    side = prepared.cache.preprocess.height
    deployed = deploy_form(network, normalization, side, side).to(device)
    log.info("fitting the head on the features of %d images", len(train))
    probe = fit_probe(deployed, prepared.cache, prepared.class_ids, train, val)
    write_head(deployed.network, probe)
    mirror = probe.mirror_keeps_classes if settings.mirror is None else settings.mirror
    found = {"probe": probe.to_json(), "domain_shift": None if shift is None else shift.to_json()}
    return FirstNetwork(deployed, pretrained, mirror, found, probe.val_logits)


def grown_network(start: Checkpoint, prepared: Prepared, settings: FinetuneSettings, device: str) -> FirstNetwork:
    """Returns the network of `start` on `device`, with an output for each class that is new."""
    network = start.float_network().to(device)
    rows, known = prepared.indices("train"), len(start.labels)
    new = range(known, len(prepared.labels))
    if new:
        log.info("new classes: %s", ", ".join(prepared.labels[known:]))
        seen = features(network, prepared.cache, rows)
        means = np.stack([seen[prepared.class_ids[rows] == label].mean(axis=0) for label in new])
        grow_head(network.network, torch.from_numpy(means))
    mirror = bool(start.manifest["mirror"]) if settings.mirror is None else settings.mirror
    val_logits, forward_ms = _timed_answers(network, prepared)
    return FirstNetwork(network, str(start.manifest["pretrained"]), mirror, {"forward_ms": forward_ms}, val_logits)


def _timed_answers(network: DeployNetwork, prepared: Prepared) -> tuple[Tensor, float]:
    """Returns what `network` answers to the validation images, and the milliseconds that one of them took."""
    val = prepared.indices("val")
    logits(network, prepared.cache, val[:_FIRST_IMAGES])  # memory is asked for, kernels are chosen
    began = time.perf_counter()
    found = logits(network, prepared.cache, val)
    return found, round(1000 * (time.perf_counter() - began) / len(val), 3)


@torch.no_grad()
def _measure_batch_norms(network: nn.Module, prepared: Prepared, normalization: Normalization) -> None:
    """Gives random layers outputs of mean 0 and variance 1 on these images, before batch norm is folded away."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    rows = prepared.indices("train")[:128]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (normalization.mean, normalization.std))
    for first in range(0, len(rows), 32):
        pixels = torch.from_numpy(prepared.cache[rows[first : first + 32]]).permute(0, 3, 1, 2).float() / 255
        if len(pixels) > 1:
            network((pixels - mean) / std)
    network.eval()
