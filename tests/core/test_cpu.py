"""The CPU: its name and cores, which a choice among engines holds for, and whether 8-bit products are exact."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgexfer.core.cpu import cpu_device, cpu_model, saturates
from tests.gate.machines import RASPBERRY_PI_5, XEON, plant


def test_what_a_choice_holds_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", plant(tmp_path, XEON))
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert cpu_device() == "Intel(R) Xeon(R) Processor @ 2.50GHz, 6 cores"
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cpu_device() == "Intel(R) Xeon(R) Processor @ 2.50GHz, 1 core"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be kept on some CPUs here")
def test_a_process_on_fewer_cores_is_on_the_same_device() -> None:
    before, device = os.sched_getaffinity(0), cpu_device()
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cpu_device() == device
    finally:
        os.sched_setaffinity(0, before)


def test_an_arm_core_by_its_part_and_a_machine_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_model(plant(tmp_path / "pi", RASPBERRY_PI_5)) == "Cortex-A76"
    assert cpu_model(tmp_path) is None
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", tmp_path)
    assert cpu_device().startswith("unknown CPU, ")


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "fpu avx2", True),
        ("AMD64", "fpu avx512f avx512_vnni", False),
        ("x86_64", "fpu avx_vnni", False),
        ("x86_64", "", True),
        ("aarch64", "fpu", False),
    ],
)
def test_products_that_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str, overflows: bool
) -> None:
    monkeypatch.setattr("edgexfer.core.cpu.ROOT", plant(tmp_path, {"proc/cpuinfo": f"flags\t\t: {flags}\n"}))
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert saturates() is overflows
