"""export: Checkpoint -> Bundle. Lowered to the target's dialect, and compared with PyTorch before the bundle exists."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer import __version__
from edgexfer.core.bundle import MODEL, REFERENCE, SPLIT, Bundle, open_bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import staged_folder, write_file
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint, empty_network, versions
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.finetune import dataset_of
from edgexfer.train.judge import probabilities
from edgexfer.train.lower_ort import lower_ort
from edgexfer.train.lower_tensorrt import lower_tensorrt
from edgexfer.train.onnx_graph import read_graph, simplify, to_model
from edgexfer.train.pixel_cache import PixelCache
from edgexfer.train.pixels_in import give_probabilities, take_pixels
from edgexfer.train.split import write_split

REFERENCES = 16
TOLERANCE = {"float32": 1e-3, "int8": 0.1}
"""Largest difference of a probability between PyTorch and the bundle. In INT8 the engine accumulates in integers and
rounds once where PyTorch's simulation rounds twice: single activations differ by one step."""
_CANDIDATES = 128


def export(
    checkpoint: Checkpoint, target: Target, out: Path, *, data: str | Path | None = None, overwrite: bool = False
) -> Bundle:
    """Writes a bundle in the checkpoint's own precision; nothing of it is measured yet.

    Args:
        checkpoint: float or quantized; a quantized one must have learned the target's dialect.
        target: decides dialect and opset.
        out: the bundle's folder.
        data: the images, where they are no longer where the checkpoint was trained.
        overwrite: replace an older `out`.

    Raises:
        EdgexferError: the checkpoint was quantized for another dialect, its images are gone, ONNX Runtime's answers
            differ from PyTorch's, or `out` exists or cannot be written.
    """
    network = load_network(checkpoint, target)
    model = to_onnx(checkpoint, network, target)
    precision = str(checkpoint.manifest["precision"])
    pixels, expected = _references(checkpoint, network, data, TOLERANCE[precision])
    check_parity(model, pixels, expected, TOLERANCE[precision], precision)
    record = checkpoint.manifest
    content: dict[str, Any] = {
        "name": record["name"],
        "labels": list(checkpoint.labels),
        "labels_sha256": labels_digest(checkpoint.labels),
        "preprocess": checkpoint.preprocess.to_json(),
        "target": target.to_json(),
        "precision": precision,
        "parent": checkpoint.digest,
        "accuracy": {},
        "provenance": {
            "edgexfer": __version__,
            "versions": versions(),
            "backbone": record["backbone"],
            "pretrained": record["pretrained"],
            "settings": record["settings"],
            "dataset_digest": record["dataset_digest"],
            "float_checkpoint": record["parent"] or checkpoint.digest,
            "calibration": None
            if checkpoint.quantization is None
            else {key: checkpoint.quantization[key] for key in ("recipe", "images")},
            "parity_tolerance": TOLERANCE[precision],
        },
    }
    with staged_folder(out, overwrite=overwrite) as stage:
        onnx.save(model, stage / MODEL)
        packed = io.BytesIO()
        np.savez_compressed(packed, pixels=pixels, probabilities=expected)
        write_file(stage / REFERENCE, packed.getvalue())
        write_split(stage / SPLIT, checkpoint.rows)
        write_manifest(stage, "bundle", content)
    return open_bundle(out)


def load_network(checkpoint: Checkpoint, target: Target) -> DeployNetwork:
    """Returns the checkpoint's network in evaluation mode, its quantizers in place.

    Raises:
        EdgexferError: it was quantized for another dialect or another number of weight bits.
    """
    quantization = checkpoint.quantization
    if quantization is None:
        return checkpoint.float_network()
    from edgexfer.train.quantizers import restore_quantizers  # noqa: PLC0415 - NNCF, not needed for float

    learned = (quantization["dialect"], quantization["weight_bits"])
    if learned != (target.dialect, target.weight_bits):
        raise EdgexferError(
            f"{checkpoint.folder} learned the dialect {learned[0]} with {learned[1]} weight bits, "
            f"{target.name} wants {target.dialect} with {target.weight_bits}",
            "export the float RUN: it is quantized for each target anew",
        )
    empty = empty_network(checkpoint.backbone, len(checkpoint.labels), checkpoint.preprocess)
    network = restore_quantizers(empty, quantization["nncf"])
    network.load_state_dict(checkpoint.state())
    return network.eval()


