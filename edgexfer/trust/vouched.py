"""What is in a bundle's folder, and by what each file is vouched for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgexfer.core.bundle import CANDIDATES, ENGINES, HISTORY, LAYERS, MEASUREMENTS, MODEL, REFERENCE, SPLIT, Bundle
from edgexfer.core.control import CONTROL
from edgexfer.core.device_state import is_sealed
from edgexfer.core.engines import SEALED_AS, read_seal
from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import MANIFEST, read_manifest
from edgexfer.core.packed import SIGNATURES

_ROLES = {
    MODEL: "the network",
    REFERENCE: "inputs, and the outputs they must give",
    SPLIT: "the images it was made from, and their splits",
    MEASUREMENTS: "what export measured",
    HISTORY: "the training, epoch by epoch",
    LAYERS: "what INT8 costs each layer",
    CONTROL: "what was tried where INT8 missed its limit",
}


@dataclass(frozen=True)
class VouchedFile:
    """A file that the manifest lists; `open_bundle` has compared it with its digest.

    Attributes:
        name: path in the bundle.
        role: what it is, in words.
        size_bytes: of it.
        sha256: 64 hexadecimal digits.
    """

    name: str
    role: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Contents:
    """All that lies in a bundle's folder.

    Attributes:
        files: that the manifest vouches for.
        engines: folders of engines that this device has built and vouches for.
        others: paths, relative to the folder, that nothing vouches for; nothing of edgexfer reads them.
        foreign_engines: folders of engines that this device does not vouch for; it never loads them.
    """

    files: tuple[VouchedFile, ...]
    engines: tuple[str, ...]
    foreign_engines: tuple[str, ...]
    others: tuple[str, ...]


def contents(bundle: Bundle) -> Contents:
    """Returns what lies in an open bundle and what vouches for it; no link is followed."""
    listed = bundle.manifest["files"]
    files = tuple(
        VouchedFile(name, _role(name), entry["size_bytes"], entry["sha256"]) for name, entry in listed.items()
    )
    engines: list[str] = []
    foreign: list[str] = []
    for path in sorted((bundle.folder / ENGINES).glob("*")):
        if path.is_dir() and not path.name.startswith("."):
            (engines if _is_ours(path) else foreign).append(f"{ENGINES}/{path.name}")
    others = [name for name in _walked(bundle.folder) if name not in {*listed, MANIFEST, SIGNATURES}]
    known = tuple(f"{folder}/" for folder in (*engines, *foreign))
    return Contents(files, tuple(engines), tuple(foreign), tuple(name for name in others if not name.startswith(known)))


def _role(name: str) -> str:
    if PurePosixPath(name).parts[0] == CANDIDATES:
        return "the network in another precision"
    return _ROLES.get(name, "")


def _is_ours(folder: Path) -> bool:
    try:
        digest = str(read_manifest(folder, "engine")["digest"])
        return is_sealed(SEALED_AS, digest.encode(), read_seal(folder))
    except EdgexferError:
        return False


def _walked(folder: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        here = Path(parent).relative_to(folder)
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(here / name).as_posix() for name in (*names, *links)]
    return sorted(found)
