"""Engines: what a machine compiled from a bundle's ONNX file, cached in the bundle under `engines/<key>/`.

    engine.bin        the compiled network; executable code, so nothing is loaded that the manifest does not vouch for
    manifest.json     kind "engine": the EngineKey in full as `key`, the engine's SHA-256, `build_seconds`
    seal              the manifest's digest, sealed with this device's key (edgexfer/core/device_state.py)

The name of the folder is the SHA-256 of everything that decides whether an engine fits. A folder whose manifest
holds another key than its name says was made for another machine or model: it is never loaded. Neither is one without
this device's seal: a bundle may come from a stranger, with an engine in it that fits. How engines get there
is in edgexfer/core/engine_store.py. What `build` chose among them is in edgexfer/core/engine_choice.py.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import ENGINES, Bundle
from edgexfer.core.device_state import is_sealed, seal
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.files import locked_folder, sha256_of_bytes, write_file
from edgexfer.core.manifest import MANIFEST, MOST_MANIFEST_BYTES, read_manifest, read_manifest_and
from edgexfer.core.plain_files import read_plain
from edgexfer.core.toml import from_table

ENGINE = "engine.bin"
SEAL = "seal"
SEALED_AS = "engine"
_SEAL_BYTES = 80
LOCK_S = 120.0
"""How long to wait for another process at the engines: each holds them for as long as a file takes to be written."""


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that is there now.

    Attributes:
        folder: `engines/<key>/` in the bundle.
        precision: of the candidate it was built from.
        reused: whether it had been built before.
        reason: why it was built, or why the old one serves, in one sentence.
        build_seconds: how long building took, when it was built.
        size_bytes: of the engine file.
    """

    folder: Path
    precision: str
    reused: bool
    reason: str
    build_seconds: float
    size_bytes: int


@dataclass(frozen=True)
class EngineKey:
    """Everything that decides whether an engine fits.

    Attributes:
        model_sha256: of the ONNX file it was built from.
        precision: of that candidate.
        engine: name and version of the backend's engine, such as "tensorrt 10.3.0".
        device: the accelerator's name, such as "Orin", or that of the CPU.
        compute_capability: such as "8.7"; empty for a CPU.
        options: names and values of what else the builder was told; kept sorted.
    """

    model_sha256: str
    precision: str
    engine: str
    device: str
    compute_capability: str
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(sorted(self.options)))

    @property
    def digest(self) -> str:
        """SHA-256 of the key's JSON (keys sorted, no spaces, UTF-8): the name of the engine's folder."""
        content = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256_of_bytes(content.encode())

    def to_json(self) -> dict[str, Any]:
        """Returns what the engine's manifest records as `key`."""
        return dataclasses.asdict(self)


def find_engine(bundle: Bundle, key: EngineKey) -> Path | None:
    """Returns the folder of the engine that was built for `key`, None where there is none.

    Raises:
        ArtifactError: there is one, but it is damaged, was tampered with, or was built for another key and put there.
    """
    folder = bundle.folder / ENGINES / key.digest
    with locked_folder(folder.parent, shared=True, wait_s=LOCK_S):
        return folder if check_engine(bundle, key) is not None else None


def check_engine(bundle: Bundle, key: EngineKey) -> dict[str, Any] | None:
    """Returns the manifest of the engine that was built for `key`, all of it checked; None where there is none.

    It takes no lock: for those who hold one. Raises as `find_engine`.
    """
    found = _checked(bundle, key, None)
    return None if found is None else found[0]


def _checked(bundle: Bundle, key: EngineKey, wanted: str | None) -> tuple[dict[str, Any], bytes] | None:
    folder, read = bundle.folder / ENGINES / key.digest, list[bytes]()
    if not folder.exists():
        return None
    try:
        manifest = read_manifest_and(folder, "engine", lambda name: name == wanted, lambda _, data: read.append(data))
    except ArtifactError as error:
        raise ArtifactError(error.message, rebuild_hint(bundle)) from error
    except OSError as error:
        raise ArtifactError(f"cannot read the engine {folder}: {error.strerror}", rebuild_hint(bundle)) from error
    found = key_of(manifest)
    if found is None or ENGINE not in manifest["files"] or not isinstance(manifest.get("build_seconds"), int | float):
        raise ArtifactError(f"{folder} is no engine of this edgexfer: its manifest lacks keys", rebuild_hint(bundle))
    if found != key:
        raise ArtifactError(
            f"foreign engine in {folder}: it was built for something else ({'; '.join(_differences(found, key))})",
            rebuild_hint(bundle),
        )
    if not is_sealed(SEALED_AS, manifest["digest"].encode(), read_seal(folder)):
        raise ArtifactError(
            f"the engine {folder} was not built by this user on this device: nothing vouches for it",
            rebuild_hint(bundle),
        )
    return manifest, b"".join(read)


