"""lint: a good file of each dialect has no finding, and each rule is breached by a file that breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgexfer.core.errors import ArtifactError
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.train.lint import float_operators, lint
from tests.bundles import make_bundle

pytestmark = pytest.mark.train

RNG = np.random.default_rng(0)
Dialect = Literal["ort", "tensorrt"]


class Parts:
    """The pieces of a network: pixels, a convolution, a residual Add, a pool, a classifier, probabilities."""

    def __init__(self, dialect: Dialect) -> None:
        self.constants: dict[str, Any] = {}
        self.nodes: list[NodeProto] = []
        self.opset = 17
        self.pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 8, 8, 3])
        self.result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4])
        self.zero = np.uint8(128) if dialect == "ort" else np.int8(0)
        if dialect == "ort":
            self.add("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
            self.constants |= {"scale": np.float32(0.01), "zero": np.uint8(128)}
            self.add("DequantizeLinear", ["planes", "scale", "zero"], "x")
        else:
            self.add("Cast", ["pixels"], "floats", to=TensorProto.FLOAT)
            self.add("Transpose", ["floats"], "planes", perm=[0, 3, 1, 2])
            self.pair("planes", "x")
        convolution = self.layer("Conv", "x", "first", (4, 3, 1, 1), float_bias=dialect != "ort")
        self.pair(convolution, "firstd")
        convolution = self.layer("Conv", "firstd", "second", (4, 4, 1, 1), float_bias=dialect != "ort")
        if dialect == "ort":
            self.pair(convolution, "secondd")
        self.add("Add", ["firstd", "secondd" if dialect == "ort" else convolution], "sum")
        self.pair("sum", "sumd")
        self.add("GlobalAveragePool", ["sumd"], "pooled")
        if dialect == "ort":
            self.constants |= {"pool_scale": np.float32(0.02), "pool_zero": self.zero}
            around = ["pool_scale", "pool_zero"]
            self.add("QuantizeLinear", ["pooled", *around], "pooled_q")
            self.add("Flatten", ["pooled_q"], "flat_q")
            self.add("DequantizeLinear", ["flat_q", *around], "features")
        else:
            self.pair("pooled", "pooledd")
            self.add("Flatten", ["pooledd"], "features")
        logits = self.layer("Gemm", "features", "classifier", (4, 4), float_bias=dialect != "ort", transB=1)
        if dialect == "ort":
            logits = self.pair(logits, "logits")
        self.add("Softmax", [logits], "probabilities", axis=1)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"n_{output}", **attributes))

    def pair(self, source: str, output: str) -> str:
        self.constants |= {f"{output}_s": np.float32(0.02), f"{output}_z": self.zero}
        around = [f"{output}_s", f"{output}_z"]
        self.add("QuantizeLinear", [source, *around], f"{output}_q")
        self.add("DequantizeLinear", [f"{output}_q", *around], output)
        return output

    def layer(
        self, kind: str, source: str, name: str, shape: tuple[int, ...], *, float_bias: bool, **attributes: Any
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
            self.add("DequantizeLinear", [f"{name}_b", f"{name}_bs", f"{name}_bz"], f"{name}_bd", axis=0)
            bias = f"{name}_bd"
        self.add(kind, [source, f"{name}_wd", bias], name, **attributes)
        return name

    def node(self, output: str) -> NodeProto:
        return next(node for node in self.nodes if node.output[0] == output)

    def before(self, output: str, *nodes: NodeProto) -> None:
        position = self.nodes.index(self.node(output))
        self.nodes[position:position] = nodes

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "parts",
            [self.pixels],
            [self.result],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("acme", 1)], ir_version=8
        )


def bundle_of(folder: Path, content: ModelProto | bytes, dialect: Dialect, precision: str = "int8") -> Path:
    """A bundle around any model file, its digests in order."""
    make_bundle(folder, labels=("a", "b", "c", "d"), dialect=dialect, precision=precision)
    (folder / "model.onnx").write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    own = ("kind", "format_version", "digest", "files")
    write_manifest(folder, "bundle", {key: value for key, value in manifest.items() if key not in own})
    return folder


def found(folder: Path, parts: Parts, dialect: Dialect, precision: str = "int8") -> set[str]:
    findings = lint(bundle_of(folder / "x.edgx", parts.model(), dialect, precision))
    assert all(finding.message and finding.remedy for finding in findings)
    return {finding.rule for finding in findings}


@pytest.mark.parametrize("dialect", ["ort", "tensorrt"])
def test_a_good_file_has_no_finding(tmp_path: Path, dialect: Dialect) -> None:
    parts = Parts(dialect)
    onnx.checker.check_model(parts.model(), full_check=True)
    assert found(tmp_path, parts, dialect) == set()


def computed_scale(parts: Parts) -> None:
    parts.constants["root"] = np.float32(0.1)
    parts.before("sumd_q", helper.make_node("Mul", ["root", "root"], ["square"], name="n_square"))
    for output in ("sumd_q", "sumd"):
        parts.node(output).input[1] = "square"


def no_zero_point(parts: Parts) -> None:
    # A zero point that is left away is uint8 0: fine for ONNX, but no engine's dialect.
    for output in ("sumd_q", "sumd"):
        del parts.node(output).input[2]


def float_weight(parts: Parts) -> None:
    parts.constants["first_w"] = RNG.normal(size=(4, 3, 1, 1)).astype(np.float32)
    parts.nodes.remove(parts.node("first_wd"))
    parts.node("first").input[1] = "first_w"


def weight_quantized_at_run_time(parts: Parts) -> None:
    parts.constants["first_f"] = RNG.normal(size=(4, 3, 1, 1)).astype(np.float32)
    around = ["first_ws", "first_wz"]
    quantize = helper.make_node("QuantizeLinear", ["first_f", *around], ["first_q"], name="n_first_q", axis=0)
    parts.before("first_wd", quantize)
    parts.node("first_wd").input[0] = "first_q"


def asymmetric_weight(parts: Parts) -> None:
    parts.constants["first_wz"] = np.full(4, 3, np.int8)


def unsigned_weight(parts: Parts) -> None:
    parts.constants |= {"first_w": np.ones((4, 3, 1, 1), np.uint8), "first_wz": np.zeros(4, np.uint8)}


def signed_activation(parts: Parts) -> None:
    for name in ("firstd", "secondd", "sumd", "logits"):
        parts.constants[f"{name}_z"] = np.int8(0)
    parts.constants["pool_zero"] = np.int8(0)


def activation_per_channel(parts: Parts) -> None:
    parts.constants |= {"sumd_s": np.full(4, 0.02, np.float32), "sumd_z": np.zeros(4, np.asarray(parts.zero).dtype)}


def float_operator(parts: Parts) -> None:
    parts.before("sumd_q", helper.make_node("Tanh", ["sum"], ["bent"], name="n_bent"))
    parts.node("sumd_q").input[0] = "bent"


def identity(parts: Parts) -> None:
    parts.before("sumd_q", helper.make_node("Identity", ["sum"], ["same"], name="n_same"))
    parts.node("sumd_q").input[0] = "same"


def zero_point_of_its_own(parts: Parts) -> None:
    parts.constants["sumd_z"] = np.int8(5)


def scale_of_nothing(parts: Parts) -> None:
    parts.constants["sumd_s"] = np.float32(0)


def weight_per_tensor(parts: Parts) -> None:
    parts.constants |= {"first_ws": np.float32(0.01), "first_wz": np.int8(0)}


def weight_along_another_axis(parts: Parts) -> None:
    node = parts.node("second_wd")
    node.attribute[0].i = 1


def quantized_bias(parts: Parts) -> None:
    parts.constants |= {"b": np.zeros(4, np.int8), "bs": np.full(4, 0.01, np.float32), "bz": np.zeros(4, np.int8)}
    dequantize = helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], name="n_bd", axis=0)
    parts.before("first", dequantize)
    parts.node("first").input[2] = "bd"


def both_branches_quantized(parts: Parts) -> None:
    around = ["x_s", "x_z"]
    parts.before(
        "sum",
        helper.make_node("QuantizeLinear", ["second", *around], ["second_q"], name="n_second_q"),
        helper.make_node("DequantizeLinear", ["second_q", *around], ["secondd"], name="n_secondd"),
    )
    parts.node("sum").input[1] = "secondd"


def no_branch_quantized(parts: Parts) -> None:
    parts.node("sum").input[0] = "first"


def newer_opset(parts: Parts) -> None:
    parts.opset = 19


def float_pixels(parts: Parts) -> None:
    parts.pixels = helper.make_tensor_value_info("given", TensorProto.FLOAT, ["N", 8, 8, 3])
    first = parts.nodes[0].output[0]
    parts.before(first, helper.make_node("Cast", ["given"], ["pixels"], name="n_cast", to=TensorProto.UINT8))


def planes_first(parts: Parts) -> None:
    parts.pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 3, 8, 8])
    name = "planes"
    parts.node(name).attribute[0].ints[:] = [0, 1, 2, 3]


def double_probabilities(parts: Parts) -> None:
    parts.node("probabilities").output[0] = "single"
    parts.nodes.append(helper.make_node("Cast", ["single"], ["probabilities"], name="n_d", to=TensorProto.DOUBLE))
    parts.result = helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, ["N", 4])


def of_another_domain(parts: Parts) -> None:
    parts.before("sumd_q", helper.make_node("Bend", ["sum"], ["bent"], name="n_bent", domain="acme"))
    parts.node("sumd_q").input[0] = "bent"


# ONNX Runtime fuses nothing around what is not written in the dialect: then what stays in float is found as well.
LEFT = "float-operator"


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (computed_scale, {"constant-scales"}),
        (no_zero_point, {"constant-scales"}),
        (float_weight, {LEFT}),
        (weight_quantized_at_run_time, {"int8-weights"}),
        (asymmetric_weight, {"symmetric-weights"}),
        (unsigned_weight, {"symmetric-weights"}),
        (signed_activation, {"u8-activations"}),
        (activation_per_channel, {"u8-activations", "engine-opens"}),
        (of_another_domain, {"engine-opens"}),
        (float_operator, {LEFT}),
        (planes_first, {"pixels-in"}),
        (float_pixels, {"pixels-in", LEFT}),
        (double_probabilities, {"probabilities-out", LEFT}),
    ],
)
def test_what_breaks_the_dialect_of_onnx_runtime(
    tmp_path: Path, spoil: Callable[[Parts], None], rules: set[str]
) -> None:
    parts = Parts("ort")
    spoil(parts)
    rule_found = found(tmp_path, parts, "ort")
    assert rule_found - {LEFT} == rules - {LEFT}
    assert (LEFT in rule_found) >= (LEFT in rules)


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (computed_scale, {"constant-scales"}),
        (no_zero_point, {"constant-scales"}),
        (weight_quantized_at_run_time, {"int8-weights"}),
        (identity, {"explicit-qdq"}),
        (zero_point_of_its_own, {"signed-symmetric"}),
        (scale_of_nothing, {"positive-scales"}),
        (weight_per_tensor, {"per-channel-weights"}),
        (weight_along_another_axis, {"per-channel-weights"}),
        (activation_per_channel, {"per-tensor-activations"}),
        (quantized_bias, {"float-bias"}),
        (both_branches_quantized, {"one-branch-at-add"}),
        (no_branch_quantized, {"one-branch-at-add"}),
        (newer_opset, {"opset"}),
        (planes_first, {"pixels-in"}),
        (double_probabilities, {"probabilities-out"}),
    ],
)
def test_what_breaks_the_dialect_of_tensorrt(tmp_path: Path, spoil: Callable[[Parts], None], rules: set[str]) -> None:
    parts = Parts("tensorrt")
    spoil(parts)
    assert found(tmp_path, parts, "tensorrt") == rules


def test_a_float_bundle_is_only_looked_at_its_ends(tmp_path: Path) -> None:
    parts = Parts("ort")
    float_weight(parts)
    float_operator(parts)
    assert found(tmp_path, parts, "ort", "float32") == set()
    planes_first(parts)
    assert found(tmp_path / "b", parts, "ort", "float32") == {"pixels-in"}


def test_the_finding_names_the_node(tmp_path: Path) -> None:
    parts = Parts("ort")
    float_operator(parts)
    findings = lint(bundle_of(tmp_path / "x.edgx", parts.model(), "ort"))
    assert "ONNX Runtime computes this Tanh in float" in [finding.message for finding in findings]
    assert "n_bent" in [finding.node for finding in findings]
    assert "n_bent" in [node.name for node in float_operators(parts.model())]


def cyclic() -> ModelProto:
    parts = Parts("ort")
    parts.node("first").input[0] = "probabilities"
    return parts.model()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no ONNX at all", "is not a valid ONNX file"),
        (b"", "is not a valid ONNX file"),
        (cyclic(), "is not a valid ONNX file"),
    ],
    ids=["text", "empty", "cyclic"],
)
def test_a_file_that_no_engine_opens_is_damaged(tmp_path: Path, content: ModelProto | bytes, words: str) -> None:
    folder = bundle_of(tmp_path / "x.edgx", content, "ort")
    with pytest.raises(ArtifactError, match=words) as caught:
        lint(folder)
    assert "export the bundle again" in caught.value.hint
