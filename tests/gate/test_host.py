from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexfer.gate.host import host_facts, machine_class, throttled_between, throttling

XEON = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor @ 2.50GHz\n"
    "flags\t\t: fpu sse avx avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nmodel name\t: other\n",
    "proc/loadavg": "0.71 0.89 1.18 4/92 4696\n",
    "proc/meminfo": "MemTotal:       16384000 kB\nMemFree:  1 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list": "0,4\n",
    "sys/devices/system/cpu/cpu4/topology/core_cpus_list": "0,4\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1,5\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
}
PI = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd aes crc32 asimddp\nCPU part\t: 0xd0b\n\n"
    "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "sys/class/thermal/thermal_zone0/temp": "61350\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50005\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
}
ORIN = {
    "proc/cpuinfo": "Features\t: asimd asimddp\nCPU part\t: 0xd42\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "etc/os-release": "PRETTY_NAME='x'\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_server(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, XEON), cpus=[0, 1, 4], engine="onnxruntime 1", threads=2)
    assert facts["cpu"] == "Intel(R) Xeon(R) Processor @ 2.50GHz"
    assert facts["isa"] == ["avx2", "avx512f", "avx512_vnni"]
    assert (facts["cores_logical"], facts["cores_physical"], facts["cpu_quota"]) == (3, 2, 1.5)
    assert facts["governor"] == ["performance", "powersave"]
    assert (facts["load_average"], facts["memory_mib"]) == (0.71, 16000)
    assert (facts["os"], facts["kernel"]) == ("Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64")
    assert facts["throttling"]["thermal_events"] == 7
    assert (facts["engine"], facts["threads"], facts["board"]) == ("onnxruntime 1", 2, None)
    assert machine_class(facts).startswith("Intel(R) Xeon(R) Processor @ 2.50GHz, 3 cores, quota 1.5, ")


def test_a_raspberry_pi_that_is_throttled(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, PI), cpus=range(4))
    assert (facts["cpu"], facts["board"]) == ("Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert facts["isa"] == ["asimd", "asimddp"]
    assert facts["cpu_quota"] is None
    assert facts["cores_physical"] is None
    assert facts["throttling"] == {"thermal_events": None, "raspberry_pi": "50005", "hottest_celsius": 61.35}
    assert throttled_between(facts["throttling"], facts["throttling"]) is not None
    assert machine_class(facts).startswith("Raspberry Pi 5 Model B Rev 1.0, 4 cores, ")


def test_a_jetson_names_release_and_power_mode(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, ORIN), cpus=range(6))
    assert facts["cpu"] == "Cortex-A78AE"
    assert facts["os"].endswith(", L4T 36.4.3")
    assert machine_class(facts).endswith(", pmode:0002")
    other = host_facts(plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0000\n"}), cpus=range(6))
    assert machine_class(other) != machine_class(facts)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    facts = host_facts(tmp_path, cpus=[0])
    for key in ("cpu", "board", "cores_physical", "load_average", "memory_mib", "power_mode", "cpu_quota"):
        assert facts[key] is None
    assert (facts["isa"], facts["governor"]) == ([], [])
    assert machine_class(facts).startswith("unknown CPU, 1 core, ")


def test_garbage_is_no_error(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "x y\n", "proc/cpuinfo": "CPU part : zz\n", "proc/meminfo": "\n"}
    facts = host_facts(plant(tmp_path, files), cpus=[0])
    assert (facts["cpu"], facts["cpu_quota"], facts["memory_mib"]) == (None, None, None)


def test_this_machine_reads_and_is_json() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cores_logical"] >= 1


@pytest.mark.parametrize(
    ("before", "after", "trusted"),
    [
        ((5, None), (5, None), True),
        ((5, None), (6, None), False),
        ((None, "0"), (None, "50000"), True),
        ((None, "0"), (None, "4"), False),
        ((None, "0"), (None, "?"), True),
    ],
)
def test_throttling_between_two_readings(
    tmp_path: Path, before: tuple[int | None, str | None], after: tuple[int | None, str | None], trusted: bool
) -> None:
    readings = [{**throttling(tmp_path), "thermal_events": e, "raspberry_pi": b} for e, b in (before, after)]
    assert (throttled_between(*readings) is None) is trusted
