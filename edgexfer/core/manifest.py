"""`manifest.json`: what an artifact folder holds and where it comes from.

    {"kind": "bundle" | "checkpoint" | "engine", "format_version": 1, "digest": "<sha256>",
     "files": {"model.onnx": {"sha256": "...", "size_bytes": 123}, ...}, ...the kind's own keys}

`digest` is the SHA-256 of the manifest itself: of its JSON without `digest`, keys sorted, no spaces,
UTF-8. Since the manifest holds the digest of every file, it names the whole artifact.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import sha256_of_bytes, sha256_of_file, write_file

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
Kind = Literal["checkpoint", "bundle", "engine"]


def write_manifest(folder: Path, kind: Kind, content: dict[str, Any]) -> dict[str, Any]:
    """Writes `folder/manifest.json` over all files now in `folder` and returns what was written.

    Args:
        folder: the artifact's folder with every other file in it already.
        kind: what the artifact is.
        content: the kind's own keys; JSON values only.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {name: _file_entry(folder / name) for name in names if name != MANIFEST}
    manifest = {"kind": kind, "format_version": FORMAT_VERSION, **content, "files": files}
    manifest["digest"] = manifest_digest(manifest)
    write_file(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return manifest


def read_manifest(folder: Path, kind: Kind) -> dict[str, Any]:
    """Reads `folder/manifest.json` and checks it and every file that it lists.

    Raises:
        ArtifactError: no such folder, not an artifact of this kind, another format_version,
            a file missing, or content that does not have the recorded SHA-256.
    """
    return read_manifest_and(folder, kind)[0]


def read_manifest_and(folder: Path, kind: Kind, wanted: str | None = None) -> tuple[dict[str, Any], bytes]:
    """Reads `folder/manifest.json`, checks all of it, and returns it with the content of the file `wanted`.

    The file is read once: its digest is taken of the very bytes that are returned.

    Returns:
        The manifest, and the content; empty where `wanted` is not among the files.

    Raises:
        ArtifactError: as `read_manifest`.
    """
    manifest = _parse(folder, kind)
    if manifest.get("digest") != manifest_digest(manifest):
        raise ArtifactError(
            f"{folder / MANIFEST} was changed after it was written (its digest does not match)", _mend(kind)
        )
    content = b""
    for name, entry in manifest["files"].items():
        path = _place(folder, name, kind)
        if name == wanted:
            content = path.read_bytes()
            found = sha256_of_bytes(content)
        else:
            found = sha256_of_file(path)
        if not isinstance(entry, dict) or found != entry.get("sha256"):
            raise ArtifactError(
                f"{path} was changed after it was written (SHA-256 differs from the manifest)", _mend(kind)
            )
    return manifest, content


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Returns the SHA-256 of the manifest without its key `digest`; see the module's docstring."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return sha256_of_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _parse(folder: Path, kind: Kind) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        raise ArtifactError(f"{kind} {folder} does not exist", _origin(kind))
    if not path.is_file():
        raise ArtifactError(f"{folder} is not a {kind}: it has no {MANIFEST}", _origin(kind))
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}", _mend(kind)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtifactError(f"{path} is not a manifest of edgexfer", _mend(kind))
    if manifest.get("kind") != kind:
        raise ArtifactError(f"{folder} is a {manifest.get('kind', 'thing')!s}, expected a {kind}", _origin(kind))
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{folder} has format_version {version}, this edgexfer reads {FORMAT_VERSION}",
            "install the version of edgexfer that wrote it, or make it again with this one",
        )
    return manifest


def _place(folder: Path, name: str, kind: Kind) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise ArtifactError(f"{folder / MANIFEST} names a file outside its folder: {name}", _mend(kind))
    path = folder / name
    if not path.is_file():
        raise ArtifactError(f"{kind} {folder} lacks {name}, which its manifest lists", _mend(kind))
    return path


def _file_entry(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_of_file(path), "size_bytes": path.stat().st_size}


def _origin(kind: Kind) -> str:
    made_by = {
        "checkpoint": "edgexfer finetune DATA --out RUN",
        "bundle": "edgexfer export RUN --target NAME",
        "engine": "edgexfer build BUNDLE",
    }
    return f"a {kind} is made by `{made_by[kind]}`"


def _mend(kind: Kind) -> str:
    return f"copy the {kind} again from where it was made, or make it again"
