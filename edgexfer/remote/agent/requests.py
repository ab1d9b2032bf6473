"""What the other side may ask for: a function for each request, whose docstring says its keys and its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexfer.remote.agent import packages, store
from edgexfer.remote.agent.serving import Agent
from edgexfer.remote.wire import PART_BYTES, Frame


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


def _stored(agent: Agent, _: Frame) -> dict[str, Any] | None:
    """`stored`: that was the last file -> {} when all of them are whole and in the store.

    Where one of them failed, that has been answered already, and no answer comes.
    """
    return {} if agent.incoming.end() else None


def _dropped(agent: Agent, _: Frame) -> None:
    """`dropped`: no more files come, and the last one is not complete; no answer."""
    agent.incoming.drop()


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
    with agent.home.scratch("work") as folder:
        folder.mkdir()
        with agent.home.busy(agent.wait):
            begun = time.monotonic()
            code = agent.children.run(["edgexfer", *frame.header["argv"]], folder, agent.path, agent.line)
            seconds = time.monotonic() - begun
        if code is None:
            return None
        for name in frame.header["results"]:
            if (folder / name).is_file():
                _send_file(agent, name, folder / name)
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
    "dropped": _dropped,
    "python": _python,
    "bundle": _folder,
    "data": _folder,
    "run": _run,
    "trim": _trim,
}
