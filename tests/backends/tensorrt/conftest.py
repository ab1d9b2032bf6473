"""Bundles for TensorRT, and machines that can build them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.manifest import write_manifest
from tests.backends.tensorrt.machine import Machine
from tests.bundles import make_bundle

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A Jetson Orin with TensorRT 10.3.0; what a test changes of it holds from then on."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    made = Machine()
    made.install(monkeypatch)
    return made


@pytest.fixture
def become(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:
    """Gives the machine another version of TensorRT."""

    def become(version: str) -> Machine:
        machine.version = version
        machine.install(monkeypatch)
        return machine

    return become


@pytest.fixture
def make(tmp_path: Path) -> MakeBundle:
    """Makes a bundle for TensorRT; `target` holds keys of the target that are other than usual."""

    def make(precision: str = "float32", options: dict[str, Any] | None = None, **target: Any) -> Bundle:
        folder = make_bundle(
            tmp_path / "b.edgx", backend="tensorrt", dialect="tensorrt", precision=precision, options=options
        )
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").unlink()
        manifest["target"].update(target)
        for key in ("kind", "format_version", "files", "digest"):
            del manifest[key]
        write_manifest(folder, "bundle", manifest)
        return open_bundle(folder)

    return make
