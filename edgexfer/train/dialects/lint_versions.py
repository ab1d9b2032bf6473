"""The rules that differ between releases of TensorRT: operators, opsets, inputs, and types.

Sources: onnx-tensorrt's docs/operators.md and release notes by tag, NVIDIA's support matrix, and the release notes of
TensorRT 11 (every network strongly typed).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from onnx import TensorProto

from edgexfer.core.errors import SettingsError
from edgexfer.train.dialects.finding import DEQUANTIZE, Finding
from edgexfer.train.dialects.onnx_graph import Graph

Version = tuple[int, ...]
SAFE_VERSIONS = ("8.6", "10.3")
"""What a file is held to whose target names no release: every JetPack 6."""
_OLDEST_OPSET = 9
_NEWEST_OPSETS: tuple[tuple[Version, int], ...] = (
    ((8, 2), 13),
    ((8, 5), 17),
    ((10, 0), 20),
    ((10, 9), 22),
    ((10, 13), 24),
)
_READS_UINT8: Version = (8, 5)
_HAS_HARD_SWISH: Version = (8, 6)
_TAKES_TWO_INPUTS: Version = (8, 6)
_TAKES_TYPES_FROM_FILE: Version = (11,)


def parsed_version(text: str) -> Version:
    """Returns the numbers of a release such as "10.3" or "8.6.2".

    Raises:
        SettingsError: no such numbers, or a release before the first that is known here.
    """
    parts = text.strip().split(".")
    if not all(part.isdecimal() for part in parts):
        raise SettingsError(f"'{text}' is no release of TensorRT", "write it as 8.5, 10.3 or 11.4")
    version = tuple(int(part) for part in parts)
    if version < _NEWEST_OPSETS[0][0]:
        raise SettingsError(f"TensorRT {text} is not known to edgexfer", "8.2 is the first that is")
    return version


def newest_opset(version: Version) -> int:
    """Returns the newest operator set that a release reads."""
    return max(opset for since, opset in _NEWEST_OPSETS if since <= version)


def version_findings(graph: Graph, versions: Sequence[str], *, half: bool) -> Iterator[Finding]:
    """Gives what one of the releases does not take.

    Args:
        graph: of any precision.
        versions: releases such as "10.3".
        half: whether the layers outside INT8 are meant to compute in float16.
    """
    for text in versions:
        version = parsed_version(text)
        yield from _opset(graph, text, version)
        yield from _operators(graph, text, version)
        yield from _pixels(graph, text, version)
        if half and version >= _TAKES_TYPES_FROM_FILE:
            yield from _float_types(graph, text)


def _opset(graph: Graph, text: str, version: Version) -> Iterator[Finding]:
    found = next(o.version for o in graph.model.opset_import if o.domain in ("", "ai.onnx"))
    newest = newest_opset(version)
    if not _OLDEST_OPSET <= found <= newest:
        message = f"opset {found}, TensorRT {text} reads {_OLDEST_OPSET} to {newest}"
        yield Finding("opset", "model", message, f"set opset = {newest} in the target, or serve other releases")


def _operators(graph: Graph, text: str, version: Version) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.op_type == "HardSwish" and version < _HAS_HARD_SWISH:
            message = f"TensorRT {text} has no HardSwish"
            yield Finding("hard-swish", node.name, message, "set opset = 13: it is then written as HardSigmoid and Mul")
        if node.op_type == DEQUANTIZE and len(node.input) < 3 and version < _TAKES_TWO_INPUTS:
            message = f"TensorRT {text} needs a zero point here"
            yield Finding("three-inputs", node.name, message, "give data, scale and zero point")


def _pixels(graph: Graph, text: str, version: Version) -> Iterator[Finding]:
    for source in graph.model.graph.input:
        if source.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        if version < _READS_UINT8:
            remedy = 'set engine_pixels = "float32" in the target: a file for trtexec is then written beside it'
            yield Finding("uint8-pixels", source.name, f"TensorRT {text} reads no uint8", remedy)
        elif any(node.op_type != "Cast" for node in graph.consumers(source.name)):
            message = "something else than a Cast reads the uint8 pixels"
            yield Finding("cast-pixels", source.name, message, "convert them first: TensorRT computes nothing on uint8")


def _float_types(graph: Graph, text: str) -> Iterator[Finding]:
    read = {name for node in graph.nodes for name in node.input}
    floats = [name for name, value in graph.constants.items() if value.dtype == np.float32 and name in read]
    if floats:
        first = next(node for node in graph.nodes if floats[0] in node.input)
        message = f"TensorRT {text} takes types from the file: {len(floats)} constants are float32 and run in FP32"
        yield Finding("half-rest", first.name, message, 'set float_type = "float16" and opset = 19 in the target')
