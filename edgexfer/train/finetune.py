"""finetune: DATA -> Checkpoint. The head first, then what the strategy says; the best epoch is what is kept.

While it runs, RUN.partial/ holds run.json, split.csv, history.csv and the state to resume from. When it is done
the checkpoint is written to RUN and RUN.partial is removed.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import ArtifactError, EdgexferError, SettingsError
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.staging import refuse_existing
from edgexfer.train.augment import Augmentation
from edgexfer.train.backbones import find_backbone
from edgexfer.train.checkpoint import HISTORY, SPLIT, Checkpoint, empty_network, save_checkpoint, versions
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.fit import BEST, STATE
from edgexfer.train.judge import figures_by_split
from edgexfer.train.memory import keep_freed_memory
from edgexfer.train.network import build_network
from edgexfer.train.prepared import Prepared, Progress, fitting_input_size, prepare, prepare_again, read_trainable
from edgexfer.train.probe import fit_probe, write_head
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.split import dataset_digest, read_split, write_split
from edgexfer.train.strategies import find_strategy
from edgexfer.train.task import Task, usable_device
from edgexfer.train.trackers import Tracking, flat_figures
from edgexfer.train.weights import load_pretrained

log = logging.getLogger(__name__)

_RUN, _START = "run.json", "start.safetensors"


def finetune(
    data: str | Path,
    out: Path,
    settings: FinetuneSettings | None = None,
    *,
    val: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Fine-tunes a pretrained backbone on a folder of images.

    Args:
        data: class folders, train/val/test above them, or a CSV.
        out: the checkpoint's folder, the RUN.
        settings: see FinetuneSettings. With `resume` those of the interrupted run are taken.
        val: class folders to validate with; `data` is then all for training.
        resume: go on where an interrupted run into `out` stopped.
        overwrite: replace an older RUN, or drop an interrupted one.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too; whoever opened it ends it. With `resume` the interrupted
            run's own trackers go on, whether given here or not.

    Raises:
        DataError: the images cannot be trained on.
        SettingsError: an unknown backbone or strategy, or a value out of range.
        MissingPartError: the weights are not at hand.
        EdgexferError: `out` exists, cannot be written, or there is nothing to resume.
    """
    refuse_existing(out, overwrite=overwrite)
    partial = out.with_name(f"{out.name}.partial")
    _check_partial(partial, resume=resume, overwrite=overwrite)
    keep_freed_memory()
    if resume:
        settings, task = _resumed(partial, data, val, progress)
    else:
        settings = settings or FinetuneSettings()
        task = _begun(partial, data, val, settings, progress)
    with task.prepared.cache, nullcontext(tracked) if tracked is not None else Tracking() as tracking:
        task = replace(task, tracked=tracking)
        _begin_tracking(task, out.name, resume=resume)
        best = find_strategy(settings.strategy)(task)
        checkpoint = _finished(task, best, out, overwrite=overwrite)
        figures = flat_figures(checkpoint.manifest["metrics"])
        tracking.figures({f"finetune/{name}": value for name, value in figures.items()})
    shutil.rmtree(partial, ignore_errors=True)
    return checkpoint


