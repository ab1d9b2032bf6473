"""A session that never keeps its caller waiting for longer than it was told, whatever the engine does.

Python cannot stop a thread that is inside an engine. So the engine runs in a thread of its own, and the caller stops
waiting for it: the thread stays behind until the engine returns. It is a daemon, so that the process can end.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends import Session
from edgexfer.core.errors import BackendError, EngineTimeoutError

_HINT = "open the bundle anew with swap() or load(), or restart the application; where it is only slow, give timeout_s"


class _Call:
    """One run of the engine, from the caller to its thread and back."""

    __slots__ = ("done", "error", "left", "pixels", "rows", "started")

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.done = threading.Event()
        self.rows = np.empty((0, 0), np.float32)
        self.error: BaseException | None = None
        self.left = False  # whether the caller waits no more
        self.started = time.monotonic()


class TimedSession:
    """A session whose `run` ends within `timeout_s` seconds. As many threads may call it as may call the engine's."""

    def __init__(self, session: Session, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[_Call | None]] = []
        self._left: set[_Call] = set()  # in the engine still, though nobody waits for them
        self._closed = False

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs uint8 [N, H, W, 3]; returns float32 [N, classes].

        Raises:
            EngineTimeoutError: the engine did not answer in time, or has not returned from an earlier call for longer
                than that: then at once. Once it has returned, it is asked again.
            BackendError: closed, or the engine failed.
        """
        call = _Call(pixels)
        with self._lock:
            if self._closed:
                raise BackendError("the session is closed", "load the bundle again")
            self._refuse_hanging(call.started)
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = SimpleQueue()
            threading.Thread(target=self._work, args=(worker,), name="edgexfer-engine", daemon=True).start()
        worker.put(call)
        try:
            in_time = call.done.wait(self._timeout_s)
        except BaseException:  # Ctrl-C
            self._leave(call)
            raise
        if not in_time and self._leave(call):
            raise EngineTimeoutError(f"the engine did not answer within {self._timeout_s:g} s", _HINT)
        error, call.error = call.error, None
        if error is None:
            return call.rows
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: the two would keep each other alive

    def close(self) -> None:
        """Frees the engine, once it has returned from every call. May be called twice."""
        with self._lock:
            last = not self._closed and not self._left
            self._closed = True
            for worker in self._idle:
                worker.put(None)
            self._idle.clear()
        if last:
            self._session.close()

    def _refuse_hanging(self, now: float) -> None:
        hanging = [now - call.started for call in self._left if now - call.started > self._timeout_s]
        if hanging:
            raise EngineTimeoutError(f"the engine hangs: it has not answered for {max(hanging):.1f} s", _HINT)

    def _leave(self, call: _Call) -> bool:
        """Stops waiting for a call; returns False where it has just been done."""
        with self._lock:
            if call.done.is_set():
                return False
            call.left = True
            self._left.add(call)
        return True

    def _work(self, worker: SimpleQueue[_Call | None]) -> None:
        while (call := worker.get()) is not None:
            try:
                call.rows = self._session.run(call.pixels)
            except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
                call.error = error
            with self._lock:
                call.done.set()
                self._left.discard(call)
                last = self._closed and call.left and not self._left
                ended = self._closed
                if not ended:
                    self._idle.append(worker)
            del call
            if last:
                self._session.close()
            if ended:
                return
