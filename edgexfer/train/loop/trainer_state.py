"""The state that an interrupted training goes on from: one safetensors file, never a pickle.

Lightning hands a nested structure of tensors and plain values to its CheckpointIO; tensors go into the file as
they are, everything else as JSON into its header. The file is written beside its place and renamed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file

_HEADER = "edgexfer_trainer_state"


class SafetensorsIO(CheckpointIO):
    """Saves and loads Lightning's training state; see the module's docstring."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Writes the state to `path`, which is whole or what it was before."""
        save_state(checkpoint, Path(path))

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Reads the state that `save_checkpoint` wrote."""
        return load_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Removes the file."""
        Path(path).unlink(missing_ok=True)


def save_state(state: Any, path: Path) -> None:
    """Writes nested dicts, lists, tuples, tensors and plain values to one file; subclasses become what they are of.

    Raises:
        TypeError: a value that is none of these.
        EdgexferError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_pack(state, tensors))
    write_file(path, safetensors.torch.save(tensors, {_HEADER: header}))


def load_state(path: Path) -> Any:
    """Reads what `save_state` wrote.

    Raises:
        ArtifactError: missing, damaged or another kind of file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{path} is no training state: {error}", "start again with --overwrite") from error
    if header is None:
        raise ArtifactError(f"{path} is no training state of edgexfer", "start again with --overwrite")
    try:
        return _unpack(json.loads(header), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is no training state: its header is damaged", "start again with --overwrite"
        ) from error


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A copy of its own: safetensors refuses tensors that share memory or are strided.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        # Named tuples and the like (torch.Size) become plain ones.
        return {"tuple" if isinstance(value, tuple) else "list": [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a training state holds a {type(value).__name__}, which is neither a tensor nor plain")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
    if kind not in ("list", "tuple"):
        raise ValueError(f"unknown kind '{kind}'")
    items = [_unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
