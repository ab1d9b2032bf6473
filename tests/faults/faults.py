"""Faults at the calls by which files come, go and become durable: the process is killed there, or the call fails.

Python's own functions are replaced: every `os.replace`, `Path.rename` or `shutil.rmtree` passes here, whoever calls it.
"""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgexfer.core import replace

DURABLE = ("rename", "replace", "link", "fsync", "exchange")
"""What a promise hangs on: a file is flushed, or gets its name."""
ALL = (*DURABLE, "mkdir", "unlink", "rmdir")

Fault = Callable[[str, bool], None]
"""Called with a call's name before it (True) and after it (False); may raise, or never return."""


@contextmanager
def interposed(fault: Fault, calls: tuple[str, ...] = DURABLE) -> Iterator[None]:
    """Calls `fault` around each of `calls` that the block makes."""
    places: list[tuple[Any, str]] = [(os, name) for name in calls if hasattr(os, name)]
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps them there as well
    places += [(accessor, name) for name in calls if hasattr(accessor, name)]
    if "exchange" in calls:
        places.append((replace, "exchange"))
    before = [(place, name, place.__dict__[name]) for place, name in places]
    for place, name, own in before:
        called = getattr(place, name)
        around = _around(called, name, fault)
        setattr(place, name, staticmethod(around) if isinstance(own, staticmethod) or place is accessor else around)
    try:
        yield
    finally:
        for place, name, own in before:
            setattr(place, name, own)


def counted(work: Callable[[], object], calls: tuple[str, ...] = DURABLE) -> list[str]:
    """Does `work` and returns the names of the points at which it can be struck, two to a call: before and after."""
    seen: list[str] = []
    with interposed(lambda name, before: seen.append(f"{'before' if before else 'after'} {name}"), calls):
        work()
    return seen


def killing_at(point: int) -> Fault:
    """Kills the process at the point with that number, as `counted` numbers them: nothing is flushed or tidied up."""
    passed = iter(range(point + 1))

    def fault(_: str, __: bool) -> None:
        if next(passed, None) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def refusing_at(point: int, number: int) -> Fault:
    """Lets the call at that point fail with an errno, as a full disk would; only points before a call can fail."""
    passed = iter(range(point + 1))

    def fault(name: str, before: bool) -> None:
        if next(passed, None) == point and before:
            raise OSError(number, os.strerror(number), f"<{name}>")

    return fault


def _around(called: Callable[..., Any], name: str, fault: Fault) -> Callable[..., Any]:
    def around(*arguments: Any, **options: Any) -> Any:
        fault(name, True)
        result = called(*arguments, **options)
        fault(name, False)
        return result

    return around
