"""The two ends of a bundle's network: uint8 RGB pixels [N, H, W, 3] in, probabilities float32 [N, classes] out."""

from __future__ import annotations

from typing import Literal

import numpy as np
from onnx import TensorProto, helper

from edgexfer.train.dialects.onnx_graph import Graph

PIXELS, PROBABILITIES = "pixels", "probabilities"
PixelType = Literal["uint8", "float32"]


def take_pixels(
    graph: Graph,
    height: int,
    width: int,
    scale: float,
    zero: int,
    *,
    dialect: str,
    pixel_type: PixelType = "uint8",
) -> None:
    """Makes `graph` read uint8 pixels instead of `(pixel - zero) * scale`, float32 [N, 3, H, W].

    For ONNX Runtime the pixels are a quantized tensor as they are: a DequantizeLinear stands in front of the first
    convolution, which fuses with it. TensorRT takes uint8 only to convert it: there it is a cast, and arithmetic.

    Args:
        graph: changed in place; its only input is replaced.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scale: the network's `pixel_scale`.
        zero: the network's `pixel_zero`, 0 to 255.
        dialect: "ort" or "tensorrt".
        pixel_type: of the input; "float32" (0 to 255, dialect "tensorrt" alone) for TensorRT before 8.5, which cannot
            read uint8.
    """
    old = graph.model.graph.input[0].name
    planes = graph.fresh("planes")
    nodes = [helper.make_node("Transpose", [PIXELS], [planes], name="to_planes", perm=[0, 3, 1, 2])]
    centred = graph.fresh("centred")
    scales = [graph.constant("pixel_scale", np.array(scale, np.float32))]
    if dialect == "ort":
        zeros = graph.constant("pixel_zero", np.array(zero, np.uint8))
        nodes.append(
            helper.make_node("DequantizeLinear", [planes, *scales, zeros], [centred], name="dequantize_pixels")
        )
    else:
        floats, shifted = graph.fresh("floats"), graph.fresh("shifted")
        zeros = graph.constant("pixel_zero", np.array(zero, np.float32))
        # The cast comes first: TensorRT accepts a uint8 input only where a conversion reads it. From float32 it does
        # nothing, and stands where float16 needs one.
        nodes = [
            helper.make_node("Cast", [PIXELS], [floats], name="pixels_to_float", to=TensorProto.FLOAT),
            helper.make_node("Transpose", [floats], [planes], name="to_planes", perm=[0, 3, 1, 2]),
            helper.make_node("Sub", [planes, zeros], [shifted], name="centre_pixels"),
            helper.make_node("Mul", [shifted, *scales], [centred], name="scale_pixels"),
        ]
    first = centred if dialect == "tensorrt" else _skip_input_quantizer(graph, old, centred)
    graph.replace_input(old, first)
    graph.nodes[:0] = nodes
    element = TensorProto.UINT8 if pixel_type == "uint8" else TensorProto.FLOAT
    graph.model.graph.input[0].CopyFrom(helper.make_tensor_value_info(PIXELS, element, ["N", height, width, 3]))


def _skip_input_quantizer(graph: Graph, old: str, centred: str) -> str:
    """Lets the consumers of the input's own Q/DQ pair read the pixels, which are that quantized tensor already."""
    for quantize in [n for n in graph.consumers(old) if n.op_type == "QuantizeLinear"]:
        for dequantize in graph.consumers(quantize.output[0]):
            graph.replace_input(dequantize.output[0], centred)
    return centred


def give_probabilities(graph: Graph, classes: int) -> None:
    """Appends a softmax to the logits, the graph's only output; it becomes float32 [N, classes]."""
    logits = graph.model.graph.output[0].name
    graph.nodes.append(helper.make_node("Softmax", [logits], [PROBABILITIES], name="softmax", axis=1))
    info = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes])
    graph.model.graph.output[0].CopyFrom(info)
