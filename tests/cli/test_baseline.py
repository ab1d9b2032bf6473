"""`edgexfer baseline`: what is shown, what is asked for, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgexfer.cli.baseline import app
from edgexfer.core.errors import SettingsError
from edgexfer.gate.judge import accept
from edgexfer.gate.judge.baseline import Accepted, baseline_place, read_baseline, write_baseline
from tests.bundles import make_bundle
from tests.gate.baselines import MACHINE, SUBJECT, answers, make_baseline
from tests.gate.images import write_folders


def run(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(word) for word in words])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "tiny.edgx", backend="fake", options={"latency_ms": 0.5})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Objections that this machine is said to have, empty at first; and one process of the bundle, not nine."""
    found: list[str] = []
    monkeypatch.setattr(accept, "unsteady", lambda *_: [])
    monkeypatch.setattr(accept, "contended", lambda *_: list(found))
    start = accept.started_in_turns
    monkeypatch.setattr(accept, "started_in_turns", lambda bundles, **settings: start(bundles, 1, **settings))
    return found


def test_the_first_is_accepted_and_the_second_shows_what_changes(
    bundle: Path, tmp_path: Path, quick: list[str]
) -> None:
    folder = tmp_path / "b"
    words = ("accept", bundle, "--baselines", folder, "--by", "Ada", "--seconds", 1, "--threads", 1)
    first = run(*words)
    assert first.exit_code == 0, first.output
    (path,) = folder.rglob("*.json")
    assert f"accepted by Ada: {path}" in first.stdout
    assert f"git add {path}" in first.stdout
    assert "records no answers" in first.stderr
    assert isinstance(run(*words).exception, SettingsError)
    second = run(*words, "--why", "measured again")
    assert second.exit_code == 0, second.output
    assert "replaces what Ada accepted on" in second.stdout
    assert {"before", "now", "change"} <= set(second.stdout.split())
    row = next(line for line in second.stdout.splitlines() if "latency_p50_ms" in line)
    assert row.count("ms") == 3
    assert "%" in row
    assert quick == []


@pytest.mark.usefixtures("quick")
def test_ones_own_photographs_are_measured_with(bundle: Path, tmp_path: Path) -> None:
    photos = write_folders(tmp_path / "photos")
    words = ("accept", bundle, "--baselines", tmp_path / "b", "--by", "Ada", "--seconds", 1, "--threads", 1)
    found = run(*words, "--images", photos)
    assert found.exit_code == 0, found.output
    (path,) = (tmp_path / "b").rglob("*.json")
    assert read_baseline(path).images.startswith("12 of 12 images of photos (sha256 ")


def test_an_unfit_machine_writes_nothing_unless_it_is_forced(bundle: Path, tmp_path: Path, quick: list[str]) -> None:
    quick.append("the machine was busy")
    folder = tmp_path / "b"
    words = ("accept", bundle, "--baselines", folder, "--by", "Ada", "--seconds", 1)
    refused = run(*words)
    assert refused.exit_code == 3
    assert "warning: the machine was busy" in refused.stderr
    assert "not written" in refused.stdout
    assert not folder.exists()
    forced = run(*words, "--force")
    assert forced.exit_code == 0, forced.output
    (path,) = folder.rglob("*.json")
    assert read_baseline(path).accepted.despite == ("the machine was busy",)


def put(folder: Path, name: str = "signs") -> Path:
    accepted = Accepted("Ada [bold]", "2025-11-21T08:30:00Z", "a smaller head", ("it was busy",))
    place = baseline_place(folder, name, SUBJECT.target, MACHINE)
    write_baseline(make_baseline(evaluation=answers(), accepted=accepted), place)
    return place


def test_a_folder_is_a_table(tmp_path: Path) -> None:
    put(tmp_path)
    found = run("show", tmp_path)
    assert found.exit_code == 0, found.output
    row = next(line for line in found.stdout.splitlines() if "raspberry-pi-5" in line)
    for word in ("signs", MACHINE, "5.0", "95.00 %", "Ada [bold] accepted on 2025-11-21: a smaller head"):
        assert word in row
    assert "was accepted although it was busy" in found.stderr


def test_a_file_is_all_its_figures(tmp_path: Path) -> None:
    place = put(tmp_path)
    found = run("show", place)
    assert found.exit_code == 0, found.output
    for name in read_baseline(place).figures:
        assert name in found.stdout
    assert SUBJECT.digest in found.stdout


def test_the_record(tmp_path: Path) -> None:
    place = put(tmp_path)
    record = json.loads(run("show", tmp_path, "--json", "-").stdout)
    assert (record["kind"], record["format_version"]) == ("baselines", 1)
    (row,) = record["baselines"]
    assert (row["file"], row["bundle"], row["why"]) == (str(place), "signs", "a smaller head")
    assert row["figures"]["top1"] == 0.95


def test_what_is_not_there_or_damaged_is_said(tmp_path: Path) -> None:
    assert "no baseline in" in run("show", tmp_path).stdout
    missing = run("show", tmp_path / "none").exception
    assert isinstance(missing, SettingsError)
    assert "edgexfer baseline accept" in missing.hint
    put(tmp_path)
    (tmp_path / "signs" / "bad.json").write_text("{")
    found = run("show", tmp_path)
    assert found.exit_code == 2
    assert "raspberry-pi-5" in found.stdout  # what can be read is shown all the same
    assert "error: " in found.stderr
    assert "bad.json is not valid JSON" in found.stderr