def load_engine(bundle: Bundle, key: EngineKey) -> bytes | None:
    """Returns the engine that was built for `key`, None where there is none.

    The digest is taken of the very bytes that are returned: an engine is code, and the file could change in between.

    Raises:
        ArtifactError: as `find_engine`.
    """
    folder = bundle.folder / ENGINES / key.digest
    with locked_folder(folder.parent, shared=True, wait_s=LOCK_S):
        found = _checked(bundle, key, ENGINE)
    return None if found is None else found[1]


def write_seal(folder: Path) -> None:
    """Vouches for the engine in `folder`, whose manifest is written, with this device's key, which is there.

    Raises:
        EdgexferError: others than its owner can read the key.
    """
    digest = read_manifest(folder, "engine")["digest"]
    write_file(folder / SEAL, f"{seal(SEALED_AS, digest.encode())}\n")


def describe_engine(bundle: Bundle, key: EngineKey, *, reused: bool, reason: str) -> BuiltEngine:
    """Returns what there is to say of the engine of `key`.

    Raises:
        ArtifactError: it is not there, or as `find_engine`.
    """
    folder = bundle.folder / ENGINES / key.digest
    with locked_folder(folder.parent, shared=True, wait_s=LOCK_S):
        manifest = check_engine(bundle, key)
    if manifest is None:
        raise ArtifactError(f"the engine {folder} is gone", f"edgexfer build {bundle.folder}")
    seconds, size = float(manifest["build_seconds"]), int(manifest["files"][ENGINE]["size_bytes"])
    return BuiltEngine(folder, key.precision, reused, reason, seconds, size)


def why_rebuilt(bundle: Bundle, key: EngineKey) -> str:
    """Returns in a few words why no engine fits `key`: what is other than in the most similar one that is there."""
    others = [other for other in _recorded_keys(bundle) if other.precision == key.precision]
    if not others:
        return "no engine was built yet"
    differences = min((_differences(other, key) for other in others), key=len)
    return "; ".join(differences) or "a new one was asked for"


def rebuild_hint(bundle: Bundle) -> str:
    """Returns the command that makes the engine anew."""
    return f"edgexfer build {bundle.folder} --rebuild"


def read_seal(folder: Path) -> str:
    """Returns the seal of the engine in `folder`, whoever made it; "" where it has none."""
    try:
        return read_plain(folder / SEAL, _SEAL_BYTES).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return ""


def _recorded_keys(bundle: Bundle) -> list[EngineKey]:
    # What is told here explains and loads nothing, so files are not checked; what cannot be read has nothing to say.
    keys = []
    for path in sorted((bundle.folder / ENGINES).glob(f"*/{MANIFEST}")):
        try:
            manifest = json.loads(read_plain(path, MOST_MANIFEST_BYTES))
        except (OSError, ValueError, RecursionError):
            continue
        found = key_of(manifest) if isinstance(manifest, dict) else None
        if found is not None:
            keys.append(found)
    return keys


def key_of(manifest: dict[str, Any]) -> EngineKey | None:
    """Returns the key that an engine's manifest records, None where there is no legible one."""
    table = manifest.get("key")
    if not isinstance(table, dict):
        return None
    try:
        return from_table(EngineKey, table, "key")
    except SettingsError:
        return None


def _differences(old: EngineKey, new: EngineKey) -> list[str]:
    found = []
    if old.model_sha256 != new.model_sha256:
        found.append("the model changed")
    if old.precision != new.precision:
        found.append(f"the precision was {old.precision} and is {new.precision}")
    if old.engine != new.engine:
        found.append(_engine_difference(old.engine, new.engine))
    if (old.device, old.compute_capability) != (new.device, new.compute_capability):
        before, now = (f"{k.device} ({k.compute_capability})" if k.compute_capability else k.device for k in (old, new))
        found.append(f"the {'GPU' if new.compute_capability else 'CPU'} was {before} and is {now}")
    if old.options != new.options:
        told, tells = dict(old.options), dict(new.options)
        names = sorted(name for name in {*told, *tells} if told.get(name) != tells.get(name))
        changes = [f"{name} was {told.get(name, 'unset')} and is {tells.get(name, 'unset')}" for name in names]
        found.append(f"options changed: {', '.join(changes)}")
    return found


def _engine_difference(old: str, new: str) -> str:
    (old_name, _, old_version), (new_name, _, new_version) = old.partition(" "), new.partition(" ")
    name = {"openvino": "OpenVINO", "tensorrt": "TensorRT"}.get(new_name, new_name)
    return f"{name} was {old_version if old_name == new_name else old} and is {new_version}"
