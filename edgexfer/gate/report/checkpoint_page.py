"""What the page shows of a checkpoint: curves, figures and confusion as training recorded them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import ArtifactError
from edgexfer.core.manifest import read_if_listed, read_manifest
from edgexfer.gate.report.classes import MOST_CELLS, class_rows, heat_map, overview, worst_pairs
from edgexfer.gate.report.content import Absent, Classes, Page
from edgexfer.gate.report.curves import curves, read_history
from edgexfer.gate.report.provenance import provenance
from edgexfer.gate.report.pruning import pruning_about, pruning_table
from edgexfer.gate.report.sparsity import sparsity_table
from edgexfer.gate.report.summary import checkpoint_tiles


def checkpoint_page(folder: Path) -> Page:
    """Gathers the page of a checkpoint.

    Raises:
        ArtifactError: it is damaged, or its confusion matrix does not fit its classes.
    """
    manifest = read_manifest(folder, "checkpoint")
    labels = tuple(map(str, manifest.get("labels", ())))
    figures = manifest.get("metrics") or {}
    split, judged = next(((name, figures[name]) for name in ("test", "val") if figures.get(name)), ("", figures))
    matrix = _recorded_confusion(judged, len(labels))
    history = read_history(read_if_listed(folder, manifest, "history.csv"))
    absent = [
        Absent(
            "Precisions, latency, single images",
            "a checkpoint holds none of them",
            f"edgexfer export {folder} --target NAME, then edgexfer report BUNDLE",
        )
    ]
    if history is None:
        absent.append(Absent("Training curves", "no epoch was trained", "edgexfer finetune DATA --epochs N"))
    return Page(
        "Checkpoint",
        str(manifest.get("name", folder.resolve().name)),
        " ".join(str(manifest[key]) for key in ("precision", "backbone") if manifest.get(key)),
        str(manifest["digest"]),
        len(labels),
        provenance(folder, manifest),
        tiles=checkpoint_tiles(manifest, split, judged, {} if history is None else history.last_epochs()),
        absent=absent,
        classes=None if matrix is None else _classes(labels, matrix, split),
        pruning=pruning_table(manifest.get("pruning")),
        pruning_about=pruning_about(manifest.get("pruning")),
        sparsity=sparsity_table(manifest.get("sparsity")),
        curves=[] if history is None else curves(history),
        guards=[str(line) for line in (manifest.get("strategy_notes") or {}).get("guards", ())],
    )


def _classes(labels: tuple[str, ...], matrix: NDArray[np.int64], split: str) -> Classes:
    return Classes(
        f"images of the split {split}" if split else "the images that training recorded",
        class_rows(labels, matrix),
        heat_map(labels, matrix),
        worst_pairs(labels, matrix),
        overview(matrix) if len(labels) > MOST_CELLS else None,
    )


def _recorded_confusion(figures: dict[str, Any], classes: int) -> NDArray[np.int64] | None:
    if "confusion" not in figures:
        return None
    try:
        matrix = np.array(figures["confusion"], np.int64)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's confusion matrix is not one: {error}", "fine-tune again") from error
    if matrix.shape != (classes, classes):
        raise ArtifactError(f"the confusion matrix is {matrix.shape}, expected {(classes, classes)}", "fine-tune again")
    return matrix
