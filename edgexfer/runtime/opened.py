"""Opened: one bundle with its session, lent to every thread that predicts and freed when the last one gave it back.

A classifier has one at a time; `swap` puts another in its place while threads are still inside the old one. Nobody who
is inside is ever cut off: who comes after `close` is refused, and the engine is freed once nobody is left.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends import Session
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import BackendError
from edgexfer.core.prediction import Prediction
from edgexfer.core.preprocess import Source

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class Watcher(Protocol):
    """Who is told what a classifier does; see edgexfer/runtime/watch/watch.py. Called from any thread."""

    def begin(self, bundle: Bundle) -> None:
        """A bundle serves from now on."""
        ...

    def saw(self, images: Sequence[Source], predictions: Sequence[Prediction], seconds: float) -> None:
        """The engine was called once, with these images."""
        ...

    def failed(self, error: Exception) -> None:
        """An image could not be decoded, or the engine failed."""
        ...

    def close(self) -> None:
        """The classifier was closed."""
        ...


class Opened:
    """A bundle open on this machine, in the process that opened it.

    Attributes:
        bundle: what is open.
        backend: name of the backend that runs it.
        session: its engine.
        preprocess: how an image becomes the network's pixels.
        known_from: the score below which a prediction is `unknown`, or None.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        backend: str,
        watcher: Watcher | None = None,
        accept: Callable[[], None] | None = None,
    ) -> None:
        self.bundle = bundle
        self.backend = backend
        self.session = session
        self.preprocess = bundle.preprocess
        self.known_from = bundle.known_from
        self._watcher, self._accept = watcher, accept
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._inside = 0
        self._closed = False

    def accept(self) -> None:
        """Remembers that a signed bundle was opened, so that none older is; does nothing for one that nobody checked.

        Raises:
            ArtifactError: another process has opened a newer one meanwhile.
        """
        if self._accept is not None:
            try:
                self._accept()
            except BaseException:
                self.close()
                raise

    def enter(self) -> bool:
        """Lends it to the calling thread, until a `with` on it ends; returns False where it is closed.

        Raises:
            BackendError: this is a forked child of the process that opened it.
        """
        self.refuse_forked()  # first: a lock that another thread held in the parent stays locked here
        with self._lock:
            if self._closed:
                return False
            self._inside += 1
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            last = self._closed and self._inside == 0
        if last:
            self.session.close()
        if self._watcher is not None and isinstance(error, Exception):
            self._watcher.failed(error)

    def answers(self, images: Sequence[Source], decoded: NDArray[np.uint8]) -> list[Prediction]:
        """Runs the network once; called by a thread that has entered.

        Args:
            images: as the application gave them; who watches may keep one of them.
            decoded: their pixels, uint8 [N, H, W, 3].
        """
        labels, known_from = self.bundle.labels, self.known_from
        if self._watcher is None:
            return [Prediction(row, labels, known_from) for row in self.session.run(decoded)]
        started = time.perf_counter()
        rows = self.session.run(decoded)
        seconds = time.perf_counter() - started
        predictions = [Prediction(row, labels, known_from) for row in rows]
        self._watcher.saw(images, predictions, seconds)
        return predictions

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that opened it."""
        return os.getpid() != self._process

    def refuse_forked(self) -> None:
        """Raises BackendError in a forked child: the engine's threads, locks and GPU memory stayed with the parent."""
        if self.forked:
            raise BackendError(
                f"{self.bundle.folder} was opened by process {self._process}, and this is a fork of it, "
                f"process {os.getpid()}: no engine promises to work there",
                "call load() in the child, or start it by spawn: multiprocessing.get_context('spawn')",
            )

    def close(self) -> None:
        """Refuses who comes from now on; frees the engine once nobody is inside. May be called twice."""
        with self._lock:
            last = not self._closed and self._inside == 0
            self._closed = True
        if last:
            self.session.close()
