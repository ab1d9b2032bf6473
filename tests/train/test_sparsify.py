"""Sparsity as a stage: zeros as asked for, kept by INT8 and by the file that ships, and what they gain is measured."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgexfer.core.errors import ArtifactError
from edgexfer.core.target import load_target
from edgexfer.flow import export as exporting
from edgexfer.flow import sparsify as flow
from edgexfer.gate.report.bundle_page import bundle_page
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.dialects.lint import lint
from edgexfer.train.dialects.lint_sparsity import weighted_layers
from edgexfer.train.dialects.onnx_graph import read_graph
from edgexfer.train.prune.stand_ins import Timed
from edgexfer.train.sparse import regularise
from edgexfer.train.sparse.asked import Sparsity
from edgexfer.train.sparse.sparsify import sparsify
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def run(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.copy_of_run(tmp_path_factory.mktemp("sparse"))


def share_of(checkpoint: Checkpoint) -> float:
    record = checkpoint.manifest["sparsity"]
    return float(record["zeros"] / record["weights"])


def zeros_in(model: Path) -> float:
    layers = list(weighted_layers(read_graph(onnx.load(model))))
    return sum(int((layer.weights == 0).sum()) for layer in layers) / sum(layer.weights.size for layer in layers)


def test_a_share_of_zeros_goes_all_the_way_to_the_file_that_ships(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BENCH_SECONDS", BENCH_SECONDS)
    monkeypatch.setattr(flow, "race", lambda *_, **__: Timed(1.0, 0.99, 1.01, 1.0, 1.0))
    sparse = flow.sparsify(run, None, Sparsity(0.6), epochs=1, device="cpu")
    assert sparse.folder == run.with_name(f"{run.name}.sparse-0.6")
    record = sparse.manifest["sparsity"]
    assert (record["asked"], record["how"], record["parent"]) == ("0.6", "magnitude", open_checkpoint(run).digest)
    assert [round(point["share"], 2) for point in record["points"]] == [0, 0.37, 0.6]
    assert 0.6 <= share_of(sparse) < 0.601
    rows = list(csv.DictReader((sparse.folder / "history.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["stage"] for row in rows][-4:] == ["sparsity"] * 4
    made = exporting.export(
        run, load_target("x86-cpu"), tmp_path / "a.edgx", sparsity=Sparsity(0.6), precision="int8", epochs=1,
        accuracy_control=False,
    )  # fmt: skip
    assert open_checkpoint(f"{sparse.folder}.int8-ort").manifest["sparsity"] == record  # the one that was there
    assert zeros_in(made.bundle.model) >= 0.6
    gain = made.bundle.manifest["sparsity"]["gain"]
    assert gain["packed_bytes"] < 0.8 * gain["dense"]["packed_bytes"]
    assert gain["size_bytes"] == made.bundle.model.stat().st_size
    assert lint(made.bundle.folder) == []
    page = bundle_page(made.bundle.folder, None, None)
    assert page.sparsity is not None
    assert [row[0] for row in page.sparsity.rows][-1] == "60.0 %"
    assert page.sparsity_gained[1].endswith("no speed-up on this target")


def test_2_4_reaches_every_candidate_and_tells_the_engine(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BENCH_SECONDS", BENCH_SECONDS)
    sparse = sparsify(open_checkpoint(run), Sparsity(None), run.with_name("two.sparse-2-4"), epochs=0, device="cpu")
    assert 0.4 < share_of(sparse) < 0.5
    jetson = load_target("jetson-orin-nano")
    bundle = exporting.export(sparse.folder, jetson, tmp_path / "a.edgx", epochs=1, accuracy_control=False).bundle
    assert bundle.target.options == {**jetson.options, "sparse_weights": True}
    assert set(bundle.candidates) == {"int8", "int8-depthwise-float16", "float16"}
    assert lint(bundle.folder) == []
    gain = bundle.manifest["sparsity"]["gain"]
    assert gain["eligible"]["macs_share"] > 0.5
    assert 0 < gain["eligible"]["layers"] < gain["eligible"]["of"]
    assert (gain["latency"], gain["dense"]) == (None, None)
    assert gain["reason"] == "the dense network is not at two any more"
    old = flow.target_for(sparse, load_target("jetson-xavier-nx"))
    assert "sparse_weights" not in old.options  # Volta has no sparse cores


def test_by_regularisation_as_many_close_as_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regularise, "_LEAST_STEPS", 2)
    learned = Sparsity(0.3, "regularisation")
    made = sparsify(open_checkpoint(run), learned, tmp_path / "learned", epochs=0, device="cpu")
    assert 0.3 <= share_of(made) < 0.31
    assert made.manifest["sparsity"]["how"] == "regularisation"


def test_what_cannot_be_made_sparse_is_said(run: Path, exports: Exports, tmp_path: Path) -> None:
    made = sparsify(open_checkpoint(run), Sparsity(0.1), tmp_path / "a", epochs=0, device="cpu")
    wrong: list[tuple[Any, str]] = [(made, "is sparse already"), (exports.quantized("ort"), "is quantized")]
    for checkpoint, words in wrong:
        with pytest.raises(ArtifactError, match=words):
            sparsify(checkpoint, Sparsity(0.5), tmp_path / "b", device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
