"""A smaller input as the first thing that pruning takes away: only where the network loses nothing by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgexfer.core.target import load_target
from edgexfer.flow import export as exporting
from edgexfer.gate.report.checkpoint_page import checkpoint_page
from edgexfer.runtime.classifier import load
from edgexfer.train.checkpoint import EXEMPLARS, Checkpoint, open_checkpoint
from edgexfer.train.finetune import finetune
from edgexfer.train.prune.goal import Goal, pruned_place
from edgexfer.train.prune.prune import prune
from edgexfer.train.prune.smaller_input import smaller_input
from edgexfer.train.settings import FinetuneSettings
from tests.train.exports import BENCH_SECONDS, Exports

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")
ANY_LOSS = dataclasses.replace(X86, max_drop=1.0)
HALF = Goal("macs", 0.4)  # an input of 64 pixels has 0.44 of what 96 have


@pytest.fixture(scope="module")
def larger(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run on the shared pictures with an input of 96 pixels."""
    settings = FinetuneSettings(strategy="linear-probe", batch_size=8, device="cpu", input_size=96)
    return finetune(exports.data, tmp_path_factory.mktemp("larger") / "run", settings)


@pytest.fixture(scope="module")
def pruned(larger: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("prune") / "pruned"
    return prune(larger, ANY_LOSS, HALF, out, engines=None, epochs=0, device="cpu")


def test_it_is_as_small_as_the_goal_asks_for_and_no_smaller(larger: Checkpoint) -> None:
    network = larger.float_network()
    found = smaller_input(larger, network, None, ANY_LOSS, HALF, images=4)
    assert found is not None
    assert (found.checkpoint.preprocess.height, found.checkpoint.preprocess.width) == (64, 64)
    assert found.checkpoint.manifest["preprocess"] == found.checkpoint.preprocess.to_json()
    assert (found.before, found.pixels.shape) == (larger, (4, 96, 96, 3))
    assert smaller_input(larger, network, None, ANY_LOSS, Goal("macs", 0.5), images=4) is None


def test_parameters_have_no_size(larger: Checkpoint) -> None:
    assert smaller_input(larger, larger.float_network(), None, ANY_LOSS, Goal("params", 0.1), images=4) is None


def test_what_loses_by_it_keeps_its_input(larger: Checkpoint) -> None:
    nothing_but_gains = dataclasses.replace(X86, max_drop=-2.0)
    assert smaller_input(larger, larger.float_network(), None, nothing_but_gains, HALF, images=4) is None


def test_the_goal_counts_from_the_network_with_its_own_input(larger: Checkpoint, pruned: Checkpoint) -> None:
    record = pruned.manifest["pruning"]
    first, smaller, *_, last = record["points"]
    assert record["input_size"] == [96, 64]
    assert [point["input_size"] for point in (first, smaller, last)] == [96, 64, 64]
    assert smaller["ratio"] == pytest.approx(smaller["macs"] / first["macs"], abs=1e-4)
    assert smaller["ratio"] == pytest.approx((64 / 96) ** 2, rel=0.05)
    assert smaller["params"] == first["params"]
    assert 0.35 < last["macs"] / first["macs"] <= 0.4
    assert first["metrics"]["val"]["images"] == larger.manifest["metrics"]["val"]["images"]
    table = checkpoint_page(pruned.folder).pruning
    assert table is not None
    assert [row[table.head.index("input")] for row in table.rows][:2] == ["96", "64"]


def test_what_is_left_is_a_checkpoint_of_that_size(larger: Checkpoint, pruned: Checkpoint) -> None:
    assert (pruned.preprocess.height, pruned.manifest["settings"]["input_size"]) == (64, 64)
    kept = [safetensors.numpy.load_file(made.folder / EXEMPLARS) for made in (larger, pruned)]
    assert kept[1]["pixels"].shape == (len(kept[0]["pixels"]), 64, 64, 3)
    np.testing.assert_array_equal(kept[1]["sha256"], kept[0]["sha256"])
    assert open_checkpoint(pruned.folder).float_network() is not None


def test_it_stays_where_that_is_asked_for(larger: Checkpoint, tmp_path: Path) -> None:
    kept = dataclasses.replace(HALF, keep_input_size=True)
    made = prune(larger, ANY_LOSS, kept, tmp_path / "kept", engines=None, epochs=0, device="cpu")
    assert made.preprocess == larger.preprocess
    assert made.manifest["pruning"]["input_size"] == [96, 96]
    assert pruned_place(Path("run"), kept, X86) != pruned_place(Path("run"), HALF, X86)


def test_export_ships_it(pruned: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BENCH_SECONDS", BENCH_SECONDS)
    made = exporting.export(pruned.folder, X86, tmp_path / "small.edgx", precision="int8", epochs=0, device="cpu")
    pixels, answers = made.bundle.references()
    assert pixels.shape[1:] == (64, 64, 3)
    with load(made.bundle) as classifier:
        assert (classifier.probabilities(pixels).argmax(1) == answers.argmax(1)).all()
