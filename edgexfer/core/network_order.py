"""Whether the nodes of an ONNX file stand in the order that ONNX asks for, each behind those that it reads.

ONNX Runtime refuses a graph that reads itself. OpenVINO's importer never comes back from one (seen with 2026.4.1), so
engines that take seconds anyway are only given what passes here; for `load` with ONNX Runtime it would take too long.

Beside the fields that edgexfer/core/network_file.py names: GraphProto: 5 initializer, 11 input, 15 sparse_initializer.
NodeProto: 1 input, 2 output. ValueInfoProto: 1 name. TensorProto: 8 name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgexfer.core.errors import ArtifactError
from edgexfer.core.protobuf import fields

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _SPARSE = 1, 5, 11, 15
_READS, _GIVES = 1, 2
_VALUE_NAME, _TENSOR_NAME, _VALUES = 1, 8, 1


def check_order(path: Path, data: bytes) -> None:
    """Checks the content of an ONNX file that `check_network` has passed.

    Args:
        path: named in errors.
        data: the content.

    Raises:
        ArtifactError: a node reads what no node before it gives, two give the same, or it is no ONNX file.
    """
    try:
        reasons = [_why_refused(graph) for number, graph in fields(memoryview(data)) if number == _GRAPH]
    except (IndexError, ValueError) as error:
        reasons = [f"is no ONNX file: {error}"]
    if reason := next(filter(None, reasons), ""):
        raise ArtifactError(f"{path} {reason}", "use a bundle that `edgexfer export RUN --target NAME` wrote")


def _why_refused(graph: memoryview) -> str:
    parts = list(fields(graph))
    known = {b"", *_given_from_outside(parts)}  # an input that is left out has no name
    for number, node in parts:
        if number != _NODE:
            continue
        ends = [(inner, bytes(value)) for inner, value in fields(node) if inner in (_READS, _GIVES)]
        for inner, name in ends:
            if inner == _READS and name not in known:
                return f"reads {name[:40]!r} before it is there: its nodes are out of order, or it reads itself"
        for inner, name in ends:
            if inner == _GIVES and name:
                if name in known:
                    return f"gives {name[:40]!r} twice"
                known.add(name)
    return ""


def _given_from_outside(parts: list[tuple[int, memoryview]]) -> Iterator[bytes]:
    for number, value in parts:
        if number == _INITIALIZER:
            yield from _texts(value, _TENSOR_NAME)
        elif number == _INPUT:
            yield from _texts(value, _VALUE_NAME)
        elif number == _SPARSE:
            for inner, tensor in fields(value):
                if inner == _VALUES:
                    yield from _texts(tensor, _TENSOR_NAME)


def _texts(message: memoryview, wanted: int) -> Iterator[bytes]:
    return (bytes(value) for number, value in fields(message) if number == wanted)
