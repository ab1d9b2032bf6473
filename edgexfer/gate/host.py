"""Host facts: what a measurement must say about the machine it was made on, read from Linux's own files.

Every reader takes `root`, the folder where /proc, /sys and /etc lie, so that tests read captured trees. What a
machine does not tell is None or empty, never an error. Elsewhere than on Linux little is known, and that is said.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.core.threads import cpu_count

# What decides which 8-bit kernels an engine takes; see docs/architecture.md, "Dialects".
_ISA = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}
_ROOT = Path("/")


def host_facts(
    root: Path = _ROOT, *, cpus: Iterable[int] | None = None, engine: str = "", threads: int | None = None
) -> dict[str, Any]:
    """Reads what this machine is and how it is at this moment; JSON values only.

    Args:
        root: where /proc, /sys and /etc lie.
        cpus: numbers of the CPUs that may be used; None for those of this process.
        engine: name and version of the inference engine.
        threads: of one inference; None for the engine's own choice.
    """
    usable = sorted(_own_cpus() if cpus is None else cpus)
    return {
        "cpu": cpu_model(root),
        "board": board_model(root),
        "architecture": platform.machine(),
        "isa": isa_flags(root),
        "cores_logical": len(usable),
        "cores_physical": physical_cores(root, usable),
        "cpu_quota": cpu_quota(root),
        "governor": governors(root, usable),
        "load_average": load_average(root),
        "memory_mib": memory_mib(root),
        "power_mode": _text(root / "var/lib/nvpmodel/status"),
        "throttling": throttling(root),
        "os": os_name(root),
        "kernel": _text(root / "proc/sys/kernel/osrelease") or platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "engine": engine,
        "threads": threads,
    }


def machine_class(facts: dict[str, Any]) -> str:
    """Returns a short name of the kind of machine; only measurements of one kind may be compared.

    Such as "Raspberry Pi 5 Model B Rev 1.0, 4 cores, aarch64" or, with the mode of a Jetson, "..., pmode:0002".
    """
    cores = facts["cores_logical"]
    parts = [facts["board"] or facts["cpu"] or "unknown CPU", "1 core" if cores == 1 else f"{cores} cores"]
    if facts["cpu_quota"]:
        parts.append(f"quota {facts['cpu_quota']:g}")
    parts.append(facts["architecture"])
    if facts["power_mode"]:
        parts.append(facts["power_mode"])
    return ", ".join(parts)


def cpu_model(root: Path = _ROOT) -> str | None:
    """Returns the CPU's name: what the kernel calls it, or the core's name by its Arm part number."""
    fields = _cpuinfo(root)
    if name := fields.get("model name"):
        return name
    try:
        return _ARM_PARTS.get(int(fields["cpu part"], 16), f"Arm part {fields['cpu part']}")
    except (KeyError, ValueError):
        return platform.processor() or None if root == _ROOT else None


def isa_flags(root: Path = _ROOT) -> list[str]:
    """Returns those of the CPU's instruction sets that matter to 8-bit inference."""
    fields = _cpuinfo(root)
    found = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    return [flag for flag in _ISA if flag in found]


def board_model(root: Path = _ROOT) -> str | None:
    """Returns the board's name from the device tree, such as "Raspberry Pi 5 Model B Rev 1.0"."""
    return _text(root / "proc/device-tree/model")


def physical_cores(root: Path, cpus: Iterable[int]) -> int | None:
    """Returns how many cores the CPUs `cpus` are, or None where the system does not say."""
    cores = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")
        if siblings is None:
            return None
        cores.add(siblings)
    return len(cores)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Returns how many CPUs' worth of time the container gives (cgroup v2, then v1), or None for no limit."""
    text = _text(root / "sys/fs/cgroup/cpu.max")
    if text is None:
        v1 = root / "sys/fs/cgroup/cpu"
        text = f"{_text(v1 / 'cpu.cfs_quota_us')} {_text(v1 / 'cpu.cfs_period_us')}"
    quota, _, period = text.partition(" ")
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def governors(root: Path, cpus: Iterable[int]) -> list[str]:
    """Returns the frequency governors of `cpus`, each once; empty where the kernel has none."""
    found = {_text(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    return sorted(name for name in found if name)


def load_average(root: Path = _ROOT) -> float | None:
    """Returns how many tasks wanted to run on average over the last minute."""
    text = _text(root / "proc/loadavg")
    return float(text.split()[0]) if text else None


def memory_mib(root: Path = _ROOT) -> int | None:
    """Returns the machine's memory in MiB."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) // 1024 if match else None


def os_name(root: Path = _ROOT) -> str:
    """Returns the distribution's name, with the release of NVIDIA's L4T on a Jetson."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release") or "", re.MULTILINE)
    name = match[1] if match else platform.system()
    tegra = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release") or "")
    return f"{name}, L4T {tegra[1]}.{tegra[2]}" if tegra else name


def throttling(root: Path = _ROOT) -> dict[str, Any]:
    """Reads the counters that tell whether the machine slowed itself down.

    Returns:
        thermal_events: how often x86 cores throttled since boot, or None; raspberry_pi: the firmware's bits in
        hexadecimal ("0" is never), or None; hottest_celsius: of all sensors, or None.
    """
    counters = [_number(path) for path in root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")]
    events = [count for count in counters if count is not None]
    firmware = [_text(path) for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled")]
    zones = [_number(path) for path in root.glob("sys/class/thermal/thermal_zone*/temp")]
    sensors = [zone for zone in zones if zone is not None and zone > 0]
    return {
        "thermal_events": sum(events) if events else None,
        "raspberry_pi": next((bits for bits in firmware if bits), None),
        "hottest_celsius": max(sensors) / 1000 if sensors else None,
    }


def throttled_between(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Compares two readings of `throttling`; returns why the time between them is not to be trusted, or None."""
    events = (after["thermal_events"] or 0) - (before["thermal_events"] or 0)
    if events > 0:
        return f"the CPU throttled {events} times while measuring (too hot or too little power)"
    try:
        bits = int(after["raspberry_pi"] or "0", 16)
    except ValueError:
        return None
    # Bits 0 to 3 are now: under-voltage, frequency capped, throttled, soft temperature limit. Higher ones are the past.
    return f"the Raspberry Pi is throttled (get_throttled is {bits:#x})" if bits & 0xF else None


def _own_cpus() -> Iterable[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(cpu_count())


def _cpuinfo(root: Path) -> dict[str, str]:
    # The first block that has each key: the boot CPU's, and what the kernel prints after the last.
    fields: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\n") or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
