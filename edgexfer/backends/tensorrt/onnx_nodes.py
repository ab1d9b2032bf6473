"""Names of an ONNX file's nodes without the package onnx, which a device does not have.

TensorRT before 10 says only the number of the node that it refuses. Of the file's message ModelProto field 7 is the
graph; of GraphProto field 1 is a node; of NodeProto field 2 is an output, 3 the name, 4 the operator (onnx.proto).
"""

from __future__ import annotations

from edgexfer.core.protobuf import fields

_GRAPH = 7
_NODE = 1
_OUTPUT, _NAME, _OPERATOR = 2, 3, 4


def node_at(model: bytes, number: int) -> tuple[str, str]:
    """Returns operator and name of a node; its first output where it has no name, and "" where the file has none.

    Args:
        model: an ONNX file.
        number: of the node, from 0, in the file's order.
    """
    try:
        graphs = [value for field, value in fields(memoryview(model)) if field == _GRAPH]
        nodes = (value for graph in graphs for field, value in fields(graph) if field == _NODE)
        node = next((node for index, node in enumerate(nodes) if index == number), None)
        found: dict[int, str] = {}
        for field, value in fields(node or memoryview(b"")):
            if field in (_OUTPUT, _NAME, _OPERATOR):
                found.setdefault(field, bytes(value).decode("utf-8", "replace"))
    except (IndexError, ValueError):  # not a protocol buffer: then there is no name to be had
        return "", ""
    return found.get(_OPERATOR, ""), found.get(_NAME) or found.get(_OUTPUT, "")
