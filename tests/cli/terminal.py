"""Running the command line in this process, as a test reads it: code, standard output, standard error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgexfer.cli.main import run


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


class Terminal:
    """Calls verbs; standard output is no terminal, so no colours and no bars."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Said:
        self._capture.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        return Said(code, captured.out, captured.err)


def files_below(folder: Path) -> dict[str, bytes]:
    """Returns every file below `folder` with its content, to see that nothing was written."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
