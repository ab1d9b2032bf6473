"""JSON files that say which version of their format they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError

DOES_NOT_FIT = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError)
"""What is raised where a record of another form, with values of other types or sizes, is used as if it fitted."""


def read_versioned(path: Path, format_version: int, mend: str) -> dict[str, Any]:
    """Reads a JSON object whose `format_version` is the one that this edgexfer knows.

    Args:
        path: a file that is there.
        format_version: what is expected.
        mend: what makes the file again, for the error's hint.

    Raises:
        ArtifactError: not JSON, or of another format_version.
    """
    return parse_versioned(path.read_bytes(), path, format_version, mend)


def parse_versioned(raw: bytes, path: Path, format_version: int, mend: str) -> dict[str, Any]:
    """Reads the content of such a file.

    Args:
        raw: the content.
        path: where it was read, for errors.
        format_version: what is expected.
        mend: what makes the file again, for the error's hint.

    Raises:
        ArtifactError: not JSON, or of another format_version.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}", mend) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != format_version:
        raise ArtifactError(f"{path} has format_version {version}, this edgexfer reads {format_version}", mend)
    return dict(content)
