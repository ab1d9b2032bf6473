"""Tests of benchmarks/: its modules are imported as its scripts do it, from their own folders."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Returns a function that imports a module of benchmarks/ by name; afterwards none of them is left."""
    if not _BENCHMARKS.is_dir():
        pytest.skip("there is no benchmarks/ beside tests/: a source distribution has none")
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(_BENCHMARKS), str(_BENCHMARKS / "runners"), *sys.path])
    yield importlib.import_module
    for name in set(sys.modules) - before:
        place = getattr(sys.modules[name], "__file__", None)
        if name == "parts" or (place and Path(place).is_relative_to(_BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def trained() -> None:
    """Skips where the extra [train] is not installed."""
    for package in ("torch", "timm", "lightning", "nncf", "onnx", "sklearn"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'edgexfer[train]'")
