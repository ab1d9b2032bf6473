"""What others make of the same float network for a CPU: files for ONNX Runtime and OpenVINO, float and INT8.

Each takes float32 [N, 3, H, W], normalised beforehand, as it was made for; INT8 is calibrated on the same images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgexfer.train.deploy import DeployNetwork

Run = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From one batch of inputs to probabilities."""


def planes_of(network: DeployNetwork, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns normalised float32 [N, 3, H, W] of uint8 [N, H, W, 3]."""
    planes: NDArray[np.float32] = network.centre(torch.from_numpy(pixels).permute(0, 3, 1, 2)).contiguous().numpy()
    return planes


def write_float(network: DeployNetwork, side: int, path: Path) -> Path:
    """Writes the float network with a softmax behind it, as PyTorch exports it."""
    example = network.centre(torch.zeros(1, 3, side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.nn.Sequential(network.network, torch.nn.Softmax(1)).eval(), (example,), path, dynamo=False,
            opset_version=17, input_names=["planes"], dynamic_axes={"planes": {0: "N"}},
        )  # fmt: skip
    return path


def quantize_for_onnxruntime(float_file: Path, planes: NDArray[np.float32], out: Path) -> Path:
    """Writes what ONNX Runtime's own static quantization makes: uint8 activations, int8 weights per channel, QDQ."""
    prepared = out.with_name("prepared.onnx")
    quant_pre_process(str(float_file), str(prepared))
    quantize_static(
        str(prepared), str(out), _Reader(planes), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return out


def quantize_for_openvino(float_file: Path, planes: NDArray[np.float32], out: Path) -> Path:
    """Writes what NNCF's post-training quantization makes of the OpenVINO model, as OpenVINO's documents advise."""
    import nncf
    import openvino

    model = openvino.Core().read_model(float_file)
    model.reshape([1, *planes.shape[1:]])
    images = nncf.Dataset([image[None] for image in planes])
    openvino.save_model(nncf.quantize(model, images, subset_size=len(planes)), out)
    return out


def open_onnxruntime(path: Path, threads: int) -> Run:
    """Opens a file in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def open_openvino(path: Path, threads: int) -> Run:
    """Opens a file in OpenVINO for one image at a time, its inputs and answers handed over without a copy."""
    import openvino

    model = openvino.Core().read_model(path)
    model.reshape([1, *list(model.input().partial_shape)[1:]])
    properties = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
    request = openvino.Core().compile_model(model, "CPU", properties).create_infer_request()

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        request.infer()
        answers: NDArray[np.float32] = request.get_output_tensor().data
        return answers

    return run


class _Reader(CalibrationDataReader):
    """Hands the calibration images over one by one."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self._images = iter(planes)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Returns the next image as the network's input, None after the last."""
        image = next(self._images, None)
        return None if image is None else {"planes": image[None]}
