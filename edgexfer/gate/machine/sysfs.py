"""Linux's small files: text and numbers out of /proc, /sys and /etc, None where they are not or cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 1 << 20


def read_text(path: Path) -> str | None:
    """Returns the file's text without blanks and zero bytes around it; None for no file and for an empty one."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    except (OSError, ValueError):
        # A sensor that is switched off answers with an error as well.
        return None
    return raw.decode("utf-8", "replace").strip("\0 \t\r\n") or None


def read_number(path: Path) -> int | None:
    """Returns the integer that the file holds."""
    text = read_text(path)
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def files_like(root: Path, pattern: str) -> list[Path]:
    """Returns the paths below `root` that match, sorted; those that cannot be looked into are left out."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def first_number(paths: Iterable[Path]) -> int | None:
    """Returns the integer of the first file that holds one."""
    return next((number for number in map(read_number, paths) if number is not None), None)
