"""A real browser for tests: Debian's Chromium, headless, driven over a pipe by the DevTools protocol.

The protocol is JSON with a NUL character after each message, read from descriptor 3 and written to descriptor 4 of
the browser (`--remote-debugging-pipe`): no port, no driver to download, no package.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
_PATIENCE = 60.0  # seconds; a machine under load starts a browser slowly
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


class Tab:
    """One page of the browser.

    Attributes:
        events: what the browser told without being asked: (method, parameters), in order.
    """

    def __init__(self, write: int, read: int) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._write, self._read, self._buffer, self._number, self._session = write, read, b"", 0, ""

    def attach(self) -> None:
        """Opens an empty page; from then on `call` speaks to it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result; AssertionError where the browser refuses."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Opens a file in a window of that many CSS pixels and waits until it is loaded."""
        self.resize(width, height)
        self.scheme(dark=dark)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._wait_for("Page.loadEventFired")

    def resize(self, width: int, height: int) -> None:
        """Makes the window that large, in CSS pixels."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )  # fmt: skip

    def scheme(self, *, dark: bool, media: str = "") -> None:
        """Tells the page which colours the reader prefers, and that it is to be printed where `media` is "print"."""
        wanted = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[wanted])
        self.settle()

    def ask(self, expression: str) -> Any:
        """Returns what JavaScript's `expression` is on the page, as JSON."""
        made = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def settle(self) -> None:
        """Waits until what was changed has been drawn: some things follow one frame later."""
        self.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def press(self, key: str) -> None:
        """Presses and releases a key, such as "Tab" or "Enter"."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **more)
            more = {}

    def _wait_for(self, method: str) -> None:
        while not any(name == method for name, _ in self.events):
            answer = self._receive()
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium did not answer within {_PATIENCE:g} s"
            piece = os.read(self._read, 1 << 20)
            assert piece, "Chromium has ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Starts Chromium with an empty profile and yields a page; ends it and all its processes afterwards."""
    assert PROGRAM is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    # Numbers above those that the browser wants, so that none is overwritten while they are put in place.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_browser[0], from_browser[1])]
    silence = os.open(os.devnull, os.O_RDWR)
    pid = os.posix_spawn(
        PROGRAM,
        [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        {**os.environ, "HOME": str(profile), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        file_actions=[
            *((os.POSIX_SPAWN_DUP2, silence, number) for number in (0, 1, 2)),
            *((os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(theirs, (3, 4), strict=True)),
        ],
        setsid=True,
    )
    for end in (*theirs, to_browser[0], from_browser[1], silence):
        os.close(end)
    tab = Tab(to_browser[1], from_browser[0])
    try:
        tab.attach()
        yield tab
    finally:
        # Its own session: the group is the browser and what it started, and nothing else.
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(to_browser[1])
        os.close(from_browser[0])
