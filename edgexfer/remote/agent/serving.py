"""What one connection holds on the device: its home, what runs, and the way back to the other side."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgexfer.remote.agent import store
from edgexfer.remote.agent.child import Children
from edgexfer.remote.agent.home import Home, RefusalError
from edgexfer.remote.wire import encode

_FINISH_S = 5.0


class Agent:
    """What one connection holds on the device.

    Attributes:
        home: where files lie.
        children: what runs.
        incoming: files that are being received.
        path: what is put on PYTHONPATH of what runs: edgexfer, and packages that were missing.
        working: held by the main thread while it does what a request asks for.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.children = Children()
        self.incoming = store.Incoming(home)
        self.path: list[Path] = []
        self._sending = threading.Lock()
        self._leaving = threading.Lock()
        self.working = threading.Lock()
        self._waits = False

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Sends one frame; from any thread."""
        data = encode(header, payload)
        with self._sending:
            while data:
                data = data[os.write(1, data) :]

    def beat(self) -> None:
        """Answers a sign of life, where that holds nobody up: what else is being sent is a sign as well."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            # A pipe that can be written to takes 4096 bytes at once (POSIX: PIPE_BUF): who listens is not held up.
            if select.select([], [1], [], 0)[1]:
                os.write(1, encode({"is": "beat"}))
        finally:
            self._sending.release()

    def line(self, stream: str, text: bytes) -> None:
        """Passes on a line of a program that runs."""
        with suppress(ConnectionError):  # the main thread meets it too, and leaves
            self.send({"is": "line", "stream": stream}, text)

    def wait(self, holder: str) -> None:
        """Says once that another run is in the way, and which; raises where nobody waits any more."""
        if self.children.closed:
            raise RefusalError("the connection ended")
        if not self._waits:
            self._waits = True
            self.send({"is": "news"}, f"another run is at work there ({holder}); waiting for its end".encode())

    def leave(self) -> None:
        """Kills what runs, removes what is unfinished, and ends the process; from any thread, and once."""
        if self._leaving.acquire(blocking=False):
            self.children.close()
            # What the main thread has in hand it finishes first, lest it write behind the back of who removes.
            self.working.acquire(timeout=_FINISH_S)
            self.home.leave()
            os._exit(0)