def _check_partial(partial: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and not (partial / _RUN).is_file():
        raise EdgexferError(f"there is nothing to resume: {partial} does not exist", "leave --resume away to begin")
    if not resume and partial.exists():
        if not overwrite and (partial / _RUN).is_file():
            raise EdgexferError(
                f"{partial} holds an interrupted run", "go on with --resume, or begin anew with --overwrite"
            )
        if not _is_ours(partial):
            raise EdgexferError(f"{partial} exists and is no interrupted run", "move it, or choose another --out")
        shutil.rmtree(partial)


def _is_ours(partial: Path) -> bool:
    # A mistyped --out must not cost the user's files.
    own = {_RUN, _START, SPLIT, HISTORY, BEST, Path(STATE).parts[0]}
    return partial.is_dir() and all(path.name in own or path.suffix == ".tmp" for path in partial.iterdir())


def _begun(
    partial: Path, data: str | Path, val: str | Path | None, settings: FinetuneSettings, progress: Progress | None
) -> Task:
    backbone = find_backbone(settings.backbone)
    find_strategy(settings.strategy)
    device = usable_device(settings.device)
    dataset = read_trainable(data, val)
    torch.manual_seed(settings.seed)  # of random weights
    network = build_network(backbone, len(dataset.labels))
    pretrained = load_pretrained(network, backbone, settings.weights)
    size = settings.input_size or fitting_input_size(dataset, backbone.input_size)
    preprocess = Preprocess(size, size, resize=settings.resize)
    with explained_write(partial):
        partial.mkdir(parents=True)
    try:
        prepared = prepare(dataset, preprocess, seed=settings.seed, strict=settings.strict, progress=progress)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    torch.manual_seed(settings.seed)
    if pretrained == "none":
        _measure_batch_norms(network, prepared, backbone.normalization.mean, backbone.normalization.std)
    deployed = deploy_form(network, backbone.normalization, size, size)
    _log_start(prepared, settings, size, device)
    mirror = _fit_head(deployed.to(device), prepared, settings)
    record = {
        "settings": dataclasses.asdict(settings),
        "labels": list(prepared.labels),
        "preprocess": preprocess.to_json(),
        "pretrained": pretrained,
        "mirror": mirror,
        "data": str(Path(data).absolute()),
        "val": None if val is None else str(Path(val).absolute()),
    }
    write_split(partial / SPLIT, prepared.rows)
    write_file(partial / _START, safetensors.torch.save(deployed.cpu().state_dict()))
    write_file(partial / _RUN, _as_json(record))
    return _task(partial, deployed, prepared, settings, record, device)


def _resumed(
    partial: Path, data: str | Path, val: str | Path | None, progress: Progress | None
) -> tuple[FinetuneSettings, Task]:
    try:
        record = json.loads((partial / _RUN).read_bytes())
        settings = FinetuneSettings(**record["settings"])
        preprocess = Preprocess.from_json(record["preprocess"])
        backbone = find_backbone(settings.backbone)
        network = empty_network(backbone, len(record["labels"]), preprocess)
        network.load_state_dict(safetensors.torch.load_file(partial / _START))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{partial} cannot be resumed: {error}", "begin anew with --overwrite") from error
    dataset = read_trainable(data, val)
    if list(dataset.labels) != record["labels"]:
        raise SettingsError(
            f"{data} has the classes {', '.join(dataset.labels)}, "
            f"the interrupted run had {', '.join(record['labels'])}",
            "give the same DATA, or begin anew with --overwrite",
        )
    prepared = prepare_again(dataset, preprocess, read_split(partial / SPLIT), record["labels"], progress)
    device = usable_device(settings.device)
    log.info("resuming %s", partial)
    return settings, _task(partial, network, prepared, settings, record, device)


def _task(
    partial: Path,
    network: DeployNetwork,
    prepared: Prepared,
    settings: FinetuneSettings,
    record: dict[str, Any],
    device: str,
) -> Task:
    return Task(
        network,
        prepared,
        prepared.indices("train"),
        prepared.indices("val"),
        settings,
        Augmentation(mirror=record["mirror"]),
        record["pretrained"],
        device,
        partial,
        Tracking(),
    )


def _begin_tracking(task: Task, name: str, *, resume: bool) -> None:
    """Opens the task's trackers and notes their runs in `run.json`, so that a resumed run goes on with them."""
    record = json.loads((task.folder / _RUN).read_bytes())
    task.tracked.begin(name, record.get("trackers", ()), resumed=resume)
    if not task.tracked.records:
        return
    write_file(task.folder / _RUN, _as_json({**record, "trackers": task.tracked.records}))
    images = {split: len(task.prepared.indices(split)) for split in ("train", "val", "test")}
    known = {"classes": len(task.prepared.labels), "images": images, "pretrained": record["pretrained"]}
    made = {"dataset_digest": dataset_digest(task.prepared.rows), "versions": versions()}
    task.tracked.settings({**record["settings"], "mirror": record["mirror"], **known, **made})


def _fit_head(network: DeployNetwork, prepared: Prepared, settings: FinetuneSettings) -> bool:
    train, val = prepared.indices("train"), prepared.indices("val")
    log.info("fitting the head on the features of %d images", len(train))
    probe = fit_probe(network, prepared.cache, prepared.class_ids, train, val)
    write_head(network.network, probe)
    return probe.mirror_keeps_classes if settings.mirror is None else settings.mirror


@torch.no_grad()
def _measure_batch_norms(
    network: nn.Module, prepared: Prepared, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Gives random layers outputs of mean 0 and variance 1 on these images, before batch norm is folded away."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    rows = prepared.indices("train")[:128]
    for start in range(0, len(rows), 32):
        pixels = torch.from_numpy(prepared.cache[rows[start : start + 32]]).permute(0, 3, 1, 2).float() / 255
        if len(pixels) > 1:
            network((pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1))
    network.eval()


def _log_start(prepared: Prepared, settings: FinetuneSettings, size: int, device: str) -> None:
    counts = ", ".join(f"{len(prepared.indices(split))} {split}" for split in ("train", "val", "test"))
    log.info(
        "%s at %dx%d on %s: %d classes, %s images%s",
        settings.backbone,
        size,
        size,
        device,
        len(prepared.labels),
        counts,
        f", {len(prepared.intake.rejected)} left out" if prepared.intake.rejected else "",
    )


def _finished(task: Task, best: dict[str, Any], out: Path, *, overwrite: bool) -> Checkpoint:
    record = json.loads((task.folder / _RUN).read_bytes())
    prepared = task.prepared
    content = {
        "name": out.name,
        "backbone": task.settings.backbone,
        "precision": "float32",
        "quantization": None,
        "preprocess": record["preprocess"],
        "pretrained": task.pretrained,
        "settings": record["settings"],
        "mirror": record["mirror"],
        "data": record["data"],
        "val": record["val"],
        "best_epoch": best["epoch"],
        "metrics": figures_by_split(task.network, prepared),
        "dataset_digest": dataset_digest(prepared.rows),
        "images_left_out": [dataclasses.asdict(item) for item in prepared.intake.rejected],
        "trackers": record.get("trackers", []),
        "parent": None,
    }
    return save_checkpoint(
        out,
        state=task.network.state_dict(),
        history=task.folder / HISTORY,
        rows=prepared.rows,
        labels=prepared.labels,
        content=content,
        overwrite=overwrite,
    )


def _as_json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def dataset_of(checkpoint: Checkpoint, data: str | Path | None) -> Dataset:
    """Reads the images that a checkpoint was trained on again, from `data` or from where they were.

    Raises:
        EdgexferError: they are not there any more.
    """
    where = Path(data) if data is not None else Path(checkpoint.manifest["data"])
    if not where.exists():
        raise EdgexferError(
            f"the images of {checkpoint.folder} are not at {where}", "say where they are with --data DATA"
        )
    return read_trainable(where, None if data is not None else checkpoint.manifest["val"])
