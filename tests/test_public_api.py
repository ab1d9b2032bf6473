"""The face of the package: what it shows, and that showing it loads nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import edgexfer
from edgexfer.core.errors import EdgexferError

PACKAGE = Path(edgexfer.__file__).parent
LIGHT_LAYERS = ("core", "backends", "runtime", "gate", "build", "remote")  # not `flow`: it composes `train`
HEAVY = (
    "torch", "torchvision", "timm", "lightning", "nncf", "onnx", "onnxruntime", "sklearn", "openvino", "tensorrt",
    "safetensors", "torchao", "torchmetrics", "jinja2", "matplotlib", "typer", "rich",
)  # fmt: skip


def modules(*layers: str) -> list[str]:
    """Names of every module of these layers, found as files."""
    paths = sorted(path for layer in layers for path in (PACKAGE / layer).rglob("*.py"))
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]


def test_all_is_what_is_visible() -> None:
    assert dir(edgexfer) == sorted(edgexfer.__all__)
    assert set(edgexfer.__all__) == {
        "Bundle", "Classifier", "EdgexferError", "LowScores", "Prediction", "Watch", "__version__", "load",
        "open_bundle",
    }  # fmt: skip


@pytest.mark.parametrize("name", edgexfer.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(edgexfer, name)
    assert value is getattr(edgexfer, name)
    if name != "__version__":
        assert value.__doc__
        assert value.__module__.startswith("edgexfer.")
        assert value is getattr(importlib.import_module(value.__module__), name)


def test_version_is_a_version() -> None:
    assert all(part.isdigit() for part in edgexfer.__version__.split(".")[:2])


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'edgexfer' has no attribute 'laod'"):
        _ = edgexfer.laod


def test_every_error_is_ours_and_a_built_in() -> None:
    errors = importlib.import_module("edgexfer.core.errors")
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, EdgexferError)]
    assert len(found) >= 7
    for error in found:
        assert str(error("what", "mend it")) == "what (mend it)"
        if error is not EdgexferError:
            assert error.__bases__[0] is EdgexferError
            assert len(error.__bases__) == 2 or error.__bases__ == (EdgexferError,)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_of_the_package_loads_nothing_else() -> None:
    code = "import sys, edgexfer; print([m for m in ('numpy', 'PIL', 'edgexfer.core.bundle') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("layer", LIGHT_LAYERS)
def test_modules_load_no_heavy_package(layer: str) -> None:
    names = modules(layer)
    assert names
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
