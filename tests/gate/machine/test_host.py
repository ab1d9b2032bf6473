from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexfer.gate.machine.host import host_facts, machine_class
from edgexfer.gate.machine.jetson import jetpack_release, l4t_release, power_mode, power_modes, same_mode
from tests.gate.machines import NANO, ORIN_NANO_SUPER, RASPBERRY_PI_5, THOR, XAVIER_NX, XEON, Tree, plant


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
    assert (facts["l4t"], facts["jetpack"], facts["power_modes"]) == (None, None, {})
    assert machine_class(facts).startswith("Intel(R) Xeon(R) Processor @ 2.50GHz, 3 cores, quota 1.5, ")


def test_a_raspberry_pi(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, RASPBERRY_PI_5), cpus=range(4))
    assert (facts["cpu"], facts["board"]) == ("Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert facts["isa"] == ["asimd", "asimddp"]
    assert facts["cpu_quota"] is None
    assert facts["cores_physical"] is None
    assert machine_class(facts).startswith("Raspberry Pi 5 Model B Rev 1.0, 4 cores, ")


def test_a_jetson_names_release_and_power_mode(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, ORIN_NANO_SUPER), cpus=range(6))
    assert facts["cpu"] == "Cortex-A78AE"
    assert facts["os"] == "Ubuntu 22.04.5 LTS, L4T 36.4.3"
    assert (facts["l4t"], facts["jetpack"]) == ("36.4.3", "6.2")
    assert facts["power_modes"] == {"0": "15W", "1": "25W", "2": "MAXN_SUPER"}
    assert machine_class(facts).endswith(", MAXN_SUPER")
    other = host_facts(plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0000\n"}), cpus=range(6))
    assert machine_class(other).endswith(", 15W")


@pytest.mark.parametrize(
    ("tree", "l4t", "jetpack", "mode"),
    [
        (ORIN_NANO_SUPER, "36.4.3", "6.2", "MAXN_SUPER"),
        (XAVIER_NX, "35.4.1", "5.1.2", "MODE_15W_6CORE"),
        (NANO, "32.7.1", "4.6.1", "MAXN"),
        (THOR, "38.2.0", "7.0", "120W"),
        (RASPBERRY_PI_5, None, None, None),
    ],
)
def test_release_and_mode_of_every_generation(
    tmp_path: Path, tree: Tree, l4t: str | None, jetpack: str | None, mode: str | None
) -> None:
    root = plant(tmp_path, tree)
    assert (l4t_release(root), jetpack_release(root), power_mode(root)) == (l4t, jetpack, mode)


def test_a_mode_without_its_name_is_what_the_status_says(tmp_path: Path) -> None:
    plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n"})
    assert (power_mode(tmp_path), power_modes(tmp_path)) == ("pmode:0002", {})
    plant(tmp_path, {"etc/nvpmodel.conf": "< POWER_MODEL NAME=MAXN ID=2 >\n#< POWER_MODEL ID=2 NAME=NO >\n"})
    assert power_mode(tmp_path) == "MAXN"


def test_one_mode_has_several_spellings() -> None:
    assert same_mode("MODE_30W", "30w")
    assert same_mode("MAXN SUPER", "MAXN_SUPER")
    assert not same_mode("MAXN", "MAXN_SUPER")


def test_a_release_that_is_not_in_the_table_has_no_jetpack(tmp_path: Path) -> None:
    plant(tmp_path, {"etc/nv_tegra_release": "# R99 (release), REVISION: 1.2, GCID: 1\n"})
    assert (l4t_release(tmp_path), jetpack_release(tmp_path)) == ("99.1.2", None)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    facts = host_facts(tmp_path, cpus=[0])
    for key in ("cpu", "board", "cores_physical", "load_average", "memory_mib", "power_mode", "cpu_quota", "gpu"):
        assert facts[key] is None
    assert (facts["isa"], facts["governor"]) == ([], [])
    assert machine_class(facts).startswith("unknown CPU, 1 core, ")


def test_the_gpu_of_a_pc_belongs_to_its_class(tmp_path: Path) -> None:
    facts = host_facts(plant(tmp_path, XEON), cpus=[0])
    with_gpu = {**facts, "gpu": {"name": "NVIDIA H200"}}
    assert machine_class(with_gpu) == f"{machine_class(facts)}, NVIDIA H200"


def test_a_record_from_before_there_were_readings_has_a_class() -> None:
    old = {"cores_logical": 6, "board": "B", "cpu": None, "cpu_quota": None, "architecture": "aarch64"}
    assert machine_class({**old, "power_mode": "pmode:0002"}) == "B, 6 cores, aarch64, pmode:0002"


def test_this_machine_reads_and_is_json() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["cores_logical"] >= 1
