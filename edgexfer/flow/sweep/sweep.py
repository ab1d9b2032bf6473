"""sweep: DATA -> the settings that suit it, by trying; accuracy on val against the latency measured here.

The same call goes on with a study that was interrupted, and several at once share one. A trial is one `finetune`.
What is kept of it are the checkpoints on the Pareto front:

    OUT/study.db               the study, unless another database is named
    OUT/trials/STUDY-0007/     the checkpoint of trial 7
    OUT/sweep.json, best.toml  see outcome.py
    OUT/workers/               locks of the workers that are alive
"""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgexfer.backends import missing_here
from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.files import explained_write, locked_folder, write_file
from edgexfer.core.target import Target
from edgexfer.flow.sweep.division import division_of
from edgexfer.flow.sweep.outcome import BEST, RECORD, Sweep, outcome
from edgexfer.flow.sweep.space import Choices, Space, default_space, draw, first_of, read_space, space_json
from edgexfer.flow.sweep.speed import Speeds, measure_speeds, speeds_from_json
from edgexfer.flow.sweep.study import (
    agree,
    at_work,
    fail_the_dead,
    kind_of,
    new_sampler,
    open_study,
    quiet_optuna,
    retry_failed,
)
from edgexfer.flow.sweep.trial import Work, attempt
from edgexfer.train.at_hand import backbones_at_hand
from edgexfer.train.backbones import BACKBONES, find_backbone
from edgexfer.train.images.prepared import fitting_input_size, read_trainable
from edgexfer.train.loop.tracked_run import without_user
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import find_strategy
from edgexfer.train.task import usable_device

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

TRIALS = 20
SPARE = 10  # trials that cost nothing, because they repeat others or cannot be done, before the space counts as used up
SECONDS_EACH = 1.5
"""How long each network is timed."""


def sweep(
    data: str | Path,
    target: Target,
    out: Path,
    *,
    settings: FinetuneSettings | None = None,
    fixed: tuple[str, ...] = (),
    space: Mapping[str, Any] | None = None,
    trials: int = TRIALS,
    storage: str | None = None,
    study: str | None = None,
    val: str | Path | None = None,
    precision: str | None = None,
    limit_ms: float | None = None,
    time_budget_s: float | None = None,
    keep: bool = False,
    remeasure: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_trial: Callable[[Sweep], None] | None = None,
) -> Sweep:
    """Tries settings of `finetune` until there are `trials` of them, together with whoever else works on the study.

    Args:
        data: class folders, train/val/test above them, or a CSV.
        target: the device; decides the form of the network that is timed.
        out: the sweep's folder.
        settings: those that are the same for all trials.
        fixed: names of settings that the user has set, and that are not to be searched.
        space: a table `[space]` (flow/sweep/space.py); what it does not name and is not fixed has the default space's.
        trials: how many there shall be in the study, all workers together; those that repeat another, cannot be done
            or were interrupted do not count.
        storage: address of a database; SQLite in `out` by default.
        study: its name; that of `out` by default.
        val: class folders to validate with; `data` is then all for training.
        precision: what is timed: "float32", "float16", "int8", or "auto" for the faster of float and INT8; by default
            what the target ships.
        limit_ms: the best trial may not take longer; slower networks are not trained. By default the target's limit on
            latency_p50_ms, where it has one and its engine is here.
        time_budget_s: after so many seconds this worker begins no trial, nor one that would hardly end in time.
        remeasure: time the networks again, since something disturbed it before.
        keep: keep the checkpoint of every trial, and not only of those on the front.
        progress: called with (done, all) while images are read.
        on_trial: called with the sweep as it stands after each trial.

    Raises:
        SettingsError: the space or a setting is wrong, or the study was begun otherwise.
        DataError: the images cannot be trained on, or are not those that the study was begun with.
        MissingPartError: Optuna or a backbone's weights are not here.
        EdgexferError: `out` holds something else, or what `finetune` raises.
    """
    began = time.monotonic()
    if trials < 1:
        raise SettingsError(f"trials is {trials}, expected 1 or more")
    base = settings or FinetuneSettings()
    usable_device(base.device)
    dataset = read_trainable(data, val, group=base.group)
    named = read_space(space or {}, base, "the sweep")
    for name in _values(named, "strategy", (base.strategy,)):
        find_strategy(str(name))
    asked = precision or target.precision
    precisions = _precisions(asked, target)
    limit_ms = limit_ms if limit_ms is not None else _limit_of(target)
    _claim(out)
    url = storage or f"sqlite:///{(out / 'study.db').absolute()}"
    with ExitStack() as stack:
        stack.enter_context(quiet_optuna())
        worker = stack.enter_context(at_work(out))
        with locked_folder(out):  # no worker on this machine trains while another one times the networks
            opened = stack.enter_context(open_study(url, study or out.absolute().name))
            plan = {
                "settings": dataclasses.asdict(dataclasses.replace(base, device="auto")),
                "fixed": sorted(fixed),
                "named": space_json(named),
                "target": target.name,
                "precision": asked,
                "classes": list(dataset.labels),
                "separate_val": val is not None,
            }
            agree(opened, plan)
            searched, fitting = _searched(opened, base, fixed, named, dataset)
            division = division_of(opened, dataset, base, fitting, progress)
            speeds = _speeds(opened, searched, base, precisions, dataset, target, out, fitting, remeasure)
        paths = Path(data), None if val is None else Path(val)
        work = Work(opened, *paths, out, base, searched, division, speeds, limit_ms, worker, progress)

        def stands() -> Sweep:
            return _written(
                outcome(opened, speeds, out, storage=without_user(url), target=target.name, limit_ms=limit_ms)
            )

        stands()
        while not (time_budget_s is not None and _too_late(opened, began, time_budget_s)):
            if not _one_trial(work, trials):
                break
            with locked_folder(out):
                made = stands()
                if not keep:
                    _remove_beaten(made)
            if on_trial is not None:
                on_trial(made)
        return stands()


