"""A real sshd on 127.0.0.1, as an ordinary process of whoever runs the tests, and what a client needs to trust it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.files import sha256_of_file
from edgexfer.remote.device import Device

_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])


@dataclass(frozen=True)
class Server:
    """A running sshd.

    Attributes:
        folder: holds keys, configurations and the log.
        config: for `ssh -F`; it knows the host `device`, and every other name as this server.
        home: HOME of who logs in.
        pid: of the process that listens.
        port: that it listens on.
    """

    folder: Path
    config: Path
    home: Path
    pid: int
    port: int

    @property
    def user(self) -> str:
        """Who logs in: whoever runs the tests."""
        return getpass.getuser()

    @property
    def on(self) -> Path:
        """The agent's folder there."""
        return self.home / ".cache" / "edgexfer" / "on"

    def device(self, host: str = "device", **options: Any) -> Device:
        """Returns this server as a Device that is not connected yet; its Python is the one that runs the tests."""
        return Device(host, **{"python": sys.executable, "ssh_config": self.config, **options})

    def processes(self) -> dict[int, str]:
        """Returns process id -> command of every agent, verb and shell there, and of every ssh that leads there."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                there = f"HOME={self.home}\0".encode() in (folder / "environ").read_bytes()
                server = Path(command.partition(" ")[0].rstrip(":")).name == "sshd"
                if command and not server and (there or str(self.folder) in command):
                    found[int(folder.name)] = command
        return found

    def wait_until_idle(self, seconds: float = 10) -> None:
        """Waits until nothing of ours runs there any more.

        Raises:
            AssertionError: something still does after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == {}

    def files(self) -> dict[str, str]:
        """Returns path -> SHA-256 of every regular file in the agent's folder, its locks aside."""
        return {
            path.relative_to(self.on).as_posix(): sha256_of_file(path)
            for path in self.on.rglob("*")
            if path.is_file() and path.name not in ("lock", "busy") and "__pycache__" not in path.parts
        }

    def client(self, name: str, **options: str) -> Path:
        """Writes another configuration for `ssh -F`, with these options put first, and returns it."""
        lines = ["Host *\n", *(f"  {key} {value}\n" for key, value in options.items())]
        path = self.folder / f"{name}.config"
        path.write_text("".join(lines) + self.config.read_text(encoding="utf-8"), encoding="utf-8")
        return path


@contextmanager
def serve(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Runs sshd with keys and a home of its own below `folder`; skips the test where there is no OpenSSH."""
    sshd, keygen = shutil.which("sshd", path=_SEARCHED), shutil.which("ssh-keygen")
    if sshd is None or keygen is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH is not installed (apt-get install openssh-server openssh-client)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # which the system's service makes, where there is one
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    home = folder / "home"
    home.mkdir()
    port = _free_port()
    config = folder / "sshd_config"
    setenv = " ".join(f'"{key}={value}"' for key, value in {"HOME": home, **(environment or {})}.items())
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"MaxStartups 100\nSetEnv {setenv}\n",
        encoding="utf-8",
    )
    public = (folder / "host.pub").read_text(encoding="utf-8").split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n", encoding="utf-8")
    client = folder / "client.config"
    client.write_text(
        f"Host *\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder / 'user'}\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
        "  GlobalKnownHostsFile /dev/null\n",
        encoding="utf-8",
    )
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait_for(process, port, folder / "sshd.log")
        probe = subprocess.run(
            ["ssh", "-F", client, "-o", "BatchMode=yes", "device", "true"], check=False, capture_output=True
        )
        if probe.returncode != 0:
            pytest.skip(f"sshd lets {getpass.getuser()} not in here: {probe.stderr.decode()}")
        yield Server(folder, client, home, process.pid, port)
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not listen: {log.read_text(encoding='utf-8')}")
