"""SIGTERM and SIGHUP: nothing half-made is left, what was learned stays, and the exit code says which it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.train.exports import Exports

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")

_VERB = """
import os, signal, sys, time
from pathlib import Path
from edgexfer.cli import main
from edgexfer.core.staging import staged_folder
def run(words):
    with staged_folder(Path(words[0])):
        print("begun", flush=True)
        if "fork" in words and os.fork() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
            os._exit(0)
        if "fork" in words:
            print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        try:
            time.sleep(60)
        finally:
            if "twice" in words:
                os.kill(os.getpid(), signal.SIGTERM)
main.run = run
main.main(sys.argv[1:])
"""


def started(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def told(process: subprocess.Popen[str], number: int, when: Callable[[], bool]) -> tuple[int, str]:
    """Sends the signal as soon as `when` is so; returns the exit code and what was said on stderr."""
    with process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until and not when():
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("how", ["once", "twice"])
def test_what_was_begun_is_removed(tmp_path: Path, number: int, code: int, how: str) -> None:
    process = started("-c", _VERB, str(tmp_path / "made"), how)
    assert process.stdout is not None
    process.stdout.readline()
    assert told(process, number, lambda: True) == (code, "")
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_ends_as_it_would_have(tmp_path: Path) -> None:
    process = started("-c", _VERB, str(tmp_path / "made"), "fork")
    assert process.stdout is not None
    process.stdout.readline()
    assert process.stdout.readline() == f"{-signal.SIGTERM}\n"
    assert told(process, signal.SIGTERM, lambda: True)[0] == 143
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_goes_away_does_not_end_what_nohup_began(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + _VERB
    process = started("-c", code, str(tmp_path / "made"), "once")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert told(process, signal.SIGTERM, lambda: True)[0] == 143


@pytest.mark.train
@pytest.mark.slow
def test_a_fine_tuning_says_how_to_go_on_and_does(exports: Exports, tmp_path: Path) -> None:
    run, partial = tmp_path / "run", tmp_path / "run.partial"
    small = ("--backbone", "mobilenetv2-050", "--weights", "none", "--strategy", "finetune", "--input-size", "32")
    settings = (*small, "--epochs", "8", "--batch-size", "4", "--device", "cpu")
    words = ("-m", "edgexfer", "finetune", str(exports.data), "--out", str(run), *settings)
    code, said = told(started(*words), signal.SIGTERM, (partial / "trainer" / "last.safetensors").is_file)
    assert code == 143, said
    assert "interrupted; go on with:" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["run.partial"]
    assert [path.name for path in partial.rglob(".*")] == []
    with started("-m", "edgexfer", "finetune", str(exports.data), "--out", str(run), "--resume") as resumed:
        _, said = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, said
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.train
@pytest.mark.slow
def test_an_export_leaves_nothing_behind(exports: Exports, tmp_path: Path) -> None:
    run = exports.copy_of_run(tmp_path / "runs")
    words = ("-m", "edgexfer", "export", str(run), "--target", "x86-cpu", "--out", str(tmp_path / "x.edgx"))
    begun = (".x.edgx", f".{run.name}")

    def staged() -> bool:
        names = [path.name for path in (*tmp_path.iterdir(), *run.parent.iterdir())]
        return any(name.startswith(begun) and not name.endswith(".lock") for name in names)

    code, said = told(started(*words), signal.SIGTERM, staged)
    assert code == 143, said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    assert [path.name for path in run.parent.iterdir()] == [run.name]
