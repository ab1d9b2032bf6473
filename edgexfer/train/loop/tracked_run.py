"""One run of a tracker, open to be written: what differs between MLflow, TensorBoard and Weights & Biases.

What they have in common, Lightning's loggers have: metrics and parameters. Here is where each keeps its files, how it
goes on with a run, and how it takes artifacts and an end. Heavy packages are imported when a run is opened.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

SQLITE = "sqlite:///"
_PROJECT = "edgexfer"
_KILLED_EXIT_CODE = 255  # what W&B itself gives a run that Ctrl-C ended


@dataclass(frozen=True)
class TrackedRun:
    """One run as its tracker knows it, and as a manifest records it.

    Attributes:
        tracker: "mlflow", "tensorboard" or "wandb".
        run: its identifier there.
        place: folder or address of the tracker, without a user's name or password.
        project: the experiment or project that it belongs to.
    """

    tracker: str
    run: str
    place: str
    project: str


@dataclass(frozen=True)
class OpenRun:
    """A tracked run that is being written."""

    record: TrackedRun
    logger: Logger
    settings: Callable[[dict[str, Any]], None]
    keep: Callable[[Path, str], None]  # a file or folder, and the kind it is filed under
    end: Callable[[str], None]  # "finished", "failed" or "killed"


def where_of(tracker: str, place: str | None) -> str:
    """Returns the folder or address that a tracker writes to unless it goes on with another run."""
    folder = Path("." if place is None or is_address(place) else place).absolute()
    if tracker == "tensorboard":
        return str(folder / "tensorboard")
    if tracker == "wandb":
        return str(folder)
    address = os.environ.get("MLFLOW_TRACKING_URI") if place is None else place if is_address(place) else None
    if not address:
        return f"{SQLITE}{folder}/mlflow.db"
    if address.startswith(SQLITE):
        return f"{SQLITE}{Path(address.removeprefix(SQLITE)).absolute()}"
    return address


def _open_mlflow(name: str, where: str, before: TrackedRun | None) -> OpenRun:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    # Its seven tries with growing pauses keep a training waiting for minutes where a server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # seconds of silence; 120 by default
    from lightning.pytorch.loggers import MLFlowLogger  # noqa: PLC0415 - see the module's docstring
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    project = before.project if before else os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
    artifacts = None  # where a server wants them
    if where.startswith(SQLITE):
        file = Path(where.removeprefix(SQLITE)).absolute()
        if before is not None and not file.is_file():
            raise FileNotFoundError(f"{file} does not exist")  # else an empty one would be made
        file.parent.mkdir(parents=True, exist_ok=True)
        artifacts = str(file.parent / "mlartifacts")
    # MLflow tells of every table it creates, and puts the address it is given into the environment.
    with _quiet("mlflow", "alembic"), _same_environment("MLFLOW_TRACKING_URI"):
        client = MlflowClient(where)
        if before is None and client.get_experiment_by_name(project) is None:
            client.create_experiment(project, artifact_location=artifacts)
        logger = MLFlowLogger(project, name, where, run_id=before.run if before else None)
        run = str(logger.run_id)
        client.update_run(run, status="RUNNING")

    def settings(values: dict[str, Any]) -> None:
        # MLflow's parameters are written once: what a later export sets anew becomes a tag.
        there = client.get_run(run).data.params
        logger.log_hyperparams({key: value for key, value in values.items() if key not in there})
        for key, value in values.items():
            if key in there and there[key] != str(value)[:250]:
                client.set_tag(run, key, str(value))

    def keep(path: Path, kind: str) -> None:
        if path.is_dir():
            client.log_artifacts(run, str(path), f"{kind}/{path.name}")
        else:
            client.log_artifact(run, str(path), kind)

    record = TrackedRun("mlflow", run, without_user(where), project)
    return OpenRun(record, logger, settings, keep, lambda status: client.set_terminated(run, status.upper()))


def _open_tensorboard(name: str, where: str, before: TrackedRun | None) -> OpenRun:
    from lightning.pytorch.loggers import TensorBoardLogger  # noqa: PLC0415 - see the module's docstring

    title, _, version = before.run.rpartition("/") if before else (name, "", None)
    logger = TensorBoardLogger(where, title, version, default_hp_metric=False)
    if before is not None and not Path(logger.log_dir).is_dir():
        raise FileNotFoundError(f"{logger.log_dir} does not exist")
    Path(logger.log_dir).mkdir(parents=True, exist_ok=True)

    def settings(values: dict[str, Any]) -> None:
        logger.log_hyperparams(values)  # into hparams.yaml; the page shows them as a text
        rows = "".join(f"| {key} | {value} |\n" for key, value in values.items())
        logger.experiment.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def keep(path: Path, kind: str) -> None:
        _copied(path, Path(logger.log_dir) / "artifacts" / kind / path.name)
        logger.experiment.add_text(f"artifacts/{kind}", f"artifacts/{kind}/{path.name}")

    def end(status: str) -> None:
        logger.experiment.add_text("status", status)
        logger.finalize("success" if status == "finished" else "failed")

    run = f"{title}/{Path(logger.log_dir).name}"
    return OpenRun(TrackedRun("tensorboard", run, where, title), logger, settings, keep, end)


def _open_wandb(name: str, where: str, before: TrackedRun | None) -> OpenRun:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when W&B is imported
    import wandb  # noqa: PLC0415 - see the module's docstring
    from lightning.pytorch.loggers import WandbLogger  # noqa: PLC0415

    project = before.project if before else os.environ.get("WANDB_PROJECT", _PROJECT)
    Path(where).mkdir(parents=True, exist_ok=True)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    # Its sampling of the machine would run beside what is measured here, and its console would take ours.
    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    known: dict[str, Any] = {}
    if before is not None:
        # Offline there is nothing to resume: a second folder with the same id, which W&B joins when both are synced.
        known = {"id": before.run, "resume": "allow" if mode == "online" else None}
    run = wandb.init(project=project, name=name, dir=where, mode=mode, settings=quiet, **known)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    # Given its run, the logger neither sets WANDB_MODE for the whole process nor warns of an argument of its own.
    logger = WandbLogger(experiment=run, project=project, save_dir=where)

    def keep(path: Path, kind: str) -> None:
        # Copied into the run's folder, since `wandb sync` may come when the original is gone.
        copy = _copied(path, Path(run.settings.sync_dir) / "artifacts" / kind / path.name)
        artifact = wandb.Artifact(path.name, kind)
        for file in sorted(copy.rglob("*")) if copy.is_dir() else [copy]:
            if file.is_file():
                inside = file.relative_to(copy).as_posix() if copy.is_dir() else file.name
                artifact.add_file(str(file), inside, policy="immutable", skip_cache=True)
        run.log_artifact(artifact)

    def end(status: str) -> None:
        run.finish(exit_code={"finished": 0, "killed": _KILLED_EXIT_CODE}.get(status, 1))

    return OpenRun(TrackedRun("wandb", str(run.id), where, project), logger, logger.log_hyperparams, keep, end)


def is_address(place: str) -> bool:
    """Whether a place is a server's, which only MLflow understands, and no folder."""
    return "://" in place or place == "databricks"


def without_user(address: str) -> str:
    """Returns an address without a user's name and password: manifests are passed on, passwords are not."""
    parts = urlsplit(address)
    return address if "@" not in parts.netloc else urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _same_environment(name: str) -> Iterator[None]:
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _copied(path: Path, out: Path) -> Path:
    if path.is_dir():
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(path, out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out)
    return out


OPENERS: dict[str, Callable[[str, str, TrackedRun | None], OpenRun]] = {
    "mlflow": _open_mlflow,
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
}
"""Trackers by name, which is their package's too: (name of a new run, folder or address, run to go on with) -> run."""
