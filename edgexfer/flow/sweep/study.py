"""The study: where a sweep's trials are kept, so that it can be interrupted, resumed and shared by many workers.

Optuna keeps them in a relational database: SQLite in the sweep's folder, or any that SQLAlchemy can reach. All of it is
numbers, text and JSON; nothing is pickled. (Optuna's CMA-ES sampler and its journal do pickle: neither is used.)

Attributes of the study:
    sweep      what all workers must agree on: see `agree`
    space      what is searched, and the input side that suits the photographs: the first worker decides
    division   how many parts the division of the images has, `division:0` and so on (flow/sweep/division.py)
    speeds     the latency of every backbone and input size, measured once (flow/sweep/speed.py)

Attributes of a trial:
    settings          all settings of finetune
    val_top1          accuracy on val after each epoch, epoch 0 first
    worker            {"host", "lock"}: who ran it; the lock is a folder that the worker's process keeps locked
    retry_of          the trial that was interrupted and is done again as this one
    same_as           the trial that had the same settings, whose values this one took over
    infeasible        why it cannot be done at all
    given_up          why it was interrupted, where that was nobody's doing but the user's
    test_top1, checkpoint, seconds, dataset_digest   of a trial that is complete
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexfer.core.errors import MissingPartError, SettingsError
from edgexfer.core.files import lock_folder
from edgexfer.train.loop.tracked_run import without_user

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

_HEARTBEAT_S = 20
_SILENT_S = 120  # without a heartbeat the worker on another machine is taken for dead
_LOCKED_S = 60  # SQLite waits so long for another writer
_SERVERS, _CONNECT_S, _SILENT_SERVER_S = ("postgresql", "mysql", "mariadb"), 30, 60
_MOST_DEATHS = 2
_STARTUP_TRIALS = 8


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna from logging while the block runs: a sweep tells of its trials itself.

    Raises:
        MissingPartError: Optuna is not installed.
    """
    try:
        from optuna import logging as optunas
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    before = optunas.get_verbosity()
    optunas.set_verbosity(optunas.ERROR)
    try:
        yield
    finally:
        optunas.set_verbosity(before)


@contextmanager
def open_study(url: str, name: str) -> Iterator[Study]:
    """Opens the study `name`, which is made where it is not there; its connections end with the block.

    Raises:
        SettingsError: no database at `url`, or a study of another kind under that name.
        MissingPartError: Optuna, or the driver of that database, is not installed.
    """
    shown = without_user(url)
    try:
        import optuna
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    hint = "give such as sqlite:////shared/study.db or postgresql://user@host/name"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                url,
                engine_kwargs=_patience(url),
                heartbeat_interval=_HEARTBEAT_S,
                grace_period=_SILENT_S,
            )
        study = optuna.create_study(
            storage=storage, study_name=name, directions=["maximize", "minimize"], load_if_exists=True
        )
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(f"{shown} is no address of a database: {_line(error)}", hint) from error
    except ImportError as error:  # Optuna says so too, and names the package in words
        raise MissingPartError(f"no driver for {shown} is installed: {_line(error)}", "pip install it") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        raise SettingsError(f"the database at {shown} cannot be used: {_line(error)}", hint) from error
    except RuntimeError as error:  # another version of Optuna made the tables
        raise SettingsError(f"the database at {shown} cannot be used: {_line(error)}", "take a new one") from error
    if [direction.name for direction in study.directions] != ["MAXIMIZE", "MINIMIZE"]:
        raise SettingsError(f"the study '{name}' at {shown} is not a sweep's", "choose another name with --study")
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _patience(url: str) -> dict[str, Any] | None:
    """Returns what the driver must be told so that no address keeps a sweep waiting for ever, by its own names."""
    kind, _, driver = url.partition(":")[0].partition("+")
    if kind == "sqlite":
        return {"connect_args": {"timeout": _LOCKED_S}}
    if kind not in _SERVERS:
        return None
    told = {"connect_timeout": _CONNECT_S}
    if kind != "postgresql" and driver != "mysqlconnector":
        # To PyMySQL a server that takes the connection and says nothing is connected: seen with 1.2.4.
        told["read_timeout"] = _SILENT_SERVER_S
    return {"connect_args": told}


