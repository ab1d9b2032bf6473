"""export with a tracker: figures, bundle and report arrive in the run that fine-tuning began."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import write_manifest
from edgexfer.core.target import load_target
from edgexfer.flow import export as flow
from edgexfer.train.loop.trackers import Tracking
from tests.cli.terminal import files_below
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train
LACKING = [name for name in ("mlflow", "sqlalchemy", "alembic", "tensorboard", "wandb") if find_spec(name) is None]
if LACKING:
    pytest.skip(f"{', '.join(LACKING)} not installed (pip install 'edgexfer[trackers]')", allow_module_level=True)

X86 = load_target("x86-cpu")


@pytest.fixture(autouse=True)
def _quick_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(flow, "BENCH_SECONDS", BENCH_SECONDS)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def tracked_run(exports: Exports, folder: Path, records: list[dict[str, str]]) -> Path:
    """A copy of the run, its sibling too, that says it is tracked by `records`."""
    run = exports.copy_of_run(folder, quantized=True)
    manifest = json.loads((run / "manifest.json").read_bytes())
    own = {k: v for k, v in manifest.items() if k not in ("kind", "format_version", "digest", "files", "trackers")}
    write_manifest(run, "checkpoint", {**own, "trackers": records})
    return run


def test_figures_bundle_and_report_arrive_in_the_run_that_was_begun(exports: Exports, tmp_path: Path) -> None:
    place = tmp_path / "tracked"
    with Tracking(["mlflow", "tensorboard", "wandb"], str(place)) as tracked:
        tracked.begin("pictures")
        begun = tracked.records
    run = tracked_run(exports, tmp_path / "runs", begun)
    with Tracking(["mlflow", "tensorboard", "wandb"], str(place)) as tracked:
        made = flow.export(run, X86, tmp_path / "x.edgx", precision="int8", epochs=0, device="cpu", tracked=tracked)
        assert tracked.records == begun
    bundle = files_below(made.bundle.folder)
    mlflow, tensorboard, wandb = (record["run"] for record in begun)

    artifacts = place / "mlartifacts" / mlflow / "artifacts"
    assert files_below(artifacts / "bundle" / "x.edgx") == bundle
    found = run_of_mlflow(begun[0])
    assert found.info.status == "FINISHED"
    for record in made.measured:
        figures = {k.rpartition("/")[2]: v for k, v in found.data.metrics.items() if f"/{record.precision}/" in k}
        assert figures["top1"] == record.evaluation.top1
        assert figures["size_bytes"] == record.size_bytes
        assert record.latency is not None
        assert figures["latency_p50_ms"] == pytest.approx(record.latency.percentile("total", 50) / 1e6)
    assert found.data.params["x86-cpu.precision"] == "int8"
    assert found.data.params["x86-cpu.bundle_digest"] == made.bundle.digest
    assert found.data.params["qat-ort.schedule.epochs"] == "0"
    assert "qat-ort/val_loss" in found.data.metrics

    folder = place / "tensorboard" / tensorboard
    assert files_below(folder / "artifacts" / "bundle" / "x.edgx") == bundle
    # A second run of the same id within the same second gets a number behind its name.
    (offline,) = (place / "wandb").glob(f"offline-run-*-{wandb}*/artifacts")
    assert files_below(offline / "bundle" / "x.edgx") == bundle
    written = (offline.parent / f"run-{wandb}.wandb").read_bytes()
    assert b"x86-cpu/int8/top1" in written
    assert str(offline / "bundle" / "x.edgx" / "model.onnx").encode() in written  # what `wandb sync` will send
    for root in (artifacts, folder / "artifacts", offline):
        page = (root / "report" / "x-x86-cpu.html").read_text(encoding="utf-8")
        assert made.bundle.digest in page
    assert open_bundle(artifacts / "bundle" / "x.edgx").digest == made.bundle.digest


def test_a_tracked_run_is_exported_untracked_unless_asked_for(exports: Exports, tmp_path: Path) -> None:
    place = tmp_path / "tracked"
    with Tracking(["tensorboard"], str(place)) as tracked:
        tracked.begin("pictures")
        begun = tracked.records
    before = files_below(place)
    run = tracked_run(exports, tmp_path / "runs", begun)
    flow.export(run, X86, tmp_path / "x.edgx", precision="float32")
    assert files_below(place) == before


def test_an_export_that_fails_is_marked_so(exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def differs(*_: Any) -> None:
        raise EdgexferError("does not compute")

    monkeypatch.setattr("edgexfer.train.export.check_parity", differs)
    with pytest.raises(EdgexferError, match="does not compute"), Tracking(["tensorboard"], str(tmp_path)) as tracked:
        flow.export(exports.run.folder, X86, tmp_path / "x.edgx", precision="float32", tracked=tracked)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "pictures" / "version_0"))
    events.Reload()
    assert [e.tensor_proto.string_val for e in events.Tensors("status/text_summary")] == [[b"failed"]]


def run_of_mlflow(record: dict[str, str]) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(record["place"]).get_run(record["run"])
