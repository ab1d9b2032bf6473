r"""Frames between this machine and the agent on a device: one JSON line, then `size` bytes of payload.

    {"do": "part", "size": 5}\n
    hello

Keys of the header are the messages' own (edgexfer/remote/agent/__init__.py lists them); `size` is always there.
Runs on the device too, before edgexfer is there: standard library alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

HEADER_BYTES = 1 << 20
PAYLOAD_BYTES = 256 << 20
PART_BYTES = 256 << 10


class WireError(ValueError):
    """What arrives is no frame of ours, or ends in the middle of one."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        header: its JSON object, without `size`.
        payload: raw bytes; empty for most.
    """

    header: dict[str, Any]
    payload: bytes = b""

    def json(self) -> Any:
        """Returns the payload read as JSON."""
        return json.loads(self.payload)


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Returns the frame's bytes.

    Raises:
        WireError: header or payload is larger than a frame may be.
    """
    # ASCII: file names that are not UTF-8 (lone surrogates in Python) travel as escapes.
    line = json.dumps({**header, "size": len(payload)}).encode("ascii") + b"\n"
    if len(line) > HEADER_BYTES or len(payload) > PAYLOAD_BYTES:
        raise WireError(f"a frame of {len(line)} and {len(payload)} bytes is too large")
    return line + payload


class Decoder:
    """Bytes in, in pieces of any length; whole frames out."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._header: dict[str, Any] | None = None
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Takes the next bytes and returns the frames that they complete.

        Raises:
            WireError: this is no frame.
        """
        self._pending += data
        frames: list[Frame] = []
        while self._has_header() and len(self._pending) >= self._size:
            assert self._header is not None  # noqa: S101 - what _has_header says, for mypy
            frames.append(Frame(self._header, bytes(self._pending[: self._size])))
            del self._pending[: self._size]
            self._header = None
        return frames

    def end(self) -> None:
        """Says that no more bytes come.

        Raises:
            WireError: they end in the middle of a frame.
        """
        if self._pending or self._header is not None:
            raise WireError("the connection ends in the middle of a message")

    def _has_header(self) -> bool:
        if self._header is not None:
            return True
        end = self._pending.find(b"\n", 0, HEADER_BYTES)
        if end < 0:
            if len(self._pending) >= HEADER_BYTES:
                raise WireError("what arrives is no message of edgexfer")
            return False
        self._header, self._size = _parse(bytes(self._pending[:end]))
        del self._pending[: end + 1]
        return True


def _parse(line: bytes) -> tuple[dict[str, Any], int]:
    try:
        header = json.loads(line)
        size = header.pop("size")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise WireError(f"what arrives is no message of edgexfer: {line[:80]!r}") from error
    if type(size) is not int or not 0 <= size <= PAYLOAD_BYTES:
        raise WireError(f"a message says that it has {size!r} bytes")
    return header, size
