"""Trackers: MLflow, TensorBoard and Weights & Biases, through Lightning's loggers. Nothing leaves this machine unasked.

    tracker      what it writes, below the folder `place` (the working folder by default)
    mlflow       mlflow.db (SQLite) and mlartifacts/; or the server of `place` or of MLFLOW_TRACKING_URI
    tensorboard  tensorboard/NAME/version_N/, artifacts beside the events
    wandb        wandb/offline-run-*/, artifacts in it; it goes out with `wandb sync`, or where WANDB_MODE=online

A tracked run is one row of a tracker: fine-tuning begins it, resuming and exporting go on with it. Which one that is
stands in the checkpoint's manifest under `trackers`: [{"tracker", "run", "place", "project"}].

MLflow and W&B tell their makers that they are used; both are asked not to, unless the user's environment says
otherwise (MLFLOW_DISABLE_TELEMETRY, WANDB_ERROR_REPORTING). A tracker that fails once it is open is warned of and left:
no training of hours ends because a server does. Nothing heavy is imported before a run is opened: what is missing is
told before PyTorch is loaded.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError, SettingsError, did_you_mean
from edgexfer.train.loop.tracked_run import (
    OPENERS,
    SQLITE,
    OpenRun,
    TrackedRun,
    is_address,
    where_of,
    without_user,
)

log = logging.getLogger(__name__)

OnFigures = Callable[[Mapping[str, float], int], None]
"""Called with metrics by name and the step, which is the epoch; the end's own figures have step 0."""


class Tracking:
    """The trackers of one command. Use it as a context: leaving it ends the runs as finished, failed or killed."""

    def __init__(
        self, trackers: Iterable[str] = (), place: str | None = None, *, on_figures: OnFigures | None = None
    ) -> None:
        """Checks that the trackers can be used; nothing is opened before `begin`.

        Args:
            trackers: their names; none for no tracking.
            place: a folder, or an address that only MLflow understands; None for the default.
            on_figures: called with what `figures` is given, after the trackers. What it raises ends the training:
                so a sweep ends a trial that falls behind.

        Raises:
            SettingsError: an unknown tracker, or an address without MLflow.
            MissingPartError: a package is not installed.
        """
        self._trackers = tuple(dict.fromkeys(trackers))
        self._place = place
        self._on_figures = on_figures
        self._open: list[OpenRun] = []
        check_trackers(self._trackers, place)

    @property
    def records(self) -> list[dict[str, str]]:
        """The runs that are open, as a manifest records them."""
        return [asdict(tracker.record) for tracker in self._open]

    def begin(self, name: str, known: Sequence[Mapping[str, str]] = (), *, resumed: bool = False) -> None:
        """Opens the runs; those that are open stay as they are.

        Args:
            name: of a new run.
            known: `trackers` of a manifest: runs to go on with, where they are of the trackers asked for.
            resumed: go on with all of `known`, asked for or not.

        Raises:
            ArtifactError: `known` is damaged.
            MissingPartError: a package is not installed.
            EdgexferError: a tracker cannot be opened.
        """
        before = {run.tracker: run for run in map(_recorded, known)}
        wanted = dict.fromkeys([*self._trackers, *(before if resumed else ())])
        check_trackers(tuple(wanted), self._place)
        for tracker in wanted:
            if any(tracker == there.record.tracker for there in self._open):
                continue
            where, run = where_of(tracker, self._place), before.get(tracker)
            if run is not None and self._place is not None and without_user(where) != run.place:
                run = None  # another place is asked for, and what it holds is not known here
            self._open.append(_opened(tracker, name, where, run))

    def settings(self, values: Mapping[str, Any]) -> None:
        """Logs parameters; what is nested in dicts becomes one level, with dots."""
        flat = dict(_flat(values))
        self._each(lambda tracker: tracker.settings(flat))

    def figures(self, values: Mapping[str, float], step: int = 0) -> None:
        """Logs metrics of an epoch, or of the whole (step 0)."""
        self._each(lambda tracker: tracker.logger.log_metrics(dict(values), step=step))
        if self._on_figures is not None:
            self._on_figures(values, step)

    def keep(self, path: Path, kind: str) -> None:
        """Logs a file or folder as an artifact, filed under `kind` such as "bundle"."""
        self._each(lambda tracker: tracker.keep(path, kind))

    def __enter__(self) -> Tracking:  # noqa: PYI034 - Self is not in Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the runs: killed by Ctrl-C, failed by any other exception."""
        killed = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        status = "killed" if killed else "finished" if kind is None else "failed"
        self._each(lambda tracker: tracker.end(status))
        self._open.clear()

    def _each(self, action: Callable[[OpenRun], None]) -> None:
        for tracker in list(self._open):
            try:
                action(tracker)
            except Exception as error:  # noqa: BLE001 - each tracker raises what its own transport does
                log.warning("%s no longer takes what is logged: %s", tracker.record.tracker, _line(error))
                self._open.remove(tracker)


