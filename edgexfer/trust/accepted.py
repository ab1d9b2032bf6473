"""`accepted.json` in this device's state: the version that it opened last under each name, so that none goes back.

    {"format_version": 1, "accepted": {"signs": {"version": 1790000000, "manifest_sha256": "..."}}}

An old bundle stays validly signed for ever; what stops it from being put back is this file. It is replaced in one step
under a lock, and grows with the names that were signed alone. Where it is damaged nothing is accepted: whoever could
spoil it could else go back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgexfer.core.device_state import make_state_folder, state_folder
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import locked_folder, write_file
from edgexfer.core.versioned import read_versioned
from edgexfer.trust.statement import Statement, why_no_statement

_FILE = "accepted.json"
_FORMAT_VERSION = 1


def last_accepted(name: str) -> Statement | None:
    """Returns what this device accepted last under that name, None where there was nothing.

    Raises:
        ArtifactError: the file is damaged.
    """
    return _read(state_folder() / _FILE).get(name)


def why_not_newer(statement: Statement) -> str:
    """Returns why this device does not accept it: it is older than what it has opened, or another of that version.

    Raises:
        ArtifactError: the file is damaged.
    """
    return _compared(last_accepted(statement.name), statement)


def accept(statement: Statement) -> None:
    """Remembers a version; nothing is written where it is the one that was accepted last.

    Raises:
        ArtifactError: another process accepted a newer one meanwhile, or the file is damaged.
        EdgexferError: it cannot be written.
    """
    if last_accepted(statement.name) == statement:
        return
    folder = make_state_folder()
    with locked_folder(folder):
        found = _read(folder / _FILE)
        if reason := _compared(found.get(statement.name), statement):
            raise ArtifactError(reason)
        found[statement.name] = statement
        entries = {
            name: {"version": found[name].version, "manifest_sha256": found[name].manifest_sha256}
            for name in sorted(found)
        }
        content = {"format_version": _FORMAT_VERSION, "accepted": entries}
        write_file(folder / _FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _compared(last: Statement | None, statement: Statement) -> str:
    if last is None or statement == last or statement.version > last.version:
        return ""
    if statement.version < last.version:
        return f"it is version {statement.version} of '{last.name}', and this device has opened {last.version}"
    return f"it is another version {statement.version} of '{last.name}' than this device has opened"


def _read(path: Path) -> dict[str, Statement]:
    mend = f"put it back; to forget what was accepted, remove {path}"
    if not path.exists():
        return {}
    content = read_versioned(path, _FORMAT_VERSION, mend)
    try:
        entries: dict[str, Any] = content["accepted"]
        found = {name: Statement(name, item["version"], item["manifest_sha256"]) for name, item in entries.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error!r}", mend) from error
    for statement in found.values():
        if reason := why_no_statement(statement):
            raise ArtifactError(f"{path} is damaged: {reason}", mend)
    return found
