from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.gate.judge.accept import propose
from edgexfer.gate.judge.baseline import baseline_place, read_baseline, write_baseline
from edgexfer.gate.judge.reference import find_reference
from edgexfer.gate.machine.host import host_facts, machine_class
from tests.bundles import make_bundle

HERE = machine_class(host_facts())


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `baselines` with what was accepted of a bundle that is gone, and a bundle of the same name."""
    folder = tmp_path_factory.mktemp("accepted")
    old = make_bundle(folder / "old.edgx", backend="fake", options={"latency_ms": 0.2})
    proposal = propose(old, baselines=folder / "baselines", seconds=0.5, by="A. Person")
    proposal.write()
    (folder / "archive").mkdir()
    shutil.move(old, folder / "archive" / "old.edgx")
    make_bundle(folder / "new.edgx", backend="fake", seed=1)
    return folder


def test_a_baseline_of_this_machine_is_found_in_the_folder(accepted: Path) -> None:
    found = find_reference(accepted / "baselines", open_bundle(accepted / "new.edgx"), HERE)
    assert found.bundle is None
    assert found.stored is not None
    assert found.digest == found.stored.subject.digest
    assert "A. Person" in found.words
    assert found.missing == ""


def test_another_machine_class_finds_nothing_and_is_told_what_there_is(accepted: Path) -> None:
    found = find_reference(accepted / "baselines", open_bundle(accepted / "new.edgx"), "Another Board, 4 cores")
    assert (found.bundle, found.stored, found.digest) == (None, None, "")
    assert HERE in found.missing
    assert "baseline accept" in found.missing


def test_the_old_bundle_is_taken_where_it_lies_beside(accepted: Path, tmp_path: Path) -> None:
    shutil.copytree(accepted / "baselines", tmp_path / "baselines")
    shutil.copytree(accepted / "archive" / "old.edgx", tmp_path / "whatever.edgx")
    shutil.copytree(accepted / "new.edgx", tmp_path / "new.edgx")
    (tmp_path / "damaged.edgx").mkdir()
    found = find_reference(tmp_path / "baselines", open_bundle(tmp_path / "new.edgx"), HERE)
    assert found.bundle is not None
    assert found.bundle.folder == tmp_path / "whatever.edgx"
    assert found.stored is not None
    assert found.digest == found.bundle.digest == found.stored.subject.digest


def test_the_folder_is_found_by_itself_where_it_is_here(accepted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(accepted)
    assert find_reference(None, open_bundle(accepted / "new.edgx"), HERE).stored is not None
    monkeypatch.chdir(accepted / "archive")
    assert "no baseline" in find_reference(None, open_bundle(accepted / "new.edgx"), HERE).missing


@pytest.mark.parametrize(("bundle", "target"), [("tiny", "raspberry-pi-5"), ("cats", "test")])
def test_a_file_of_another_bundle_or_target_is_no_reference(
    accepted: Path, tmp_path: Path, bundle: str, target: str
) -> None:
    stored = read_baseline(baseline_place(accepted / "baselines", "tiny", "test", HERE))
    write_baseline(
        replace(stored, subject=replace(stored.subject, bundle=bundle, target=target)), tmp_path / "other.json"
    )
    found = find_reference(tmp_path / "other.json", open_bundle(accepted / "new.edgx"), HERE)
    assert (found.bundle, found.stored) == (None, None)
    assert f"is the baseline of {bundle} for {target}, the candidate is tiny for test" in found.missing
    assert "edgexfer baseline accept" in found.missing


def test_one_file_may_be_named(accepted: Path) -> None:
    place = baseline_place(accepted / "baselines", "tiny", "test", HERE)
    assert find_reference(place, open_bundle(accepted / "new.edgx"), HERE).stored is not None
