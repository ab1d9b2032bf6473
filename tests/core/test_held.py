"""Two processes on one place: the second says who is there, or waits; a lock ends with its holder, however that was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgexfer.core.errors import BusyError, EdgexferError
from edgexfer.core.files import lock_folder, locked_folder, write_file
from edgexfer.core.held import held_place

HOLDS = """
import sys, time
from pathlib import Path
from edgexfer.core.files import locked_folder
from edgexfer.core.held import held_place
with {0}(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def holder(how: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `place` until it is killed."""
    command = [sys.executable, "-c", HOLDS.format(how), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_says_who_is_there_and_since_when(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "mine"
    with holder("held_place", out) as first:
        with pytest.raises(BusyError) as caught, held_place(out):
            pass
        assert f"process {first.pid} (since 20" in caught.value.message
        assert f"is at work on {out}" in caught.value.message
        assert "let it end" in caught.value.hint
        with held_place(out.with_name("other")):
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert names(out.parent) == [".mine.lock"]  # nobody's: the next takes it over
    with held_place(out):
        assert names(out.parent) == [".mine.lock"]
    assert names(out.parent) == []
    with held_place(tmp_path / "new" / "deep" / "mine"):
        pass
    assert names(tmp_path) == ["runs"]  # nothing came into the others


def test_the_second_waits_where_it_is_told_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "mine"
    with holder("held_place", out) as first:
        began = time.monotonic()
        with pytest.raises(BusyError, match=r"; waited \d+ s for it"), held_place(out, wait_s=0.3):
            pass
        assert time.monotonic() - began >= 0.3
        threading.Timer(0.3, first.kill).start()
        with held_place(out, wait_s=600):
            assert names(tmp_path) == [".mine.lock"]
    assert f"waiting for process {first.pid}" in caplog.text
    assert names(tmp_path) == []


def test_one_thread_may_hold_it_twice_and_another_may_not(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    refused: list[BaseException] = []

    def other() -> None:
        try:
            with held_place(out):
                pass
        except BusyError as error:
            refused.append(error)

    with held_place(out), held_place(out):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert str(os.getpid()) in str(refused[0])
    with held_place(out):
        pass


def test_many_take_turns_and_none_is_there_with_another(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with held_place(tmp_path / "mine", wait_s=600):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert names(tmp_path) == []


def test_what_killed_processes_left_goes_when_the_place_is_held(tmp_path: Path) -> None:
    for name in (".run.01234567.scratch", ".run.01234567.tmp", ".run.01234567.new", ".other.01234567.tmp"):
        (tmp_path / name / "deep").mkdir(parents=True)
    with held_place(tmp_path / "run"):
        assert names(tmp_path) == [".other.01234567.tmp", ".run.lock"]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("dear", encoding="utf-8")
    (tmp_path / ".run.lock").symlink_to(precious)
    with pytest.raises(EdgexferError, match="symbolic links"), held_place(tmp_path / "run"):
        pass
    assert precious.read_text(encoding="utf-8") == "dear"


def test_who_waits_for_a_folder_names_its_holder_and_gives_up_in_time(tmp_path: Path) -> None:
    with holder("locked_folder", tmp_path) as first:
        with pytest.raises(BusyError) as caught, locked_folder(tmp_path, wait_s=0.2):
            pass
        who = f"process {first.pid} (since 20" if sys.platform == "linux" else "another process"
        assert f"{tmp_path} is in use by {who}" in caught.value.message
        assert "waited 0 s" in caught.value.message
        first.kill()
        first.wait()
        with locked_folder(tmp_path, wait_s=60) as locked:
            assert locked


def test_a_file_that_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    mine, dead = tmp_path / ".a.json.01234567.tmp", tmp_path / ".a.json.76543210.tmp"
    mine.write_bytes(b"half")
    dead.write_bytes(b"half")
    lock = lock_folder(mine)
    assert lock is not None
    write_file(tmp_path / "a.json", "whole")
    assert names(tmp_path) == [mine.name, "a.json"]
    os.close(lock)
    write_file(tmp_path / "a.json", "whole")
    assert names(tmp_path) == ["a.json"]
