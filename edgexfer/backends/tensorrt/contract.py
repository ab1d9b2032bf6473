"""What a network must take and give, checked before it is built and again on the engine that was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: as in the ONNX file.
        dtype: TensorRT's name of it: "UINT8", "FLOAT", ...
        shape: -1 is a dimension of any size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def check_contract(bundle: Bundle, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the one input, uint8 or float32 pixels [N, H, W, 3], and the one output, float32 [N, classes].

    Raises:
        ArtifactError: the network has others, or a batch of fixed size.
    """
    pixels = (-1, bundle.preprocess.height, bundle.preprocess.width, 3)
    for noun, found, dtypes, shape in (
        ("input", inputs, ("UINT8", "FLOAT"), pixels),
        ("output", outputs, ("FLOAT",), (-1, len(bundle.labels))),
    ):
        if len(found) != 1 or found[0].dtype not in dtypes or found[0].shape != shape:
            listed = ", ".join(f"{tensor.dtype} {list(tensor.shape)}" for tensor in found) or "none"
            raise ArtifactError(
                f"{bundle.model} has the {noun} {listed}, expected {' or '.join(dtypes)} {list(shape)}",
                "make the bundle again",
            )
    return inputs[0], outputs[0]
