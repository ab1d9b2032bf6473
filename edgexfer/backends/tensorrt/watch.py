"""A build of minutes that can be followed and stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from edgexfer.core.errors import BackendError
from edgexfer.core.threads import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")
BUILD_SECONDS = 3 * 3600.0
"""No engine of a network of this kind has taken a tenth of it, also not on a Jetson Nano with few megabytes free."""
_POLL_SECONDS = 0.1
_STOPS_WITHIN_SECONDS = 60.0


class Watch:
    """A build as seen from outside: how far it is, and whether it shall go on.

    TensorRT reports from threads of its own, through C++ that lets no exception pass: one that `progress` raises is
    kept, ends the build, and is raised when TensorRT has returned.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.error: BaseException | None = None
        self._progress = progress
        self._lock = threading.Lock()
        self._done = self._known = 0
        self._go_on = True

    def stop(self) -> None:
        """Lets the build end at its next step."""
        self._go_on = False

    def goes_on(self) -> bool:
        """Returns whether nobody wants the build to end."""
        return self._go_on

    def phase_started(self) -> None:
        """Counts a phase that TensorRT has just announced."""
        self._count(done=0, known=1)

    def phase_finished(self) -> None:
        """Counts a phase that is over."""
        self._count(done=1, known=0)

    def _count(self, *, done: int, known: int) -> None:
        with self._lock:
            self._done += done
            self._known += known
            if self._progress is None or not self._go_on:
                return
            try:
                self._progress(self._done, self._known)
            except BaseException as error:  # noqa: BLE001 - see the class
                self.error = error
                self._go_on = False


def run_watched(work: Callable[[], T], watch: Watch, *, stoppable: bool, limit_seconds: float = BUILD_SECONDS) -> T:
    """Returns what `work` returns. It runs in a thread of its own, so that Ctrl-C arrives here and not inside TensorRT.

    On Ctrl-C the build is told to stop, is waited for, and KeyboardInterrupt is raised on; a second one does not wait.

    Args:
        work: the call that takes long.
        watch: told to stop.
        stoppable: whether TensorRT asks `watch`; otherwise the build runs to its end, and that is said.
        limit_seconds: after so long the build is told to stop; where it does not it is left behind.

    Raises:
        BackendError: it took longer than `limit_seconds`.
        BaseException: what `work` or the user's progress callback raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised on in the caller's thread
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="edgexfer-build", daemon=True)
    try:
        thread.start()  # Ctrl-C may come before it returns, with the build running already
        if not _ended_within(ended, limit_seconds):
            watch.stop()
            _ended_within(ended, _STOPS_WITHIN_SECONDS if stoppable else 0.0)
            raise BackendError(
                f"TensorRT has not built the engine within {limit_seconds:.0f} s",
                "look what else this machine is busy with, and that memory is free: edgexfer doctor",
            )
    except RuntimeError:
        raise  # no thread could be started: there is nothing to wait for
    except BaseException:
        watch.stop()
        if not stoppable:
            log.warning("this TensorRT cannot be interrupted: waiting for the build's end; Ctrl-C again leaves at once")
        _wait_for(ended)
        raise
    for error in (watch.error, *errors):
        if error is not None:
            raise error
    return results[0]


def _wait_for(ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        pass


def _ended_within(ended: threading.Event, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not ended.wait(_POLL_SECONDS):
        if time.monotonic() >= until:
            return False
    return True
