"""The dense sibling of a sparse bundle: the same file from the weights before any were set to zero, to compare with."""

from __future__ import annotations

from pathlib import Path

import torch

from edgexfer.core.bundle import Bundle
from edgexfer.core.target import load_calibration
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.dialects.to_onnx import example_for, to_onnx
from edgexfer.train.stand_in import save_stand_in


def write_dense(out: Path, dense: Checkpoint, bundle: Bundle) -> Bundle:
    """Writes a bundle of the dense network in the precision of `bundle`, its quantizers calibrated and not trained.

    Its size and its speed are those of a bundle that would ship; its answers are nobody's concern.

    Args:
        out: the bundle's folder.
        dense: a float checkpoint.
        bundle: the sparse one, whose target, precision and reference images are taken.
    """
    from edgexfer.train.quantize.quantizers import (  # noqa: PLC0415 - NNCF, not needed for float
        place_quantizers,
        with_float_depthwise,
    )

    target, pixels = bundle.target, bundle.references()[0]
    network = dense.float_network()
    quantized = bundle.precision.startswith("int8")
    if quantized:
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        network = place_quantizers(network, planes, target, load_calibration(target.calibration)).eval()
    if bundle.precision == "int8-depthwise-float16":
        network = with_float_depthwise(network, example_for(dense, network)) or network
    half = target.float_type == "float16" and bundle.precision != "float32"
    return save_stand_in(
        out,
        to_onnx(dense, network, target, quantized=quantized, half=half),
        pixels,
        None,
        checkpoint=dense,
        target=target,
        precision=bundle.precision,
        provenance={"dense": dense.digest},
    )
