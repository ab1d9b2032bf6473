"""Which layers TensorRT runs faster in 8 bits than in FP16, as rules on their shapes.

They place the quantizers before these learn (needless.py), and the linter asks them again (lint_placement.py).
Source: NVIDIA's Model-Optimizer, modelopt/onnx/quantization; docs/architecture.md, "Dialects".
"""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_CHANNELS = 16  # of a convolution's side, or of a matrix': what one tensor core instruction takes
_CHANNEL_STEP = 8
_LEAST_DEPTHWISE_KERNEL = 3


def convolution_stays_float(weight: Sequence[int], groups: int, *, first: bool) -> str | None:
    """Returns why TensorRT does not gain from this convolution in 8 bits, None where it does.

    Args:
        weight: shape of its weights, [output channels, input channels a group, height, width].
        groups: its groups.
        first: whether it reads the network's input.
    """
    outputs, inputs_a_group, *kernel = weight
    inputs = inputs_a_group * groups
    if is_depthwise(weight, groups):
        if outputs % _CHANNEL_STEP:
            return f"a depthwise convolution over {outputs} channels, no multiple of {_CHANNEL_STEP}"
        if min(kernel) < _LEAST_DEPTHWISE_KERNEL:
            return f"a depthwise convolution with a kernel of {'x'.join(map(str, kernel))}"
        return None
    if min(outputs, inputs_a_group) >= _LEAST_CHANNELS:
        return None
    aligned = outputs % _CHANNEL_STEP == 0 or inputs % _CHANNEL_STEP == 0
    wide = first or max(outputs, inputs) >= _LEAST_CHANNELS
    if groups == 1 and aligned and wide and len(set(kernel)) == 1:
        return None
    return f"a convolution of {inputs_a_group} channels a group to {outputs}, fewer than {_LEAST_CHANNELS}"


def linear_stays_float(weight: Sequence[int], rows: int) -> str | None:
    """Returns why TensorRT does not gain from this matrix product in 8 bits, None where it does.

    Args:
        weight: shape of its weights, [outputs, inputs].
        rows: of its input, for a batch of one image.
    """
    if min(rows, *weight) == 1:
        return f"a product of {rows} x {weight[1]} with {weight[1]} x {weight[0]}, a vector at batch 1"
    if min(weight) < _LEAST_CHANNELS:
        return f"a product over {weight[1]} to {weight[0]} values, fewer than {_LEAST_CHANNELS}"
    return None


def is_depthwise(weight: Sequence[int], groups: int) -> bool:
    """Whether each output channel of a convolution reads one input channel alone, and there are several."""
    return groups > 1 and weight[1] == 1
