"""Mistakes: what the user can mend is said in one line, as by the command line; a bug of ours keeps its traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgexfer.core.errors import EdgexferError
from edgexfer.gate.output.foreign import one_line

_FLAGS = re.compile(r"(?<![\w-])--(baseline|data|seconds)\b")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Fails the test with message and hint where the block raises an EdgexferError."""
    try:
        yield
    except EdgexferError as error:
        hint = f"; hint: {error.hint}" if error.hint else ""
        raise pytest.fail.Exception(in_flags(one_line(f"error: {error.message}{hint}")), pytrace=False) from None


def in_flags(text: str) -> str:
    """Names in `text` the plugin's options where it names those of `edgexfer gate`."""
    return _FLAGS.sub(r"--edgexfer-\1", text)
