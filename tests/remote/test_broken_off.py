"""Whatever is killed, and whenever: nothing is left running, nothing half-made is found, and the next run ends well."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgexfer.core.errors import RemoteError
from edgexfer.core.manifest import read_manifest
from edgexfer.remote.agent.child import GRACE_S, Children
from edgexfer.remote.device import Device
from tests.remote.sshd import Server

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")

KILLS = 10
# What a person's process does, from the first to the last step; it says where it is.
LOCAL = """
import json, sys
from pathlib import Path
from edgexfer.remote.device import Device
config, bundle, images, seconds = sys.argv[1:]
rows = [(Path(images, name), name, "a") for name in ("1.bin", "2.bin", "3.bin")]
with Device("device", python=sys.executable, ssh_config=Path(config)) as device:
    device.install(extras=("cpu",))
    place, data = device.send_bundle(Path(bundle)), device.send_images(rows)
    print("running", flush=True)
    done = device.run(["bench", place, "--seconds", seconds, "--json", "r.json"], results=("r.json",))
    assert json.loads(done.files["r.json"])["kind"] == "latency"
    print("done", flush=True)
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three files of some megabytes: sending them takes a while."""
    for number in (1, 2, 3):
        (tmp_path / f"{number}.bin").write_bytes(random.Random(number).randbytes(4 << 20))
    return tmp_path


def start(server: Server, bundle: Path, images: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOCAL, str(server.config), str(bundle), str(images), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(server: Server) -> None:
    """Nothing unfinished is there, and what is there is what it says it is."""
    assert not (server.on / "runs").exists() or list((server.on / "runs").iterdir()) == []
    for name, sha256 in server.files().items():
        if name.startswith("files/"):
            assert name == f"files/{sha256}"
    for bundle in (server.on / "bundles").glob("*/*"):
        read_manifest(bundle, "bundle")
    for images in (server.on / "data").glob("*/data"):
        assert {path.name for path in images.iterdir()} == {"1.bin", "2.bin", "3.bin", "images.csv"}
    for python in (server.on / "python").glob("*"):
        assert {"edgexfer"} < {path.name for path in python.iterdir()}


@pytest.mark.slow
def test_killed_at_ten_random_moments_a_following_run_ends_well(
    server: Server, bundle_folder: Path, images: Path
) -> None:
    begun = time.monotonic()
    whole = start(server, bundle_folder, images, 0.2)
    said, complaint = whole.communicate(timeout=60)
    assert (said, whole.returncode) == ("running\ndone\n", 0), complaint
    takes_s = time.monotonic() - begun
    moments = random.Random(20240611)
    for turn in range(KILLS + 2):
        if turn % 2 == 0:  # from the beginning, and in between from where the last one was killed
            shutil.rmtree(server.on, ignore_errors=True)
        with start(server, bundle_folder, images, 0.2) as process:
            time.sleep(moments.uniform(0, takes_s))
            for pid in [process.pid] if turn < KILLS else sessions(server):
                with suppress(ProcessLookupError):  # it may just have ended by itself
                    os.kill(pid, signal.SIGKILL)
            process.communicate(timeout=60)
        server.wait_until_idle()
        check_whole(server)
    last = start(server, bundle_folder, images, 0.2)
    said, complaint = last.communicate(timeout=60)
    assert (said, last.returncode) == ("running\ndone\n", 0), complaint
    server.wait_until_idle()
    check_whole(server)


def test_ctrl_c_ends_what_runs_there_and_sweeps_up(server: Server, bundle_folder: Path, images: Path) -> None:
    with start(server, bundle_folder, images, 60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        wait_for_verb(server)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        # In order: when the process has ended, nothing of it is left there either.
        assert server.processes() == {}
        check_whole(server)
    assert process.returncode == -signal.SIGINT


def test_a_connection_that_the_server_loses(server: Server, bundle_folder: Path) -> None:
    with running(server, bundle_folder) as (_, caught):
        for pid in sessions(server):
            os.kill(pid, signal.SIGKILL)
    assert "the connection to device" in caught[0].message
    assert caught[0].hint == "run it again: it goes on where it stopped"


def test_an_agent_that_is_told_to_end(server: Server, bundle_folder: Path) -> None:
    with running(server, bundle_folder) as (device, caught):
        os.kill(device.facts.pid, signal.SIGTERM)
    assert "the connection to device" in caught[0].message


def test_an_agent_that_is_killed_takes_its_verb_along(server: Server, bundle_folder: Path) -> None:
    with running(server, bundle_folder) as (device, caught):
        os.kill(device.facts.pid, signal.SIGKILL)
    assert "the connection to device" in caught[0].message
    (left,) = (server.on / "runs").iterdir()  # it could not: whoever comes next does it
    with server.device() as device:
        assert not left.exists()


def test_a_verb_that_is_killed(server: Server, bundle_folder: Path) -> None:
    with running(server, bundle_folder) as (device, caught):
        for pid in children_of(device.facts.pid):
            os.kill(pid, signal.SIGKILL)
    assert caught[0].message == "device: edgexfer bench was killed by SIGKILL"
    assert "memory" in caught[0].hint


def test_a_link_that_falls_silent(server: Server, bundle_folder: Path) -> None:
    with running(server, bundle_folder, silence_s=3) as (device, _):
        (ssh,) = (pid for pid, command in server.processes().items() if str(server.config) in command)
        os.kill(ssh, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while len(server.processes()) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(server.processes()) == [ssh]
        assert list((server.on / "runs").iterdir()) == []
        device.abort()


def test_a_link_that_is_alive_but_has_nothing_to_say(server: Server, bundle_folder: Path) -> None:
    with server.device(silence_s=2) as device:
        time.sleep(2.5)
        assert device.send_bundle(bundle_folder)


def test_a_program_that_does_not_want_to_end_is_killed_with_its_own(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    children, heard = Children(), list[bytes]()

    def close(_: str, line: bytes) -> None:
        heard.append(line)
        threading.Thread(target=children.close).start()

    begun = time.monotonic()
    assert children.run(["stubborn"], tmp_path, [tmp_path], close) is None
    assert GRACE_S <= time.monotonic() - begun < 30
    child, ended = Path("/proc", heard[0].decode(), "stat"), ([], ["Z"])
    while _stat(child)[:1] not in ended and time.monotonic() - begun < 60:
        time.sleep(0.05)  # a busy kernel takes its time to end what was killed
    assert _stat(child)[:1] in ended
    assert children.run(["stubborn"], tmp_path, [tmp_path], close) is None  # nothing starts any more
    assert len(heard) == 1


@contextmanager
def running(server: Server, bundle: Path, silence_s: float = 30) -> Iterator[tuple[Device, list[RemoteError]]]:
    """Yields a device on which a verb runs, in a thread; afterwards the error that ended it is in the list."""
    caught: list[RemoteError] = []
    with server.device(silence_s=silence_s) as device:
        device.install(extras=("cpu",))
        place = device.send_bundle(bundle)

        def work() -> None:
            try:
                device.run(["bench", place, "--seconds", "60"])
            except RemoteError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        wait_for_verb(server)
        yield device, caught
        thread.join(20)
        assert not thread.is_alive()
        device.close()
    server.wait_until_idle()
    assert len(caught) == 1


def wait_for_verb(server: Server) -> None:
    deadline = time.monotonic() + 20
    while not any(command.endswith("--seconds 60 ") or " bench " in command for command in server.processes().values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # into the work itself


def children_of(pid: int) -> list[int]:
    """Returns the process ids of those whose parent is `pid`."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _stat(path)[1:2] == [str(pid)]]


def sessions(server: Server) -> list[int]:
    """Returns the process ids of every sshd that serves a connection; with separated privileges two each."""
    found = children_of(server.pid)
    for pid in found:
        found += [child for child in children_of(pid) if "sshd" in Path("/proc", str(child), "comm").read_text()]
    return found


def _stat(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rpartition(")")[2].split()  # state, parent, ...
    except OSError:
        return []
