"""What an ONNX file answers before it is in a bundle: ONNX Runtime runs it with the settings of bundles."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer.backends.ort import open_session
from edgexfer.core.bundle import MODEL, Bundle
from edgexfer.core.manifest import write_manifest
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.images.pixel_cache import PixelCache

_BATCH = 32


@dataclass(frozen=True)
class Answers:
    """What a file said.

    Attributes:
        classes: int64 [images], the most probable class of each.
        size_bytes: of the file.
    """

    classes: NDArray[np.int64]
    size_bytes: int


def answers_of_model(
    model: ModelProto,
    checkpoint: Checkpoint,
    target: Target,
    cache: PixelCache,
    rows: NDArray[np.int64],
    precision: str,
) -> Answers:
    """Runs a model on cached images; another engine's file is simulated, as in a bundle.

    Args:
        model: the file's content.
        checkpoint: it was made from.
        target: it was made for.
        cache: the images.
        rows: which of them.
        precision: the file's, as a bundle calls it.

    Raises:
        EdgexferError: ONNX Runtime refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / MODEL)
        size_bytes = (Path(folder) / MODEL).stat().st_size
        manifest = write_manifest(Path(folder), "bundle", {"precision": precision})
        session = open_session(
            Bundle(Path(folder), manifest, checkpoint.labels, checkpoint.preprocess, target), threads=None
        )
        try:
            parts = [
                session.run(cache[rows[start : start + _BATCH]]).argmax(1) for start in range(0, len(rows), _BATCH)
            ]
        finally:
            session.close()
    return Answers(np.concatenate(parts).astype(np.int64), size_bytes)
