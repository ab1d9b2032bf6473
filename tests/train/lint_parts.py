"""Networks put together by hand that are good in one dialect, to be spoiled in one place; and bundles around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.train.dialects.lint import Finding, lint
from tests.bundles import make_bundle

RNG = np.random.default_rng(0)
Dialect = Literal["ort", "tensorrt"]
CLASSES = 4
_OWN = ("kind", "format_version", "digest", "files")


class Parts:
    """The pieces of a network under construction: nodes, constants, ends, opset."""

    def __init__(self, zero: Any) -> None:
        self.constants: dict[str, Any] = {}
        self.nodes: list[NodeProto] = []
        self.opset = 17
        self.pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 8, 8, 3])
        self.result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES])
        self.zero = zero

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"n_{output}", **attributes))
        return output

    def pair(self, source: str, output: str) -> str:
        self.constants |= {f"{output}_s": np.float32(0.02), f"{output}_z": self.zero}
        around = [f"{output}_s", f"{output}_z"]
        self.add("QuantizeLinear", [source, *around], f"{output}_q")
        return self.add("DequantizeLinear", [f"{output}_q", *around], output)

    def float_layer(self, kind: str, source: str, name: str, shape: tuple[int, ...], **attributes: Any) -> str:
        self.constants |= {
            f"{name}_w": RNG.normal(size=shape).astype(np.float32),
            f"{name}_b": np.zeros(shape[0], np.float32),
        }
        return self.add(kind, [source, f"{name}_w", f"{name}_b"], name, **attributes)

    def layer(
        self, kind: str, source: str, name: str, shape: tuple[int, ...], *, float_bias: bool = True, **attributes: Any
    ) -> str:
        channels = shape[0]
        self.constants |= {
            f"{name}_w": RNG.integers(-127, 128, shape).astype(np.int8),
            f"{name}_ws": np.full(channels, 0.01, np.float32),
            f"{name}_wz": np.zeros(channels, np.int8),
            f"{name}_b": np.zeros(channels, np.float32 if float_bias else np.int32),
        }
        self.add("DequantizeLinear", [f"{name}_w", f"{name}_ws", f"{name}_wz"], f"{name}_wd", axis=0)
        bias = f"{name}_b"
        if not float_bias:
            scale = np.float32(0.01) * (np.float32(0.01) if source == "x" else np.float32(0.02))
            self.constants |= {f"{name}_bs": np.full(channels, scale), f"{name}_bz": np.zeros(channels, np.int32)}
            bias = self.add("DequantizeLinear", [f"{name}_b", f"{name}_bs", f"{name}_bz"], f"{name}_bd", axis=0)
        return self.add(kind, [source, f"{name}_wd", bias], name, **attributes)

    def node(self, output: str) -> NodeProto:
        return next(node for node in self.nodes if node.output[0] == output)

    def before(self, output: str, *nodes: NodeProto) -> None:
        position = self.nodes.index(self.node(output))
        self.nodes[position:position] = nodes

    def between(self, source: str, reader: str, kind: str, **attributes: Any) -> None:
        """Puts an operator between `source` and the node that makes `reader`."""
        node = self.node(reader)
        made = f"{source}_{kind.lower()}"
        self.before(reader, helper.make_node(kind, [source], [made], name=f"n_{made}", **attributes))
        node.input[list(node.input).index(source)] = made

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "parts",
            [self.pixels],
            [self.result],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def ort_parts() -> Parts:
    """Pixels, two convolutions, a residual Add, a pool and a classifier, all of it in ONNX Runtime's dialect."""
    parts = Parts(np.uint8(128))
    parts.add("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
    parts.constants |= {"scale": np.float32(0.01), "zero": np.uint8(128)}
    parts.add("DequantizeLinear", ["planes", "scale", "zero"], "x")
    parts.pair(parts.layer("Conv", "x", "first", (4, 3, 1, 1), float_bias=False), "firstd")
    parts.pair(parts.layer("Conv", "firstd", "second", (4, 4, 1, 1), float_bias=False), "secondd")
    parts.pair(parts.add("Add", ["firstd", "secondd"], "sum"), "sumd")
    parts.add("GlobalAveragePool", ["sumd"], "pooled")
    parts.constants |= {"pool_scale": np.float32(0.02), "pool_zero": parts.zero}
    around = ["pool_scale", "pool_zero"]
    parts.add("QuantizeLinear", ["pooled", *around], "pooled_q")
    parts.add("Flatten", ["pooled_q"], "flat_q")
    parts.add("DequantizeLinear", ["flat_q", *around], "features")
    logits = parts.layer("Gemm", "features", "classifier", (CLASSES, 4), float_bias=False, transB=1)
    parts.add("Softmax", [parts.pair(logits, "logits")], "probabilities", axis=1)
    return parts


def tensorrt_parts() -> Parts:
    """Pixels, a residual block, a depthwise convolution, an SE block, pool and classifier in float, in TensorRT's."""
    parts = Parts(np.int8(0))
    parts.add("Cast", ["pixels"], "floats", to=TensorProto.FLOAT)
    parts.pair(parts.add("Transpose", ["floats"], "planes", perm=[0, 3, 1, 2]), "x")
    parts.pair(parts.layer("Conv", "x", "first", (16, 3, 3, 3), pads=[1, 1, 1, 1]), "firstd")
    convolution = parts.layer("Conv", "firstd", "second", (16, 16, 1, 1))
    parts.pair(parts.add("Add", ["firstd", convolution], "sum"), "sumd")
    parts.pair(parts.layer("Conv", "sumd", "deep", (16, 1, 3, 3), group=16, pads=[1, 1, 1, 1]), "deepd")
    parts.add("GlobalAveragePool", ["deepd"], "squeezed")
    parts.add("Relu", [parts.float_layer("Conv", "squeezed", "reduce", (16, 16, 1, 1))], "reduced")
    parts.add("HardSigmoid", [parts.float_layer("Conv", "reduced", "expand", (16, 16, 1, 1))], "gate")
    parts.pair(parts.add("Mul", ["deepd", parts.pair("gate", "gated")], "product"), "productd")
    parts.add("Relu", [parts.layer("Conv", "productd", "last", (16, 16, 1, 1))], "bent")
    parts.add("Flatten", [parts.add("GlobalAveragePool", ["bent"], "pooled")], "features")
    parts.add(
        "Softmax", [parts.float_layer("Gemm", "features", "logits", (CLASSES, 16), transB=1)], "probabilities", axis=1
    )
    return parts


def bundle_of(
    folder: Path, content: ModelProto | bytes, dialect: Dialect, precision: str = "int8", **more: Any
) -> Path:
    """A bundle around any model file, its digests in order; `more` goes into its target."""
    make_bundle(folder, labels=("a", "b", "c", "d"), dialect=dialect, precision=precision)
    (folder / "model.onnx").write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    rewrite(folder, target=more)
    return folder


def rewrite(folder: Path, *, target: dict[str, Any] | None = None, **content: Any) -> None:
    """Writes the manifest again: over the files that are there now, with these keys of the target and of its own."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    kept = {key: value for key, value in manifest.items() if key not in _OWN}
    write_manifest(folder, "bundle", {**kept, "target": {**kept["target"], **(target or {})}, **content})


def findings_of(
    folder: Path,
    parts: Parts,
    dialect: Dialect,
    precision: str = "int8",
    versions: list[str] | None = None,
    **more: Any,
) -> list[Finding]:
    findings = lint(bundle_of(folder / "x.edgx", parts.model(), dialect, precision, **more), engine_versions=versions)
    assert all(finding.message and finding.remedy for finding in findings)
    return findings


def rules_of(*args: Any, **more: Any) -> set[str]:
    """The rules that `findings_of` finds broken."""
    return {finding.rule for finding in findings_of(*args, **more)}
