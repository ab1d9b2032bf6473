"""Engines with a will of their own, in the place of the fake backend's."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.backends import fake
from edgexfer.core.bundle import Bundle


class Engine:
    """The fake engine, which waits inside `run` while `gate` is closed, and fails where `error` is set."""

    def __init__(self, session: fake.FakeSession) -> None:
        self._session = session
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.error: Exception | None = None
        self.closed = 0
        self.calls = 0

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        self.inside.set()
        self.gate.wait()
        if self.error is not None:
            raise self.error
        assert not self.closed
        return self._session.run(pixels)

    def close(self) -> None:
        self.closed += 1


def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Lets the backend `fake` open these from now on; returns the list of those that were opened."""
    opened: list[Engine] = []
    genuine = fake.open_session

    def open_session(bundle: Bundle, **options: Any) -> Engine:
        opened.append(Engine(genuine(bundle, **options)))
        return opened[-1]

    monkeypatch.setattr(fake, "open_session", open_session)
    return opened
