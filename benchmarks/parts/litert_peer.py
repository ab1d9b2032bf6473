"""What LiteRT's own tools make of the same float network, where they are installed.

`pip install litert-torch==0.10.0` brings them, and almost a gigabyte with them, so they are in none of our extras: take
an environment of its own. The network is converted with inputs of channels last, quantized by ai-edge-quantizer's
recipe `static_wi8_ai8` (int8 weights per channel, int8 activations), and run by LiteRT's interpreter, whose CPU kernels
are XNNPACK's.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parts.cpu_peers import Run

from edgexfer.train.deploy import DeployNetwork

MISSING = "LiteRT is not among them: pip install litert-torch==0.10.0, in an environment of its own"


def litert_is_here() -> bool:
    """Returns whether LiteRT's converter and quantizer are installed."""
    return all(find_spec(name) is not None for name in ("litert_torch", "ai_edge_quantizer", "ai_edge_litert"))


def write_litert(network: DeployNetwork, side: int, out: Path) -> Path:
    """Writes the float network with a softmax behind it for LiteRT; it takes normalised float32 [1, S, S, 3]."""
    import litert_torch

    whole = torch.nn.Sequential(network.network, torch.nn.Softmax(1)).eval()
    channels_last = litert_torch.to_channel_last_io(whole, args=[0]).eval()
    litert_torch.convert(channels_last, (torch.zeros(1, side, side, 3),)).export(str(out))
    return out


def quantize_for_litert(float_file: Path, planes: NDArray[np.float32], out: Path) -> Path:
    """Writes what LiteRT's own static quantization makes, calibrated on normalised float32 [N, 3, H, W]."""
    from ai_edge_quantizer import quantizer, recipe

    maker = quantizer.Quantizer(str(float_file), recipe.static_wi8_ai8())
    (signature, names), *_ = _interpreter(float_file, 1).get_signature_list().items()
    images = [{names["inputs"][0]: image[None]} for image in np.moveaxis(planes, 1, -1)]
    out.write_bytes(maker.quantize(maker.calibrate({signature: images})).quantized_model)
    return out


def images_for_litert(path: Path, planes: NDArray[np.float32]) -> NDArray[Any]:
    """Returns normalised float32 [N, 3, H, W] as [N, H, W, 3] of the type that a file takes: float32, or its int8."""
    image = _interpreter(path, 1).get_input_details()[0]
    channels_last = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
    if image["dtype"] == np.float32:
        return channels_last
    scale, zero_point = image["quantization"]
    limits = np.iinfo(image["dtype"])
    whole = np.round(channels_last / scale) + zero_point
    return np.clip(whole, limits.min, limits.max).astype(image["dtype"])


def open_litert(path: Path, threads: int) -> Run:
    """Opens a file; what runs it takes one image as `images_for_litert` returns them.

    Answers are of the file's own type: of INT8 the whole numbers that stand for probabilities.
    """
    interpreter = _interpreter(path, threads)
    interpreter.allocate_tensors()
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        interpreter.set_tensor(image["index"], batch)
        interpreter.invoke()
        answers: NDArray[np.float32] = interpreter.get_tensor(answer["index"])
        return answers

    return run


def _interpreter(path: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path), num_threads=threads)
