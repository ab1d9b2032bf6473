"""Names of an ONNX file's nodes without the package onnx, which a device does not have.

TensorRT before 10 says only the number of the node that it refuses. The file is a protocol buffer: fields of
(tag, value), where the tag is `number << 3 | wire type`. Of its message ModelProto field 7 is the graph; of
GraphProto field 1 is a node; of NodeProto field 2 is an output, 3 the name, 4 the operator (onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH = 7
_NODE = 1
_OUTPUT, _NAME, _OPERATOR = 2, 3, 4
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def node_at(model: bytes, number: int) -> tuple[str, str]:
    """Returns operator and name of a node; its first output where it has no name, and "" where the file has none.

    Args:
        model: an ONNX file.
        number: of the node, from 0, in the file's order.
    """
    try:
        graphs = [value for field, value in _fields(memoryview(model)) if field == _GRAPH]
        nodes = (value for graph in graphs for field, value in _fields(graph) if field == _NODE)
        node = next((node for index, node in enumerate(nodes) if index == number), None)
        found: dict[int, str] = {}
        for field, value in _fields(node or memoryview(b"")):
            if field in (_OUTPUT, _NAME, _OPERATOR):
                found.setdefault(field, bytes(value).decode("utf-8", "replace"))
    except (IndexError, ValueError):  # not a protocol buffer: then there is no name to be had
        return "", ""
    return found.get(_OPERATOR, ""), found.get(_NAME) or found.get(_OUTPUT, "")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
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
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
