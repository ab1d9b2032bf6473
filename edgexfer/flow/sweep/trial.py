"""One trial: one fine-tuning with drawn settings, ended early where it cannot reach the front any more."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer.core.errors import DataError, EdgexferError, SettingsError
from edgexfer.flow.sweep.outcome import differing
from edgexfer.flow.sweep.pareto import falls_behind
from edgexfer.flow.sweep.space import Space, Value
from edgexfer.flow.sweep.speed import Speeds
from edgexfer.flow.sweep.study import kind_of
from edgexfer.train.finetune import finetune
from edgexfer.train.loop.memory import is_out_of_memory
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What every trial of this worker is done with.

    Attributes:
        study: where trials are kept.
        data: the images.
        val: those to validate with, where they are separate.
        out: the sweep's folder.
        settings: what is the same for all trials.
        space: what is searched.
        division: the split of every image by its SHA-256 (flow/sweep/division.py); empty where it needs none.
        speeds: the latency of every network in the space.
        limit_ms: slower networks are not trained; None for no limit.
        worker: how a trial names who did it.
        progress: called with (done, all) while images are read.
    """

    study: Study
    data: Path
    val: Path | None
    out: Path
    settings: FinetuneSettings
    space: Space
    division: Mapping[str, str]
    speeds: Speeds
    limit_ms: float | None
    worker: dict[str, str]
    progress: Callable[[int, int], None] | None


def attempt(work: Work, trial: Trial, drawn: dict[str, Value]) -> tuple[float, float]:
    """Does a trial; returns accuracy on val, 0 to 1, and latency in ms.

    Raises:
        TrialPruned: it fell behind, or cannot be done.
        EdgexferError: the user's mistake, which no other trial would mend.
    """
    from optuna import TrialPruned

    began = time.monotonic()
    try:
        settings = _sized(dataclasses.replace(work.settings, **drawn), work)  # type: ignore[arg-type]
    except SettingsError as error:  # each value is good by itself: some do not go together
        raise _infeasible(trial, error.message) from error
    record = dataclasses.asdict(settings)
    trial.set_user_attr("settings", record)
    speed = work.speeds.at(settings.backbone, settings.input_size or 0)
    if speed.latency_ms is None:
        raise _infeasible(trial, speed.reason)
    latency_ms = speed.latency_ms
    trial.set_user_attr("latency_ms", latency_ms)
    if work.limit_ms is not None and latency_ms > work.limit_ms:
        raise _infeasible(trial, f"takes {latency_ms:.1f} ms, the limit is {work.limit_ms:g}")
    known = [other for other in work.study.get_trials(deepcopy=False) if kind_of(other) == "complete"]
    for other in known:
        if other.user_attrs.get("settings") == record and other.values is not None:
            trial.set_user_attr("same_as", other.number)
            return other.values[0], latency_ms
    run = work.out / "trials" / f"{work.study.study_name}-{trial.number:04}"
    log.info("trial %d: %s", trial.number, ", ".join(f"{k} {v}" for k, v in differing(record).items()))
    tracked = Tracking(on_figures=_watcher(work, trial, latency_ms, settings.epochs))
    try:
        made = finetune(
            work.data,
            run,
            settings,
            val=work.val,
            before=work.division,
            overwrite=True,
            progress=work.progress,
            tracked=tracked,
        )
    except TrialPruned:
        log.info("trial %d: falls behind and is ended", trial.number)
        raise
    except (EdgexferError, KeyboardInterrupt) as error:
        trial.set_user_attr("given_up", type(error).__name__)
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _infeasible(trial, "there is not enough memory to train it") from error
    finally:
        shutil.rmtree(run.with_name(f"{run.name}.partial"), ignore_errors=True)
    _check_same_images(work.study, trial, made.manifest["dataset_digest"])
    figures = made.manifest["metrics"]
    top1 = float(figures["val"]["top1"])
    trial.set_user_attr("test_top1", figures["test"]["top1"] if "test" in figures else None)
    trial.set_user_attr("checkpoint", str(run.absolute()))
    trial.set_user_attr("seconds", round(time.monotonic() - began, 1))
    log.info("trial %d: val top-1 %.2f %%, %.1f ms", trial.number, 100 * top1, latency_ms)
    return top1, latency_ms


def _sized(settings: FinetuneSettings, work: Work) -> FinetuneSettings:
    # Left to the photographs it is the same for every trial, but for the record it shall be a number.
    if settings.input_size is not None:
        return settings
    return dataclasses.replace(settings, input_size=int(next(iter(work.speeds.of)).rpartition("@")[2]))


def _infeasible(trial: Trial, reason: str) -> Exception:
    from optuna import TrialPruned

    trial.set_user_attr("infeasible", reason)
    trial.set_constraint("feasible", 1.0)  # the sampler learns to stay away
    log.info("trial %d cannot be done: %s", trial.number, reason)
    return TrialPruned(reason)


def _watcher(
    work: Work, trial: Trial, latency_ms: float, epochs: int | None
) -> Callable[[Mapping[str, float], int], None]:
    """Returns what notes each epoch's accuracy with the trial, and ends it where it falls behind."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    own: list[float] = []

    def watch(figures: Mapping[str, float], epoch: int) -> None:
        found = next((value for name, value in figures.items() if name.endswith("/val_top1")), None)
        if found is None:
            return
        own.append(float(found))
        trial.set_user_attr("val_top1", own)
        ended = work.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        peers = [
            other.user_attrs["val_top1"]
            for other in ended
            if other.user_attrs.get("val_top1") and other.user_attrs.get("latency_ms", 0.0) <= latency_ms
        ]
        if epoch != epochs and falls_behind(own, peers):
            raise TrialPruned

    return watch


def _check_same_images(study: Study, trial: Trial, digest: str) -> None:
    for other in study.get_trials(deepcopy=False):
        if other.user_attrs.get("dataset_digest", digest) != digest:
            raise DataError(
                "the images are not those that the study was begun with: accuracies would not compare",
                "restore them, or begin another study with --out",
            )
    trial.set_user_attr("dataset_digest", digest)
