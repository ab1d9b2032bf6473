"""What OpenVINO's ONNX frontend made of a bundle's file: held to the contract, and made ready for 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError


def check_contract(model: Any, bundle: Bundle) -> None:
    """Checks that the model takes pixels and gives one probability for each label.

    Raises:
        ArtifactError: it has other inputs or outputs.
    """
    height, width = bundle.preprocess.height, bundle.preprocess.width
    for noun, found, dtype, wanted in (
        ("input", model.inputs, "uint8", (None, height, width, 3)),
        ("output", model.outputs, "float32", (None, len(bundle.labels))),
    ):
        fits = len(found) == 1 and found[0].get_element_type().to_dtype() == dtype and _fits(found[0], wanted)
        if not fits:
            listed = ", ".join(f"{f.get_element_type().to_dtype()} {f.get_partial_shape()}" for f in found)
            expected = ["N", *wanted[1:]]
            raise ArtifactError(
                f"{bundle.model} has the {noun} {listed}, expected {dtype} {expected}", "make the bundle again"
            )


def _fits(port: Any, wanted: tuple[int | None, ...]) -> bool:
    # A dimension of any size fits anywhere; the batch must be one.
    found = list(port.get_partial_shape())
    return len(found) == len(wanted) and all(
        f.is_dynamic or (w is not None and f.get_length() == w) for f, w in zip(found, wanted, strict=True)
    )


def mark_pixels_as_quantized(model: Any) -> None:
    """Puts a FakeQuantize where the pixels are dequantized, in place.

    OpenVINO's low-precision pass knows quantized activations by that operator alone: behind an input it takes Convert,
    Subtract and Multiply for arithmetic, and computes the first convolution in float. It is gone when it is compiled,
    or moves bytes where the first convolution wants them laid out otherwise (AMX).
    """
    from openvino import opset13

    node = _only_reader(model.inputs[0].get_node())
    while node is not None and node.get_type_name() in ("Transpose", "Pad"):
        node = _only_reader(node)
    if node is None or node.get_type_name() != "Convert":
        return
    zero: float | None = 0.0
    floats, node = node, _only_reader(node)
    if node is not None and node.get_type_name() == "Subtract":
        zero, node = _scalar(node), _only_reader(node)
    if node is None or node.get_type_name() != "Multiply":
        return
    scale = _scalar(node)
    if zero is None or scale is None:
        return
    ends = [opset13.constant(np.float32(value)) for value in (0, 255, -zero * scale, (255 - zero) * scale)]
    quantized = opset13.fake_quantize(floats.output(0), *ends, 256)
    for reader in node.output(0).get_target_inputs():
        reader.replace_source_output(quantized.output(0))


def _only_reader(node: Any) -> Any:
    readers = list(node.output(0).get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _scalar(node: Any) -> float | None:
    """Returns the constant that is the node's second input, None where it is not one number."""
    constant = node.input_value(1).get_node()
    if constant.get_type_name() == "Convert":
        constant = constant.input_value(0).get_node()
    if constant.get_type_name() != "Constant" or constant.data.size != 1:
        return None
    return float(constant.data.reshape(-1)[0])
