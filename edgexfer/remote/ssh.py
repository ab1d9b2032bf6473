"""The `ssh` program: which options it is started with, and what its refusals mean.

The user's own keys, agent, ~/.ssh/config and known_hosts count. What is added makes it ask nothing and check the host
key always; what is taken away would leave something behind or stand in the way (forwardings, a shared master).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

from edgexfer.core.errors import MissingPartError, RemoteError, SettingsError

# Names a configuration for `ssh -F` in place of ~/.ssh/config: for tests and for machines shared by many.
CONFIG_VARIABLE = "EDGEXFER_SSH_CONFIG"
CONNECT_S = 15
_OPTIONS = {
    "BatchMode": "yes",  # a question would wait for an answer forever
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "ControlMaster": "no",  # a master would stay behind
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
_GO_ON = "run it again: it goes on where it stopped"


def check_host(host: str) -> str:
    """Returns `host` ("user@host", an alias of ~/.ssh/config, "ssh://user@host:port"), if it can be one.

    Raises:
        SettingsError: it is empty, looks like an option of ssh, or has characters that no host has.
    """
    name = host.removeprefix("ssh://").rpartition("@")[2]
    if not name or host.startswith("-") or name.startswith("-") or not re.fullmatch(r"[\w.:@/\[\]%+~-]+", host):
        raise SettingsError(f"{host!r} is not a host", "such as --on me@orin, --on orin, --on ssh://me@10.0.0.7:2222")
    return host


def ssh_command(host: str, python: str, bootstrap: str, config: Path | None = None) -> list[str]:
    """Returns the command that runs `bootstrap` on `host` with the interpreter `python`.

    Args:
        host: as `check_host` has returned it.
        python: name or path of the interpreter there; may begin with `~/`.
        bootstrap: a program without quotes, backslashes, or `!`, so that every shell takes it as it is.
        config: for `ssh -F`; by default what EDGEXFER_SSH_CONFIG names, else the user's own.

    Raises:
        MissingPartError: there is no ssh on this machine.
        SettingsError: `python` is no name of a program.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise MissingPartError("ssh is not installed on this machine", "sudo apt-get install openssh-client")
    if not python or python.startswith("-") or any(ord(letter) < 32 for letter in python):
        raise SettingsError(f"{python!r} is not a Python", "such as python3, or ~/venv/bin/python")
    chosen = str(config) if config is not None else os.environ.get(CONFIG_VARIABLE, "")
    options = [f"-o{key}={value}" for key, value in _OPTIONS.items()]
    # The shell there expands ~ where it is not quoted.
    home, path = ("~/", python[2:]) if python.startswith("~/") else ("", python)
    command = f"exec {home}{shlex.quote(path)} -u -c {shlex.quote(bootstrap)}"
    return [ssh, *(["-F", chosen] if chosen else []), *options, "-T", "--", host, command]


def explain(host: str, python: str, said: str, code: int | None) -> Exception:
    """Returns the error that tells why the connection could not be made, or ended; RemoteError but for bugs of ours.

    Args:
        host: as the user named it.
        python: the interpreter that was to be started.
        said: what `ssh`, and the other side's shell, wrote on standard error.
        code: exit code of `ssh`: 255 for its own troubles, else what the command there ended with.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "it was lost, or the agent was killed there"
    once = f"run `ssh {host}` once"
    for pattern, message, hint in (
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            f"the host key of {host} is not the one that is known: it was installed anew, or another machine answers",
            f"where it was installed anew, {_forget(said, host)}, then {once} and compare the key",
        ),
        (
            "Host key verification failed|host key is known",
            f"the host key of {host} is not known on this machine",
            f"{once}, compare the key, and accept it",
        ),
        (
            r"Permission denied \(|Too many authentication failures",
            f"{host} lets nobody in with your keys: {_find(lines, 'Permission denied|Too many')}",
            f"ssh-copy-id {host}; a key with a passphrase goes into the agent first: ssh-add",
        ),
        (
            "Could not resolve hostname",
            f"no host is called {host}: {_find(lines, 'Could not resolve')}",
            "check the name; an alias needs an entry `Host` in ~/.ssh/config",
        ),
        (
            "Connection refused|timed out|No route to host|Network is unreachable|Operation timed out|banner exchange",
            f"cannot reach {host}: {_find(lines, 'refused|timed out|No route|unreachable|banner')}",
            "is it switched on, in this network, and does it run an SSH server?",
        ),
        (
            "Timeout, server|Connection reset|Connection closed|closed by remote|Broken pipe",
            f"the connection to {host} was lost: {_find(lines, 'Timeout|reset|closed|Broken')}",
            _GO_ON,
        ),
    ):
        if code == 255 and re.search(pattern, said):
            return RemoteError(message, hint)
    if "Traceback (most recent call last)" in said:
        return RuntimeError(f"the agent on {host} failed:\n{said}")
    if code in (126, 127) or (code == 1 and "ommand not found" in said):  # 1: csh
        why = _find(lines, "not found|No such file|[Pp]ermission denied|Unknown command") or last
        return RemoteError(f"{host} cannot start {python}: {why}", "sudo apt-get install python3, on the device")
    if code is not None and code < 0:
        return RemoteError(f"the connection to {host} was ended by signal {-code}", _GO_ON)
    return RemoteError(f"the connection to {host} ended: {last}", _GO_ON)


def _find(lines: list[str], pattern: str) -> str:
    return next((line for line in lines if re.search(pattern, line)), "")


def _forget(said: str, host: str) -> str:
    # ssh itself names the command, with the right file and port in it.
    told = re.search(r"ssh-keygen -f .+", said)
    return f"forget the old one: {told[0].strip()}" if told else f"forget the old one: ssh-keygen -R {host}"
