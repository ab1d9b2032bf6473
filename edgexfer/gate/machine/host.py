"""Host facts: what a measurement must say about the machine it was made on, read from Linux's own files.

Every reader takes `root`, the folder where /proc, /sys and /etc lie, so that tests read captured trees. What a
machine does not tell is None or empty, never an error. Elsewhere than on Linux little is known, and that is said.

    cpu, board, architecture, isa         what it is; `board` from the device tree
    cores_logical, cores_physical         of the CPUs in use; cpu_quota what a container gives of them
    memory_mib                            all of it
    os, kernel, l4t, jetpack              releases; the last two of a Jetson
    power_modes                           that a Jetson offers: {number: name}
    python, numpy, engine, threads        what measured
    governor, clocks, throttling ...      how it is at this moment: edgexfer/gate/machine/device_state.py
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.core.cpu import cpu_fields, cpu_model
from edgexfer.gate.machine.device_state import ROOT, device_state, memory_mib, own_cpus
from edgexfer.gate.machine.jetson import jetpack_release, l4t_release, power_modes
from edgexfer.gate.machine.sysfs import read_text

# What decides which 8-bit kernels an engine takes; see docs/architecture.md, "Dialects".
_ISA = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")


def host_facts(
    root: Path = ROOT, *, cpus: Iterable[int] | None = None, engine: str = "", threads: int | None = None
) -> dict[str, Any]:
    """Reads what this machine is and how it is at this moment; JSON values only.

    Args:
        root: where /proc, /sys and /etc lie.
        cpus: numbers of the CPUs that may be used; None for those of this process.
        engine: name and version of the inference engine.
        threads: of one inference; None for the engine's own choice.
    """
    usable = own_cpus(cpus)
    return {
        "cpu": cpu_model(root),
        "board": board_model(root),
        "architecture": platform.machine(),
        "isa": isa_flags(root),
        "cores_logical": len(usable),
        "cores_physical": physical_cores(root, usable),
        "cpu_quota": cpu_quota(root),
        "memory_mib": memory_mib(root, "MemTotal"),
        "os": os_name(root),
        "kernel": read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        "l4t": l4t_release(root),
        "jetpack": jetpack_release(root),
        "power_modes": power_modes(root),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "engine": engine,
        "threads": threads,
        **device_state(root, cpus=usable),
    }


def machine_class(facts: dict[str, Any]) -> str:
    """Returns a short name of the kind of machine; only measurements of one kind may be compared.

    Such as "Raspberry Pi 5 Model B Rev 1.0, 4 cores, aarch64" or, with the mode of a Jetson, "..., MAXN_SUPER"; with
    the GPU of a PC that has one.
    """
    cores = facts["cores_logical"]
    parts = [facts["board"] or facts["cpu"] or "unknown CPU", "1 core" if cores == 1 else f"{cores} cores"]
    if facts["cpu_quota"]:
        parts.append(f"quota {facts['cpu_quota']:g}")
    parts.append(facts["architecture"])
    if gpu := (facts.get("gpu") or {}).get("name"):
        parts.append(gpu)
    if facts["power_mode"]:
        parts.append(facts["power_mode"])
    return ", ".join(parts)


def isa_flags(root: Path = ROOT) -> list[str]:
    """Returns those of the CPU's instruction sets that matter to 8-bit inference."""
    fields = cpu_fields(root)
    found = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    return [flag for flag in _ISA if flag in found]


def board_model(root: Path = ROOT) -> str | None:
    """Returns the board's name from the device tree, such as "Raspberry Pi 5 Model B Rev 1.0"."""
    return read_text(root / "proc/device-tree/model")


def physical_cores(root: Path, cpus: Iterable[int]) -> int | None:
    """Returns how many cores the CPUs `cpus` are, or None where the system does not say."""
    cores = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
        if siblings is None:
            return None
        cores.add(siblings)
    return len(cores)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Returns how many CPUs' worth of time the container gives (cgroup v2, then v1), or None for no limit."""
    text = read_text(root / "sys/fs/cgroup/cpu.max")
    if text is None:
        v1 = root / "sys/fs/cgroup/cpu"
        text = f"{read_text(v1 / 'cpu.cfs_quota_us')} {read_text(v1 / 'cpu.cfs_period_us')}"
    match = re.fullmatch(r"([0-9]{1,15}) ([0-9]{1,15})", text)
    return int(match[1]) / int(match[2]) if match and int(match[2]) else None


def os_name(root: Path = ROOT) -> str:
    """Returns the distribution's name, with the release of NVIDIA's L4T on a Jetson."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release") or "", re.MULTILINE)
    name = match[1] if match else platform.system()
    tegra = l4t_release(root)
    return f"{name}, L4T {tegra}" if tegra else name
