"""Pruning, and the way to zeros, interrupted and resumed: the same network, from the same images and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.errors import ArtifactError, EdgexferError, SettingsError
from edgexfer.core.target import load_target
from edgexfer.flow import prune as pruning
from edgexfer.flow import sparsify as zeroing
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.prune import clock
from edgexfer.train.prune.cost import Cost, Term
from edgexfer.train.prune.goal import Goal, pruned_place
from edgexfer.train.prune.kept_points import kept_cut, kept_points
from edgexfer.train.prune.prune import prune
from edgexfer.train.sparse.asked import Sparsity
from edgexfer.train.sparse.sparsify import sparsify
from tests.images import put
from tests.train.exports import Exports
from tests.train.stopped import stopped_at

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")
GOAL = Goal("macs", 0.75)
AS_PRUNED: dict[str, Any] = {"engines": None, "epochs": 1, "device": "cpu"}
STEPS = 2  # of one epoch on the shared run's training images


def weights(checkpoint: Checkpoint) -> bytes:
    return (checkpoint.folder / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def stopped(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruning that was interrupted when its first point had learned and its second had been cut."""
    out = tmp_path_factory.mktemp("stopped") / "thin"
    with pytest.raises(KeyboardInterrupt), stopped_at(STEPS):
        prune(exports.run, X86, GOAL, out, **AS_PRUNED)
    return out


@pytest.fixture
def interrupted(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped.with_name("thin.partial"), tmp_path / "thin.partial")
    return tmp_path / "thin"


def test_it_ends_where_it_would_have_ended_and_leaves_nothing(
    exports: Exports, pruned: Checkpoint, interrupted: Path
) -> None:
    with stopped_at(-1) as steps:
        made = prune(exports.run, X86, GOAL, interrupted, resume=True, **AS_PRUNED)
    assert len(steps) == STEPS  # those of the second point
    assert weights(made) == weights(pruned)
    assert made.manifest["pruning"] == pruned.manifest["pruning"]
    assert [path.name for path in interrupted.parent.iterdir()] == ["thin"]


def test_a_point_that_was_damaged_is_reached_again(
    exports: Exports, interrupted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    way = interrupted.with_name("thin.partial")
    (point,) = kept_points(way, exports.run)
    assert kept_cut(way, point) is not None
    spoiled = way / "point-1" / "weights.safetensors"
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"?")
    assert kept_points(way, exports.run) == []
    assert "this point is reached again" in caplog.text
    assert not spoiled.exists()
    assert kept_cut(way, exports.run) is None  # what came after it is not taken up either


def test_it_is_not_resumed_by_accident_nor_otherwise_than_it_was_begun(exports: Exports, interrupted: Path) -> None:
    partial = interrupted.with_name("thin.partial")
    before = sorted(path.name for path in partial.rglob("*"))
    with pytest.raises(EdgexferError, match="holds what was interrupted on the way to thin") as said:
        prune(exports.run, X86, GOAL, interrupted, **AS_PRUNED)
    assert "--resume" in said.value.hint
    assert "--overwrite" in said.value.hint
    wrong: list[tuple[Goal, dict[str, Any], str]] = [
        (GOAL, {"epochs": 2}, "number of epochs at each point is 2, in what thin.partial goes on with it is 1"),
        (Goal("macs", 0.7), {}, "--prune is macs=0.7, .* it is macs=0.75"),
    ]
    for goal, more, words in wrong:
        with pytest.raises(SettingsError, match=words):
            prune(exports.run, X86, goal, interrupted, resume=True, **{**AS_PRUNED, **more})
    pi = load_target("raspberry-pi-5")
    with pytest.raises(SettingsError, match=r"--target is raspberry-pi-5, .* it is x86-cpu"):
        prune(exports.run, pi, GOAL, interrupted, resume=True, **AS_PRUNED)
    with pytest.raises(EdgexferError, match=r"nothing to resume: .*other.partial does not exist"):
        prune(exports.run, X86, GOAL, interrupted.with_name("other"), resume=True, **AS_PRUNED)
    assert sorted(path.name for path in partial.rglob("*")) == before
    with pytest.raises(ArtifactError, match="is not finished") as said:
        open_checkpoint(interrupted)
    assert "edgexfer compress" in said.value.hint
    (partial / "way.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not valid JSON"):
        prune(exports.run, X86, GOAL, interrupted, resume=True, **AS_PRUNED)


