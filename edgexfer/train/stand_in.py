"""A stand-in: a bundle with the speed of a fine-tuned network, made before anything is fine-tuned.

How long a network takes depends on its layers and its input size, not on what it has learned. So what a backbone
would cost on a device can be measured first: pretrained weights, a random classifier, the target's dialect.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer.core.bundle import MODEL, REFERENCE, SPLIT, Bundle, open_bundle
from edgexfer.core.files import write_file
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.staging import staged_folder
from edgexfer.core.target import Target, load_calibration
from edgexfer.train.backbones import find_backbone
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import deploy_form
from edgexfer.train.dialects.parity import REFERENCES, answers_of
from edgexfer.train.dialects.to_onnx import to_onnx
from edgexfer.train.images.split import write_split
from edgexfer.train.network import build_network
from edgexfer.train.weights import load_pretrained


def write_stand_in(
    out: Path,
    backbone: str,
    labels: tuple[str, ...],
    pixels: NDArray[np.uint8],
    target: Target,
    *,
    precision: str = "float32",
    weights: str = "auto",
) -> Bundle:
    """Writes a bundle whose answers mean nothing and whose latency means everything.

    Args:
        out: the bundle's folder.
        backbone: a name from the table.
        labels: class names; they decide the size of the classifier.
        pixels: uint8 [N, S, S, 3], images at the input size in question; they calibrate INT8 and are timed with.
        target: decides dialect, opset and float type.
        precision: "float32", "float16" or "int8"; the quantizers of INT8 are calibrated and not trained.
        weights: as in FinetuneSettings.

    Raises:
        SettingsError: an unknown backbone.
        MissingPartError: the weights are not at hand.
        EdgexferError: `out` exists or cannot be written.
    """
    row = find_backbone(backbone)
    size = pixels.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(row, len(labels))
        pretrained = load_pretrained(network, row, weights)
    deployed = deploy_form(network.eval(), row.normalization, size, size).eval()
    quantized = precision.startswith("int8")
    if quantized:
        from edgexfer.train.quantize.quantizers import place_quantizers  # noqa: PLC0415 - NNCF, not needed for float

        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        deployed = place_quantizers(deployed, planes, target, load_calibration(target.calibration))
    preprocess = Preprocess(size, size)
    name = f"{backbone}-{size}"
    unwritten = Checkpoint(out, {"name": name}, labels, preprocess, row, ())
    half = target.float_type == "float16" and precision != "float32"
    model = to_onnx(unwritten, deployed, target, quantized=quantized, half=half)
    return save_stand_in(
        out,
        model,
        pixels,
        answers_of(deployed, np.resize(pixels, (REFERENCES, *pixels.shape[1:]))),
        checkpoint=unwritten,
        target=target,
        precision=precision,
        provenance={"backbone": backbone, "pretrained": pretrained},
    )


def save_stand_in(
    out: Path,
    model: ModelProto,
    pixels: NDArray[np.uint8],
    answers: NDArray[np.float32] | None,
    *,
    checkpoint: Checkpoint,
    target: Target,
    precision: str,
    provenance: dict[str, Any],
) -> Bundle:
    """Writes a model as a bundle that can be timed.

    Args:
        out: the bundle's folder.
        model: pixels in, probabilities out.
        pixels: uint8 [N, H, W, 3], images that are timed with.
        answers: the model's, float32 [16, classes], to the first 16 of `pixels` repeated; None where nobody asks.
        checkpoint: its name, labels and preprocessing are the bundle's; it need not lie on disk.
        target: of the model.
        precision: of the model.
        provenance: what the manifest says of it.
    """
    labels = checkpoint.labels
    shown = np.resize(pixels, (REFERENCES, *pixels.shape[1:]))
    if answers is None:
        answers = np.full((REFERENCES, len(labels)), 1 / len(labels), np.float32)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, pixels=shown, probabilities=answers)
    content = {
        "name": checkpoint.manifest["name"],
        "labels": list(labels),
        "labels_sha256": labels_digest(labels),
        "preprocess": checkpoint.preprocess.to_json(),
        "target": target.to_json(),
        "precision": precision,
        "parent": "",
        "accuracy": {},
        "provenance": {**provenance, "stand_in": True},
    }
    with staged_folder(out) as stage:
        onnx.save(model, stage / MODEL)
        write_file(stage / REFERENCE, packed.getvalue())
        write_split(stage / SPLIT, ())
        write_manifest(stage, "bundle", content)
    return open_bundle(out)
