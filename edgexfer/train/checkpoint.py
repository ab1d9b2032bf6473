"""Checkpoint (a RUN): what training leaves behind.

    manifest.json         kind "checkpoint"; labels, labels_sha256, preprocess, backbone, precision, settings,
                          metrics ({"val": ..., "test": ...}), dataset_digest, versions, parent, quantization,
                          trackers (the runs it is tracked by, edgexfer/train/loop/trackers.py; absent in older ones),
                          temperature (what the logits were divided by, edgexfer/train/head/temperature.py; None
                          where they were not, absent in older ones; a quantized network has it from the float one),
                          pruning (which channels were removed, edgexfer/train/prune/prune.py; only where some were),
                          sparsity (which weights are zero, edgexfer/train/sparse/sparsify.py; only where asked for)
    weights.safetensors   the network in deploy form (edgexfer/train/deploy.py), learned quantizers included
    history.csv           one row per epoch
    split.csv             path,label,split,sha256 of every image
    earlier.csv           the same of the images that the checkpoints before it were trained on, where it began from one
    control.json          what was tried where INT8 missed its limit (edgexfer/core/control.py); else absent
    exemplars.safetensors images that `update` repeats (edgexfer/train/continual/exemplars.py); of float ones, not of
                          older ones

`quantization` is None for a float network, else {"dialect", "weight_bits", "nncf", "recipe", "images"}: NNCF's own
configuration, which puts the quantizers back in their places, and the digests of the calibration images; where there is
a control.json also "float_layers", the names of the layers it left in float, and "estimator", that of the ranges.

The network is the backbone's row, its layers as narrow as their weights are.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer import __version__
from edgexfer.core.control import CONTROL
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import read_listed, read_manifest, write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.staging import staged_folder
from edgexfer.train.backbones import Backbone, find_backbone
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.images.split import SplitRow, parse_split, write_split
from edgexfer.train.network import build_network
from edgexfer.train.prune.narrow import narrow_to
from edgexfer.train.prune.way import is_begun

WEIGHTS, HISTORY, SPLIT = "weights.safetensors", "history.csv", "split.csv"
_MOST_SIDE_PIXELS = 4096
EARLIER, EXEMPLARS = "earlier.csv", "exemplars.safetensors"
_RECORDED = (
    *("torch", "torchvision", "timm", "lightning", "nncf", "onnx", "onnxruntime"),
    *("numpy", "pillow", "scikit-learn"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose every file has been checked against the manifest.

    Attributes:
        folder: where it lies.
        manifest: all of `manifest.json`.
        labels: class names in the order of the network's output.
        preprocess: how an image becomes the network's pixels.
        backbone: its row in the table.
        rows: the split of every image.
    """

    folder: Path
    manifest: dict[str, Any]
    labels: tuple[str, ...]
    preprocess: Preprocess
    backbone: Backbone
    rows: tuple[SplitRow, ...]

    @property
    def digest(self) -> str:
        """SHA-256 that names this checkpoint with all its files."""
        return str(self.manifest["digest"])

    @property
    def quantization(self) -> dict[str, Any] | None:
        """How it was quantized; None for a float network."""
        record: dict[str, Any] | None = self.manifest["quantization"]
        return record

    def earlier_rows(self) -> tuple[SplitRow, ...]:
        """Returns the split of the images that the checkpoints before it were trained on, and it was not."""
        return _rows(self.folder, self.manifest, EARLIER) if EARLIER in self.manifest["files"] else ()

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of `weights.safetensors`, by name in order.

        Raises:
            ArtifactError: it is no such file, or has changed since the checkpoint was opened.
        """
        path, raw = self.folder / WEIGHTS, read_listed(self.folder, self.manifest, WEIGHTS)
        try:
            return dict(sorted(safetensors.torch.load(raw).items()))  # bytes are read in an order that is drawn
        except (ValueError, KeyError, safetensors.SafetensorError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}", "fine-tune again") from error

    def empty_network(self) -> DeployNetwork:
        """Returns a network as narrow as this checkpoint's is, whose weights are still to be loaded."""
        return self._as_narrow_as(self.state())

    def float_network(self) -> DeployNetwork:
        """Returns the network of a float checkpoint, in evaluation mode.

        Raises:
            ArtifactError: the checkpoint is quantized, or its weights do not fit its backbone.
        """
        if self.quantization is not None:
            raise ArtifactError(
                f"{self.folder} is quantized, expected a float checkpoint", "give the RUN it was made from"
            )
        state = self.state()
        try:
            network = self._as_narrow_as(state)
            network.load_state_dict(state)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactError(f"{self.folder / WEIGHTS} does not fit {self.backbone.name}: {error}") from error
        return network.eval()

    def _as_narrow_as(self, state: dict[str, Tensor]) -> DeployNetwork:
        network = empty_network(self.backbone, len(self.labels), self.preprocess)
        narrow_to(network, state)
        return network


