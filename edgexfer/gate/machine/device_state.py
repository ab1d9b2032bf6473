"""How the machine is at this moment, as far as it changes what is measured; read before and after a bench.

A reading is JSON, and part of a measurement's `host` (edgexfer/gate/machine/host.py); that from afterwards is its
key `after`.

    governor                 frequency governors of the CPUs in use, each once
    load_average             tasks that wanted to run on average over the last minute
    memory_available_mib     what programs may still take; swap_used_mib what they have taken beyond
    power_mode               of a Jetson, by name (edgexfer/gate/machine/jetson.py)
    clocks, fan              edgexfer/gate/machine/clocks.py
    temperatures_celsius     by thermal zone; trips_celsius where the kernel begins to slow down
    throttling               edgexfer/gate/machine/thermal.py
    contention               who else had the CPUs: edgexfer/gate/machine/contention.py
    tegrastats               a Jetson's own line, parsed (edgexfer/gate/machine/tegrastats.py), or None
    gpu                      a discrete NVIDIA GPU (edgexfer/gate/machine/nvidia_smi.py), or None
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgexfer.core.threads import cpu_count
from edgexfer.gate.machine.clocks import clocks, fan
from edgexfer.gate.machine.contention import contention
from edgexfer.gate.machine.jetson import l4t_release, power_mode
from edgexfer.gate.machine.nvidia_smi import read_nvidia_smi
from edgexfer.gate.machine.sysfs import read_text
from edgexfer.gate.machine.tegrastats import read_tegrastats
from edgexfer.gate.machine.thermal import temperatures, throttling, trips

ROOT = Path("/")


def device_state(root: Path = ROOT, *, cpus: Iterable[int] | None = None) -> dict[str, Any]:
    """Reads how this machine is; JSON values only, and never an error.

    Args:
        root: where /proc, /sys and /etc lie. Programs are asked only where that is the machine itself.
        cpus: numbers of the CPUs in use; None for those of this process.
    """
    usable, here = own_cpus(cpus), root == ROOT
    return {
        "governor": governors(root, usable),
        "load_average": load_average(root),
        "memory_available_mib": memory_mib(root, "MemAvailable"),
        "swap_used_mib": _swap_used_mib(root),
        "power_mode": power_mode(root),
        "clocks": clocks(root, usable),
        "fan": fan(root),
        "temperatures_celsius": temperatures(root),
        "trips_celsius": trips(root),
        "throttling": throttling(root),
        "contention": contention(root),
        "tegrastats": read_tegrastats() if here and l4t_release(root) else None,
        "gpu": read_nvidia_smi() if here and not l4t_release(root) else None,
    }


def own_cpus(cpus: Iterable[int] | None = None) -> list[int]:
    """Returns `cpus` sorted, or for None the numbers of those that this process may use."""
    if cpus is None:
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(cpu_count())
    return sorted(cpus)


def governors(root: Path, cpus: Iterable[int]) -> list[str]:
    """Returns the frequency governors of `cpus`, each once; empty where the kernel has none."""
    found = {read_text(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    return sorted(name for name in found if name)


def load_average(root: Path = ROOT) -> float | None:
    """Returns how many tasks wanted to run on average over the last minute."""
    words = (read_text(root / "proc/loadavg") or "").split()
    try:
        value = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def memory_mib(root: Path, key: str) -> int | None:
    """Returns a line of /proc/meminfo, such as "MemTotal", in MiB."""
    match = re.search(rf"^{key}:\s+([0-9]{{1,15}}) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) // 1024 if match else None


def _swap_used_mib(root: Path) -> int | None:
    whole, free = memory_mib(root, "SwapTotal"), memory_mib(root, "SwapFree")
    return None if whole is None or free is None else whole - free
