"""How findings are told; which findings there are is proven in tests/train."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.terminal import Terminal


@dataclass(frozen=True)
class Finding:
    rule: str
    node: str
    message: str
    remedy: str
    file: str = "model.onnx"


def linter(findings: list[Finding]) -> ModuleType:
    module = ModuleType("edgexfer.train.dialects.lint")
    module.lint = lambda bundle, engine_versions: findings  # type: ignore[attr-defined]  # noqa: ARG005
    return module


def test_findings_are_named_and_fail(edgexfer: Terminal, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("float-conv", "/blocks.0/Conv", "runs in float", "quantize both inputs")]
    monkeypatch.setitem(sys.modules, "edgexfer.train.dialects.lint", linter(found))
    said = edgexfer("lint", bundle_folder)
    assert (said.code, said.err) == (1, "")
    for text in (
        "float-conv: /blocks.0/Conv in model.onnx",
        "runs in float",
        "remedy: quantize both inputs",
        "1 finding in ",
    ):
        assert text in said.out


def test_a_clean_bundle_passes(edgexfer: Terminal, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edgexfer.train.dialects.lint", linter([]))
    said = edgexfer("lint", bundle_folder)
    assert said.code == 0
    assert said.out.startswith("ok: ")


def test_the_releases_that_are_asked_for_reach_the_linter(
    edgexfer: Terminal, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    module = linter([])
    module.lint = lambda bundle, engine_versions: asked.append(engine_versions) or []  # type: ignore[attr-defined]  # noqa: ARG005
    monkeypatch.setitem(sys.modules, "edgexfer.train.dialects.lint", module)
    assert edgexfer("lint", bundle_folder, "--tensorrt", "10.3", "--tensorrt", "11.4").code == 0
    assert edgexfer("lint", bundle_folder).code == 0
    assert asked == [["10.3", "11.4"], None]


def test_without_the_training_part_it_says_what_to_install(
    edgexfer: Terminal, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(bundle: Path, engine_versions: object) -> list[Finding]:  # noqa: ARG001
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    module = linter([])
    module.lint = absent  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgexfer.train.dialects.lint", module)
    said = edgexfer("lint", bundle_folder)
    assert said.code == 2
    assert (
        said.err
        == "error: this needs the package 'onnx', which is not installed\nhint:  pip install 'edgexfer[train]'\n"
    )
