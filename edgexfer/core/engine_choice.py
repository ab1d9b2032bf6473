"""`engines/chosen.json`: with which engine and in which precision `build` found a bundle fastest on this machine.

    {"format_version": 2, "precision": "int8", "backend": "openvino", "engine": "openvino 2026.4.1",
     "device": "Intel(R) Xeon(R) Processor @ 2.50GHz, 2 cores", "models": "<digest>",
     "considered": ["onnxruntime 1.31.1", "openvino 2026.4.1"], "reason": "..."}

`models` is the digest of the candidates' own digests: a choice holds among the networks it was made among.
`considered` are the engines that it was made among. Version 1 had neither `backend`, which was the target's own, nor
`considered`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from edgexfer.core.bundle import ENGINES, Bundle
from edgexfer.core.engines import LOCK_S, rebuild_hint
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import explained_write, locked_folder, sha256_of_bytes, write_file
from edgexfer.core.plain_files import read_plain

CHOICE = "chosen.json"
_CHOICE_VERSION = 2
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class EngineChoice:
    """What `build` chose, on this machine or on another one.

    Attributes:
        precision: of the candidate.
        backend: that runs it: the target's own or one of its rivals.
        engine: what the backend's `engine_version()` said.
        device: the accelerator or CPU that it was chosen on.
        considered: every engine that it was chosen among, itself included.
    """

    precision: str
    backend: str
    engine: str
    device: str
    considered: tuple[str, ...]


def read_choice(bundle: Bundle) -> EngineChoice | None:
    """Returns what `build` chose; whether it holds on this machine, engine and device say.

    Returns:
        None where nothing was chosen yet, it was chosen among other networks, or the bundle has no such candidate or
        its target no such backend.

    Raises:
        ArtifactError: `chosen.json` is damaged or of another format_version.
    """
    path = bundle.folder / ENGINES / CHOICE
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(read_plain(path, _MOST_BYTES))
        version, models = content["format_version"], content["models"]
        choice = _choice(content, bundle) if version in (1, _CHOICE_VERSION) else None
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged", rebuild_hint(bundle)) from error
    if choice is None:
        raise ArtifactError(
            f"{path} has format_version {version}, this edgexfer reads 1 and {_CHOICE_VERSION}", rebuild_hint(bundle)
        )
    known = (bundle.target.backend, *bundle.target.rivals)
    possible = choice.precision in bundle.candidates and choice.backend in known
    return choice if possible and models == _models(bundle) else None


def write_choice(bundle: Bundle, choice: EngineChoice, *, reason: str) -> None:
    """Records what runs on this machine from now on.

    Args:
        bundle: any that has the candidate.
        choice: what was chosen.
        reason: one sentence for people.

    Raises:
        SettingsError: the bundle has no such candidate.
        EdgexferError: the bundle's folder cannot be written.
    """
    content = {
        "format_version": _CHOICE_VERSION,
        "precision": bundle.at(choice.precision).precision,
        "backend": choice.backend,
        "engine": choice.engine,
        "device": choice.device,
        "models": _models(bundle),
        "considered": list(choice.considered),
        "reason": reason,
    }
    path = bundle.folder / ENGINES / CHOICE
    with explained_write(path):
        path.parent.mkdir(exist_ok=True)
    with locked_folder(path.parent, wait_s=LOCK_S):
        write_file(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _choice(content: dict[str, Any], bundle: Bundle) -> EngineChoice:
    precision, engine, device = (str(content[key]) for key in ("precision", "engine", "device"))
    if content["format_version"] == 1:
        return EngineChoice(precision, bundle.target.backend, engine, device, (engine,))
    considered = tuple(str(name) for name in content["considered"])
    return EngineChoice(precision, str(content["backend"]), engine, device, considered)


def _models(bundle: Bundle) -> str:
    # Of the networks and not of the bundle: what was measured is written into it after the choice was made.
    found = {precision: bundle.at(precision).model_sha256 for precision in bundle.candidates}
    return sha256_of_bytes(json.dumps(found, sort_keys=True).encode())
