"""The agent's loop: one request after the other, while a thread listens whether the other side is still there."""

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
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgexfer.remote.agent.home import Home, RefusalError, home_path
from edgexfer.remote.agent.requests import REQUESTS
from edgexfer.remote.agent.serving import Agent
from edgexfer.remote.wire import Decoder, Frame, WireError, encode

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


def main(silence_s: float) -> None:
    """Serves until the other side is gone.

    Args:
        silence_s: how long, in seconds, nothing may be heard of it.
    """
    try:
        agent = Agent(Home(home_path()))
    except RefusalError as refusal:
        os.write(1, encode(_refusal(refusal)))
        return
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
            frame = frames.get()
            with agent.working:
                _answer(agent, frame)
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
                continue
            with suppress(ConnectionError):  # the main thread meets it too, and leaves
                agent.beat()


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
