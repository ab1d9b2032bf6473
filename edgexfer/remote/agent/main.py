"""The agent's loop: one request after the other, while a thread listens whether the other side is still there.

Each request is a function here, whose docstring says its keys and its answer.
"""

from __future__ import annotations

import errno
import os
import platform
import queue
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgexfer.remote.agent import packages, store
from edgexfer.remote.agent.child import Children
from edgexfer.remote.agent.home import Home, RefusalError, home_path
from edgexfer.remote.wire import PART_BYTES, Decoder, Frame, WireError, encode

_QUEUED = 64
_HINTS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "your quota on the device is used up: free some space there",
    errno.EFBIG: "files there may not become as large: see `ulimit -f`",
    errno.EACCES: "make it writable for you, or set XDG_CACHE_HOME there",
    errno.EPERM: "make it writable for you, or set XDG_CACHE_HOME there",
    errno.EROFS: "that file system is read-only: set XDG_CACHE_HOME there",
    errno.ENOTDIR: "a part of that path is a file: remove it, or set XDG_CACHE_HOME there",
    errno.EEXIST: "a part of that path is a file: remove it, or set XDG_CACHE_HOME there",
}


class Agent:
    """What one connection holds on the device."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.children = Children()
        self.incoming = store.Incoming(home)
        self.path: list[Path] = []
        self._sending = threading.Lock()
        self._leaving = threading.Lock()

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Sends one frame; from any thread."""
        data = encode(header, payload)
        with self._sending:
            while data:
                data = data[os.write(1, data) :]

    def line(self, stream: str, text: bytes) -> None:
        """Passes on a line of a program that runs."""
        with suppress(ConnectionError):  # the main thread meets it too, and leaves
            self.send({"is": "line", "stream": stream}, text)

    def leave(self) -> None:
        """Kills what runs, removes what is unfinished, and ends the process; from any thread, and once."""
        if self._leaving.acquire(blocking=False):
            self.children.close()
            self.home.leave()
            os._exit(0)


def main(silence_s: float) -> None:
    """Serves until the other side is gone.

    Args:
        silence_s: how long, in seconds, nothing may be heard of it.
    """
    try:
        agent = Agent(Home(home_path()))
    except OSError as error:
        os.write(1, encode(_refusal(_explain(error, str(home_path())))))
        return
    frames: queue.Queue[Frame] = queue.Queue(_QUEUED)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # In a thread: the one that is interrupted may hold the lock that leaving needs.
        signal.signal(number, lambda *_: threading.Thread(target=agent.leave).start())
    threading.Thread(target=_listen, args=(agent, frames, silence_s), daemon=True).start()
    try:
        agent.send({"is": "hello", **_facts(agent.home)})
        while True:
            _answer(agent, frames.get())
    except ConnectionError:  # sshd's end of the socket is closed, or was closed before it had read all
        pass
    finally:
        agent.leave()
        threading.Event().wait()  # another thread leaves: it ends the process


def _listen(agent: Agent, frames: queue.Queue[Frame], silence_s: float) -> None:
    decoder = Decoder()
    while True:
        # While the queue is full nothing is read, and no silence is counted: the disk is slow, not the other side.
        ready, _, _ = select.select([0], [], [], silence_s)
        try:
            data = os.read(0, 1 << 16) if ready else b""
            heard = decoder.feed(data)
        except (ConnectionError, WireError):
            data = b""
        if not data:
            agent.leave()
            return
        for frame in heard:
            if frame.header.get("do") != "beat":
                frames.put(frame)


def _answer(agent: Agent, frame: Frame) -> None:
    name = str(frame.header["do"])
    try:
        answer = REQUESTS[name](agent, frame)
        if answer is not None:
            agent.send({"is": "done", **answer})
    except ConnectionError:
        raise
    except RefusalError as refusal:
        agent.send(_refusal(refusal))
    except OSError as error:
        if error.errno not in _HINTS:
            agent.send({"is": "bug"}, traceback.format_exc().encode())
        else:
            agent.send(_refusal(_explain(error, str(error.filename or agent.home.root))))
    except Exception:  # noqa: BLE001 - the other side raises it
        agent.send({"is": "bug"}, traceback.format_exc().encode())


