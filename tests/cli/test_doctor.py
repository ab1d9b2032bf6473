"""`edgexfer doctor` on a Jetson (a captured tree stands for it), and what it says mends TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.backends import tensorrt
from edgexfer.cli import doctor_jetson
from edgexfer.cli.doctor_jetson import bindings_remedy
from edgexfer.gate.machine import host
from edgexfer.gate.machine.host import host_facts
from tests.cli.terminal import Terminal
from tests.gate.machines import ORIN_NANO_SUPER, THOR, XAVIER_NX, Tree, plant


def on(tree: Tree, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = host_facts(plant(folder, tree), cpus=range(6))
    monkeypatch.setattr(host, "host_facts", lambda: facts)
    monkeypatch.setattr(doctor_jetson, "_ROOT", folder)


def rows(out: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in out.splitlines() if line and not line.startswith(" "))
    return {key: value.strip() for key, _, value in pairs}


def test_a_jetson_is_described(edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(ORIN_NANO_SUPER, tmp_path, monkeypatch)
    said = rows(edgexfer("doctor").out)
    assert said["board"] == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert said["jetpack"] == "6.2 (L4T 36.4.3)"
    assert said["power"] == "MAXN_SUPER (this board offers 15W, 25W, MAXN_SUPER)"
    assert said["clocks"] == "GPU 1020 MHz, CPU 1728 MHz, locked"
    assert said["heat"] == "49 °C at the hottest sensor"
    assert said["free"] == "5.2 GiB of memory, 100 MiB swapped out"


def test_what_is_not_as_it_should_be(edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(XAVIER_NX, tmp_path / "xavier", monkeypatch)
    assert "not locked (before measuring: sudo jetson_clocks)" in rows(edgexfer("doctor").out)["clocks"]
    on(THOR, tmp_path / "thor", monkeypatch)
    assert rows(edgexfer("doctor").out)["heat"] == "clocks are held down by devfreq-gpu-gpc-0, gpu-throttle-alert"
    bare = {"etc/nv_tegra_release": "# R99 (release), REVISION: 1.0, GCID: 1\n"}
    on(bare, tmp_path / "bare", monkeypatch)
    said = rows(edgexfer("doctor").out)
    assert (said["board"], said["jetpack"]) == ("unknown", "unknown to edgexfer (L4T 99.1.0)")
    assert said["power"] == "unknown (nvpmodel's status cannot be read)"


def test_no_jetson_no_rows(edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on({}, tmp_path, monkeypatch)
    assert not {"board", "jetpack", "power"} & set(rows(edgexfer("doctor").out))


def test_tensorrt_that_is_there_is_named(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "missing", lambda: None)
    monkeypatch.setattr(tensorrt, "engine_version", lambda: "tensorrt 10.3.0")
    said = edgexfer("doctor").out
    assert rows(said)["tensorrt"] == "tensorrt 10.3.0"
    assert "  tensorrt   " not in said


def test_tensorrt_that_lacks_is_mended_by_machine(
    edgexfer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "missing", lambda: "TensorRT is not installed; somehow")
    on({}, tmp_path / "pc", monkeypatch)
    assert "  tensorrt   pip install tensorrt 'edgexfer[tensorrt]'" in edgexfer("doctor").out
    on(ORIN_NANO_SUPER, tmp_path / "orin", monkeypatch)
    assert "  tensorrt   sudo apt install python3-libnvinfer" in edgexfer("doctor").out
    monkeypatch.setattr(tensorrt, "missing", lambda: "cuda-bindings is not installed; pip install 'edgexfer[tensorrt]'")
    assert "  tensorrt   pip install 'edgexfer[tensorrt]'" in edgexfer("doctor").out


def test_bindings_that_this_python_does_not_see(tmp_path: Path) -> None:
    assert bindings_remedy(tmp_path, (3, 10)).startswith("sudo apt install python3-libnvinfer; ")
    plant(tmp_path, {"usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""})
    seen = bindings_remedy(tmp_path, (3, 10))
    assert (
        seen
        == "they are installed for the system: use a venv that sees them: python3 -m venv --system-site-packages VENV"
    )
    assert bindings_remedy(tmp_path, (3, 12)).startswith("JetPack has them for Python 3.10, this is 3.12: ")
