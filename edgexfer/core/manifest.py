"""`manifest.json`: what an artifact folder holds and where it comes from.

    {"kind": "bundle" | "checkpoint" | "engine", "format_version": 1, "digest": "<sha256>",
     "files": {"model.onnx": {"sha256": "...", "size_bytes": 123}, ...}, ...the kind's own keys}

`digest` is the SHA-256 of the manifest itself: of its JSON without `digest`, keys sorted, no spaces,
UTF-8. Since the manifest holds the digest of every file, it names the whole artifact.

An artifact may come from a stranger, who can write any manifest with digests that are right. So its reader believes
nothing: the file is read to MOST_MANIFEST_BYTES and must be, byte by byte, what `write_manifest` would write; each name
stays inside the folder and is one file on every system; what lies there is a regular file of the size that is listed,
MOST_BYTES together, and is hashed before anybody else opens it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import sha256_of_bytes, sha256_of_file, write_file
from edgexfer.core.plain_files import (
    read_plain,
    same_to_some_system,
    sha256_of_plain,
    size_of,
    why_no_name,
    why_not_plain,
)

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
MOST_MANIFEST_BYTES = 4 << 20
MOST_FILES = 10_000
MOST_BYTES = 4 << 30
"""All files of one artifact together."""
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
    write_file(folder / MANIFEST, _text(manifest))
    return manifest


def read_manifest(folder: Path, kind: Kind) -> dict[str, Any]:
    """Reads `folder/manifest.json` and checks it and every file that it lists.

    Raises:
        ArtifactError: no such folder, not an artifact of this kind, another format_version,
            a file missing, or content that does not have the recorded SHA-256.
    """
    return read_manifest_and(folder, kind, lambda _: False, lambda _, content: content)


def read_manifest_and(
    folder: Path, kind: Kind, wanted: Callable[[str], bool], look: Callable[[Path, bytes], object]
) -> dict[str, Any]:
    """Reads `folder/manifest.json`, checks all of it, and shows the content of the files that are `wanted`.

    Args:
        folder: the artifact's.
        kind: what it is expected to be.
        wanted: whether the file of that name is.
        look: given a file's path, and its content once the digest of these very bytes was found to be right.

    Raises:
        ArtifactError: as `read_manifest`; and what `look` raises.
    """
    manifest = _parse(folder, kind)
    check_listing(manifest["files"], folder, kind)
    for name, entry in manifest["files"].items():
        content = _check_file(folder, name, entry, kind, read=wanted(name))
        if content is not None:
            look(folder / name, content)
    return manifest


def read_listed(folder: Path, manifest: dict[str, Any], name: str) -> bytes:
    """Returns the content of a file that a checked manifest lists; its digest is taken of these very bytes.

    Raises:
        ArtifactError: it is gone, or has changed since the manifest was checked.
    """
    return _check_file(folder, name, manifest["files"][name], manifest["kind"], read=True) or b""


def read_if_listed(folder: Path, manifest: dict[str, Any], name: str) -> bytes | None:
    """Returns what `read_listed` does; None where the manifest lists no such file.

    Raises:
        ArtifactError: as `read_listed`.
    """
    return read_listed(folder, manifest, name) if name in manifest["files"] else None


def parse_manifest(raw: bytes, where: Path, kind: Kind) -> dict[str, Any]:
    """Reads the bytes of a manifest, whose digest and spelling are checked; the files that it lists are not.

    Args:
        raw: the file's content.
        where: the file, named in errors.
        kind: what the artifact is expected to be.

    Raises:
        ArtifactError: not a manifest of this kind and format_version, or changed after it was written.
    """
    try:
        manifest = json.loads(raw, parse_constant=_refused_constant if kind != "checkpoint" else None)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is not valid JSON: {error}", _mend(kind)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtifactError(f"{where} is not a manifest of edgexfer", _mend(kind))
    if manifest.get("kind") != kind:
        found = manifest.get("kind", "thing")
        raise ArtifactError(f"{where.parent} is a {str(found)[:40]}, expected a {kind}", _origin(kind))
    version = manifest.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ArtifactError(
            f"{where.parent} has format_version {str(version)[:40]}, this edgexfer reads {FORMAT_VERSION}",
            "install the version of edgexfer that wrote it, or make it again with this one",
        )
    try:
        # Keys that are there twice, other spaces and escapes: what it says is then not all that is in it.
        untouched = manifest.get("digest") == manifest_digest(manifest) and _text(manifest).encode() == raw
    except (ValueError, RecursionError) as error:  # half a surrogate pair, which no UTF-8 can hold
        raise ArtifactError(f"{where} is not valid JSON: {error}", _mend(kind)) from error
    if not untouched:
        raise ArtifactError(f"{where} was changed after it was written (its digest does not match)", _mend(kind))
    return manifest


def check_listing(files: dict[str, Any], folder: Path, kind: Kind) -> None:
    """Checks a manifest's list of files as such: every name stays inside, every size and digest is one.

    Raises:
        ArtifactError: it is not so, or there are more than MOST_FILES or MOST_BYTES.
    """
    where, total = folder / MANIFEST, 0
    if len(files) > MOST_FILES:
        raise ArtifactError(f"{where} lists {len(files)} files, {MOST_FILES} at most are read", _mend(kind))
    for name, entry in files.items():
        if (reason := why_no_name(name)) or name.casefold() == MANIFEST:
            said = "names a file outside its folder" if reason.startswith("it leads") else "has a bad file name"
            raise ArtifactError(f"{where} {said}: {name[:80]!r} ({reason or 'it is its own'})", _mend(kind))
        size, sha256 = (entry.get("size_bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", str(sha256)):
            raise ArtifactError(f"{where}: the entry of {name} is no size and SHA-256", _mend(kind))
        total += size
    if total > MOST_BYTES:
        raise ArtifactError(f"{where} lists {total:,} bytes, {MOST_BYTES:,} at most are read", _mend(kind))
    if twins := same_to_some_system(files):
        raise ArtifactError(f"{where} lists {twins[0]} and {twins[1]}: on some systems that is one file", _mend(kind))


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Returns the SHA-256 of the manifest without its key `digest`; see the module's docstring."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return sha256_of_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _parse(folder: Path, kind: Kind) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        raise ArtifactError(f"{kind} {folder} does not exist", _origin(kind))
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(f"{folder} is not a {kind}: it has no {MANIFEST}", _origin(kind))
    try:
        raw = read_plain(path, MOST_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {_reason(error)}", _mend(kind)) from error
    return parse_manifest(raw, path, kind)


def _refused_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _check_file(folder: Path, name: str, entry: dict[str, Any], kind: Kind, *, read: bool) -> bytes | None:
    """Returns the file's content where it is to be read."""
    path, content = folder / name, None
    if reason := why_not_plain(folder, name):
        raise ArtifactError(f"{kind} {folder} lacks {name}, which its manifest lists: {reason}", _mend(kind))
    try:
        same = size_of(path) == entry["size_bytes"]
        if same and read:
            content = read_plain(path, entry["size_bytes"])
        sha256 = "" if not same else sha256_of_plain(path) if content is None else sha256_of_bytes(content)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {_reason(error)}", _mend(kind)) from error
    if sha256 != entry["sha256"]:
        raise ArtifactError(f"{path} was changed after it was written (SHA-256 differs from the manifest)", _mend(kind))
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


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