def _searched(
    study: Study, base: FinetuneSettings, fixed: tuple[str, ...], named: Space, dataset: Dataset
) -> tuple[Space, int]:
    """Returns the space, and the input side that suits the photographs.

    The first worker decides: which backbones are at hand may differ on the machines of the others.
    """
    recorded = study.user_attrs.get("space")
    if recorded is not None:
        return read_space(recorded["space"], base, f"the study '{study.study_name}'"), int(recorded["fitting"])
    at_hand = backbones_at_hand() if base.weights == "auto" else (base.backbone,)
    backbones = _values(named, "backbone", (base.backbone,) if "backbone" in fixed else at_hand or (base.backbone,))
    largest = max(find_backbone(str(name)).input_size for name in backbones)
    fitting = base.input_size or fitting_input_size(dataset, largest)
    rest = default_space(base, (*fixed, *named), backbones=backbones, fitting=fitting, largest=largest)
    whole = {**rest, **named}
    if not whole:
        raise SettingsError("every setting is fixed: there is nothing to search", "leave some of them away")
    study.set_user_attr("space", {"space": space_json(whole), "fitting": fitting})
    return whole, fitting


def _values(space: Space, name: str, otherwise: tuple[Any, ...]) -> tuple[Any, ...]:
    dimension = space.get(name)
    return dimension.values if isinstance(dimension, Choices) else otherwise


def _precisions(wanted: str, target: Target) -> tuple[str, ...]:
    exact = "float16" if target.dialect == "tensorrt" else "float32"
    known = {"auto": (exact, "int8"), "int8": ("int8",), "float32": ("float32",), "float16": ("float16",)}
    if wanted not in known or (wanted == "float16" and target.dialect == "ort"):
        raise SettingsError(f"{target.name} cannot be timed in {wanted}", "take auto, int8 or float32")
    # Another engine's INT8 says nothing of that of the target's: it would be simulated.
    return known[wanted] if missing_here(target.backend) is None else ("float32",)


