"""SIGTERM and SIGHUP end a verb as Ctrl-C does: what it has begun is removed, what can be gone on with stays.

The system's own way would end the process at once, and leave its unfinished folders to the next run at that place. The
exit code is the shell's own for such an end: 128 and the signal's number, 143 for SIGTERM and 129 for SIGHUP.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # the latter is not on every system
_AGAIN_S = 5.0  # a group, its leader and a terminal may each send one: they mean one end


@contextmanager
def ended_in_order() -> Iterator[list[int]]:
    """Turns the first of these signals into a KeyboardInterrupt in the main thread, until the block ends.

    One that is ignored stays ignored (`nohup`), and one that somebody handles already stays his. A forked child ends as
    it would have. More of them do nothing while the first is obeyed; after 5 s the next interrupts again.

    Yields:
        The numbers of the signals that came.
    """
    came: list[int] = []
    owner, last = os.getpid(), -_AGAIN_S

    def end(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came.append(number)
        if time.monotonic() - last < _AGAIN_S:
            return
        last = time.monotonic()
        raise KeyboardInterrupt

    taken: list[int] = []
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                taken.append(number)
                signal.signal(number, end)
    try:
        yield came
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
