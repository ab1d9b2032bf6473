"""tegrastats' line as boards of each generation wrote it, and the program as it may behave."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.gate.machine import tegrastats
from edgexfer.gate.machine.tegrastats import parse_tegrastats, read_tegrastats

# Lines of real boards, as public parsers keep them in comments and tests: a Jetson Nano with JetPack 4 (a Prometheus
# exporter in Go), a Xavier NX with JetPack 5.1.2 (another's TestParseTegraStatsXavierNXJetPack512), an Orin Nano with
# JetPack 6 (test of a summarize_tegrastats.py) and an AGX Orin with L4T 36.4.4 (test of a stats package in Go).
NANO = (
    "RAM 2015/3964MB (lfb 98x4MB) SWAP 29/1982MB (cached 3MB) CPU [6%@102,5%@102,4%@102,3%@102] EMC_FREQ 0% "
    "GR3D_FREQ 0% PLL@28C CPU@31.5C PMIC@100C GPU@30.5C AO@36C thermal@31.25C "
    "POM_5V_IN 1388/1388 POM_5V_GPU 122/122 POM_5V_CPU 163/163"
)
XAVIER_NX = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) "
    "CPU [23%@1397,17%@1192,16%@1190,13%@1190,23%@1190,10%@1190] EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] "
    "VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C "
    "VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)
ORIN_NANO = (
    "10-08-2026 04:38:21 RAM 1343/7620MB (lfb 157x4MB) SWAP 165/3810MB (cached 3MB) "
    "CPU [0%@1497,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 15%@204 "
    "GR3D_FREQ 0%@[305] NVDEC off NVJPG off VIC off OFA off APE 200 "
    "cpu@48.562C soc2@46.593C soc0@48.625C gpu@49.625C tj@49.312C soc1@47.937C "
    "VDD_IN 5251mW/8535mW VDD_CPU_GPU_CV 512mW/1944mW VDD_SOC 2720mW/3659mW"
)
AGX_ORIN = (
    "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU [14%@2188,off,8%@2035] "
    "EMC_FREQ 3%@2133 GR3D_FREQ 7%@[306,305] NVENC 79%@166 NVDEC off VIC 36%@115 PVA0_FREQ off APE 174 "
    "CV0@-256C cpu@52.562C tj@52.562C VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW "
    "NC 0mW/0mW"
)


def test_jetpack_4_on_a_nano() -> None:
    assert parse_tegrastats(NANO) == {
        "ram_mib": [2015, 3964],
        "swap_mib": [29, 1982],
        "cpus": [[6, 102], [5, 102], [4, 102], [3, 102]],
        "emc": 0,
        "gpu": 0,
        "celsius": {"PLL": 28.0, "CPU": 31.5, "PMIC": 100.0, "GPU": 30.5, "AO": 36.0, "thermal": 31.25},
        "power_mw": {"POM_5V_IN": [1388, 1388], "POM_5V_GPU": [122, 122], "POM_5V_CPU": [163, 163]},
    }


def test_jetpack_5_on_a_xavier() -> None:
    found = parse_tegrastats(XAVIER_NX)
    assert (found["emc"], found["emc_mhz"], found["gpu"], found["gpu_mhz"]) == (2, 204, 0, 114)
    assert found["cpus"][0] == [23, 1397]
    assert found["celsius"]["CPU"] == 46.5
    assert found["power_mw"] == {"VDD_IN": [2763, 2846], "VDD_CPU_GPU_CV": [650, 670], "VDD_SOC": [650, 711]}


def test_jetpack_6_on_an_orin_nano() -> None:
    found = parse_tegrastats(ORIN_NANO)
    assert (found["ram_mib"], found["swap_mib"]) == ([1343, 7620], [165, 3810])
    assert (found["emc_mhz"], found["gpu_mhz"]) == (204, 305)
    assert found["celsius"] == {
        "cpu": 48.562,
        "soc2": 46.593,
        "soc0": 48.625,
        "gpu": 49.625,
        "tj": 49.312,
        "soc1": 47.937,
    }
    assert found["power_mw"]["VDD_IN"] == [5251, 8535]


def test_jetpack_6_on_an_agx_orin() -> None:
    found = parse_tegrastats(AGX_ORIN)
    assert found["cpus"] == [[14, 2188], None, [8, 2035]]
    assert (found["gpu"], found["gpu_mhz"], found["emc_mhz"]) == (7, 306, 2133)
    assert set(found["celsius"]) == {"cpu", "tj"}  # a sensor that is off answers -256
    assert set(found["power_mw"]) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}


@given(st.one_of(st.text(), st.text(alphabet="RAMSWPCUGEMC0123456789/%@[],.-_ ")))
def test_no_line_is_an_error(line: str) -> None:
    json.dumps(parse_tegrastats(line), allow_nan=False)


def script(folder: Path, body: str) -> str:
    path = folder / "tegrastats"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_program_is_asked_for_one_line_and_ended(tmp_path: Path) -> None:
    program = script(tmp_path, f'echo "$@" > "{tmp_path}/asked"\nwhile :; do echo "{ORIN_NANO}"; sleep 0.05; done')
    assert read_tegrastats(program) == parse_tegrastats(ORIN_NANO)
    assert (tmp_path / "asked").read_text() == "--interval 100\n"


@pytest.mark.parametrize("body", ["exit 1", "echo", "printf 'RAM'; exec sleep 60", "exec sleep 60"])
def test_a_program_that_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(tegrastats, "_PATIENCE_SECONDS", 0.3)
    started = time.monotonic()
    assert read_tegrastats(script(tmp_path, body)) is None
    assert time.monotonic() - started < 5


def test_no_such_program(tmp_path: Path) -> None:
    assert read_tegrastats(str(tmp_path / "none")) is None
    (tmp_path / "file").write_text("no program")
    assert read_tegrastats(str(tmp_path / "file")) is None
