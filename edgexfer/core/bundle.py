"""Bundle (`NAME.edgx/`): the artifact that goes to the device.

    manifest.json     kind "bundle"; see edgexfer/core/manifest.py, and the keys below
    model.onnx        uint8 [N, H, W, 3] RGB pixels -> float32 [N, classes] probabilities
    reference.npz     pixels uint8 [16, H, W, 3], probabilities float32 [16, classes]
    split.csv         path,label,split,sha256 of every image the network was made from
    measurements.json what `export` measured: one record per precision
    engines/<key>/    built on this machine; each vouched for by its own manifest

Keys of the manifest: name, labels, labels_sha256, preprocess, target (snapshot), precision,
simulated (true where accuracy was measured by another engine than the target's), parent (digest of
the checkpoint), accuracy ({precision: {"top1", "macro_f1", "images", "split"}}), provenance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import read_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import Target, target_from_json

MODEL = "model.onnx"
REFERENCE = "reference.npz"
SPLIT = "split.csv"
MEASUREMENTS = "measurements.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every file has been checked against the manifest.

    Attributes:
        folder: where it lies.
        manifest: all of `manifest.json`.
        labels: class names in the order of the network's output.
        preprocess: how an image becomes the network's pixels.
        target: the device profile it was made for.
    """

    folder: Path
    manifest: dict[str, Any]
    labels: tuple[str, ...]
    preprocess: Preprocess
    target: Target

    @property
    def digest(self) -> str:
        """SHA-256 that names this bundle with all its files."""
        return str(self.manifest["digest"])

    @property
    def precision(self) -> str:
        """What the shipped `model.onnx` computes in: "int8" or "float32"."""
        return str(self.manifest["precision"])

    @property
    def model(self) -> Path:
        """The path of `model.onnx`."""
        return self.folder / MODEL


def open_bundle(folder: str | Path) -> Bundle:
    """Opens a bundle and checks all of it.

    Raises:
        ArtifactError: missing, damaged, tampered with, of another kind or format_version.
    """
    path = Path(folder)
    manifest = read_manifest(path, "bundle")
    try:
        labels = tuple(manifest["labels"])
        preprocess = Preprocess.from_json(manifest["preprocess"])
        target = target_from_json(manifest["target"])
        recorded = manifest["labels_sha256"]
    except KeyError as error:
        raise ArtifactError(f"{path} has no {error} in its manifest", "make the bundle again") from error
    for name in (MODEL, REFERENCE):
        if name not in manifest["files"]:
            raise ArtifactError(f"bundle {path} lacks {name}", "make the bundle again")
    if recorded != labels_digest(labels):
        raise ArtifactError(f"{path}: labels do not match labels_sha256", "make the bundle again")
    return Bundle(path, manifest, labels, preprocess, target)
