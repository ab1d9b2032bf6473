"""Sends files to a device: only those whose content is not there yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgexfer.core.errors import DataError
from edgexfer.remote.conversation import Conversation
from edgexfer.remote.parcel import Content, Parcel
from edgexfer.remote.wire import PART_BYTES


def deliver(talk: Conversation, parcel: Parcel) -> str:
    """Sends what the device lacks of a parcel, has the folder made there, and returns its path.

    Raises:
        RemoteError: no space, or the connection was lost.
        DataError: a file cannot be read any more.
    """
    upload(talk, parcel.name, {content.sha256: content for content in parcel.files.values()})
    files = {name: content.sha256 for name, content in parcel.files.items()}
    return str(talk.ask({"do": parcel.kind, "name": parcel.name}, _json(files))["path"])


def upload(talk: Conversation, title: str, contents: dict[str, Content]) -> None:
    """Puts these contents into the device's store, those that it lacks; raises as `deliver`.

    Args:
        talk: with the device.
        title: what the user is told is being sent.
        contents: SHA-256 -> content.
    """
    sizes = {sha256: content.size_bytes for sha256, content in contents.items()}
    missing = talk.ask({"do": "have"}, _json(sizes))["missing"]
    if not missing:
        return
    megabytes = sum(sizes[sha256] for sha256 in missing) / 1e6
    count = f"{len(missing)} of {len(contents)} files" if len(contents) > 1 else "1 file"
    talk.news(f"sending {title} to {talk.host}: {count}, {megabytes:.1f} MB")
    try:
        for sha256 in missing:
            talk.request({"do": "file", "sha256": sha256, "bytes": sizes[sha256]})
            for part in _parts(contents[sha256].source):
                talk.request({"do": "part"}, part)
    except (RuntimeError, DataError):
        # An upload is answered once: that answer came early, or is of no more interest. This says that it ends here.
        talk.tell({"do": "dropped"})
        raise
    talk.ask({"do": "stored"})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("ascii")


def _parts(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[start : start + PART_BYTES] for start in range(0, len(source), PART_BYTES))
        return
    try:
        with source.open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}", "make it readable") from error
