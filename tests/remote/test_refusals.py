"""What can be wrong with a connection or a device, said in one line with a hint; against a real sshd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgexfer.core.errors import EdgexferError, MissingPartError, RemoteError, SettingsError
from edgexfer.remote.bootstrap import BOOTSTRAP
from edgexfer.remote.device import Device
from edgexfer.remote.ssh import CONFIG_VARIABLE
from tests.remote.sshd import Server


def refusal(device: Device) -> EdgexferError:
    with pytest.raises(EdgexferError) as caught, device:
        pass
    said = caught.value
    assert said.hint
    assert "\n" not in said.message + said.hint
    return said


@pytest.mark.parametrize(
    "host",
    ["", "-oProxyCommand=touch x", "-oProxyCommand=x", "me@-oProxyCommand=x", "ssh://-oProxyCommand=x", "a b", "a;b",
     "a\nb", "$(x)", "me@"],
)  # fmt: skip
def test_what_is_no_host_is_refused_before_ssh_starts(host: str) -> None:
    with pytest.raises(SettingsError, match="is not a host"):
        Device(host)


@pytest.mark.parametrize("python", ["", "-c", "python3\nrm"])
def test_what_is_no_python_is_refused_before_ssh_starts(python: str) -> None:
    with pytest.raises(SettingsError, match="is not a Python"):
        Device("device", python=python)


def test_no_ssh_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match="ssh is not installed") as caught:
        Device("device")
    assert "openssh-client" in caught.value.hint


def test_every_shell_takes_the_bootstrap_as_it_is() -> None:
    assert not set(BOOTSTRAP) & set("'\\!`\n\r$")


def test_a_host_key_that_is_not_known(server: Server) -> None:
    said = refusal(server.device(ssh_config=server.client("stranger", UserKnownHostsFile="/dev/null")))
    assert said.message == "the host key of device is not known on this machine"
    assert said.hint.startswith("run `ssh device` once")


def test_a_host_key_is_checked_even_where_the_user_has_turned_that_off(server: Server) -> None:
    config = server.client("careless", UserKnownHostsFile="/dev/null", StrictHostKeyChecking="no")
    assert "is not known" in refusal(server.device(ssh_config=config)).message


def test_a_host_key_that_has_changed(server: Server) -> None:
    known = server.folder / "other_known_hosts"
    public = (server.folder / "user.pub").read_text(encoding="utf-8").split()
    known.write_text(f"[127.0.0.1]:{server.port} {public[0]} {public[1]}\n", encoding="utf-8")
    said = refusal(server.device(ssh_config=server.client("changed", UserKnownHostsFile=str(known))))
    assert "the host key of device is not the one that is known" in said.message
    assert f'ssh-keygen -f "{known}" -R "[127.0.0.1]:{server.port}"' in said.hint


def test_a_key_that_opens_nothing(server: Server) -> None:
    config = server.client("keyless", PubkeyAuthentication="no")
    said = refusal(server.device(ssh_config=config))
    assert said.message.startswith("device lets nobody in with your keys: ")
    assert "Permission denied (publickey)" in said.message
    assert said.hint.startswith("ssh-copy-id device")


def test_a_name_that_nobody_has(server: Server) -> None:
    said = refusal(server.device(ssh_config=server.client("unknown", HostName="device.invalid")))
    assert said.message.startswith("no host is called device: ssh: Could not resolve hostname device.invalid")


def test_a_port_where_nobody_listens(server: Server) -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        said = refusal(server.device(ssh_config=server.client("closed", Port=str(taken.getsockname()[1]))))
    assert said.message.startswith("cannot reach device: ")
    assert "Connection refused" in said.message


def test_a_configuration_that_ssh_does_not_read(server: Server) -> None:
    said = refusal(server.device(ssh_config=server.client("wrong", NoSuchOption="yes")))
    assert "NoSuchOption" in said.message or "bad configuration options" in said.message


def test_the_configuration_may_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(server.config))
    with Device(f"ssh://{server.user}@device:{server.port}", python=sys.executable) as device:
        assert device.facts.pid > 0


def test_no_python_there(server: Server) -> None:
    said = refusal(server.device(python="/no/such/python3"))
    assert said.message.startswith("device cannot start /no/such/python3: ")
    assert "not found" in said.message.lower() or "no such file" in said.message.lower()


@pytest.mark.parametrize("version", ["3.6.15", "3.8.18"])
def test_a_python_that_is_too_old(server: Server, version: str) -> None:
    """A Python of that version where there is one; else this one, told to call itself so."""
    old = Path.home() / ".pyenv" / "versions" / version / "bin" / "python3"
    if not old.is_file():
        numbers = version.replace(".", ", ")
        old = server.home / "old python"
        program = f"import sys; sys.version_info = ({numbers}); exec(sys.argv.pop(1))"
        old.write_text(f'#!/bin/sh\nexec {sys.executable} -u -c "{program}" "$3"\n', encoding="utf-8")
        old.chmod(0o755)
    said = refusal(server.device(python=str(old)))
    assert said.message == f"device has Python {version} as {old}, edgexfer needs 3.10 or later"
    assert "trtexec: docs/jetson.md" in said.hint


def test_a_python_below_the_home_is_found(server: Server) -> None:
    (server.home / "my python").symlink_to(sys.executable)
    with server.device(python="~/my python") as device:
        assert device.facts.executable == str(server.home / "my python")


def test_a_home_that_cannot_be_written(server: Server) -> None:
    (server.home / ".cache").write_text("a file where a folder is expected", encoding="utf-8")
    said = refusal(server.device())
    assert said.message.startswith(f"device: cannot write {server.home}/.cache")
    assert "XDG_CACHE_HOME" in said.hint


def test_files_that_may_not_become_so_large(server: Server, bundle_folder: Path) -> None:
    limited = _wrapped(server, "ulimit -f 100")  # half a KiB each: 50 KiB are fewer than edgexfer's wheel has
    with server.device(python=limited) as device:
        device.send_bundle(bundle_folder)
        with pytest.raises(RemoteError, match=r"^device: cannot write .*: File too large") as caught:
            device.install()
        device.send_bundle(bundle_folder)  # what is small enough still goes
    assert "ulimit -f" in caught.value.hint


@pytest.fixture
def small_disk(server: Server) -> Iterator[Path]:
    """A disk of 1.2 MB under the agent's folder: enough for edgexfer's wheel, too small for what is in it."""
    disk = server.home / ".cache"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    try:
        yield disk
    finally:
        server.wait_until_idle()
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_full(server: Server, small_disk: Path, bundle_folder: Path) -> None:
    large = bundle_folder.with_name("large.png")
    large.write_bytes(bytes(2_000_000))
    with server.device() as device:
        with pytest.raises(RemoteError, match=r"has [01] MB free, 2 MB are to be sent"):
            device.send_images([(large, "a/large.png", "a")])
        with pytest.raises(RemoteError, match=r"^device: cannot write .*: No space left on device") as caught:
            device.install()
        device.send_bundle(bundle_folder)  # what is small enough still goes
    assert caught.value.hint == "free some space there"
    assert list((small_disk / "edgexfer" / "on" / "runs").iterdir()) == []


def _wrapped(server: Server, before: str) -> str:
    path = server.home / "wrapped python"
    path.write_text(f'#!/bin/sh\n{before}\nexec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)
