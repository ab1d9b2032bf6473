from __future__ import annotations

import re

import pytest

from edgexfer.core.target import load_target, target_names
from tests.cli.terminal import Terminal


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_names_engine_versions_precision_and_device(
    edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = edgexfer("targets").out.splitlines()
    assert max(len(line) for line in lines) <= columns
    for name in target_names():  # no name is broken
        assert any(line.split()[:1] == [name] for line in lines)
    (orin,) = (line for line in lines if line.split()[:1] == ["jetson-orin-nano"])
    assert orin.split()[:7] == ["jetson-orin-nano", "TensorRT", "8.6–10.16", "auto", "Jetson", "Orin", "Nano"]
    assert "jetson means jetson-orin-nano." in lines


@pytest.mark.parametrize("name", target_names())
@pytest.mark.parametrize("columns", [80, 120])
def test_one_in_full_tells_every_fact_with_its_source(
    edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    said = edgexfer("targets", name)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("/usr/src/")) <= max(columns, len(lines[1]))
    target, flowing = load_target(name), " ".join(said.out.split())
    assert [lines[0], lines[1]] == [name, target.title]
    for fact in target.facts:
        assert fact.value in flowing
        assert f"{fact.certainty}: {fact.source}" in flowing
    for text in (*target.notes, *target.host.get("jetpack", ()), *target.engine_versions, target.calibration):
        assert text in flowing
    assert ("none of them measured by edgexfer" in flowing) is bool(target.facts)
    assert not re.search(r"\d ?ms\b", said.out)


def test_the_alias_is_explained(edgexfer: Terminal) -> None:
    lines = edgexfer("targets", "jetson").out.splitlines()
    assert lines[0].startswith("jetson means jetson-orin-nano: Jetson Orin Nano 8GB")
    assert lines[1] == "jetson-orin-nano"


@pytest.mark.parametrize("name", ["jetson-nano", "jetson-xavier-nx"])
def test_a_device_without_edgexfer_gets_its_line(edgexfer: Terminal, name: str) -> None:
    out = edgexfer("targets", name).out
    (line,) = (line for line in out.splitlines() if line.startswith("/usr/src/tensorrt/bin/trtexec --onnx=signs.edgx/"))
    assert line.endswith(" --buildOnly")
    assert "/usr/src/" not in edgexfer("targets", "jetson-orin-nano").out


def test_an_unknown_target(edgexfer: Terminal) -> None:
    said = edgexfer("targets", "jetson-orin-nanno")
    assert said.code == 2
    assert "did you mean 'jetson-orin-nano'" in said.err