def empty_network(backbone: Backbone, classes: int, preprocess: Preprocess) -> DeployNetwork:
    """Returns a network in deploy form whose weights are still to be loaded."""
    network = build_network(backbone, classes)
    return deploy_form(network, backbone.normalization, preprocess.height, preprocess.width)


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Opens a checkpoint and checks all of it.

    Raises:
        ArtifactError: missing, damaged, of another kind or format_version, or still unfinished.
    """
    path = Path(folder)
    partial = path.with_name(f"{path.name}.partial")
    if not path.exists() and partial.exists():
        how = f"go on with `edgexfer finetune DATA --out {path} --resume`"
        if is_begun(path):
            how = "go on with the `edgexfer compress` or `edgexfer export` that began it, and --resume"
        raise ArtifactError(f"{path} is not finished: its training was interrupted", how)
    manifest = read_manifest(path, "checkpoint")
    try:
        labels = tuple(manifest["labels"])
        preprocess = Preprocess.from_json(manifest["preprocess"])
        backbone = find_backbone(manifest["backbone"])
        matches = manifest["labels_sha256"] == labels_digest(labels)
        quantization = manifest["quantization"]
    except KeyError as error:
        raise ArtifactError(f"{path} has no {error} in its manifest", "fine-tune again") from error
    except (AttributeError, TypeError) as error:
        raise ArtifactError(f"{path} has a manifest that does not fit: {error}", "fine-tune again") from error
    if not isinstance(quantization, dict | None) or max(preprocess.height, preprocess.width) > _MOST_SIDE_PIXELS:
        raise ArtifactError(f"{path} has a manifest that does not fit", "fine-tune again")
    if not matches:
        raise ArtifactError(f"{path}: labels do not match labels_sha256", "fine-tune again")
    for name in (WEIGHTS, SPLIT):
        if name not in manifest["files"]:
            raise ArtifactError(f"checkpoint {path} lacks {name}", "fine-tune again")
    return Checkpoint(path, manifest, labels, preprocess, backbone, _rows(path, manifest, SPLIT))


def _rows(folder: Path, manifest: dict[str, Any], name: str) -> tuple[SplitRow, ...]:
    return parse_split(read_listed(folder, manifest, name), folder / name)


def save_checkpoint(
    out: Path,
    *,
    state: dict[str, Tensor],
    history: Path,
    rows: tuple[SplitRow, ...],
    labels: tuple[str, ...],
    content: dict[str, Any],
    overwrite: bool,
    earlier: tuple[SplitRow, ...] = (),
    exemplars: Mapping[str, NDArray[Any]] | None = None,
    control: str | None = None,
) -> Checkpoint:
    """Writes a checkpoint to `out`, whole or not at all, and opens it.

    Args:
        out: the folder.
        state: the network's tensors.
        history: a `history.csv` to copy.
        rows: the split of every image.
        labels: class names in order.
        content: the other keys of the manifest; see the module's docstring.
        overwrite: replace an older `out`.
        earlier: see `Checkpoint.earlier_rows`.
        exemplars: the tensors of `exemplars.safetensors`.
        control: the content of `control.json`.
    """
    with staged_folder(out, overwrite=overwrite) as stage:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        # Not by `save_file`, whose errors do not tell a full disk from a damaged tensor.
        (stage / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
        shutil.copyfile(history, stage / HISTORY)
        write_split(stage / SPLIT, rows)
        if earlier:
            write_split(stage / EARLIER, earlier)
        if control is not None:
            write_file(stage / CONTROL, control)
        if exemplars is not None:
            contiguous = {name: np.ascontiguousarray(array) for name, array in exemplars.items()}
            (stage / EXEMPLARS).write_bytes(safetensors.numpy.save(contiguous))
        named = {"labels": list(labels), "labels_sha256": labels_digest(labels)}
        write_manifest(stage, "checkpoint", {**named, **content, "versions": versions()})
    return open_checkpoint(out)


def versions() -> dict[str, str]:
    """Returns the versions of edgexfer, of Python and of what training is made with."""
    found = {"edgexfer": __version__, "python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