def _limit_of(target: Target) -> float | None:
    """Returns the target's own limit in ms; None without one, and where this machine's clock says nothing of it."""
    value = target.gates.get("latency_p50_ms", {}).get("max")
    same = target.host.get("machine", platform.machine()) == platform.machine()
    return float(value) if value is not None and same and missing_here(target.backend) is None else None


def _claim(out: Path) -> None:
    """Makes the sweep's folder.

    Raises:
        EdgexferError: it holds something else, or cannot be written.
    """
    mend = "choose another place with --out"
    if out.exists() and not out.is_dir():
        raise EdgexferError(f"{out} is a file, expected a folder", mend)
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ("workers", RECORD)):
        raise EdgexferError(f"{out} is not empty and holds no sweep", mend)
    with explained_write(out):
        (out / "workers").mkdir(parents=True, exist_ok=True)


def _speeds(
    study: Study,
    space: Space,
    base: FinetuneSettings,
    precisions: tuple[str, ...],
    dataset: Dataset,
    target: Target,
    out: Path,
    fitting: int,
    remeasure: bool,
) -> Speeds:
    recorded = study.user_attrs.get("speeds")
    if recorded is not None and not remeasure:
        return speeds_from_json(recorded)
    backbones = _values(space, "backbone", (base.backbone,))
    sizes = _values(space, "input_size", (base.input_size or fitting,))
    networks = [(str(backbone), int(size)) for backbone in backbones for size in sizes]
    log.info("measuring latency, once, of %s", ", ".join(f"{backbone}@{size}" for backbone, size in networks))
    scratch = out / "speeds"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        made = measure_speeds(
            networks,
            precisions,
            dataset,
            target,
            scratch,
            weights=base.weights,
            seconds_each=SECONDS_EACH,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    study.set_user_attr("speeds", made.to_json())
    if recorded is not None:
        return made
    first = next((name for name in (base.backbone, *BACKBONES) if name in backbones), base.backbone)
    study.enqueue_trial(first_of(space, fitting, first))
    return made


def _too_late(study: Study, began: float, budget_s: float) -> bool:
    taken = [trial.user_attrs["seconds"] for trial in study.get_trials(deepcopy=False) if kind_of(trial) == "complete"]
    left = budget_s - (time.monotonic() - began)
    return left <= 0 or (bool(taken) and left < median(taken))


def _one_trial(work: Work, trials: int) -> bool:
    """Does one trial; returns False where there is none left to do."""
    study = work.study
    with ExitStack() as asking:
        # What is counted and what is asked for belong together, else two workers would both begin the last trial.
        asking.enter_context(locked_folder(work.out))
        fail_the_dead(study)
        retry_failed(study)
        kinds = [kind_of(trial) for trial in study.get_trials(deepcopy=False)]
        done = sum(kind in ("complete", "pruned", "running") for kind in kinds)
        idle = sum(kind in ("repeated", "infeasible") for kind in kinds)
        if done >= trials or idle >= trials + SPARE:
            return False
        new_sampler(study, work.settings.seed)

        def objective(trial: Trial) -> tuple[float, float]:
            trial.set_user_attr("worker", work.worker)
            drawn = draw(trial, work.space, work.settings.strategy)
            asking.close()
            return attempt(work, trial, drawn)

        study.optimize(objective, n_trials=1)
    return True


def _written(made: Sweep) -> Sweep:
    write_file(made.out / RECORD, json.dumps(made.to_json(), indent=2, ensure_ascii=False) + "\n")
    if made.best is not None:
        write_file(made.out / BEST, made.best_toml())
    return made


def _remove_beaten(made: Sweep) -> None:
    """Removes the checkpoints of trials that ended and are not on the front; those of workers elsewhere are theirs."""
    kept = {trial.number for trial in made.front}
    for trial in made.trials:
        # One that is running may have its checkpoint already: its worker is about to tell what it reached.
        ended = trial.kind in ("complete", "failed") and trial.number not in kept
        if ended and trial.checkpoint is not None:
            shutil.rmtree(made.out / "trials" / trial.checkpoint.name, ignore_errors=True)
