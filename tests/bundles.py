"""A tiny valid bundle, written without training: the class is the hue of the image's mean colour.

With three classes a reddish image is class 0, a greenish one class 1, a bluish one class 2. The backend
`fake` computes the same, so one bundle serves every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.core.bundle import MODEL, REFERENCE, SPLIT, Bundle
from edgexfer.core.expected import Expected
from edgexfer.core.files import sha256_of_bytes
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import Target
from edgexfer.core.unknown import SCORE

REFERENCES = 16
GAIN = 8.0


def make_bundle(
    folder: Path,
    *,
    labels: Sequence[str] = ("a", "b", "c"),
    size: int = 8,
    backend: str = "ort",
    rivals: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    dialect: str = "ort",
    precision: str = "float32",
    weight_bits: int = 8,
    gates: dict[str, Any] | None = None,
    name: str = "tiny",
    seed: int = 0,
    known_from: float | None = None,
    expected: Expected | None = None,
) -> Path:
    """Writes a bundle to `folder` (created) and returns it; skips the test where onnx is not installed.

    With `known_from` it calls images with a lower score unknown, with `expected` it says what it answered at export;
    without, it is as bundles were before there was that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(hue_model(len(labels), size))
    pixels = np.random.default_rng(seed).integers(0, 256, (REFERENCES, size, size, 3), dtype=np.uint8)
    np.savez(folder / REFERENCE, pixels=pixels, probabilities=hue_probabilities(pixels, len(labels)))
    (folder / SPLIT).write_text("path,label,split,sha256\n", encoding="utf-8")
    target = Target("test", "a machine under test", backend, dialect, precision, weight_bits=weight_bits)  # type: ignore[arg-type]
    own = {"notes": [], "rivals": list(rivals), "options": options or {}, "gates": gates or {}}
    content = {
        "name": name,
        "labels": list(labels),
        "labels_sha256": labels_digest(labels),
        "preprocess": Preprocess(size, size).to_json(),
        "target": {**target.to_json(), **own},
        "precision": precision,
        "simulated": False,
        "parent": "0" * 64,
        "accuracy": {precision: {"top1": 1.0, "macro_f1": 1.0, "images": REFERENCES, "split": "test"}},
        "provenance": {},
    }
    if known_from is not None:
        chosen = {"known_from": known_from, "val": 0.95, "generated": {}}
        content["unknown"] = {"score": SCORE, "known_share": 0.95, "images": 100, "precisions": {precision: chosen}}
    if expected is not None:
        content["expected"] = {"precisions": {precision: expected.to_json()}}
    write_manifest(folder, "bundle", content)
    return folder


def put_model(bundle: Bundle, content: bytes) -> None:
    """Puts another network into a bundle that is open, as if that had been there and its digest right."""
    bundle.model.write_bytes(content)
    bundle.manifest["files"][bundle.candidates[bundle.precision]] = {
        "sha256": sha256_of_bytes(content),
        "size_bytes": len(content),
    }
    bundle.unread.clear()


def hue_weights(classes: int) -> NDArray[np.float32]:
    """Returns float32 [3, classes]: how much red, green and blue speak for each class."""
    channel, label = np.arange(3)[:, None] / 3, np.arange(classes)[None, :] / classes
    return (GAIN * np.cos(2 * np.pi * (channel - label))).astype(np.float32)


def hue_probabilities(pixels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Computes in numpy what `hue_model` computes: uint8 [N, H, W, 3] -> float32 [N, classes]."""
    logits = pixels.mean(axis=(1, 2)) / 255 @ hue_weights(classes)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def hue_model(classes: int, size: int) -> bytes:
    """Makes the ONNX file: Cast, Mul, ReduceMean, Gemm, Softmax; uint8 [N, size, size, 3] pixels in."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'edgexfer[train]')")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "hue",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [
            numpy_helper.from_array(np.float32(1 / 255), "scale"),
            numpy_helper.from_array(hue_weights(classes), "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