def check_trackers(trackers: Sequence[str], place: str | None = None) -> None:
    """Checks, without loading anything, that trackers are known and installed.

    Raises:
        SettingsError: an unknown tracker ("did you mean"), or an address without MLflow.
        MissingPartError: a package is not installed.
    """
    for tracker in trackers:
        if tracker not in OPENERS:
            raise SettingsError(f"unknown tracker '{tracker}'", did_you_mean(tracker, OPENERS))
        if importlib.util.find_spec(tracker) is None:
            raise MissingPartError(
                f"--logger {tracker} needs the package '{tracker}', which is not installed",
                "pip install 'edgexfer[trackers]'",
            )
    # mlflow-skinny comes without what its SQLite file needs; a server does not need it.
    if "mlflow" in trackers and where_of("mlflow", place).startswith(SQLITE):
        for package in ("sqlalchemy", "alembic"):
            if importlib.util.find_spec(package) is None:
                raise MissingPartError(
                    f"MLflow's SQLite file needs the package '{package}', which is not installed",
                    "pip install 'edgexfer[trackers]'",
                )
    if place is not None and not trackers:
        raise SettingsError(f"a place for trackers is given, {place}, but no tracker", "add --logger mlflow")
    if place is not None and is_address(place) and "mlflow" not in trackers:
        raise SettingsError(f"{place} is an address, which only mlflow understands", "give a folder")


def _opened(tracker: str, name: str, where: str, before: TrackedRun | None) -> OpenRun:
    opener = OPENERS[tracker]
    if before is not None:
        same = without_user(where) == before.place  # `where` knows the password then
        try:
            found = opener(name, where if same else before.place, before)
        except Exception as error:  # noqa: BLE001 - each tracker raises what its own transport does
            log.warning("the run %s of %s is not at %s: %s", before.run, tracker, before.place, _line(error))
        else:
            log.info("going on with the run %s of %s in %s", before.run, tracker, before.place)
            return found
    try:
        found = opener(name, where, None)
    except Exception as error:
        hint = "mend that, choose another place with --tracking, or leave --logger away"
        raise EdgexferError(f"{tracker} at {without_user(where)} cannot be opened: {_line(error)}", hint) from error
    log.info("tracked by %s in %s", tracker, found.record.place)
    return found


def _recorded(entry: Mapping[str, str]) -> TrackedRun:
    try:
        return TrackedRun(entry["tracker"], entry["run"], entry["place"], entry["project"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"the record of a tracked run is damaged: {entry!r}", "fine-tune again") from error


def flat_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns the plain numbers of a checkpoint's `metrics` as "val/top1"; lists, as of every class, are left out."""
    return {
        f"{split}/{name}": float(value)
        for split, figures in metrics.items()
        for name, value in figures.items()
        if isinstance(value, (int, float))
    }


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        pairs += _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(f"{above}{key}", value)]
    return pairs


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
