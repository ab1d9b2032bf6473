"""What a device answers: facts of itself, and how a verb ended there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgexfer.remote.conversation import Conversation
from edgexfer.remote.said import check_ended

_TAIL_LINES = 200


@dataclass(frozen=True)
class Facts:
    """What the device says of itself.

    Attributes:
        python: version of its interpreter.
        executable: path of it.
        machine: such as "aarch64".
        system: the operating system in one line.
        board: what the device tree names the board; "" where there is none.
        l4t: first line of /etc/nv_tegra_release; "" where it is no Jetson.
        free_bytes: on the disk where files are put.
        home: the agent's folder.
        run: the name of this connection's own folder in `home`/runs.
        pid: process id of the agent.
    """

    python: str
    executable: str
    machine: str
    system: str
    board: str
    l4t: str
    free_bytes: int
    home: str
    run: str
    pid: int


@dataclass(frozen=True)
class RunResult:
    """How a verb ended on the device.

    Attributes:
        returncode: 0 done or passed, 1 a gate failed, 3 inconclusive.
        stdout_tail: its last lines.
        stderr_tail: its last lines.
        seconds: how long it took there.
        files: name -> content of the results that it wrote.
    """

    returncode: int
    stdout_tail: str
    stderr_tail: str
    seconds: float
    files: dict[str, bytes] = field(repr=False)


def run_verb(
    talk: Conversation, argv: Sequence[str], results: Sequence[str], on_line: Callable[[str, str], None] | None
) -> RunResult:
    """Asks the device to run a verb, and listens until it has ended; see `Device.run`."""
    tails: dict[str, list[str]] = {"out": [], "err": []}
    files: dict[str, bytearray] = {}
    wanted: dict[str, Any] = {}
    talk.request({"do": "run", "argv": list(argv), "results": list(results)})
    while (frame := talk.receive()).header["is"] != "done":
        if frame.header["is"] == "line":
            text = frame.payload.decode("utf-8", "replace")
            tail = tails[frame.header["stream"]]
            tail.append(text)
            del tail[:-_TAIL_LINES]
            if on_line is not None:
                on_line(frame.header["stream"], text)
            continue
        if frame.header["is"] == "result":
            wanted = frame.header
        file = files.setdefault(wanted["name"], bytearray())
        file += frame.payload
        if len(file) == wanted["bytes"] and hashlib.sha256(file).hexdigest() != wanted["sha256"]:
            raise RuntimeError(f"{wanted['name']} was changed on its way from {talk.host}")
    out, err = ("\n".join(tails[stream]) for stream in ("out", "err"))
    code = int(frame.header["code"])
    check_ended(talk.host, argv, code, err)
    return RunResult(
        code, out, err, float(frame.header["seconds"]), {name: bytes(file) for name, file in files.items()}
    )
