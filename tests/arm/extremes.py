"""Small networks whose 8-bit products are as large as they can be, with the outcome of exact arithmetic.

uint8 activations and int8 weights at their ends, side by side, so that sums in 16 bits overflow wherever there are any:
2 * 255 * 127 is 64770, and int16 ends at 32767. Scales are powers of two, so that rounding is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE = 6
WEIGHTS = {"8 bits": (-127, 127), "7 bits": (-64, 63), "-128 too": (-128, 127)}
"""Lowest and highest weight: as NNCF quantizes for most CPUs; for those whose products overflow; and all of int8. A
network has them side by side, each in `BLOCK` of its output channels."""
BLOCK = 16


@dataclass(frozen=True)
class Operator:
    """A layer: input channels a group, kernel size (0: a matrix product), groups."""

    inputs: int
    size: int
    groups: int = 1


OPERATORS = {
    "matmul": Operator(64, 0),
    "conv 1x1": Operator(64, 1),
    "conv 3x3": Operator(32, 3),
    "depthwise 3x3": Operator(1, 3, groups=BLOCK * len(WEIGHTS)),
    "depthwise 5x5": Operator(1, 5, groups=BLOCK * len(WEIGHTS)),
}


def write_cases(folder: Path) -> dict[str, NDArray[Any]]:
    """Writes `OPERATOR.onnx` and its input `OPERATOR.npy` for each into `folder`; returns {operator: exact outcome}.

    Skips the test where onnx is not installed.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'edgexfer[train]')")
    exact = {}
    for name, operator in OPERATORS.items():
        model, pixels, exact[name] = (_convolution if operator.size else _matmul)(operator)
        onnx.save(model, folder / f"{name}.onnx")
        np.save(folder / f"{name}.npy", pixels)
    return exact


def by_weights(outcome: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Divides an outcome, channels on axis 1, into {weights: the channels that have them}."""
    return dict(zip(WEIGHTS, np.split(outcome, len(WEIGHTS), axis=1), strict=True))


def _weights(operator: Operator) -> NDArray[np.int8]:
    return np.concatenate([_block(operator, low, high) for low, high in WEIGHTS.values()])


def _block(operator: Operator, low: int, high: int) -> NDArray[np.int8]:
    # The outputs go round: all at the upper end, all at the lower one, both in turns, and any.
    size = max(operator.size, 1)
    shape = (BLOCK, operator.inputs, size, size)
    made = np.random.default_rng(0).integers(low, high + 1, shape)
    made[0::4], made[1::4] = high, low
    made[2::4] = np.where(np.arange(made[0].size) % 2, high, low).reshape(shape[1:])
    return made.astype(np.int8)


def _activations(*shape: int) -> NDArray[np.uint8]:
    made = np.random.default_rng(1).integers(0, 256, (4, *shape))
    made[0], made[1] = 255, 0
    made[2] = np.where(np.arange(made[2].size) % 2, 255, 0).reshape(shape)
    return made.astype(np.uint8)


def _matmul(operator: Operator) -> tuple[Any, NDArray[np.uint8], NDArray[np.int64]]:
    from onnx import helper

    weights = _weights(operator)[:, :, 0, 0].T
    pixels = _activations(operator.inputs)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    model = _model([node], {"w": weights}, [operator.inputs], "INT32")
    return model, pixels, pixels.astype(np.int64) @ weights.astype(np.int64)


def _convolution(operator: Operator) -> tuple[Any, NDArray[np.uint8], NDArray[np.float32]]:
    from onnx import helper

    weights = _weights(operator)
    channels = operator.inputs * operator.groups
    pixels = _activations(channels, SIDE, SIDE)
    sums = _convolved(pixels, weights, operator)
    step = 2.0 ** np.ceil(np.log2(np.abs(sums).max() / 127))
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ones", "zeros"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["yf"], group=operator.groups),
        helper.make_node("QuantizeLinear", ["yf", "step", "middle"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "middle"], ["y"]),
    ]
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "w": weights,
        "ones": np.ones(len(weights), np.float32),
        "zeros": np.zeros(len(weights), np.int8),
        "step": np.float32(step),
        "middle": np.uint8(128),
    }
    exact = np.clip(np.rint(sums / step), -128, 127) * step
    return _model(nodes, constants, [channels, SIDE, SIDE], "FLOAT"), pixels, exact.astype(np.float32)


def _convolved(pixels: NDArray[np.uint8], weights: NDArray[np.int8], operator: Operator) -> NDArray[np.int64]:
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype(np.int64), weights.shape[2:], axis=(2, 3))
    each = np.split(windows, operator.groups, axis=1), np.split(weights.astype(np.int64), operator.groups)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", x, w) for x, w in zip(*each, strict=True)], axis=1)


def _model(nodes: list[Any], constants: dict[str, Any], shape: list[int], kind: str) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", *shape])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.DataType.Value(kind), None)]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "extremes", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
