"""Bundle (`NAME.edgx/`): the artifact that goes to the device.

    manifest.json     kind "bundle"; see edgexfer/core/manifest.py, and the keys below
    model.onnx        uint8 [N, H, W, 3] RGB pixels -> float32 [N, classes] probabilities
    reference.npz     pixels uint8 [16, H, W, 3], probabilities float32 [16, classes]; those of a candidate that
                      answers otherwise as `probabilities.<precision>`
    split.csv         path,label,split,sha256 of every image the network was made from
    measurements.json what `export` measured: one record per precision
    history.csv       one row per epoch of the training, told apart by `stage`; absent in older bundles
    layers.json       how far each layer in 8 bits is from float (edgexfer/train/quantize/layer_error.py); absent in
                      older bundles and in those without INT8
    control.json      what was tried where INT8 missed its limit (edgexfer/core/control.py); else absent
    candidates/       the same network in other precisions, from which `build` may choose on the device
    signatures.json   who vouches for the manifest (edgexfer/trust/statement.py); absent where nobody does
    engines/<key>/    built on this machine; each vouched for by its own manifest (edgexfer/core/engines.py)

Keys of the manifest: name, labels, labels_sha256, preprocess, target (snapshot), precision (of
`model.onnx`), candidates ({precision: file}, `model.onnx` first; absent where there is but that),
float_layers (names of the layers that the forms in 8 bits compute in float for the sake of accuracy;
absent where there are none), simulated (true where accuracy was measured by another engine than the
target's), parent (digest of the checkpoint), accuracy ({precision: {"top1", "macro_f1", "images",
"split"}}), unknown (which images are called so, edgexfer/core/unknown.py; absent in older bundles),
expected (what it answered to held-out images, edgexfer/core/expected.py; absent in older bundles),
sparsity (absent where no zeros were asked for: the checkpoint's record, edgexfer/train/sparse/sparsify.py, and `gain`:
{"precision", "size_bytes" and "packed_bytes" of `model.onnx` (zlib), "dense": the same of the dense network's file,
"latency": {"ratio", "low", "high", "latency_ms", "full_ms"} against that, "engine", "eligible": {"layers", "of",
"macs_share"} for 2:4, "reason" why something was not measured}), provenance.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle_content import check_content
from edgexfer.core.control import CONTROL
from edgexfer.core.errors import ArtifactError, SettingsError, did_you_mean
from edgexfer.core.expected import Expected, expected_of
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import read_listed, read_manifest_and
from edgexfer.core.network_file import check_network
from edgexfer.core.packed import Unpacked, is_packed, unpack
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.references import read_references
from edgexfer.core.target import Target, target_from_json
from edgexfer.core.unknown import threshold_of

MODEL = "model.onnx"
REFERENCE = "reference.npz"
CANDIDATES = "candidates"
SPLIT = "split.csv"
MEASUREMENTS = "measurements.json"
HISTORY = "history.csv"
LAYERS = "layers.json"
ENGINES = "engines"
_AGAIN = "make the bundle again"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every file has been checked against the manifest.

    Attributes:
        folder: where it lies.
        manifest: all of `manifest.json`.
        labels: class names in the order of the network's output.
        preprocess: how an image becomes the network's pixels.
        target: the device profile it was made for.
        chosen: which of its candidates is meant; None for the one that `export` shipped as `model.onnx`.
        unpacked: keeps the temporary folder of one that was opened from an archive; else None.
        unread: content of `model.onnx` as it was checked, by name, until `read` gives it away for the first time.
    """

    folder: Path
    manifest: dict[str, Any]
    labels: tuple[str, ...]
    preprocess: Preprocess
    target: Target
    chosen: str | None = None
    unpacked: Unpacked | None = field(default=None, repr=False, compare=False)
    unread: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 that names this bundle with all its files."""
        return str(self.manifest["digest"])

    @property
    def precision(self) -> str:
        """What `model` computes in: "int8", "int8-depthwise-float16", "float16" or "float32"."""
        return self.chosen or str(self.manifest["precision"])

    @property
    def candidates(self) -> dict[str, str]:
        """The network's files by precision, relative to the folder; the shipped one first."""
        shipped = {str(self.manifest["precision"]): MODEL}
        return {**shipped, **self.manifest.get("candidates", {})}

    @property
    def model(self) -> Path:
        """The path of the ONNX file: `model.onnx`, or that of the candidate which was chosen."""
        return self.folder / self.candidates[self.precision]

    @property
    def model_sha256(self) -> str:
        """SHA-256 of `model`, as the manifest has it."""
        return str(self.manifest["files"][self.candidates[self.precision]]["sha256"])

    @property
    def known_from(self) -> float | None:
        """The score below which `model` calls an image unknown; None where nothing is, as in older bundles.

        Raises:
            ArtifactError: the manifest's record of it is not one.
        """
        return threshold_of(self.manifest.get("unknown"), self.precision, str(self.folder))

    @property
    def expected(self) -> Expected | None:
        """What `model` answered to held-out images at export; None where nobody counted, as in older bundles.

        Raises:
            ArtifactError: the manifest's record of it is not one.
        """
        return expected_of(self.manifest.get("expected"), self.precision, str(self.folder))

    def at(self, precision: str) -> Bundle:
        """Returns the same bundle with another of its candidates chosen.

        Raises:
            SettingsError: it has no such candidate ("did you mean").
        """
        if precision not in self.candidates:
            raise SettingsError(
                f"{self.folder} holds no {precision}: it has {', '.join(self.candidates)}",
                did_you_mean(precision, list(self.candidates)),
            )
        return replace(self, chosen=precision)

    def read(self, name: str | None = None) -> bytes:
        """Returns the content of `model`, or of another file that the manifest lists.

        For whoever runs it: by its path another file could be opened by now than the one whose digest was checked when
        the bundle was opened. These bytes are those, or their own digest has been taken.

        Raises:
            ArtifactError: it is gone, or has changed since.
        """
        wanted = name or self.candidates[self.precision]
        kept = self.unread.pop(wanted, None)  # hashing it again would take a fifth of the time that `load` takes
        return read_listed(self.folder, self.manifest, wanted) if kept is None else kept

    def references(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Returns images and what the network answered to them at export, in the chosen precision.

        Returns:
            Pixels uint8 [16, H, W, 3], and probabilities float32 [16, classes].

        Raises:
            ArtifactError: `reference.npz` is damaged, or holds arrays of another type or shape.
        """
        size = (self.preprocess.height, self.preprocess.width)
        where = self.folder / REFERENCE
        return read_references(self.read(REFERENCE), where, self.precision, size, len(self.labels))


def open_bundle(folder: str | Path) -> Bundle:
    """Opens a bundle and checks all of it: first what its manifest lists, then what that says.

    Args:
        folder: the bundle's, or an archive of it (edgexfer/core/packed.py).

    Raises:
        ArtifactError: missing, damaged, tampered with, of another kind or format_version, or its network does what
            none that `export` wrote would do (edgexfer/core/network_file.py).
        SettingsError: its target or its preprocessing has an unknown key, or a value of a wrong type.
    """
    path = Path(folder)
    unpacked = unpack(path) if is_packed(path) else None
    path = path if unpacked is None else unpacked.folder
    unread: dict[str, bytes] = {}

    def look(network: Path, content: bytes) -> None:
        check_network(network, content)
        if network == path / MODEL:
            unread[MODEL] = content

    manifest = read_manifest_and(path, "bundle", lambda name: name.endswith(".onnx"), look)
    try:
        check_content(manifest, path)
        preprocess = Preprocess.from_json(manifest["preprocess"])
        target = target_from_json(manifest["target"])
    except KeyError as error:
        raise ArtifactError(f"{path} has no {error} in its manifest", _AGAIN) from error
    labels = tuple(manifest["labels"])
    networks = {MODEL, *manifest.get("candidates", {}).values()}
    for name in (REFERENCE, *networks):
        if name not in manifest["files"]:
            raise ArtifactError(f"bundle {path} lacks {name}", _AGAIN)
    if manifest.get("labels_sha256") != labels_digest(labels):
        raise ArtifactError(f"{path}: labels do not match labels_sha256", _AGAIN)
    opened = Bundle(path, manifest, labels, preprocess, target, unpacked=unpacked, unread=unread)
    _ = opened.known_from, opened.expected  # refused now, not when the first image comes
    _check_unlisted(path, manifest)
    return opened


def _check_unlisted(folder: Path, manifest: dict[str, Any]) -> None:
    # Whoever reads one of these asks whether it is there, and shall not be told by a file that nothing vouches for.
    for name in (SPLIT, MEASUREMENTS, HISTORY, LAYERS, CONTROL):
        if name not in manifest["files"] and os.path.lexists(folder / name):
            raise ArtifactError(f"{folder} has {name}, which its manifest does not list", f"remove {folder / name}")
    if (folder / ENGINES).is_symlink():
        raise ArtifactError(f"{folder / ENGINES} is a link: engines lie in the bundle", f"remove {folder / ENGINES}")
