"""lint in TensorRT's dialect: each rule is breached by a small file that breaks just it, by release where needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from edgexfer.core.errors import SettingsError
from edgexfer.train.dialects.lint import lint
from tests.train.lint_parts import RNG, Parts, bundle_of, findings_of, rewrite, rules_of, tensorrt_parts

pytestmark = pytest.mark.train

CHANNELS = 16


def pair_in(parts: Parts, source: str, reader: str) -> None:
    """Puts a quantizer pair between `source` and the node that makes `reader`."""
    parts.constants |= {f"{source}_s": np.float32(0.02), f"{source}_z": np.int8(0)}
    around = [f"{source}_s", f"{source}_z"]
    parts.before(
        reader,
        helper.make_node("QuantizeLinear", [source, *around], [f"{source}_steps"], name=f"n_{source}_steps"),
        helper.make_node("DequantizeLinear", [f"{source}_steps", *around], [f"{source}_d"], name=f"n_{source}_d"),
    )
    node = parts.node(reader)
    node.input[list(node.input).index(source)] = f"{source}_d"


def reshape_weight(parts: Parts, name: str, shape: tuple[int, ...]) -> NodeProto:
    """Gives the layer `name` weights of another shape, in 8 bits."""
    parts.constants |= {
        f"{name}_w": RNG.integers(-127, 128, shape).astype(np.int8),
        f"{name}_ws": np.full(shape[0], 0.01, np.float32),
        f"{name}_wz": np.zeros(shape[0], np.int8),
        f"{name}_b": np.zeros(shape[0], np.float32),
    }
    return parts.node(name)


def computed_scale(parts: Parts) -> None:
    parts.constants["root"] = np.float32(0.1)
    parts.before("sumd_q", helper.make_node("Mul", ["root", "root"], ["square"], name="n_square"))
    for output in ("sumd_q", "sumd"):
        parts.node(output).input[1] = "square"


def scale_behind_identity(parts: Parts) -> None:
    parts.before("sumd_q", helper.make_node("Identity", ["sumd_s"], ["same"], name="n_same"))
    parts.node("sumd_q").input[1] = "same"


def weight_quantized_at_run_time(parts: Parts) -> None:
    parts.constants["first_f"] = RNG.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32)
    around = ["first_ws", "first_wz"]
    quantize = helper.make_node("QuantizeLinear", ["first_f", *around], ["first_q"], name="n_first_q", axis=0)
    parts.before("first_wd", quantize)
    parts.node("first_wd").input[0] = "first_q"


def identity(parts: Parts) -> None:
    parts.between("sum", "sumd_q", "Identity")


def integer_convolution(parts: Parts) -> None:
    parts.constants["ones"] = np.ones((CHANNELS, CHANNELS, 1, 1), np.int8)
    parts.before(
        "sumd",
        helper.make_node("ConvInteger", ["sumd_q", "ones"], ["integers"], name="n_integers"),
        helper.make_node("Cast", ["integers"], ["sumd_again"], name="n_again", to=TensorProto.INT8),
    )
    parts.node("sumd").input[0] = "sumd_again"


def batch_norm(parts: Parts) -> None:
    for part in ("gamma", "beta", "mean", "variance"):
        parts.constants[part] = np.ones(CHANNELS, np.float32)
    inputs = ["bent", "gamma", "beta", "mean", "variance"]
    parts.before("pooled", helper.make_node("BatchNormalization", inputs, ["normed"], name="n_normed"))
    parts.node("pooled").input[0] = "normed"


def zero_point_of_its_own(parts: Parts) -> None:
    parts.constants["sumd_z"] = np.int8(5)


def unsigned(parts: Parts) -> None:
    parts.constants["sumd_z"] = np.uint8(0)


def quantize_without_zero_point(parts: Parts) -> None:
    parts.constants["sumd_z"] = np.uint8(0)  # what a zero point that is left away is
    del parts.node("sumd_q").input[2]


def zero_points_fewer_than_scales(parts: Parts) -> None:
    parts.constants["last_wz"] = np.int8(0)


def scale_of_nothing(parts: Parts) -> None:
    parts.constants["sumd_s"] = np.float32(0)


def weight_per_tensor(parts: Parts) -> None:
    parts.constants |= {"first_ws": np.float32(0.01), "first_wz": np.int8(0)}


def weight_along_another_axis(parts: Parts) -> None:
    parts.node("second_wd").attribute[0].i = 1


def activation_per_channel(parts: Parts) -> None:
    parts.constants |= {"sumd_s": np.full(CHANNELS, 0.02, np.float32), "sumd_z": np.zeros(CHANNELS, np.int8)}


def quantized_bias(parts: Parts) -> None:
    parts.constants |= {"b": np.zeros(16, np.int8), "bs": np.full(16, 0.01, np.float32), "bz": np.zeros(16, np.int8)}
    parts.before("first", helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], name="n_bd", axis=0))
    parts.node("first").input[2] = "bd"


def scalar(parts: Parts) -> None:
    parts.before("pooled", helper.make_node("ReduceSum", ["bent"], ["total"], name="n_total", keepdims=0))
    parts.before("pooled", helper.make_node("Div", ["bent", "total"], ["share"], name="n_share"))
    parts.node("pooled").input[0] = "share"
    pair_in(parts, "total", "share")


def both_branches_quantized(parts: Parts) -> None:
    pair_in(parts, "second", "sum")


def no_branch_quantized(parts: Parts) -> None:
    parts.node("sum").input[0] = "first"


def one_input_of_the_gate(parts: Parts) -> None:
    parts.node("product").input[1] = "gate"


def few_channels(parts: Parts) -> None:
    node = reshape_weight(parts, "last", (12, 8, 1, 1))
    node.attribute.append(helper.make_attribute("group", 2))
    reshape_weight(parts, "logits", (4, 12))
    parts.constants["logits_w"] = RNG.normal(size=(4, 12)).astype(np.float32)


def depthwise_of_odd_width(parts: Parts) -> None:
    node = reshape_weight(parts, "deep", (CHANNELS, 1, 1, 1))
    node.attribute.remove(next(a for a in node.attribute if a.name == "pads"))


def classifier_in_8_bits(parts: Parts) -> None:
    parts.layer("Gemm", "features", "eight", (4, CHANNELS), transB=1)
    made, weights = parts.nodes.pop(), parts.nodes.pop()
    made.output[0] = "logits"
    parts.before("logits", weights, made)
    parts.nodes.remove(next(n for n in parts.nodes if n.name == "n_logits"))
    pair_in(parts, "features", "logits")


def input_in_float(parts: Parts) -> None:
    parts.node("last").input[0] = "product"


def convolution_in_float(parts: Parts) -> None:
    parts.constants["deep_w"] = RNG.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32)
    parts.nodes.remove(parts.node("deep_wd"))
    parts.node("deep").input[1] = "deep_w"


def pixels_without_cast(parts: Parts) -> None:
    parts.nodes.remove(parts.node("floats"))
    parts.before("planes", helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 1, 2, 3], name="n_turned"))
    parts.before("planes", helper.make_node("Cast", ["turned"], ["floats"], to=TensorProto.FLOAT, name="n_floats"))


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (computed_scale, {"constant-scales"}),
        (scale_behind_identity, {"constant-scales", "no-identity"}),
        (weight_quantized_at_run_time, {"int8-weights"}),
        (identity, {"no-identity"}),
        (integer_convolution, {"explicit-qdq"}),
        (batch_norm, {"folded-batch-norm"}),
        (zero_point_of_its_own, {"signed-symmetric"}),
        (unsigned, {"signed-symmetric"}),
        (quantize_without_zero_point, {"signed-symmetric"}),
        (zero_points_fewer_than_scales, {"signed-symmetric"}),
        (scale_of_nothing, {"positive-scales"}),
        (weight_per_tensor, {"per-channel-weights"}),
        (weight_along_another_axis, {"per-channel-weights"}),
        (activation_per_channel, {"per-tensor-activations"}),
        (quantized_bias, {"float-bias"}),
        (scalar, {"no-scalars"}),
        (both_branches_quantized, {"one-branch-at-add"}),
        (no_branch_quantized, {"one-branch-at-add"}),
        (one_input_of_the_gate, {"gate"}),
        (few_channels, {"small-channels"}),
        (depthwise_of_odd_width, {"depthwise"}),
        (classifier_in_8_bits, {"classifier"}),
        (input_in_float, {"both-inputs"}),
        (convolution_in_float, {"float-between"}),
        (pixels_without_cast, {"cast-pixels"}),
    ],
)
def test_what_breaks_the_dialect(tmp_path: Path, spoil: Callable[[Parts], None], rules: set[str]) -> None:
    parts = tensorrt_parts()
    spoil(parts)
    assert rules_of(tmp_path, parts, "tensorrt") == rules


def opset(number: int) -> Callable[[Parts], None]:
    def spoil(parts: Parts) -> None:
        parts.opset = number

    return spoil


def hard_swish(parts: Parts) -> None:
    parts.between("bent", "pooled", "HardSwish")


def dequantize_without_zero_point(parts: Parts) -> None:
    del parts.node("sumd").input[2]


def as_they_are(_: Parts) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "rule", "broken", "kept"),
    [
        (opset(13), "opset", [], ["8.2", "8.4", "8.5.2", "10.3", "11.4"]),
        (opset(17), "opset", ["8.2", "8.4"], ["8.5", "8.6.2", "10.0", "11"]),
        (opset(19), "opset", ["8.6"], ["10.0", "10.3", "11.4"]),
        (opset(21), "opset", ["8.6", "10.3", "10.7"], ["10.9", "10.13", "11.0"]),
        (opset(23), "opset", ["10.9", "10.12"], ["10.13", "10.16", "11.4"]),
        (hard_swish, "hard-swish", ["8.2", "8.5"], ["8.6", "10.3"]),
        (dequantize_without_zero_point, "three-inputs", ["8.2", "8.5"], ["8.6", "10.3"]),
        (as_they_are, "uint8-pixels", ["8.2", "8.4"], ["8.5", "8.6", "10.3", "11.4"]),
        (as_they_are, "half-rest", ["11.0", "11.4"], ["8.6", "10.3", "10.16"]),
    ],
)
def test_what_one_release_takes_and_another_does_not(
    tmp_path: Path, spoil: Callable[[Parts], None], rule: str, broken: list[str], kept: list[str]
) -> None:
    parts = tensorrt_parts()
    spoil(parts)
    for version in broken + kept:
        findings = findings_of(tmp_path / version, parts, "tensorrt", versions=[version])
        found = [finding for finding in findings if finding.rule == rule]
        assert bool(found) == (version in broken), version
        assert all(f"TensorRT {version}" in finding.message for finding in found)


def test_a_float_file_is_held_to_the_release_but_not_to_the_quantizers_rules(tmp_path: Path) -> None:
    parts = tensorrt_parts()
    both_branches_quantized(parts)
    hard_swish(parts)
    assert rules_of(tmp_path, parts, "tensorrt", "float16", ["8.5"]) == {"hard-swish"}
    assert rules_of(tmp_path / "b", parts, "tensorrt", "float16", ["11.4"]) == {"half-rest"}
    # Where float32 is asked for, FP32 is no finding.
    assert rules_of(tmp_path / "c", parts, "tensorrt", "float32", ["11.4"]) == set()


def test_the_targets_releases_are_the_measure_unless_others_are_asked_for(tmp_path: Path) -> None:
    parts = tensorrt_parts()
    parts.opset = 19
    assert rules_of(tmp_path / "a", parts, "tensorrt", engine_versions=["10.3"]) == set()
    assert rules_of(tmp_path / "b", parts, "tensorrt", engine_versions=["8.6", "10.3"]) == {"opset"}
    assert rules_of(tmp_path / "c", parts, "tensorrt", engine_versions=["8.6"], versions=["10.3"]) == set()
    assert rules_of(tmp_path / "d", parts, "tensorrt") == {"opset"}


def test_in_the_candidate_with_float_depthwise_layers_none_is_in_8_bits_and_each_may_stand_alone(
    tmp_path: Path,
) -> None:
    precision = "int8-depthwise-float16"
    assert rules_of(tmp_path / "a", tensorrt_parts(), "tensorrt", precision) == {"depthwise"}
    parts = tensorrt_parts()
    convolution_in_float(parts)
    assert rules_of(tmp_path / "b", parts, "tensorrt", precision) == set()


def test_an_identity_branch_may_come_from_a_pool_and_a_convolution_may_read_one(tmp_path: Path) -> None:
    parts = tensorrt_parts()
    parts.between("sumd", "deep", "MaxPool", kernel_shape=[1, 1])
    assert rules_of(tmp_path, parts, "tensorrt") == set()


def test_a_float_residual_block_needs_no_quantizer(tmp_path: Path) -> None:
    parts = tensorrt_parts()
    parts.constants["deep2_w"] = RNG.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    parts.before(
        "pooled",
        helper.make_node("Conv", ["bent", "deep2_w"], ["deep2"], name="n_deep2"),
        helper.make_node("Add", ["bent", "deep2"], ["total"], name="n_total"),
    )
    parts.node("pooled").input[0] = "total"
    assert rules_of(tmp_path, parts, "tensorrt") == set()


def test_a_file_with_float_pixels_beside_serves_the_releases_that_read_no_uint8(tmp_path: Path) -> None:
    parts = tensorrt_parts()
    parts.opset = 13
    folder = bundle_of(tmp_path / "x.edgx", parts.model(), "tensorrt", engine_versions=["8.2"])
    assert {finding.rule for finding in lint(folder)} == {"uint8-pixels"}
    parts.pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 8, 8, 3])
    (folder / "plain.onnx").write_bytes(parts.model().SerializeToString())
    rewrite(folder, trtexec_model="plain.onnx")
    assert lint(folder) == []
    parts.opset = 17
    (folder / "plain.onnx").write_bytes(parts.model().SerializeToString())
    rewrite(folder)
    assert [(finding.rule, finding.file) for finding in lint(folder)] == [("opset", "plain.onnx")]


@pytest.mark.parametrize(("version", "words"), [("ten", "is no release"), ("7.1", "is not known"), ("", "no release")])
def test_a_release_that_is_not_known_is_a_mistake(tmp_path: Path, version: str, words: str) -> None:
    folder = bundle_of(tmp_path / "x.edgx", tensorrt_parts().model(), "tensorrt")
    with pytest.raises(SettingsError, match=words):
        lint(folder, engine_versions=[version])
