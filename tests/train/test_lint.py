"""lint of any bundle, and in ONNX Runtime's dialect: each rule is breached by a file that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.train.dialects.lint import float_operators, lint
from tests.train.lint_parts import (
    RNG,
    Dialect,
    Parts,
    bundle_of,
    findings_of,
    ort_parts,
    rewrite,
    rules_of,
    tensorrt_parts,
)

pytestmark = pytest.mark.train

MAKE: dict[Dialect, Callable[[], Parts]] = {"ort": ort_parts, "tensorrt": tensorrt_parts}


@pytest.mark.parametrize("dialect", ["ort", "tensorrt"])
def test_a_good_file_has_no_finding(tmp_path: Path, dialect: Dialect) -> None:
    parts = MAKE[dialect]()
    onnx.checker.check_model(parts.model(), full_check=True)
    assert rules_of(tmp_path, parts, dialect) == set()


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


def lowest_weight(parts: Parts) -> None:
    parts.constants["first_w"][0, 0] = -128


def signed_activation(parts: Parts) -> None:
    for name in ("firstd", "secondd", "sumd", "logits"):
        parts.constants[f"{name}_z"] = np.int8(0)
    parts.constants["pool_zero"] = np.int8(0)


def activation_per_channel(parts: Parts) -> None:
    parts.constants |= {"sumd_s": np.full(4, 0.02, np.float32), "sumd_z": np.zeros(4, np.uint8)}


def float_operator(parts: Parts) -> None:
    parts.between("sum", "sumd_q", "Tanh")


def planes_first(parts: Parts) -> None:
    parts.pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 3, 8, 8])
    parts.node("planes").attribute[0].ints[:] = [0, 1, 2, 3]


def float_pixels(parts: Parts) -> None:
    parts.pixels = helper.make_tensor_value_info("given", TensorProto.FLOAT, ["N", 8, 8, 3])
    first = parts.nodes[0].output[0]
    parts.before(first, helper.make_node("Cast", ["given"], ["pixels"], name="n_cast", to=TensorProto.UINT8))


def double_probabilities(parts: Parts) -> None:
    parts.node("probabilities").output[0] = "single"
    parts.nodes.append(helper.make_node("Cast", ["single"], ["probabilities"], name="n_d", to=TensorProto.DOUBLE))
    parts.result = helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, ["N", 4])


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
        (lowest_weight, {"narrow-weights"}),
        (signed_activation, {"u8-activations"}),
        (activation_per_channel, {"u8-activations", "engine-opens"}),
        (float_operator, {LEFT}),
        (planes_first, {"pixels-in"}),
        (float_pixels, {"pixels-in", LEFT}),
        (double_probabilities, {"probabilities-out", LEFT}),
    ],
)
def test_what_breaks_the_dialect_of_onnx_runtime(
    tmp_path: Path, spoil: Callable[[Parts], None], rules: set[str]
) -> None:
    parts = ort_parts()
    spoil(parts)
    rule_found = rules_of(tmp_path, parts, "ort")
    assert rule_found - {LEFT} == rules - {LEFT}
    assert (LEFT in rule_found) >= (LEFT in rules)


@pytest.mark.parametrize(("spoil", "rule"), [(planes_first, "pixels-in"), (double_probabilities, "probabilities-out")])
@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_the_ends_are_the_same_in_every_dialect_and_precision(
    tmp_path: Path, spoil: Callable[[Parts], None], rule: str, precision: str
) -> None:
    parts = tensorrt_parts()
    spoil(parts)
    assert rules_of(tmp_path, parts, "tensorrt", precision) == {rule}


def test_of_a_float_file_for_onnx_runtime_only_the_ends_are_looked_at(tmp_path: Path) -> None:
    parts = ort_parts()
    float_weight(parts)
    float_operator(parts)
    assert rules_of(tmp_path, parts, "ort", "float32") == set()
    planes_first(parts)
    assert rules_of(tmp_path / "b", parts, "ort", "float32") == {"pixels-in"}


def test_every_candidate_is_looked_at_and_the_finding_names_its_file(tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "x.edgx", ort_parts().model(), "ort")
    spoiled = ort_parts()
    planes_first(spoiled)
    (folder / "candidates").mkdir()
    (folder / "candidates" / "float32.onnx").write_bytes(spoiled.model().SerializeToString())
    rewrite(folder, candidates={"int8": "model.onnx", "float32": "candidates/float32.onnx"})
    assert [(f.rule, f.file) for f in lint(folder)] == [("pixels-in", "candidates/float32.onnx")]


def test_a_release_of_tensorrt_is_asked_of_its_own_bundles_alone(tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "x.edgx", ort_parts().model(), "ort")
    with pytest.raises(SettingsError, match="is in the dialect 'ort'"):
        lint(folder, engine_versions=["10.3"])


def test_the_finding_names_the_node(tmp_path: Path) -> None:
    parts = ort_parts()
    float_operator(parts)
    messages = [finding.message for finding in findings_of(tmp_path, parts, "ort")]
    assert "ONNX Runtime computes this Tanh in float" in messages
    assert "Tanh" in [node.op_type for node in float_operators(parts.model())]


def cyclic() -> ModelProto:
    parts = ort_parts()
    parts.node("first").input[0] = "probabilities"
    return parts.model()


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"no ONNX at all", "is no ONNX file", "that `edgexfer export RUN --target NAME` wrote"),
        (b"", "is no ONNX file", "that `edgexfer export RUN --target NAME` wrote"),
        (cyclic(), "is not a valid ONNX file", "export the bundle again"),
    ],
    ids=["text", "empty", "cyclic"],
)
def test_a_file_that_no_engine_opens_is_damaged(
    tmp_path: Path, content: ModelProto | bytes, said: str, hint: str
) -> None:
    folder = bundle_of(tmp_path / "x.edgx", content, "ort")
    with pytest.raises(ArtifactError, match=said) as caught:
        lint(folder)
    assert hint in caught.value.hint
