"""export: Checkpoint -> Bundle. Lowered to the target's dialect, and compared with PyTorch before the bundle exists.

What a report on the bundle needs comes along: the history of the training, and which layer INT8 costs most.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer import __version__
from edgexfer.core.bundle import CANDIDATES, HISTORY, LAYERS, MODEL, REFERENCE, SPLIT, Bundle, open_bundle
from edgexfer.core.control import CONTROL
from edgexfer.core.files import write_file
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.staging import staged_folder
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint, versions
from edgexfer.train.dialects.candidates import Candidate, candidates_of, float_reference, with_float_pixels
from edgexfer.train.dialects.parity import answers_of, check_parity, reference_pixels
from edgexfer.train.images.split import dataset_digest, write_split
from edgexfer.train.quantize.layer_error import layer_errors, layers_json
from edgexfer.train.sbom import SBOM, bill_of_materials


def export(
    checkpoint: Checkpoint,
    target: Target,
    out: Path,
    *,
    beside: Checkpoint | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes a bundle in the checkpoint's own precision; nothing of it is measured yet.

    Args:
        checkpoint: float or quantized, it becomes `model.onnx`; a quantized one must have learned the target's dialect.
        target: decides dialect, opset and float type.
        out: the bundle's folder.
        beside: the float checkpoint that a quantized one was made from. With it the bundle holds every candidate from
            which a device may choose; see edgexfer/train/dialects/candidates.py.
        data: the images, where they are no longer where the checkpoint was trained.
        overwrite: replace an older `out`.

    Raises:
        EdgexferError: the checkpoint was quantized for another dialect, its images are gone, ONNX Runtime's answers
            differ from PyTorch's, or `out` exists or cannot be written.
    """
    candidates = candidates_of(checkpoint, target, beside)
    own = candidates[0]
    pixels = reference_pixels(checkpoint, own.network, data, own.tolerance)
    answers = {candidate.precision: answers_of(candidate.network, pixels) for candidate in candidates}
    models: dict[str, ModelProto] = {}
    simulated = target.dialect != "ort"
    for candidate in candidates:
        expected = answers[candidate.precision]
        check_parity(candidate.model, pixels, expected, candidate.tolerance, candidate.precision, simulated)
        models[_file_of(candidate, own)] = candidate.model
    content = _content(checkpoint, target, candidates)
    if target.engine_pixels == "float32":
        plain = with_float_pixels(own, checkpoint, target)
        floats = pixels.astype(np.float32)
        check_parity(plain, floats, answers[own.precision], own.tolerance, own.precision, simulated)
        content["trtexec_model"] = f"{CANDIDATES}/{own.precision}-float32-pixels.onnx"
        models[content["trtexec_model"]] = plain
    layers = _layers(checkpoint, target, candidates, pixels)
    with staged_folder(out, overwrite=overwrite) as stage:
        for name, model in models.items():
            (stage / name).parent.mkdir(exist_ok=True)
            onnx.save(model, stage / name)
        write_file(stage / REFERENCE, _packed(pixels, answers, own.precision))
        write_split(stage / SPLIT, (*checkpoint.rows, *checkpoint.earlier_rows()))
        if history := _history(checkpoint, beside):
            write_file(stage / HISTORY, history)
        write_file(stage / SBOM, bill_of_materials(checkpoint, target))
        if layers is not None:
            write_file(stage / LAYERS, layers)
        if CONTROL in checkpoint.manifest["files"]:
            write_file(stage / CONTROL, (checkpoint.folder / CONTROL).read_bytes())
        write_manifest(stage, "bundle", content)
    return open_bundle(out)


def _file_of(candidate: Candidate, own: Candidate) -> str:
    return MODEL if candidate is own else f"{CANDIDATES}/{candidate.precision}.onnx"


def _content(checkpoint: Checkpoint, target: Target, candidates: list[Candidate]) -> dict[str, Any]:
    record, own = checkpoint.manifest, candidates[0]
    rows = (*checkpoint.rows, *checkpoint.earlier_rows())  # all that the network has ever seen
    content: dict[str, Any] = {
        "name": record["name"],
        "labels": list(checkpoint.labels),
        "labels_sha256": labels_digest(checkpoint.labels),
        "preprocess": checkpoint.preprocess.to_json(),
        "target": target.to_json(),
        "precision": own.precision,
        "parent": checkpoint.digest,
        "accuracy": {},
        "provenance": {
            "edgexfer": __version__,
            "versions": versions(),
            "backbone": record["backbone"],
            "pretrained": record["pretrained"],
            "settings": record["settings"],
            "seed": record["settings"]["seed"],
            "dataset_digest": dataset_digest(rows),
            "images": dict(sorted(Counter(row.split for row in rows).items())),
            "trained_with": record["versions"],
            "float_checkpoint": checkpoint.digest if checkpoint.quantization is None else record["parent"],
            "temperature": (record.get("temperature") or {}).get("temperature"),
            "calibration": None
            if checkpoint.quantization is None
            else {key: checkpoint.quantization[key] for key in ("recipe", "images")},
            "parity_tolerance": own.tolerance,
        },
    }
    if left := (checkpoint.quantization or {}).get("float_layers"):
        content["float_layers"] = left
    if "pruning" in record:
        content["provenance"]["pruning"] = {k: v for k, v in record["pruning"].items() if k != "images"}
    if "sparsity" in record:
        content["sparsity"] = record["sparsity"]
    if len(candidates) > 1:
        content["candidates"] = {candidate.precision: _file_of(candidate, own) for candidate in candidates}
    return content


def _layers(
    checkpoint: Checkpoint, target: Target, candidates: list[Candidate], pixels: NDArray[np.uint8]
) -> str | None:
    """Returns the content of `layers.json`, None where the checkpoint is float."""
    own = candidates[0]
    if checkpoint.quantization is None:
        return None
    reference = float_reference(checkpoint, target, candidates)
    seen = np.unique(pixels, axis=0)  # few held-out images are repeated
    errors = layer_errors(reference.model, own.model, seen)
    return layers_json(errors, images=len(seen), precision=own.precision, reference=reference.precision)


def _history(checkpoint: Checkpoint, beside: Checkpoint | None) -> str:
    """Returns the rows of both histories, the earlier training's first; "" where there are none."""
    folders = [made.folder for made in (beside, checkpoint) if made is not None]
    rows: list[dict[str, str]] = []
    for path in (folder / HISTORY for folder in dict.fromkeys(folders)):
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows += csv.DictReader(file)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().lstrip("\n")


def _packed(pixels: NDArray[np.uint8], answers: dict[str, NDArray[np.float32]], own: str) -> bytes:
    """Returns `reference.npz`; see edgexfer/core/bundle.py."""
    others = {f"probabilities.{precision}": found for precision, found in answers.items() if precision != own}
    file = io.BytesIO()
    np.savez_compressed(file, pixels=pixels, probabilities=answers[own], **others)  # type: ignore[arg-type]
    return file.getvalue()