def _have(agent: Agent, frame: Frame) -> dict[str, Any]:
    """`have`, payload {sha256: size}: which of these files are missing? -> {"missing": [...]}."""
    sizes: dict[str, int] = frame.json()
    absent = store.missing(agent.home, sizes)
    store.require_space(agent.home, sum(sizes[digest] for digest in absent))
    return {"missing": absent}


def _file(agent: Agent, frame: Frame) -> None:
    """`file`, sha256, bytes: that file comes in the following `part`s; no answer."""
    agent.incoming.begin(frame.header["sha256"], frame.header["bytes"])


def _part(agent: Agent, frame: Frame) -> None:
    """`part`: the next bytes of it; no answer."""
    agent.incoming.part(frame.payload)


def _stored(agent: Agent, _: Frame) -> dict[str, Any]:
    """`stored`: that was the last file -> {} when all of them are whole and in the store."""
    agent.incoming.end()
    return {}


def _python(agent: Agent, frame: Frame) -> dict[str, Any] | None:
    """`python`, sha256 of a wheel of edgexfer, requirements: makes both ready for runs.

    -> {"missing": true} where the wheel is to be sent first, else {"missing": false}.
    """
    place = packages.unpack(agent.home, frame.header["sha256"])
    if place is None:
        return {"missing": True}
    wanted = packages.lacking(frame.header["requirements"])
    agent.path = [place]
    if wanted:
        news = f"pip installs {', '.join(wanted)}".encode()
        folder = packages.provide(
            agent.home, agent.children, wanted, lambda: agent.send({"is": "news"}, news), agent.line
        )
        if folder is None:
            return None
        agent.path.append(folder)
    return {"missing": False}


def _folder(agent: Agent, frame: Frame) -> dict[str, Any]:
    """`bundle` or `data`, name, payload {path in it: sha256}: puts it together from the store -> {"path"}."""
    kind = {"bundle": "bundles", "data": "data"}[frame.header["do"]]
    return {"path": str(store.assemble(agent.home, kind, frame.header["name"], frame.json()))}


def _run(agent: Agent, frame: Frame) -> dict[str, Any] | None:
    """`run`, argv, results: runs a verb of edgexfer in an empty folder.

    {"is": "line", "stream": "out" or "err"} for each line while it runs; then for each of `results` that it wrote
    {"is": "result", "name", "bytes", "sha256"} and {"is": "part"}s -> {"code", "seconds"}.
    """
    folder = agent.home.scratch("work")
    folder.mkdir()
    with agent.home.busy(lambda: agent.send({"is": "news"}, b"another run is at work there; waiting for its end")):
        begun = time.monotonic()
        code = agent.children.run(["edgexfer", *frame.header["argv"]], folder, agent.path, agent.line)
        seconds = time.monotonic() - begun
    if code is None:
        return None
    for name in frame.header["results"]:
        path = folder / name
        if path.is_file():
            _send_file(agent, name, path)
    shutil.rmtree(folder, ignore_errors=True)
    return {"code": code, "seconds": seconds}


def _send_file(agent: Agent, name: str, path: Path) -> None:
    size = path.stat().st_size
    agent.send({"is": "result", "name": name, "bytes": size, "sha256": store.sha256_of(path)})
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            agent.send({"is": "part"}, part)


def _trim(agent: Agent, _: Frame) -> dict[str, Any]:
    """`trim`: removes what nobody uses -> {}."""
    agent.home.trim()
    return {}


REQUESTS: dict[str, Callable[[Agent, Frame], dict[str, Any] | None]] = {
    "have": _have,
    "file": _file,
    "part": _part,
    "stored": _stored,
    "python": _python,
    "bundle": _folder,
    "data": _folder,
    "run": _run,
    "trim": _trim,
}


def _facts(home: Home) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "system": platform.platform(),
        "board": _read("/proc/device-tree/model"),
        "l4t": _read("/etc/nv_tegra_release").split("\n")[0],
        "free_bytes": shutil.disk_usage(home.root).free,
        "home": str(home.root),
        "run": home.run.name,
        "pid": os.getpid(),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _explain(error: OSError, place: str) -> RefusalError:
    return RefusalError(f"cannot write {place}: {error.strerror}", _HINTS.get(error.errno or 0, ""))


def _refusal(refusal: RefusalError) -> dict[str, Any]:
    return {"is": "error", "message": refusal.message, "hint": refusal.hint}
