"""lint: Bundle -> Findings. Proves that INT8 graphs are written in their target's dialect; runs nowhere but here.

The rules, with the engine's own document or source behind each, are in docs/architecture.md, "Dialects".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.train.dialects.finding import Finding
from edgexfer.train.dialects.lint_ort import float_operators, ort_findings
from edgexfer.train.dialects.lint_placement import placement_findings
from edgexfer.train.dialects.lint_sparsity import sparsity_findings
from edgexfer.train.dialects.lint_tensorrt import legality_findings
from edgexfer.train.dialects.lint_versions import SAFE_VERSIONS, parsed_version, version_findings
from edgexfer.train.dialects.onnx_graph import Graph, read_graph

__all__ = ["Finding", "float_operators", "lint"]


def lint(folder: str | Path, *, engine_versions: Sequence[str] | None = None) -> list[Finding]:
    """Returns what in a bundle's graphs their target's engine will not take or not run in 8 bits.

    Every candidate is looked at. Of a float one for ONNX Runtime only the ends are: uint8 pixels and float32
    probabilities.

    Args:
        folder: of the bundle.
        engine_versions: releases of TensorRT to hold it to, such as "10.3"; None for those of its target.

    Raises:
        ArtifactError: not a bundle, or one of its models is no valid ONNX.
        SettingsError: an unknown release, or one of TensorRT for a bundle of another dialect.
    """
    bundle = open_bundle(folder)
    if engine_versions and bundle.target.dialect != "tensorrt":
        raise SettingsError(
            f"{bundle.folder} is in the dialect '{bundle.target.dialect}' of {bundle.target.name}, not TensorRT's",
            "leave --tensorrt away, or export for a Jetson",
        )
    versions = tuple(engine_versions or bundle.target.engine_versions or SAFE_VERSIONS)
    for version in versions if bundle.target.dialect == "tensorrt" else ():
        parsed_version(version)
    plain = bundle.manifest.get("trtexec_model")
    found: list[Finding] = []
    for precision, file in bundle.candidates.items():
        graph = _graph_of(bundle, file)
        findings = [*_ends(graph), *_in_dialect(graph, bundle, precision, versions), *_zeros(graph, bundle)]
        # The bundle's contract is uint8; a file beside it serves the engine that cannot read that.
        spared = "uint8-pixels" if plain is not None else ""
        found += [dataclasses.replace(finding, file=file) for finding in findings if finding.rule != spared]
    if plain is not None:
        graph = _graph_of(bundle, plain)
        rest = [*_in_dialect(graph, bundle, bundle.precision, versions), *_zeros(graph, bundle)]
        found += [dataclasses.replace(finding, file=plain) for finding in rest]
    return found


def _in_dialect(graph: Graph, bundle: Bundle, precision: str, versions: Sequence[str]) -> Iterator[Finding]:
    in_8_bits = precision.startswith("int8")
    left = bundle.manifest.get("float_layers", [])
    if bundle.target.dialect == "ort":
        if in_8_bits:
            yield from ort_findings(graph, left)
        return
    if in_8_bits:
        yield from legality_findings(graph)
        yield from placement_findings(graph, float_depthwise=precision == "int8-depthwise-float16", float_layers=left)
    yield from version_findings(graph, versions, half=precision != "float32")


def _zeros(graph: Graph, bundle: Bundle) -> Iterator[Finding]:
    told = bool(bundle.target.options.get("sparse_weights")) and bundle.target.backend == "tensorrt"
    return sparsity_findings(graph, bundle.manifest.get("sparsity") or {}, sparse_weights=told)


def _graph_of(bundle: Bundle, file: str) -> Graph:
    path, content = bundle.folder / file, bundle.read(file)
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises protobuf's, checker's and inference's own kinds
        raise ArtifactError(f"{path} is not a valid ONNX file: {error}", "export the bundle again") from error
    return read_graph(model)


def _ends(graph: Graph) -> Iterator[Finding]:
    source, result = graph.model.graph.input[0], graph.model.graph.output[0]
    pixels, probabilities = source.type.tensor_type, result.type.tensor_type
    if pixels.elem_type != onnx.TensorProto.UINT8 or len(pixels.shape.dim) != 4 or pixels.shape.dim[3].dim_value != 3:
        yield Finding("pixels-in", source.name, "expected uint8 [N, H, W, 3]", "export the bundle again")
    if probabilities.elem_type != onnx.TensorProto.FLOAT or len(probabilities.shape.dim) != 2:
        yield Finding("probabilities-out", result.name, "expected float32 [N, classes]", "export the bundle again")
