"""Whatever hangs on the way to a device or on it, the waiting ends, and what was waited for is named with how long."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgexfer.core.errors import RemoteError
from edgexfer.remote import conversation, ssh
from edgexfer.remote.agent import home as agent_home
from edgexfer.remote.agent.home import Home, RefusalError
from edgexfer.remote.bootstrap import MARK
from edgexfer.remote.device import Device
from tests.remote.sshd import Server


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port where somebody takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def _nothing_hangs_on(server: Server) -> Iterator[None]:
    # sshd leaves a program alone whose client has gone and which does not read its input, as `hanging` does.
    yield
    for process, command in server.processes().items():
        if command.startswith("sleep 600"):
            os.kill(process, signal.SIGKILL)


def refused(device: Device) -> RemoteError:
    with pytest.raises(RemoteError) as caught, device:
        pass
    assert caught.value.hint
    return caught.value


def hanging(server: Server, before: str) -> str:
    """A Python that says `before` and then nothing, for ever."""
    path = server.home / "hanging"
    path.write_text(f"#!/bin/sh\n{before}\nexec sleep 600\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_takes_the_connection_and_says_nothing(
    server: Server, mute_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ssh._OPTIONS, "ConnectTimeout", "1")
    said = refused(server.device(ssh_config=server.client("mute", Port=str(mute_port))))
    assert said.message.startswith("cannot reach device: ")
    assert "timed out" in said.message


def test_a_shell_that_starts_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "CONNECT_S", 0)
    monkeypatch.setattr(conversation, "_START_S", 1.0)
    said = refused(server.device(python=hanging(server, ":")))
    assert said.message == "device let us in but starts no Python within 1 s"


def test_a_python_that_starts_no_agent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_HELLO_S", 1.0)
    said = refused(server.device(python=hanging(server, f"echo '{MARK} 3.11.0'")))
    assert said.message == "device has started Python but no agent within 1 s"


def test_an_agent_that_says_nothing_any_more(server: Server, bundle_folder: Path) -> None:
    with server.device(silence_s=1.5) as device:
        agent = device.facts.pid
        os.kill(agent, signal.SIGSTOP)
        with pytest.raises(RemoteError) as caught:
            device.send_bundle(bundle_folder)
        os.kill(agent, signal.SIGCONT)
        device.close()
    assert "device has said nothing for " in caught.value.message
    assert caught.value.message.endswith(" s, though the connection stands")
    assert "goes on where it stopped" in caught.value.hint


def test_a_device_that_another_run_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds = (
        "import sys, time\nfrom pathlib import Path\nfrom edgexfer.remote.agent.home import Home\n"
        "home = Home(Path(sys.argv[1]))\n"
        "with home.busy(lambda who: None), home.locked():\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    mine = Home(tmp_path)
    with subprocess.Popen([sys.executable, "-c", holds, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        who = f"process {other.pid}, since {time.strftime('%Y-')}"
        told: list[str] = []
        monkeypatch.setattr(agent_home, "DEVICE_S", 0.2)
        monkeypatch.setattr(agent_home, "STORE_S", 0.2)
        for enter in (lambda: mine.busy(told.append), mine.locked):
            with pytest.raises(RefusalError) as caught, enter():
                pass
            assert f"another run holds {tmp_path} ({who}" in caught.value.message
            assert "waited 0 s" in caught.value.message
        assert told
        assert all(said.startswith(who) for said in told)
        other.kill()
        other.wait()
    with mine.busy(told.append), mine.locked():
        pass
    mine.leave()
