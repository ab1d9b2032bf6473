"""nvidia-smi's answer: of a GPU at work, of a driver with the old name of a field, of a Jetson, and none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.gate.machine.nvidia_smi import parse_nvidia_smi, read_nvidia_smi

ANSWER = "NVIDIA GeForce RTX 3060, 550.54.15, 1777, 2100, 7300, 81, 168.42, 170.00, 9120, 12288, 0x0000000000000024"


def script(folder: Path, body: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_gpu_that_is_held_down(tmp_path: Path) -> None:
    found = read_nvidia_smi(script(tmp_path, f'echo "{ANSWER}"; echo "a second GPU"'))
    assert found == {
        "name": "NVIDIA GeForce RTX 3060",
        "driver": "550.54.15",
        "sm_mhz": 1777.0,
        "sm_most_mhz": 2100.0,
        "memory_mhz": 7300.0,
        "celsius": 81.0,
        "power_w": 168.42,
        "power_limit_w": 170.0,
        "memory_free_mib": 9120.0,
        "memory_mib": 12288.0,
        "slowed_by": ["its power limit", "heat"],
    }


def test_idle_and_chosen_clocks_hold_nothing_down() -> None:
    found = parse_nvidia_smi(ANSWER.replace("24", "13", 1).replace("0x0000000000000024", "0x0000000000000113"))
    assert found is not None
    assert found["slowed_by"] == []


def test_a_driver_with_the_old_name_of_the_field(tmp_path: Path) -> None:
    body = (
        'case "$1" in *clocks_event_reasons*) echo "Field is not a valid field to query."; exit 2;; esac\n'
        f'case "$1" in *clocks_throttle_reasons.active*) echo "{ANSWER}";; *) exit 3;; esac'
    )
    found = read_nvidia_smi(script(tmp_path, body))
    assert found is not None
    assert found["slowed_by"] == ["its power limit", "heat"]


def test_a_jetson_that_does_not_say() -> None:
    found = parse_nvidia_smi("Orin (nvgpu), [N/A]" + ", [N/A]" * 9)
    assert found is not None
    assert (found["name"], found["driver"], found["sm_mhz"], found["slowed_by"]) == ("Orin (nvgpu)", None, None, [])


@pytest.mark.parametrize("body", ["exit 9", "echo 'No devices were found'", "echo", "printf ''"])
def test_no_gpu(tmp_path: Path, body: str) -> None:
    assert read_nvidia_smi(script(tmp_path, body)) is None
    assert read_nvidia_smi(str(tmp_path / "none")) is None


@given(st.lists(st.text(alphabet="0123456789.xnaif[] \n-", max_size=8), min_size=11, max_size=11))
def test_no_answer_is_an_error(cells: list[str]) -> None:
    json.dumps(parse_nvidia_smi(",".join(cells)), allow_nan=False)
