"""Work in a child of this process: PyTorch is loaded once, and a kill costs as much as the work before it."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative where a signal ended it.
        said: what it printed, a traceback included.
    """

    code: int
    said: str


def in_child(work: Callable[[], object], *, kill_after_s: float | None = None, within_s: float = 300.0) -> Ended:
    """Does `work` in a child process; an exception ends it with 1, and a code that `work` returns with that.

    Args:
        work: what the child does.
        kill_after_s: kill it when it has used the CPU for so long: a busy machine strikes at the same places then.
        within_s: after so long it hangs: that is an error.
    """
    with tempfile.TemporaryFile() as said:
        child = start(work, said.fileno())
        code = wait(child, kill_after_s=kill_after_s, within_s=within_s)
        said.seek(0)
        return Ended(code, said.read().decode("utf-8", "replace"))


def start(work: Callable[[], object], output: int) -> int:
    """Begins `work` in a child, whose standard output and error go to the descriptor `output`; returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which wait for nothing here
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        result = work()
        code = result if isinstance(result, int) else 0
    except BaseException:  # noqa: BLE001 - the parent reads it
        os.write(2, traceback.format_exc().encode())
    os._exit(code)


def wait(child: int, *, kill_after_s: float | None = None, within_s: float = 300.0) -> int:
    """Waits for a child and returns how it ended, negative where a signal ended it."""
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        past_s = time.monotonic() - began
        if kill_after_s is not None and cpu_s(child) >= kill_after_s:
            os.kill(child, signal.SIGKILL)
            kill_after_s = None
        if past_s > within_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"a child hangs: {within_s:.0f} s")
        time.sleep(0.002)


def cpu_s(process: int) -> float:
    """Returns for how many seconds a process has used the CPU (proc(5): utime and stime, in ticks)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