def test_another_network_or_other_images_are_told(exports: Exports, interrupted: Path, tmp_path: Path) -> None:
    way = interrupted.with_name("thin.partial") / "way.json"
    record = json.loads(way.read_bytes())
    for name, words in (("parent", "the network that it is made from"), ("images", "the images that it learns on")):
        way.write_text(json.dumps({**record, "asked": {**record["asked"], name: "0" * 64}}), encoding="utf-8")
        with pytest.raises(SettingsError, match=f"the digest of {words} is .* it is 0000"):
            prune(exports.run, X86, GOAL, interrupted, resume=True, **AS_PRUNED)
    way.write_text(json.dumps(record), encoding="utf-8")
    data = Path(shutil.copytree(exports.data, tmp_path / "data"))
    first = min(data.rglob("*.png"))
    put(first, max(data.rglob("*.png")).read_bytes())
    with pytest.raises(EdgexferError, match=first.name):
        prune(exports.run, X86, GOAL, interrupted, resume=True, data=data, **AS_PRUNED)


def test_what_is_no_way_is_never_removed(exports: Exports, tmp_path: Path) -> None:
    put(tmp_path / "thin.partial" / "photo.png", b"mine")
    with pytest.raises(EdgexferError, match="nothing that pruning left"):
        prune(exports.run, X86, GOAL, tmp_path / "thin", overwrite=True, **AS_PRUNED)
    assert (tmp_path / "thin.partial" / "photo.png").read_bytes() == b"mine"


def test_zeros_go_on_within_a_point(exports: Exports, tmp_path: Path) -> None:
    half, options = Sparsity(0.5), {"epochs": 2, "device": "cpu"}
    whole = sparsify(exports.run, half, tmp_path / "whole", **options)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt), stopped_at(STEPS + 1):
        sparsify(exports.run, half, tmp_path / "again", **options)  # type: ignore[arg-type]
    with stopped_at(-1) as steps:
        again = sparsify(exports.run, half, tmp_path / "again", resume=True, **options)  # type: ignore[arg-type]
    assert len(steps) == STEPS  # of the second epoch
    assert weights(again) == weights(whole)
    assert again.manifest["sparsity"] == whole.manifest["sparsity"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "whole"]


def test_a_verb_takes_what_is_finished_and_begins_what_never_began(
    exports: Exports, pruned: Checkpoint, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "engines_here", lambda _: None)
    run = exports.copy_of_run(tmp_path)
    place = pruned_place(run, GOAL, X86)
    shutil.copytree(stopped.with_name("thin.partial"), place.with_name(f"{place.name}.partial"))
    with pytest.raises(EdgexferError, match="holds what was interrupted"):
        pruning.prune(run, None, X86, GOAL, epochs=1, device="cpu")
    shutil.copytree(pruned.folder, place)  # killed while it tidied up
    thin = pruning.prune(run, None, X86, GOAL, epochs=1, device="cpu", resume=True)
    assert thin.digest == pruned.digest
    sparse = zeroing.sparsify(place, None, Sparsity(0.1), epochs=0, device="cpu", resume=True)
    assert sparse.manifest["sparsity"]["parent"] == thin.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == [run.name, place.name, sparse.folder.name]


def test_the_table_of_an_interrupted_way_is_taken_up(tmp_path: Path) -> None:
    class Timing:
        engine = type("Engine", (), {"version": "engine 1"})

        def table(self, progress: object) -> Cost:
            del progress
            timed.append(1)
            return Cost("us", (Term(None, 0, 1.5, 0.1, 1 / 3, 0.0),))

    timed: list[int] = []
    full = [clock.aim_on(tmp_path, {}, "latency", None, Timing()) for _ in range(2)]  # type: ignore[arg-type]
    assert len(timed) == 1
    first, again = ((aim._cost, aim.slope) for aim in full)
    assert first == again
    Timing.engine.version = "engine 2"  # type: ignore[attr-defined]
    clock.aim_on(tmp_path, {}, "latency", None, Timing())  # type: ignore[arg-type]
    assert len(timed) == 2
