"""What a killed process leaves beside an artifact's place goes with the next run; what lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import lock_folder
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.core.staging import scratch_folder, staged_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from edgexfer.core.staging import scratch_folder, staged_folder
out = Path(sys.argv[1])
with scratch_folder(out) as scratch, staged_folder(out, overwrite=True) as stage:
    (scratch / "big").write_bytes(b"0" * 1000)
    (stage / "half").write_bytes(b"0")
    print(sorted(path.suffix for path in out.parent.glob(".*")), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def finish(folder: Path, name: str) -> None:
    (folder / "weights.safetensors").write_text(name, encoding="utf-8")
    write_manifest(folder, "checkpoint", {"name": name})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, out], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == "['.scratch', '.tmp']\n"
    assert len(names(tmp_path)) == 2
    with staged_folder(out) as stage:
        finish(stage, "new")
    assert names(tmp_path) == ["run"]


def test_what_another_process_works_in_stays(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with scratch_folder(out) as scratch, staged_folder(out) as stage:
        (scratch / "mine").write_bytes(b"")
        with staged_folder(out) as other:
            finish(other, "first")
        assert (scratch / "mine").exists()
        finish(stage, "second")
        out.rename(tmp_path / "first")
    assert read_manifest(out, "checkpoint")["name"] == "second"
    assert names(tmp_path) == ["first", "run"]


def test_an_artifact_can_be_staged_within_a_scratch_folder(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "run") as scratch, staged_folder(scratch / "run") as stage:
        finish(stage, "inner")
    assert names(tmp_path) == []


def test_a_folder_whose_maker_died_before_it_was_locked_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".run.0123abcd.new").mkdir()
    with scratch_folder(tmp_path / "run"):
        assert not (tmp_path / ".run.0123abcd.new").exists()


def test_who_loses_a_folder_before_it_is_locked_makes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Path] = []

    def slow(folder: Path, **options: bool) -> int | None:
        if not taken:
            taken.append(folder)
            folder.rmdir()  # another process takes it for a leftover
        return lock_folder(folder, **options)

    monkeypatch.setattr("edgexfer.core.staging.lock_folder", slow)
    with staged_folder(tmp_path / "run") as stage:
        finish(stage, "mine")
    assert read_manifest(tmp_path / "run", "checkpoint")["name"] == "mine"
    assert names(tmp_path) == ["run"]


def test_an_old_artifact_whose_new_one_never_came_is_put_back(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with staged_folder(out) as stage:
        finish(stage, "old")
    out.rename(tmp_path / ".run.0123abcd.old")
    with pytest.raises(EdgexferError, match="exists already"), staged_folder(out):
        pass
    assert read_manifest(out, "checkpoint")["name"] == "old"
    (tmp_path / ".run.0123abcd.old").mkdir()
    with scratch_folder(out):
        assert read_manifest(out, "checkpoint")["name"] == "old"
    assert names(tmp_path) == ["run"]


def test_nothing_else_is_taken_for_a_leftover(tmp_path: Path) -> None:
    kept = [".run.0123abcd", ".run.0123ABCD.tmp", ".other.0123abcd.tmp", "run.0123abcd.tmp", ".run.0123abcd.tmp.x"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".run.76543210.tmp").write_bytes(b"a file")
    with staged_folder(tmp_path / "run") as stage:
        finish(stage, "new")
    assert names(tmp_path) == sorted([*kept, ".run.76543210.tmp", "run"])


def test_a_lock_ends_with_its_descriptor(tmp_path: Path) -> None:
    first = lock_folder(tmp_path)
    assert first is not None
    assert lock_folder(tmp_path, wait=False) is None
    os.close(first)
    second = lock_folder(tmp_path, wait=False)
    assert second is not None
    os.close(second)
