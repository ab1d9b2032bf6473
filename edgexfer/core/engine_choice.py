"""`engines/chosen.json`: which candidate `build` found best on this machine.

    {"format_version": 1, "precision": "int8", "engine": "tensorrt 10.3.0",
     "device": "Orin, compute capability 8.7", "models": "<digest>", "reason": "..."}

`models` is the digest of the candidates' own digests: a choice holds among the networks it was made among.
"""

from __future__ import annotations

import json

from edgexfer.core.bundle import Bundle
from edgexfer.core.engines import ENGINES, rebuild_hint
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import explained_write, locked_folder, sha256_of_bytes, write_file

CHOICE = "chosen.json"
_CHOICE_VERSION = 1


def read_choice(bundle: Bundle, *, engine: str, device: str) -> str | None:
    """Returns the precision that `build` found best on this machine.

    Args:
        bundle: any.
        engine: what the backend's `engine_version()` says now.
        device: what the backend's `device()` says now.

    Returns:
        None where nothing was chosen yet, it was chosen with another engine, for another device or among other
        networks, or it is not among the candidates.

    Raises:
        ArtifactError: `chosen.json` is damaged or of another format_version.
    """
    path = bundle.folder / ENGINES / CHOICE
    if not path.exists():
        return None
    try:
        choice = json.loads(path.read_bytes())
        version, precision = choice["format_version"], str(choice["precision"])
        found = (choice["engine"], choice["device"], choice["models"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged", rebuild_hint(bundle)) from error
    if version != _CHOICE_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version}, this edgexfer reads {_CHOICE_VERSION}", rebuild_hint(bundle)
        )
    return precision if found == (engine, device, _models(bundle)) and precision in bundle.candidates else None


def write_choice(bundle: Bundle, precision: str, *, engine: str, device: str, reason: str) -> None:
    """Records that `precision` is what runs on this machine from now on.

    Raises:
        SettingsError: the bundle has no such candidate.
        EdgexferError: the bundle's folder cannot be written.
    """
    choice = {
        "format_version": _CHOICE_VERSION,
        "precision": bundle.at(precision).precision,
        "engine": engine,
        "device": device,
        "models": _models(bundle),
        "reason": reason,
    }
    path = bundle.folder / ENGINES / CHOICE
    with explained_write(path):
        path.parent.mkdir(exist_ok=True)
    with locked_folder(path.parent):
        write_file(path, json.dumps(choice, indent=2, ensure_ascii=False) + "\n")


def _models(bundle: Bundle) -> str:
    # Of the networks and not of the bundle: what was measured is written into it after the choice was made.
    found = {precision: bundle.at(precision).model_sha256 for precision in bundle.candidates}
    return sha256_of_bytes(json.dumps(found, sort_keys=True).encode())
