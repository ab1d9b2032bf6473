"""finetune: DATA -> Checkpoint. The head first, then what the strategy says; the best epoch is what is kept.

While it runs, RUN.partial/ holds run.json, split.csv, history.csv and the state to resume from. When it is done
the checkpoint is written to RUN and RUN.partial is removed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import EdgexferError
from edgexfer.core.held import held_place
from edgexfer.core.staging import refuse_existing
from edgexfer.train.asked import check_asked
from edgexfer.train.begin import RUN, START, Sources, begin, go_on, read_record, write_record
from edgexfer.train.checkpoint import HISTORY, SPLIT, Checkpoint, open_checkpoint, save_checkpoint, versions
from edgexfer.train.continual.earlier_task import exemplars_to_keep, rows_before
from edgexfer.train.continual.exemplars import pool_rows
from edgexfer.train.domain.adapt import ROUNDS
from edgexfer.train.domain.pretrain import check_pretrain
from edgexfer.train.guards import guards_of
from edgexfer.train.head.temperature import judge_scaled
from edgexfer.train.images.prepared import Progress, read_trainable
from edgexfer.train.images.split import dataset_digest
from edgexfer.train.interrupted import is_finished, partial_of, remove_partial, remove_unwritten
from edgexfer.train.loop.fit import BEST, STATE
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.trackers import Tracking, flat_figures
from edgexfer.train.plan import PLAN
from edgexfer.train.processes.distributed import leading
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import find_strategy
from edgexfer.train.streaming.stream_sample import settle_left, settle_sample, settled_table, take_sample
from edgexfer.train.streaming.windows import decode_again
from edgexfer.train.task import Task

log = logging.getLogger(__name__)


@leading()
def finetune(
    data: str | Path,
    out: Path,
    settings: FinetuneSettings | None = None,
    *,
    val: str | Path | None = None,
    start: str | Path | None = None,
    unlabeled: str | Path | None = None,
    known: dict[str, Any] | None = None,
    before: Mapping[str, str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Fine-tunes a pretrained backbone on a folder of images.

    Args:
        data: class folders, train/val/test above them, a CSV, or shards (train/streaming/shards.py), of which a
            sample is written beside `out`.
        out: the checkpoint's folder, the RUN.
        settings: see FinetuneSettings. With `resume` those of the interrupted run are taken.
        val: class folders to validate with; `data` is then all for training.
        start: a float checkpoint whose network goes on learning, with its backbone, input size and resize; its classes
            keep their ids, and new ones in `data` come after them. None begins with a pretrained backbone.
        unlabeled: a folder of images whose classes are not known, for the strategies that learn from such.
        known: what was found out before, such as how the backbone was chosen; JSON values for the manifest's `found`.
        before: the split of images by SHA-256; they keep it where the split is drawn here. With `resume` all keep what
            the interrupted run gave them.
        resume: go on where an interrupted run into `out` stopped.
        overwrite: replace an older RUN, or drop an interrupted one.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too; whoever opened it ends it. With `resume` the interrupted
            run's own trackers go on, whether given here or not.

    Raises:
        DataError: the images cannot be trained on.
        SettingsError: an unknown backbone or strategy, a value out of range, or what the strategy would pass over.
        MissingPartError: the weights are not at hand.
        BusyError: another process is at work on `out`.
        EdgexferError: `out` exists, cannot be written, or there is nothing to resume.
    """
    with held_place(out):
        if is_finished(out):
            log.info("%s was finished before: what is left of it is removed", out)
            settle_left(out)
            remove_partial(out)
            if resume:
                return open_checkpoint(out)
        refuse_existing(out, overwrite=overwrite)
        resume = _resumes(out, resume=resume, overwrite=overwrite)
        settings = settings or FinetuneSettings()
        return _finetune(
            *(data, out, settings, val, start, unlabeled, known, before),
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            tracked=tracked,
        )


