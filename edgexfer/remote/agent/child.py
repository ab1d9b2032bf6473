"""One program at a time, started by the agent: its lines go back as they come, and it never outlives the agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

GRACE_S = 2.0
_LINE_BYTES = 64 << 10

# Runs a module as `python3 -m` does, after asking the system to kill it when the agent dies: the one way to leave no
# process behind that also holds where the agent was killed itself. The agent may have died before it was asked.
_LAUNCH = """
import os, runpy, signal, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
except (ImportError, AttributeError, OSError):
    pass
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the agent was told to ignore it
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class Children:
    """Starts programs one after the other, and kills the one that runs when it is told to from another thread.

    Attributes:
        closed: whether it was told to.
    """

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def run(
        self, argv: Sequence[str], cwd: Path, path: Sequence[Path], on_line: Callable[[str, bytes], None]
    ) -> int | None:
        """Runs the module `argv[0]` with this Python until it ends.

        Args:
            argv: module and arguments.
            cwd: where it runs, and puts its temporary files.
            path: put in front of its PYTHONPATH.
            on_line: called with "out" or "err" and each line as it comes, in other threads.

        Returns:
            The exit code, negative where a signal killed it; None where `close` came first.
        """
        before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*map(str, path), *before]),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(cwd),
            "PYTHONUTF8": "1",
        }
        with self._lock:
            if self.closed:
                return None
            # Only the agent's main thread comes here: the system watches over the thread that starts a program.
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-c", _LAUNCH, str(os.getpid()), *argv],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._running = process
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        pumps = [
            threading.Thread(target=_pump, args=(stream, name, on_line), daemon=True)
            for stream, name in ((process.stdout, "out"), (process.stderr, "err"))
        ]
        for pump in pumps:
            pump.start()
        # Not reaped yet, so that its number, and with it the group's, is nobody else's when the rest is killed.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        code = self._end(process)
        for pump in pumps:
            pump.join()
        return code

    def _end(self, process: subprocess.Popen[bytes]) -> int | None:
        # What the program has started and left behind dies with it; it also holds the pipes open.
        with self._lock:
            _signal(process, signal.SIGKILL)
            self._running = None
            code = process.wait()
            return None if self.closed else code

    def close(self) -> None:
        """Kills what runs, with all that it has started, and lets nothing start any more."""
        with self._lock:
            self.closed = True
        self._tell(signal.SIGINT)  # as Ctrl-C: it removes what it has begun
        deadline = time.monotonic() + GRACE_S
        while self._running is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._tell(signal.SIGKILL)

    def _tell(self, number: int) -> None:
        with self._lock:
            if self._running is not None:
                _signal(self._running, number)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _pump(stream: IO[bytes], name: str, on_line: Callable[[str, bytes], None]) -> None:
    with stream:
        while line := stream.readline(_LINE_BYTES):
            on_line(name, line.rstrip(b"\r\n"))
