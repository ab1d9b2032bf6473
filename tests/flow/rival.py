"""An engine from outside, installed as any package is: found by its entry point, as fast and as right as a test wants.

It answers as the backend `fake` does. It is written to a folder with the metadata of an installed distribution.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_MODULE = """
import numpy as np
from edgexfer.backends.fake import FakeSession

LATENCY_S, VERSION, MISSING = {latency_s}, "1.0", None

def alter(pixels, answers):
    return answers

def missing():
    return MISSING

def engine_version():
    return f"{name} {{VERSION}}"

def open_session(bundle, *, threads):
    size = (bundle.preprocess.height, bundle.preprocess.width)
    return Session(FakeSession(size, len(bundle.labels), LATENCY_S))

class Session:
    def __init__(self, inner):
        self._inner = inner

    def run(self, pixels):
        return alter(pixels, self._inner.run(pixels))

    def close(self):
        self._inner.close()
"""


def install(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, latency_ms: float) -> ModuleType:
    """Installs the engine `name`; returns its module, whose LATENCY_S, VERSION, MISSING and `alter` may be changed."""
    path, metadata = folder / f"{name}_engine.py", folder / f"{name}_engine-1.0.dist-info"
    path.write_text(_MODULE.format(name=name, latency_s=latency_ms / 1e3), encoding="utf-8")
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-engine\nVersion: 1.0\n", encoding="utf-8")
    points = f"[edgexfer.backends]\n{name} = {name}_engine\n"
    (metadata / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # forgotten after the test
    spec.loader.exec_module(module)
    return module
