"""One connection: the `ssh` process, and threads that read from it and keep the agent alive."""

from __future__ import annotations

import functools
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from edgexfer.remote.bootstrap import MARK
from edgexfer.remote.wire import Decoder, Frame, WireError, encode

_MARK = re.compile(rb"%b ([0-9]+\.[0-9]+\.[0-9]+)\r?\n" % MARK.encode())
_GOODBYE_S = 8.0  # the agent gives what runs there 2 s to end, and itself 5 s
_SAID_BYTES = 64 << 10


class Link:
    """A running `ssh`; frames go in and come out. One thread talks; `abort` may come from any.

    Args:
        command: of `ssh`.

    Attributes:
        fault: what came that was no message of the agent; empty where all went well.
        silent_s: for how long nothing came, where the connection was broken off for that; else None.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.fault = ""
        self.silent_s: float | None = None
        self._heard = time.monotonic()
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        self._said = bytearray()
        self._writing = threading.Lock()
        self._closing = threading.Event()
        # Its own session: Ctrl-C on the terminal reaches this process alone, which then ends the link in order. The
        # agent sees the end of its input even where this process is killed: nobody else holds that pipe.
        self._process = subprocess.Popen(  # noqa: S603 - built by ssh.ssh_command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            start_new_session=True,
        )  # fmt: skip
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    @property
    def said(self) -> str:
        """What came on standard error so far; of much the end."""
        return self._said.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Process id of `ssh`."""
        return self._process.pid

    def write(self, data: bytes) -> bool:
        """Writes raw bytes; returns False where the connection has ended."""
        assert self._process.stdin is not None  # noqa: S101
        view = memoryview(data)
        with self._writing:
            try:
                while view:
                    view = view[self._process.stdin.write(view) or 0 :]
            except (OSError, ValueError):  # ValueError: closed by `close`
                return False
        return True

    def send(self, header: dict[str, Any], payload: bytes = b"") -> bool:
        """Sends one frame; returns False where the connection has ended."""
        return self.write(encode(header, payload))

    def keep_alive(self, beat_s: float, patience_s: float) -> None:
        """Sends a sign of life from now on, which the agent answers; not before the agent is there to read it.

        Args:
            beat_s: so often.
            patience_s: after so long without anything from the agent the connection is broken off: `ssh` itself only
                notices that a network or a machine is gone, not that nothing happens there any more.
        """
        for work in (functools.partial(self._beat, beat_s), functools.partial(self._watch, patience_s)):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()

    def receive(self, timeout_s: float | None = None) -> Frame | None:
        """Returns the next frame, None where the connection has ended.

        Raises:
            queue.Empty: none came within `timeout_s`.
        """
        frame = self._frames.get(timeout=timeout_s)
        if frame is None:
            self._frames.put(None)  # for whoever asks again
        return frame

    def waiting(self) -> bool:
        """Tells whether a frame has come that nobody has received."""
        return not self._frames.empty()

    def abort(self) -> None:
        """Kills `ssh` and what it has started (ProxyCommand); who waits for a frame gets None. From any thread."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int | None:
        """Ends the connection: the agent's input ends, it cleans up and goes; `ssh` that does not follow is killed.

        Returns:
            The exit code of `ssh`, where it ended by itself.
        """
        self._closing.set()
        ended = self._process.poll()
        try:
            if ended is None and self._writing.acquire(timeout=1):
                self._end_input()
                self._writing.release()
                with suppress(subprocess.TimeoutExpired):
                    ended = self._process.wait(_GOODBYE_S)
        finally:
            self.abort()
            self._process.wait()
            self._end_input()
            for thread in self._threads:
                thread.join(1)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
        return ended

    def _end_input(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        decoder = Decoder()
        try:
            rest = self._greeting()
            while rest:
                self._heard = time.monotonic()
                for frame in decoder.feed(rest):
                    if frame.header.get("is") != "beat":
                        self._frames.put(frame)
                rest = self._process.stdout.read(1 << 16)
        except (OSError, ValueError, WireError) as error:
            self.fault = str(error)
            self.abort()
        self._frames.put(None)

    def _greeting(self) -> bytes:
        # What a shell's start-up files print comes first, and is not for us.
        assert self._process.stdout is not None  # noqa: S101
        before = bytearray()
        while data := self._process.stdout.read(1 << 16):
            before += data
            if found := _MARK.search(before):
                self._frames.put(Frame({"is": "python", "version": found[1].decode()}))
                return bytes(before[found.end() :]) or self._process.stdout.read(1 << 16)
            if len(before) > 1 << 20:
                raise WireError("the shell there prints without end")
        return b""

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with suppress(OSError, ValueError):
            while data := self._process.stderr.read(1 << 12):
                self._said += data
                del self._said[:-_SAID_BYTES]

    def _beat(self, beat_s: float) -> None:
        while not self._closing.wait(beat_s):
            if not self.send({"do": "beat"}):
                return

    def _watch(self, patience_s: float) -> None:
        self._heard = time.monotonic()
        while not self._closing.wait(min(1.0, patience_s / 4)):
            silent_s = time.monotonic() - self._heard
            if silent_s > patience_s:
                self.silent_s = silent_s
                self.abort()
                return