def _finetune(
    data: str | Path,
    out: Path,
    settings: FinetuneSettings,
    val: str | Path | None,
    start: str | Path | None,
    unlabeled: str | Path | None,
    known: dict[str, Any] | None,
    before: Mapping[str, str] | None,
    *,
    resume: bool,
    overwrite: bool,
    progress: Progress | None,
    tracked: Tracking | None,
) -> Checkpoint:
    partial = partial_of(out)
    keep_freed_memory()
    if not resume:  # before hours go into reading shards
        places = (None if path is None else Path(path) for path in (start, unlabeled))
        check_asked(_given(settings), Path(data), *places)
        if settings.strategy == "pretrain":
            check_pretrain(unlabeled, start)
    sample = take_sample(
        data,
        out,
        window=settings.window,
        seed=settings.seed,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    data, stream = (data, None) if sample is None else sample
    sources = Sources(Path(data), *(None if path is None else Path(path) for path in (val, start, unlabeled)))
    if resume:
        task = go_on(partial, sources, progress)
    else:
        task = begin(partial, sources, settings, progress, known or {}, before or {})
    with (
        task.prepared.cache,
        task.unlabeled or nullcontext(),
        nullcontext(tracked) if tracked else Tracking() as tracking,
    ):
        task = replace(task, tracked=tracking, stream=stream)
        _begin_tracking(task, out.name, resume=resume)
        with nullcontext() if resume else _dropped_if_refused(out):  # a resumed run has something to lose
            best = find_strategy(task.settings.strategy)(task)
        checkpoint = _finished(task, best, out, overwrite=overwrite)
        if stream is not None:
            settle_sample(sources.data, out)
        figures = flat_figures(checkpoint.manifest["metrics"])
        tracking.figures({f"finetune/{name}": value for name, value in figures.items()})
    remove_partial(out)
    return checkpoint


def _given(settings: FinetuneSettings) -> dict[str, Any]:
    fields = dataclasses.fields(settings)
    return {field.name: value for field in fields if (value := getattr(settings, field.name)) != field.default}


@contextmanager
def _dropped_if_refused(out: Path) -> Iterator[None]:
    """Removes RUN.partial where the block refuses what it was given before anything was learned."""
    try:
        yield
    except EdgexferError:
        if not (partial_of(out) / HISTORY).exists():
            remove_partial(out)
        raise


def _resumes(out: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether there is something to go on with; what cannot be gone on with makes room."""
    partial = partial_of(out)
    there = (partial / RUN).is_file()
    if resume and there:
        remove_unwritten(out)
        return True
    if not partial.exists():
        if resume:
            raise EdgexferError(f"there is nothing to resume: {partial} does not exist", "leave --resume away to begin")
        return False
    if there and not overwrite:
        raise EdgexferError(
            f"{partial} holds an interrupted run", "go on with --resume, or begin anew with --overwrite"
        )
    if not _is_ours(partial):
        raise EdgexferError(f"{partial} exists and is no interrupted run", "move it, or choose another --out")
    if resume:
        log.warning("%s was interrupted before anything was learned: it begins anew", out)
    remove_partial(out)
    return False


def _is_ours(partial: Path) -> bool:
    # A mistyped --out must not cost the user's files.
    own = {RUN, START, PLAN, SPLIT, HISTORY, BEST, Path(STATE).parts[0], ROUNDS}
    return partial.is_dir() and all(path.name in own or path.suffix == ".tmp" for path in partial.iterdir())


def _begin_tracking(task: Task, name: str, *, resume: bool) -> None:
    """Opens the task's trackers and notes their runs in `run.json`, so that a resumed run goes on with them."""
    record = read_record(task.folder)
    task.tracked.begin(name, record.get("trackers", ()), resumed=resume)
    if not task.tracked.records:
        return
    write_record(task.folder, {**record, "trackers": task.tracked.records})
    images = {split: len(task.prepared.indices(split)) for split in ("train", "val", "test")}
    known = {"classes": len(task.prepared.labels), "images": images, "pretrained": record["pretrained"]}
    made = {"dataset_digest": dataset_digest(task.prepared.rows), "versions": versions()}
    task.tracked.settings({**record["settings"], "mirror": record["mirror"], **known, **made})


def _finished(task: Task, best: dict[str, Any], out: Path, *, overwrite: bool) -> Checkpoint:
    record = read_record(task.folder)
    prepared = task.prepared
    task.notes["guards"] = list(guards_of(task, best))
    metrics, temperature = judge_scaled(task.network, prepared, scale=task.settings.temperature_scaling)
    content = {
        "name": out.name,
        "backbone": task.settings.backbone,
        "precision": "float32",
        "quantization": None,
        "preprocess": record["preprocess"],
        "pretrained": task.pretrained,
        "settings": record["settings"],
        "mirror": record["mirror"],
        "data": record["data"] if task.stream is None else str(settled_table(out).absolute()),
        "val": record["val"],
        "best_epoch": best["epoch"],
        "metrics": metrics,
        "temperature": temperature,
        "dataset_digest": dataset_digest(prepared.rows),
        "images_left_out": [dataclasses.asdict(item) for item in prepared.intake.rejected],
        "trackers": record.get("trackers", []),
        "found": task.found,
        "strategy_notes": task.notes,
        "unlabeled": record["unlabeled"],
        "parent": None if task.start is None else task.start.digest,
    }
    if task.stream is not None:  # the rows of train hold the last window, and `prepared.rows` names others
        decode_again(prepared, pool_rows(prepared.rows, {"train": task.settings.exemplars, "val": 0, "test": 0}))
    exemplars = exemplars_to_keep(task.network, prepared, task.start, per_class=task.settings.exemplars)
    return save_checkpoint(
        out,
        state=task.network.state_dict(),
        history=task.folder / HISTORY,
        rows=prepared.rows,
        labels=prepared.labels,
        content=content,
        overwrite=overwrite,
        earlier=() if task.start is None else rows_before(task.start, prepared.rows),
        exemplars=None if exemplars is None else vars(exemplars),
    )


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
    val = None if data is not None else checkpoint.manifest["val"]
    # What a checkpoint went on with may show few of its classes.
    least = 1 if checkpoint.earlier_rows() else 2
    group = checkpoint.manifest.get("settings", {}).get("group")
    return read_trainable(where, val, group=group, least_classes=least)
