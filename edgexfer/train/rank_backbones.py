"""Which pretrained backbone suits a data set best, before any is fine-tuned: LogME of the features of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import ImageError
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.core.sample import Sample
from edgexfer.train.backbones import find_backbone
from edgexfer.train.deploy import deploy_form
from edgexfer.train.head.transferability import log_maximum_evidence
from edgexfer.train.images.prepared import fitting_input_size
from edgexfer.train.network import build_network, captured_features, channels_last
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.task import usable_device
from edgexfer.train.weights import load_pretrained

log = logging.getLogger(__name__)

_IMAGES = 512
_BATCH = 32


def rank_backbones(names: Sequence[str], dataset: Dataset, settings: FinetuneSettings) -> dict[str, float]:
    """Returns LogME of each backbone's features, best first.

    Args:
        names: backbones whose weights are at hand.
        dataset: up to 512 of its images are looked at, drawn by `settings.seed`, class by class in turn: of train where
            the user has divided them; else of all, since the split is drawn later.
        settings: resize, input size, weights, device and seed are taken from here.

    Raises:
        MissingPartError: weights are not at hand.
        SettingsError: an unknown backbone.
    """
    samples = _drawn(dataset, settings.seed)
    scores = {}
    for name in names:
        backbone = find_backbone(name)
        side = settings.input_size or fitting_input_size(dataset, backbone.input_size)
        seen, ids = _pixels(samples, dataset.labels, Preprocess(side, side, resize=settings.resize))
        torch.manual_seed(settings.seed)
        network = build_network(backbone, len(dataset.labels))
        load_pretrained(network, backbone, settings.weights)
        deployed = deploy_form(network, backbone.normalization, side, side).to(usable_device(settings.device))
        with torch.inference_mode(), captured_features(deployed) as features:
            for first in range(0, len(seen), _BATCH):
                batch = torch.from_numpy(seen[first : first + _BATCH]).to(usable_device(settings.device))
                deployed(channels_last(batch.permute(0, 3, 1, 2)))
        scores[name] = log_maximum_evidence(torch.cat(features).float().cpu().numpy(), ids)
        log.info("%s at %dx%d: LogME %.4f on %d images", name, side, side, scores[name], len(seen))
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _drawn(dataset: Dataset, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    train = [sample for sample in dataset.samples if sample.split in (None, "train")]
    by_class = [[sample for sample in train if sample.label == label] for label in dataset.labels]
    shuffled = [[own[k] for k in rng.permutation(len(own))] for own in by_class]
    in_turns = [sample for turn in zip_longest(*shuffled) for sample in turn if sample is not None]
    return in_turns[:_IMAGES]


def _pixels(
    samples: Sequence[Sample], labels: Sequence[str], preprocess: Preprocess
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rows, ids = [], []
    for sample in samples:
        try:
            rows.append(pixels(sample.path, preprocess))
        except ImageError:
            continue  # it is named with its reason when all images are read
        ids.append(labels.index(sample.label))
    return np.stack(rows), np.array(ids, dtype=np.int64)
