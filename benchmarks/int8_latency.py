"""A bundle's INT8 network against ONNX Runtime's own static quantization of the same float network.

    python benchmarks/int8_latency.py [RUN] [--bundle BUNDLE] [--seconds S]

RUN is a float checkpoint; without it one is made from scikit-learn's digits at 224 pixels (head only, a minute).
Without --bundle the INT8 bundle is exported from RUN. Both networks run in turns in one process with one thread:
the bundle gets uint8 pixels; `quantize_static` (QDQ, uint8 activations, int8 weights per channel, calibrated on the
same training images) gets what it was made for, float32 planes that are normalised beforehand, outside the clock.
Top-1 is counted on the same held-out images. The ratio of the medians should be at most 1.0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.target import load_calibration, load_target
from edgexfer.flow.demo import write_digits
from edgexfer.flow.export import export
from edgexfer.gate.judge.interval import ratio
from edgexfer.gate.measure.turns import Blocks, Turns
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.finetune import dataset_of, finetune
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.quantize.calibrate import calibration_rows
from edgexfer.train.settings import FinetuneSettings


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(arguments.run or _digits_run(Path(folder)))
        bundle = open_bundle(arguments.bundle) if arguments.bundle else _int8_bundle(checkpoint, Path(folder))
        measure(checkpoint, bundle, Path(folder), arguments.seconds)


def measure(checkpoint: Checkpoint, bundle: Bundle, folder: Path, seconds: float) -> float:
    """Prints latency and accuracy of the three networks; returns bundle / quantize_static, the ratio of the medians."""
    network = checkpoint.float_network()
    train = calibration_rows(checkpoint.rows, load_calibration(bundle.target.calibration))
    held_out = [i for i, row in enumerate(checkpoint.rows) if row.split == "test"]
    held_out = held_out or [i for i, row in enumerate(checkpoint.rows) if row.split == "val"]
    root = dataset_of(checkpoint, None).root
    with PixelCache(len(checkpoint.rows), checkpoint.preprocess) as cache:
        cache.fill([root / row.path for row in checkpoint.rows])
        calibration, pixels = cache[train], cache[held_out]
    truth = np.array([checkpoint.labels.index(checkpoint.rows[i].label) for i in held_out])
    float_file = _float_onnx(network, checkpoint, folder / "float.onnx")
    static_file = _static_int8(float_file, network, calibration, folder)
    planes = _planes(network, pixels)
    sessions = {
        "edgexfer bundle": (_session(bundle.model), pixels),
        "quantize_static": (_session(static_file), planes),
        "float": (_session(float_file), planes),
    }
    samples = _in_turns(sessions, seconds)
    print(
        f"{checkpoint.folder.name}: {checkpoint.backbone.name} at {checkpoint.preprocess.height}, one thread, "
        f"{len(held_out)} held-out images"
    )
    print(f"{'network':18}{'p50 ms':>9}{'p95 ms':>9}{'MB':>7}{'top-1':>9}")
    files = {"edgexfer bundle": bundle.model, "quantize_static": static_file, "float": float_file}
    for name, (session, inputs) in sessions.items():
        p50, p95 = np.percentile(samples[name]["total"], [50, 95]) / 1e6
        top1 = np.mean([_run(session, inputs[i : i + 1]).argmax() == truth[i] for i in range(len(truth))])
        print(f"{name:18}{p50:9.3f}{p95:9.3f}{files[name].stat().st_size / 1e6:7.2f}{100 * top1:8.2f} %")
    ours, theirs = samples["edgexfer bundle"], samples["quantize_static"]
    found = ratio(ours, theirs, lambda calls: float(np.median(calls["total"])), confidence=0.95)
    print(f"bundle / quantize_static: {found.value:.3f} (95 % confidence: {found.low:.3f} to {found.high:.3f})")
    return found.value


def _digits_run(folder: Path) -> Path:
    write_digits(folder / "digits")
    settings = FinetuneSettings(strategy="linear-probe", input_size=224)
    return finetune(folder / "digits", folder / "digits-224", settings).folder


def _int8_bundle(checkpoint: Checkpoint, folder: Path) -> Bundle:
    made = export(checkpoint.folder, load_target("x86-cpu"), folder / "made.edgx", precision="int8")
    return made.bundle


def _float_onnx(network: DeployNetwork, checkpoint: Checkpoint, path: Path) -> Path:
    example = network.centre(torch.zeros(1, 3, checkpoint.preprocess.height, checkpoint.preprocess.width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.nn.Sequential(network.network, torch.nn.Softmax(1)).eval(), (example,), path, dynamo=False,
            opset_version=17, input_names=["planes"], dynamic_axes={"planes": {0: "N"}},
        )  # fmt: skip
    return path


def _static_int8(float_file: Path, network: DeployNetwork, calibration: NDArray[np.uint8], folder: Path) -> Path:
    prepared, out = folder / "prepared.onnx", folder / "static.onnx"
    quant_pre_process(str(float_file), str(prepared))
    quantize_static(
        str(prepared), str(out), _Reader(_planes(network, calibration)), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return out


class _Reader(CalibrationDataReader):
    """Hands the calibration images over one by one."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self._images = iter(planes)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Returns the next image as the network's input, None after the last."""
        image = next(self._images, None)
        return None if image is None else {"planes": image[None]}


def _planes(network: DeployNetwork, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    planes: NDArray[np.float32] = network.centre(torch.from_numpy(pixels).permute(0, 3, 1, 2)).contiguous().numpy()
    return planes


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, batch: NDArray[np.generic]) -> NDArray[np.float32]:
    answers: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return answers


def _in_turns(
    sessions: dict[str, tuple[onnxruntime.InferenceSession, NDArray[np.generic]]], seconds: float
) -> dict[str, Blocks]:
    openers = [partial(nullcontext, partial(_timed, session, inputs)) for session, inputs in sessions.values()]
    turns = Turns(openers, threads=1)
    while turns.seconds < seconds * len(sessions):
        turns.more()
    return dict(zip(sessions, turns.sides, strict=True))


def _timed(session: onnxruntime.InferenceSession, inputs: NDArray[np.generic], index: int) -> dict[str, int]:
    image = inputs[index % len(inputs)][None]
    began = time.perf_counter_ns()
    _run(session, image)
    return {"total": time.perf_counter_ns() - began}


if __name__ == "__main__":
    main()
