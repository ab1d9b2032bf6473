"""How a verb on the device ended, from its exit code and what it said last."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from edgexfer.core.errors import RemoteError

_ANSWERS = (0, 1, 3)
_TRACEBACK = "Traceback (most recent call last):"


def check_ended(host: str, argv: Sequence[str], code: int, said: str) -> None:
    """Raises where a verb did not come to an answer.

    Args:
        host: where it ran.
        argv: the verb and its arguments.
        code: 0 done or passed, 1 a gate failed, 2 the user's mistake, 3 inconclusive; negative for a signal.
        said: the end of its standard error.

    Raises:
        RemoteError: the user can mend it; message and hint are those of the device.
        RuntimeError: it failed with a traceback, which is kept.
    """
    verb = f"edgexfer {argv[0]}" if argv else "edgexfer"
    if _TRACEBACK in said:
        raise RuntimeError(f"{verb} failed on {host}:\n{said[said.index(_TRACEBACK) :]}")
    if code in _ANSWERS:
        return
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        hint = "its memory was probably used up: dmesg there says so" if -code == signal.SIGKILL else ""
        raise RemoteError(f"{host}: {verb} was killed by {name}", hint)
    lines = said.splitlines()
    message = _last(lines, "error: ") or (lines[-1] if lines else f"{verb} ended with code {code}")
    raise RemoteError(f"{host}: {message}", _last(lines, "hint:  "))


def _last(lines: list[str], prefix: str) -> str:
    return next((line[len(prefix) :] for line in reversed(lines) if line.startswith(prefix)), "")
