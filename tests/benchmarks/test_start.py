"""The benchmark of the first prediction: each way's program runs in a process of its own and says what it took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from edgexfer.backends import missing_here


def test_every_way_is_measured(
    benchmark_module: Callable[[str], ModuleType], bundle_folder: Path, tmp_path: Path
) -> None:
    if reason := missing_here("ort"):
        pytest.skip(reason)
    start = benchmark_module("start")
    ways = list(start.ways_of(bundle_folder, tmp_path / "place"))
    words = ["ONNX Runtime, bare", "ONNX Runtime"]
    if missing_here("openvino") is None:
        words += ["OpenVINO, after `edgexfer build`", "OpenVINO, never built"]
    assert [way.words for way in ways] == words
    assert [way.words for way in ways if way.limited] == words[1:3]
    assert not (bundle_folder / "engines").exists()
    found = start.in_turns(ways, 1)
    assert [len(said) for said in found] == [1] * len(ways)
    assert all(wall > 0 and cpu > 0 and peak > 10 for ((wall, cpu, peak),) in found)
    (_, _, bare), (_, _, whole) = found[0][0], found[1][0]
    assert whole > bare  # Pillow and edgexfer are there as well
