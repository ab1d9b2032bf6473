"""Trackers: what training logs is read back from their files; nothing leaves the machine or breaks the training."""

from __future__ import annotations

import csv
import os
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.errors import EdgexferError, MissingPartError, SettingsError
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.finetune import finetune
from edgexfer.train.loop.tracked_run import where_of, without_user
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.settings import FinetuneSettings
from tests.train.pictures import picture_tree

pytestmark = pytest.mark.train
# Looked for and not imported: MLflow reads when it is imported whether it may tell its maker.
LACKING = [name for name in ("mlflow", "sqlalchemy", "alembic", "tensorboard", "wandb") if find_spec(name) is None]
if LACKING:
    pytest.skip(f"{', '.join(LACKING)} not installed (pip install 'edgexfer[trackers]')", allow_module_level=True)

ALL = ("mlflow", "tensorboard", "wandb")
QUICK = FinetuneSettings(backbone="mobilenetv2-050", weights="none", epochs=2, batch_size=8, seed=3, device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("data") / "pictures", (12, 12))


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.getbasetemp() / "wandb-home"))
        for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with its tables and no run; making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    with Tracking(["mlflow"], str(folder)) as tracked:
        tracked.begin("made once")
        (record,) = tracked.records
    client = client_of(record)
    client.rename_experiment(client.get_run(record["run"]).info.experiment_id, "another")
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_store, folder)
    return folder


@pytest.fixture
def stored(tmp_path: Path, empty_store: Path) -> Path:
    """This test's own folder for trackers."""
    (tmp_path / "tracked").mkdir()
    shutil.copy(empty_store, tmp_path / "tracked")
    return tmp_path / "tracked"