def to_onnx(checkpoint: Checkpoint, network: DeployNetwork, target: Target) -> ModelProto:
    """Returns the network as ONNX in the target's dialect: uint8 pixels in, probabilities out."""
    height, width = checkpoint.preprocess.height, checkpoint.preprocess.width
    example = network.centre(torch.zeros(1, 3, height, width))
    module = network.network
    if checkpoint.quantization is not None:
        from edgexfer.train.quantizers import stripped  # noqa: PLC0415

        module = stripped(network, example)
    written = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated; the new one cannot write FakeQuantize (docs/log.md).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            written,  # type: ignore[arg-type]  # the exporter takes a stream, its annotation only paths
            dynamo=False,
            opset_version=target.opset,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )
    graph = read_graph(onnx.load_from_string(written.getvalue()))
    simplify(graph)
    take_pixels(graph, height, width, network.pixel_scale, network.pixel_zero, dialect=target.dialect)
    if checkpoint.quantization is not None:
        (lower_ort if target.dialect == "ort" else lower_tensorrt)(graph)
    give_probabilities(graph, len(checkpoint.labels))
    return to_model(graph, name=str(checkpoint.manifest["name"]), producer="edgexfer")


def check_parity(
    model: ModelProto,
    pixels: NDArray[np.uint8],
    expected: NDArray[np.float32],
    tolerance: float,
    precision: str,
) -> None:
    """Compares ONNX Runtime's answers with PyTorch's on the reference images.

    Raises:
        EdgexferError: another top-1 where PyTorch's is clear by more than `tolerance`, or a probability that differs
            by more than it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    difference = float(np.abs(found - expected).max())
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > tolerance  # a draw proves nothing, whoever wins it
    flipped = int(((found.argmax(1) != expected.argmax(1)) & clear).sum())
    if flipped or difference > tolerance:
        raise EdgexferError(
            f"the {precision} ONNX file does not compute what PyTorch does: {flipped} of {len(pixels)} reference "
            f"images change class, probabilities differ by up to {difference:.4f} (tolerance {tolerance})",
            "please report this with the backbone's name; until then take another --backbone",
        )


def _references(
    checkpoint: Checkpoint, network: DeployNetwork, data: str | Path | None, tolerance: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns 16 held-out images and the network's answers to them: classes in turn, the clearest answers first.

    An answer whose two best classes lie closer than the tolerance proves nothing when it flips; such images are
    not taken while there are others.
    """
    root = dataset_of(checkpoint, data).root
    held_out = [row for row in checkpoint.rows if row.split == "test"] or [
        r for r in checkpoint.rows if r.split == "val"
    ]
    order = np.random.default_rng(0).permutation(len(held_out))[:_CANDIDATES]
    rows = [held_out[i] for i in order]
    with PixelCache(len(rows), checkpoint.preprocess) as cache:
        cache.fill([root / row.path for row in rows])
        answers = probabilities(network, cache, np.arange(len(rows))).numpy()
        best = np.sort(answers, axis=1)
        unclear = best[:, -1] - best[:, -2] <= 2 * tolerance
        turn: dict[str, int] = {}
        rank = []
        for index, row in enumerate(rows):
            turn[row.label] = turn.get(row.label, -1) + 1
            rank.append((bool(unclear[index]), turn[row.label], index))
        chosen = np.array([index for *_, index in sorted(rank)])
        chosen = np.resize(chosen, REFERENCES)
        return cache[chosen], answers[chosen].astype(np.float32)
