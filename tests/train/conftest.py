"""Tests of training: skipped as a whole, with the reason, where the extra [train] is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgexfer.train.checkpoint import Checkpoint
    from tests.train.exports import Exports

_THERE = all(importlib.util.find_spec(name) for name in ("torch", "timm", "lightning", "nncf", "onnx", "sklearn"))
_LIGHT = ("test_pixel_cache.py", "test_split.py")  # numpy and Pillow are all they need


class _Skipped(pytest.Module):
    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip("PyTorch and its kin are not installed (pip install 'edgexfer[train]')", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if _THERE or module_path.name in _LIGHT:
        return None
    return _Skipped.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # At 64 pixels a second thread gains nothing, and waits for the first one while another process computes.
    if _THERE:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pruned(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The shared run with a quarter of its MACs gone, counted, at two points, each of one epoch; not to be changed."""
    from edgexfer.core.target import load_target
    from edgexfer.train.prune.goal import Goal
    from edgexfer.train.prune.prune import prune

    out = tmp_path_factory.mktemp("prune") / "pruned"
    target = load_target("x86-cpu")
    return prune(exports.run, target, Goal("macs", 0.75), out, engines=None, epochs=1, device="cpu")
