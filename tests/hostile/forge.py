"""A stranger at work: he changes a bundle as he likes, and writes digests and sizes that are right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import MODEL, REFERENCE
from edgexfer.core.manifest import MANIFEST

Change = Callable[[dict[str, Any]], object]


def forge(folder: Path, change: Change | None = None) -> Path:
    """Writes the manifest anew over what lies in the folder, after `change` has had its way with it."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name in manifest["files"]:
        if (folder / name).is_file():
            manifest["files"][name] = entry((folder / name).read_bytes())
    if change is not None:
        change(manifest)
    manifest.pop("digest")
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    manifest["digest"] = hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


def entry(data: bytes) -> dict[str, Any]:
    """What a manifest lists of a file with this content."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def with_file(folder: Path, name: str, data: bytes) -> Path:
    """Puts other content into a file of the bundle."""
    (folder / name).write_bytes(data)
    return forge(folder)


def with_model(folder: Path, data: bytes) -> Path:
    """Puts another network into the bundle."""
    return with_file(folder, MODEL, data)


def with_references(folder: Path, data: bytes) -> Path:
    """Puts other references into the bundle."""
    return with_file(folder, REFERENCE, data)
