from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import SettingsError
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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": "raspberry-pi-5"}, "is a baseline for raspberry-pi-5, the candidate is for test"),
        ({"labels": ("x", "y", "z")}, "which knows other classes than tiny"),
    ],
)
def test_a_file_for_another_target_or_other_classes_is_no_reference(
    accepted: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    stored = read_baseline(baseline_place(accepted / "baselines", "tiny", "test", HERE))
    labels = changed.pop("labels", stored.labels)
    other = replace(stored, subject=replace(stored.subject, **changed), labels=labels)
    write_baseline(other, tmp_path / "other.json")
    found = find_reference(tmp_path / "other.json", open_bundle(accepted / "new.edgx"), HERE)
    assert (found.bundle, found.stored) == (None, None)
    assert said in found.missing
    assert "edgexfer baseline accept" in found.missing


def test_a_new_run_has_a_new_name_and_still_finds_the_one_baseline_that_fits(accepted: Path, tmp_path: Path) -> None:
    renamed = open_bundle(make_bundle(tmp_path / "next.edgx", backend="fake", name="next"))
    found = find_reference(accepted / "baselines", renamed, HERE)
    assert found.stored is not None
    assert "(tiny)" in found.words
    other = open_bundle(make_bundle(tmp_path / "other.edgx", backend="fake", name="other", labels=("x", "y", "z")))
    assert "no baseline of other" in find_reference(accepted / "baselines", other, HERE).missing


def test_where_several_would_fit_one_has_to_be_named(accepted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(accepted / "baselines", tmp_path / "baselines"))
    stored = read_baseline(baseline_place(folder, "tiny", "test", HERE))
    second = replace(stored, subject=replace(stored.subject, bundle="second"))
    write_baseline(second, baseline_place(folder, "second", "test", HERE))
    renamed = open_bundle(make_bundle(tmp_path / "next.edgx", backend="fake", name="next"))
    assert "--baseline FILE" in find_reference(folder, renamed, HERE).missing
    assert "(second)" in find_reference(baseline_place(folder, "second", "test", HERE), renamed, HERE).words


def test_a_folder_of_something_else_is_the_users_mistake(accepted: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(SettingsError, match="holds no baselines"):
        find_reference(tmp_path, open_bundle(accepted / "new.edgx"), HERE)


def test_one_file_may_be_named(accepted: Path) -> None:
    place = baseline_place(accepted / "baselines", "tiny", "test", HERE)
    assert find_reference(place, open_bundle(accepted / "new.edgx"), HERE).stored is not None
