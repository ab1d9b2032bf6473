"""What an ONNX file from a stranger may not do, found before any engine parses it, and without the package onnx.

It may not name other files: the engine would open them, wherever they lie. It may not ask for operators from outside
ONNX's own set, which are code that is loaded, nor bring functions of its own. It may not loop: a loop runs for as long
as the file says. None of it is ever written by `export`.

The file is a protocol buffer (onnx.proto). ModelProto: 7 graph, 8 opset_import, 20 training_info, 25 functions.
OperatorSetIdProto: 1 domain. GraphProto: 1 node. NodeProto: 4 op_type, 7 domain, 5 attribute; AttributeProto: 6 g, 11
graphs, 5 t, 10 tensors, 22 sparse_tensor, 23 sparse_tensors; SparseTensorProto: 1 values, 2 indices. TensorProto: 13
external_data, in which a key "location" is required.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgexfer.core.errors import ArtifactError
from edgexfer.core.protobuf import fields

_GRAPH, _OPSETS, _TRAINING, _FUNCTIONS = 7, 8, 20, 25
_KNOWN = frozenset({1, 2, 3, 4, 5, 6, _GRAPH, _OPSETS, 14, _TRAINING, _FUNCTIONS, 26})
_DOMAIN = 1
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_OPERATOR, _ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_SUBGRAPHS, _TENSORS, _SPARSE_TENSORS = (6, 11), (5, 10), (22, 23)
_VALUES_AND_INDICES = (1, 2)
_EXTERNAL = 13
_OUR_DOMAINS = (b"", b"ai.onnx")
_LOOPS = (b"Loop", b"Scan", b"If", b"SequenceMap")
# Weights are most of a file and nodes are few: a node is looked into only where these letters are in it.
_SUSPECT = re.compile(rb"Loop|Scan|If|SequenceMap")
_LOCATION = b"location"
_MEND = "use a bundle that `edgexfer export RUN --target NAME` wrote"


def check_network(path: Path, data: bytes) -> None:
    """Checks an ONNX file's content; one that is fine costs a search through its bytes.

    Args:
        path: named in errors.
        data: the content, whose digest was checked: whoever runs it shall get the same.

    Raises:
        ArtifactError: it reads other files, has operators that are not ONNX's own, loops, or is no ONNX file.
    """
    try:
        reason = why_refused(data)
    except (IndexError, ValueError) as error:
        raise ArtifactError(f"{path} is no ONNX file: {error}", _MEND) from error
    if reason:
        raise ArtifactError(f"{path} {reason}", _MEND)


def why_refused(data: bytes) -> str:
    """Returns what is wrong with the bytes of an ONNX file, such as "reads other files"; "" where nothing is.

    Raises:
        ValueError: it is no protocol buffer.
        IndexError: it ends in the middle of a number.
    """
    suspect = _LOCATION in data
    graphs = 0
    for number, value in fields(memoryview(data)):
        if number not in _KNOWN:
            raise ValueError(f"field {number}")
        if number == _OPSETS:
            for inner, domain in fields(value):
                if inner == _DOMAIN and bytes(domain) not in _OUR_DOMAINS:
                    return f"has operators of {bytes(domain[:40])!r}, which are not ONNX's own"
        if number in (_TRAINING, _FUNCTIONS):
            return "brings functions of its own"
        if number == _GRAPH:
            graphs += 1
            if reason := _why_refused_graph(value, suspect=suspect):
                return reason
    if graphs != 1:
        raise ValueError(f"it has {graphs} graphs")
    return ""


def _why_refused_graph(graph: memoryview, *, suspect: bool) -> str:
    for number, value in fields(graph):
        if number == _NODE and (suspect or _SUSPECT.search(value)) and (reason := _why_refused_node(value)):
            return reason
        if suspect and ((number == _INITIALIZER and _reads_files(value)) or (number == _SPARSE and _any_reads(value))):
            return "reads other files (external data)"
    return ""


def _why_refused_node(node: memoryview) -> str:
    for number, value in fields(node):
        if number == _OPERATOR and bytes(value) in _LOOPS:
            return f"has the operator {bytes(value).decode()}, which can run without an end"
        if number == _NODE_DOMAIN and bytes(value) not in _OUR_DOMAINS:
            return "has operators that are not ONNX's own"
        if number == _ATTRIBUTE:
            for inner, held in fields(value):
                if inner in _SUBGRAPHS:
                    return "has a graph inside a node"
                if (inner in _TENSORS and _reads_files(held)) or (inner in _SPARSE_TENSORS and _any_reads(held)):
                    return "reads other files (external data)"
    return ""


def _any_reads(sparse: memoryview) -> bool:
    return any(number in _VALUES_AND_INDICES and _reads_files(tensor) for number, tensor in fields(sparse))


def _reads_files(tensor: memoryview) -> bool:
    return any(number == _EXTERNAL for number, _ in fields(tensor))
