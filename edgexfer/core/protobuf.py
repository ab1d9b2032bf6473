"""Fields of a protocol buffer, for the few things that a device has to know of an ONNX file without the package onnx.

A message is fields of (tag, value), where the tag is `number << 3 | wire type` (protobuf.dev, "Encoding").
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the number of each field, and its bytes where it holds bytes, a text or another message.

    Raises:
        ValueError: it is no protocol buffer.
        IndexError: it ends in the middle of a number.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _VARINT:
            _, end = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            end = at + size
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            end = at + (8 if wire == _EIGHT_BYTES else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(message):
            raise ValueError("a field ends behind its message")
        yield tag >> 3, message[at:end] if wire == _BYTES else message[:0]
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = message[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 7 * _LONGEST_VARINT, 7):
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise ValueError("a number without an end")