@pytest.fixture(scope="module")
def done(data: Path, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A fine-tuning that all three have followed."""
    with Tracking(ALL, str(place)) as tracked:
        return finetune(data, tmp_path_factory.mktemp("runs") / "pics", QUICK, tracked=tracked)


def history(checkpoint: Checkpoint) -> list[dict[str, str]]:
    with (checkpoint.folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run_of(checkpoint: Checkpoint, tracker: str) -> dict[str, str]:
    (run,) = (run for run in checkpoint.manifest["trackers"] if run["tracker"] == tracker)
    return dict(run)


def client_of(run: dict[str, str]) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(run["place"])


def events_of(run: dict[str, str]) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(run["place"]) / run["run"]))
    events.Reload()
    return events


def test_mlflows_store_has_settings_and_every_epoch(done: Checkpoint, place: Path) -> None:
    run = run_of(done, "mlflow")
    assert run["place"] == f"sqlite:///{place}/mlflow.db"
    found = client_of(run).get_run(run["run"])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "pics")
    assert client_of(run).get_experiment_by_name("edgexfer").experiment_id == found.info.experiment_id
    params = found.data.params
    assert (params["backbone"], params["seed"], params["learning_rate"]) == ("mobilenetv2-050", "3", "None")
    assert params["dataset_digest"] == done.manifest["dataset_digest"]
    assert params["images.train"] == str(sum(row.split == "train" for row in done.rows))
    rows = history(done)
    for column in ("val_loss", "val_top1", "val_macro_f1", "learning_rate", "seconds"):
        logged = client_of(run).get_metric_history(run["run"], f"finetune/{column}")
        assert [(point.step, point.value) for point in logged] == [(int(r["epoch"]), float(r[column])) for r in rows]
    losses = client_of(run).get_metric_history(run["run"], "finetune/train_loss")
    assert [(p.step, p.value) for p in losses] == [(int(r["epoch"]), float(r["train_loss"])) for r in rows[1:]]
    assert found.data.metrics["finetune/test/top1"] == done.manifest["metrics"]["test"]["top1"]


def test_tensorboards_events_have_the_same(done: Checkpoint, place: Path) -> None:
    run = run_of(done, "tensorboard")
    assert (run["place"], run["run"]) == (str(place / "tensorboard"), "pics/version_0")
    events = events_of(run)
    rows = history(done)
    for column in ("val_loss", "val_top1", "learning_rate"):
        logged = [(event.step, event.value) for event in events.Scalars(f"finetune/{column}")]
        assert [step for step, _ in logged] == [int(row["epoch"]) for row in rows]
        np.testing.assert_allclose([value for _, value in logged], [float(row[column]) for row in rows], rtol=1e-6)
    (status,) = events.Tensors("status/text_summary")
    assert status.tensor_proto.string_val == [b"finished"]
    (settings,) = events.Tensors("settings/text_summary")
    assert b"| backbone | mobilenetv2-050 |" in settings.tensor_proto.string_val[0]
    assert "seed: 3" in (Path(run["place"]) / run["run"] / "hparams.yaml").read_text()


def test_the_offline_file_of_weights_and_biases_has_the_same(done: Checkpoint, place: Path) -> None:
    run = run_of(done, "wandb")
    (file,) = (place / "wandb").glob(f"offline-run-*-{run['run']}/run-{run['run']}.wandb")
    content = file.read_bytes()
    for row in history(done):
        for column in ("val_loss", "val_top1"):
            assert f"finetune/{column}".encode() in content
            assert repr(float(row[column])).removesuffix(".0").encode() in content
    assert b"mobilenetv2-050" in content
    assert done.manifest["dataset_digest"].encode() in content


def test_nothing_is_asked_of_the_network_and_nobody_is_told(done: Checkpoint) -> None:
    assert done.manifest["trackers"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert not {"WANDB_MODE", "MLFLOW_TRACKING_URI"} & set(os.environ)
    from mlflow.telemetry import get_telemetry_client
    from wandb.env import error_reporting_enabled

    assert get_telemetry_client() is None
    assert not error_reporting_enabled()


def test_tracking_changes_nothing_of_the_training(done: Checkpoint, data: Path, tmp_path: Path) -> None:
    plain = finetune(data, tmp_path / "pics", QUICK)
    assert (plain.folder / "weights.safetensors").read_bytes() == (done.folder / "weights.safetensors").read_bytes()
    assert plain.manifest["trackers"] == []
    assert plain.manifest["metrics"] == done.manifest["metrics"]


def test_an_interrupted_run_is_killed_and_goes_on_when_it_is_resumed(
    done: Checkpoint, data: Path, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainee.training_step

    def interrupted(self: Trainee, batch: int, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Trainee, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt), Tracking(["mlflow", "tensorboard"], str(stored)) as tracked:
        finetune(data, tmp_path / "pics", QUICK, tracked=tracked)
    monkeypatch.undo()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{stored}/mlflow.db")
    (killed,) = client.search_runs([client.get_experiment_by_name("edgexfer").experiment_id])
    assert killed.info.status == "KILLED"
    # Nothing is said of trackers: the interrupted run knows its own.
    resumed = finetune(data, tmp_path / "pics", resume=True)
    (finished,) = client.search_runs([killed.info.experiment_id])
    assert (finished.info.run_id, finished.info.status) == (killed.info.run_id, "FINISHED")
    assert [run["run"] for run in resumed.manifest["trackers"]] == [killed.info.run_id, "pics/version_0"]
    steps = [point.step for point in client.get_metric_history(killed.info.run_id, "finetune/val_top1")]
    assert steps == [0, 1, 2]
    events = events_of(run_of(resumed, "tensorboard"))
    assert [event.step for event in events.Scalars("finetune/val_top1")] == [0, 1, 2]
    assert [e.tensor_proto.string_val for e in events.Tensors("status/text_summary")] == [[b"killed"], [b"finished"]]
    assert (resumed.folder / "weights.safetensors").read_bytes() == (done.folder / "weights.safetensors").read_bytes()


def test_a_run_that_fails_is_marked_so(
    data: Path, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Trainee, "training_step", broken)
    with pytest.raises(RuntimeError, match="broken"), Tracking(["mlflow"], str(stored)) as tracked:
        finetune(data, tmp_path / "pics", QUICK, tracked=tracked)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{stored}/mlflow.db")
    (failed,) = client.search_runs([client.get_experiment_by_name("edgexfer").experiment_id])
    assert failed.info.status == "FAILED"


def test_a_tracker_that_breaks_is_warned_of_and_the_others_go_on(
    stored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Tracking(["mlflow", "tensorboard"], str(stored)) as tracked:
        tracked.begin("one")
        tensorboard = tracked.records[1]
        (stored / "mlflow.db").write_bytes(b"this is no database " * 1000)
        tracked.figures({"a": 1.0}, step=1)
        assert [record["tracker"] for record in tracked.records] == ["tensorboard"]
        tracked.figures({"a": 2.0}, step=2)
    assert "mlflow no longer takes what is logged" in caplog.text
    assert [event.value for event in events_of(tensorboard).Scalars("a")] == [1.0, 2.0]


def test_a_run_whose_place_is_gone_is_begun_anew_with_a_warning(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Tracking(["mlflow", "tensorboard"], str(stored)) as tracked:
        tracked.begin("one")
        known = tracked.records
    assert not caplog.text
    for record in known:
        gone = {**record, "place": record["place"].replace("/tracked/", "/gone/")}
        with Tracking([record["tracker"]]) as tracked, pytest.MonkeyPatch.context() as patch:
            patch.chdir(stored)
            tracked.begin("two", [gone])
            assert f"{record['run']} of {record['tracker']} is not at" in caplog.text
            (fresh,) = tracked.records
            assert fresh["place"] == record["place"]
            assert fresh["run"] != record["run"]
        caplog.clear()
    assert not (stored.parent / "gone").exists()


def test_another_place_that_is_asked_for_gets_a_run_of_its_own(tmp_path: Path) -> None:
    with Tracking(["tensorboard"], str(tmp_path / "old")) as tracked:
        tracked.begin("one")
        known = tracked.records
    for folder, same in (("old", True), ("new", False)):
        with Tracking(["tensorboard"], str(tmp_path / folder)) as tracked:
            tracked.begin("two", known)
            assert (tracked.records == known) == same


def test_what_mlflow_has_as_a_parameter_becomes_a_tag_when_it_changes(stored: Path) -> None:
    with Tracking(["mlflow"], str(stored)) as tracked:
        tracked.begin("one")
        tracked.settings({"x86-cpu": {"precision": "int8", "simulated": False}})
        tracked.settings({"x86-cpu": {"precision": "float32", "simulated": False}})
        (record,) = tracked.records
    data = client_of(record).get_run(record["run"]).data
    assert data.params == {"x86-cpu.precision": "int8", "x86-cpu.simulated": "False"}
    assert {key: value for key, value in data.tags.items() if not key.startswith("mlflow.")} == {
        "x86-cpu.precision": "float32"
    }


def test_a_password_in_an_address_is_used_but_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://me:secret@tracking.example:5000/base"
    assert without_user(address) == "https://tracking.example:5000/base"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert where_of("mlflow", None) == address
    assert where_of("mlflow", "/folder") == "sqlite:////folder/mlflow.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert where_of("mlflow", "sqlite:///x.db") == f"sqlite:///{Path.cwd()}/x.db"
    assert where_of("mlflow", None) == f"sqlite:///{Path.cwd()}/mlflow.db"


def test_what_cannot_be_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown tracker 'mlflo'") as caught:
        Tracking(["mlflo"])
    assert "did you mean 'mlflow'" in caught.value.hint
    with pytest.raises(SettingsError, match="but no tracker"):
        Tracking([], "runs")
    with pytest.raises(SettingsError, match="is an address, which only mlflow understands"):
        Tracking(["wandb"], "https://tracking.example")
    for package in ("mlflow", "alembic"):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, package, None)
            with pytest.raises(
                MissingPartError, match=f"needs the package '{package}', which is not installed"
            ) as lack:
                Tracking(["mlflow"])
            assert lack.value.hint == "pip install 'edgexfer[trackers]'"
    (tmp_path / "mlflow.db").write_bytes(b"this is no database " * 1000)
    with (
        pytest.raises(EdgexferError, match=r"mlflow at sqlite:.* cannot be opened"),
        Tracking(["mlflow"], str(tmp_path)) as tracked,
    ):
        tracked.begin("one")


def test_a_damaged_record_is_named(done: Checkpoint) -> None:
    assert open_checkpoint(done.folder).manifest["trackers"] == done.manifest["trackers"]
    with Tracking(["mlflow"]) as tracked, pytest.raises(EdgexferError, match="record of a tracked run is damaged"):
        tracked.begin("one", [{"tracker": "mlflow"}])


def test_a_server_that_takes_the_connection_and_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Tracking(["mlflow"], place) as tracked,
            pytest.raises(EdgexferError, match=f"mlflow at {place} .*timed out"),
        ):
            tracked.begin("one")