def agree(study: Study, plan: dict[str, Any]) -> None:
    """Writes down what this sweep is, or compares it with what the workers before have written.

    Args:
        study: the study.
        plan: JSON values by name: what trials are only comparable under.

    Raises:
        SettingsError: another worker has begun the study otherwise; the first difference is named.
    """
    recorded = study.user_attrs.get("sweep")
    if recorded is None:
        if study.get_trials(deepcopy=False):
            raise SettingsError(f"the study '{study.study_name}' is not a sweep's", "choose another name with --study")
        study.set_user_attr("sweep", plan)
        return
    asked = json.loads(json.dumps(plan))
    for name in sorted({*asked, *recorded}):
        if asked.get(name) != recorded.get(name):
            raise SettingsError(
                f"the study '{study.study_name}' was begun with {name} {json.dumps(recorded.get(name))}, "
                f"and is to go on with {json.dumps(asked.get(name))}",
                "give what it was begun with, or begin another one with --study or --out",
            )


def new_sampler(study: Study, seed: int) -> None:
    """Gives the study the sampler of its next trial.

    Optuna's TPE (Bergstra et al. 2011; for several objectives Ozaki et al. 2020) knows all it needs from the trials.
    Its random numbers follow from `seed` and the trial's number, so that a sweep which was interrupted proposes what it
    would have proposed anyway, and two workers never the same.
    """
    import numpy as np  # noqa: PLC0415
    from optuna.samplers import TPESampler

    number = len(study.get_trials(deepcopy=False))
    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = TPESampler(seed=drawn, n_startup_trials=_STARTUP_TRIALS)


@contextmanager
def at_work(out: Path) -> Iterator[dict[str, str]]:
    """Yields how a trial names this worker; others on this machine see by a lock whether it is still alive."""
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    folder = out.absolute() / "workers" / name
    folder.mkdir(parents=True)
    descriptor = lock_folder(folder)
    try:
        yield {"host": platform.node(), "lock": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def fail_the_dead(study: Study) -> None:
    """Ends the trials of workers that were killed: on this machine by their locks, elsewhere by Optuna's heartbeat."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get("worker") or {}
        folder = Path(worker.get("lock", ""))
        if worker.get("host") != platform.node() or not folder.is_dir():
            continue
        descriptor = lock_folder(folder, wait=False)
        if descriptor is None:
            continue
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
        log.warning("the worker of trial %d has died; the trial is done again", trial.number)
        study.tell(trial.number, state=TrialState.FAIL)


def retry_failed(study: Study) -> None:
    """Queues the settings of trials that were interrupted; those whose worker died twice over them are left."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get("retry_of") for trial in trials}
    for trial in trials:
        if trial.state != TrialState.FAIL or trial.number in again or not trial.params:
            continue
        deaths = int(trial.user_attrs.get("deaths", 0)) + ("given_up" not in trial.user_attrs)
        if deaths < _MOST_DEATHS:
            study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number, "deaths": deaths})


def kind_of(trial: FrozenTrial) -> str:
    """Returns what became of a trial, in a word: complete, repeated, pruned, infeasible, failed, running, waiting."""
    state = trial.state.name.lower()
    if state == "pruned" and "infeasible" in trial.user_attrs:
        return "infeasible"
    if state == "complete" and "same_as" in trial.user_attrs:
        return "repeated"
    return {"fail": "failed"}.get(state, state)


def _missing(error: ModuleNotFoundError) -> MissingPartError:
    return MissingPartError(
        f"a sweep needs the package '{error.name}', which is not installed", "pip install 'edgexfer[sweep]'"
    )


def _line(error: Exception) -> str:
    # SQLAlchemy ends its messages with a link to its manual, and begins them with the driver's class.
    cause: BaseException = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return (str(getattr(cause, "orig", None) or cause).strip().splitlines() or [type(error).__name__])[0]
