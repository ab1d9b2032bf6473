"""What every strategy begins with: images divided and decoded, a network whose head is fitted, a record to resume from.

DATA in, Task out. RUN.partial/ then holds
    run.json            settings, labels, preprocess, where images and weights came from, what was decided
    split.csv           the split of every image
    start.safetensors   the network before the first step
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.toml import from_table
from edgexfer.train.backbones import find_backbone
from edgexfer.train.checkpoint import SPLIT, Checkpoint, empty_network, open_checkpoint
from edgexfer.train.first_network import FirstNetwork, backbone_network, grown_network, with_fitted_head
from edgexfer.train.images.auto_augmentation import augmentation_for
from edgexfer.train.images.prepared import (
    Prepared,
    Progress,
    fitting_input_size,
    joined_labels,
    prepare,
    prepare_again,
    read_trainable,
)
from edgexfer.train.images.split import read_split, write_split
from edgexfer.train.images.unlabeled import decode_unlabeled
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.narrow import narrow_to
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.task import Task, usable_device

log = logging.getLogger(__name__)

RUN, START = "run.json", "start.safetensors"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where a run takes its images and its weights from.

    Attributes:
        data: class folders, train/val/test above them, or a CSV.
        val: class folders to validate with; `data` is then all for training.
        start: a float checkpoint whose network goes on learning; None for a pretrained backbone.
        unlabeled: a folder of images whose classes are not known.
    """

    data: Path
    val: Path | None = None
    start: Path | None = None
    unlabeled: Path | None = None

    def record(self) -> dict[str, str | None]:
        """Returns them as absolute paths, for `run.json`."""
        return {name: None if path is None else str(path.absolute()) for name, path in vars(self).items()}


def begin(
    partial: Path,
    sources: Sources,
    settings: FinetuneSettings,
    progress: Progress | None = None,
    known_before: Mapping[str, Any] = MappingProxyType({}),
    before: Mapping[str, str] = MappingProxyType({}),
) -> Task:
    """Begins a run: makes `partial` and what the module's docstring lists. `known_before` joins what is found out.

    An image that is in `before`, by its SHA-256, keeps the split that it says; what `sources.start` says counts more.

    Raises:
        DataError: the images cannot be trained on.
        SettingsError: an unknown backbone, or a value out of range.
        MissingPartError: the weights are not at hand.
        ArtifactError: `sources.start` is no float checkpoint.
        EdgexferError: `partial` cannot be written.
    """
    began = time.monotonic()
    device = usable_device(settings.device)
    start = _start(sources.start)
    known = () if start is None else start.labels
    dataset = read_trainable(sources.data, sources.val, least_classes=1 if known else 2, group=settings.group)
    if start is None:
        plain = backbone_network(settings, len(dataset.labels))
        size = settings.input_size or fitting_input_size(dataset, find_backbone(settings.backbone).input_size)
        preprocess = Preprocess(size, size, resize=settings.resize)
    else:
        settings, preprocess = _as_started(settings, start), start.preprocess
    with explained_write(partial):
        partial.mkdir(parents=True)
    try:
        prepared = prepare(
            dataset,
            preprocess,
            seed=settings.seed,
            strict=settings.strict,
            progress=progress,
            known=known,
            near_duplicates=settings.near_duplicates,
            before={**before, **_divided_by(start)},
        )
        try:
            torch.manual_seed(settings.seed)
            _log_start(prepared, settings, device)
            if start is None:
                first = with_fitted_head(*plain, prepared, settings, device)
            else:
                first = grown_network(start, prepared, settings, device)
            task = _task(partial, first, prepared, settings, device, start)
            task = dataclasses.replace(task, began=began, found={**known_before, **task.found})
            task = _with_unlabeled(task, sources.unlabeled, progress)
            write_split(partial / SPLIT, prepared.rows)
            write_file(partial / START, safetensors.torch.save(task.network.cpu().state_dict()))
            write_record(partial, {**_record_of(task), **sources.record()})
        except BaseException:
            prepared.cache.close()
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return task


