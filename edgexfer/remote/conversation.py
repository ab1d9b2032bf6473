"""Requests to the agent on one device, and its answers; what goes wrong becomes one line that names the host."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from typing import Any

from edgexfer.core.errors import RemoteError
from edgexfer.remote.bootstrap import agent_source
from edgexfer.remote.link import Link
from edgexfer.remote.ssh import CONNECT_S, explain
from edgexfer.remote.wire import Frame

OLDEST = (3, 10)
_START_S = 60.0
_HELLO_S = 180.0
"""From Python's first word to the agent's: it may have to wait for another agent at the store."""
_BEAT_S = 5.0
_PATIENCE = 4.0
"""This side waits so many times longer than the agent does: a board that swaps is slow, and not dead."""

log = logging.getLogger(__name__)


class Conversation:
    """A link, and who is spoken to over it.

    Args:
        host: as the user named it.
        python: the interpreter there, as the user named it.
        command: that starts it, see `ssh.ssh_command`.
        on_news: called with a sentence when something there takes time.

    Attributes:
        host: as the user named it.
        news: `on_news`.
    """

    def __init__(self, host: str, python: str, command: Sequence[str], on_news: Callable[[str], None]) -> None:
        self.host = host
        self.news = on_news
        self._python = python
        self._aborted = False
        self._link = Link(command)

    def greet(self, silence_s: float) -> dict[str, Any]:
        """Starts the agent and returns the facts that it greets with.

        Args:
            silence_s: after how many seconds without a sign of this side the agent gives up.

        Raises:
            RemoteError: there is no connection, no Python that is new enough, or no place to write to.
        """
        self._check_python(self._first().header["version"])
        self._link.write(agent_source(silence_s))
        hello = self._judge(
            self._within(_HELLO_S, "has started Python but no agent", "is its disk full, or stuck? look there")
        )
        self._link.keep_alive(min(_BEAT_S, silence_s / 4), _PATIENCE * silence_s)
        return {key: value for key, value in hello.header.items() if key != "is"}

    def ask(self, header: dict[str, Any], payload: bytes = b"") -> dict[str, Any]:
        """Sends a request and returns the answer.

        Raises:
            RemoteError: it was refused, or the connection was lost.
            RuntimeError: the agent failed: a bug of ours, with its traceback.
        """
        self.request(header, payload)
        while (frame := self.receive()).header["is"] != "done":
            log.info("%s: %s", self.host, frame.payload.decode("utf-8", "replace"))
        return frame.header

    def request(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Sends a request, or a part of one. An answer that came before says that it has failed already.

        Raises:
            RemoteError: it has, or the connection was lost.
        """
        while self._link.waiting():
            self._judge(self._link.receive())
        if not self._link.send(header, payload):
            self.receive()

    def tell(self, header: dict[str, Any]) -> None:
        """Sends what is not answered, wherever the connection still stands."""
        self._link.send(header)

    def receive(self) -> Frame:
        """Returns the next frame that is no error.

        Raises:
            RemoteError: it is one, or the connection was lost.
            RuntimeError: the agent failed: a bug of ours, with its traceback.
        """
        while (frame := self._judge(self._link.receive())).header["is"] == "news":
            self.news(f"{self.host}: {frame.payload.decode('utf-8', 'replace')}")
        return frame

    def close(self) -> None:
        """Ends the connection; the agent cleans up and goes."""
        self._link.close()

    def abort(self) -> None:
        """Breaks the connection off; who waits for an answer gets a RemoteError. From any thread."""
        self._aborted = True
        self._link.abort()

    def _judge(self, frame: Frame | None) -> Frame:
        if frame is None:
            raise self._lost()
        if frame.header["is"] == "error":
            raise RemoteError(f"{self.host}: {frame.header['message']}", frame.header["hint"])
        if frame.header["is"] == "bug":
            raise RuntimeError(f"the agent on {self.host} failed:\n{frame.payload.decode('utf-8', 'replace')}")
        return frame

    def _first(self) -> Frame:
        # The first word comes from the interpreter; before it `ssh` may take its own time to connect.
        return self._judge(
            self._within(
                CONNECT_S + _START_S,
                "let us in but starts no Python",
                "does a start-up file of the shell there wait for something?",
            )
        )

    def _within(self, seconds: float, found: str, hint: str) -> Frame | None:
        try:
            return self._link.receive(seconds)
        except queue.Empty:
            self._link.abort()
            raise RemoteError(f"{self.host} {found} within {seconds:.0f} s", hint) from None

    def _lost(self) -> Exception:
        if self._aborted:
            return RemoteError(f"the connection to {self.host} was broken off")
        code = self._link.close()
        if self._link.silent_s is not None:
            return RemoteError(
                f"{self.host} has said nothing for {self._link.silent_s:.0f} s, though the connection stands",
                "is it out of memory, or its disk stuck? look there, then run it again: it goes on where it stopped",
            )
        if self._link.fault:
            return RemoteError(
                f"{self.host}: {self._link.fault}", "does a start-up file of the shell there print that?"
            )
        return explain(self.host, self._python, self._link.said, code)

    def _check_python(self, version: str) -> None:
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise RemoteError(
                f"{self.host} has Python {version} as {self._python}, edgexfer needs {OLDEST[0]}.{OLDEST[1]} or later",
                "name another one there; on JetPack 5 (Python 3.8) build the engine with trtexec: docs/jetson.md",
            )