def go_on(partial: Path, sources: Sources, progress: Progress | None = None) -> Task:
    """Makes the Task of an interrupted run again, as it was when it began.

    Raises:
        ArtifactError: what `partial` holds cannot be read.
        DataError: an image is gone or was changed.
        SettingsError: DATA has other classes than the run had.
    """
    try:
        record = read_record(partial)
        settings = from_table(FinetuneSettings, record["settings"], "settings")
        preprocess = Preprocess.from_json(record["preprocess"])
        labels = [str(label) for label in record["labels"]]
        network = empty_network(find_backbone(settings.backbone), len(labels), preprocess)
        began_with = safetensors.torch.load_file(partial / START)
        narrow_to(network, began_with)  # it may have gone on from a pruned checkpoint
        network.load_state_dict(began_with)
        start, unlabeled = (None if record[name] is None else Path(record[name]) for name in ("start", "unlabeled"))
        first = FirstNetwork(network, str(record["pretrained"]), bool(record["mirror"]), dict(record["found"]))
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{partial} cannot be resumed: {error}", "begin anew with --overwrite") from error
    before = _start(start)
    known = () if before is None else before.labels
    dataset = read_trainable(sources.data, sources.val, least_classes=1 if known else 2, group=settings.group)
    if list(joined_labels(known, dataset.labels)) != labels:
        raise SettingsError(
            f"{sources.data} has the classes {', '.join(dataset.labels)}, the interrupted run had {', '.join(labels)}",
            "give the same DATA, or begin anew with --overwrite",
        )
    prepared = prepare_again(dataset, preprocess, read_split(partial / SPLIT), labels, progress)
    log.info("resuming %s", partial)
    task = _task(partial, first, prepared, settings, usable_device(settings.device), before)
    return _with_unlabeled(task, unlabeled, progress)


def read_record(partial: Path) -> dict[str, Any]:
    """Returns what `run.json` holds."""
    return dict(json.loads((partial / RUN).read_bytes()))


def write_record(partial: Path, record: dict[str, Any]) -> None:
    """Writes `run.json`, whole or what it was before."""
    write_file(partial / RUN, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _start(folder: Path | None) -> Checkpoint | None:
    if folder is None:
        return None
    start = open_checkpoint(folder)
    if start.quantization is not None:
        raise ArtifactError(f"{folder} is quantized, expected a float checkpoint", "give the RUN it was made from")
    return start


def _divided_by(start: Checkpoint | None) -> dict[str, str]:
    return {} if start is None else {row.sha256: row.split for row in (*start.earlier_rows(), *start.rows)}


def _as_started(settings: FinetuneSettings, start: Checkpoint) -> FinetuneSettings:
    # The network is what it is: its architecture, its input and its resize come with it.
    side, resize = start.preprocess.height, start.preprocess.resize
    return dataclasses.replace(settings, backbone=start.backbone.name, input_size=side, resize=resize)


def _task(
    partial: Path,
    first: FirstNetwork,
    prepared: Prepared,
    settings: FinetuneSettings,
    device: str,
    start: Checkpoint | None,
) -> Task:
    return Task(
        network=first.network,
        prepared=prepared,
        train=prepared.indices("train"),
        val=prepared.indices("val"),
        settings=settings,
        augmentation=augmentation_for(settings, len(prepared.indices("train")), mirror=first.mirror),
        pretrained=first.pretrained,
        device=device,
        folder=partial,
        tracked=Tracking(),
        start=start,
        found=first.found,
        val_logits=first.val_logits,
    )


def _with_unlabeled(task: Task, folder: Path | None, progress: Progress | None) -> Task:
    if folder is None:
        return task
    unlabeled = decode_unlabeled(folder, task.prepared.cache.preprocess, progress)
    return dataclasses.replace(task, unlabeled=unlabeled)


def _record_of(task: Task) -> dict[str, Any]:
    return {
        "settings": dataclasses.asdict(task.settings),
        "labels": list(task.prepared.labels),
        "preprocess": task.prepared.cache.preprocess.to_json(),
        "pretrained": task.pretrained,
        "mirror": task.augmentation.mirror,
        "found": task.found,
    }


def _log_start(prepared: Prepared, settings: FinetuneSettings, device: str) -> None:
    counts = ", ".join(f"{len(prepared.indices(split))} {split}" for split in ("train", "val", "test"))
    side = prepared.cache.preprocess.height
    log.info(
        "%s at %dx%d on %s: %d classes, %s images%s",
        settings.backbone,
        side,
        side,
        device,
        len(prepared.labels),
        counts,
        f", {len(prepared.intake.rejected)} left out" if prepared.intake.rejected else "",
    )
