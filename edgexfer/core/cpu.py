"""The CPU: what it is called, what it is to a choice among engines, and whether it multiplies 8-bit numbers exactly.

Read from Linux's /proc/cpuinfo; elsewhere little is known, and nothing is an error.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

ROOT = Path("/")
CPUINFO = Path("proc/cpuinfo")
# With one of these an x86-64 CPU multiplies uint8 by int8 into 32 bits; without, into 16 bits that may overflow.
_EXACT_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
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


def cpu_model(root: Path = ROOT) -> str | None:
    """Returns the CPU's name: what the kernel calls it, or the core's name by its Arm part number.

    Args:
        root: where /proc lies; another one than the machine's own in tests.
    """
    fields = cpu_fields(root)
    if name := fields.get("model name"):
        return name
    try:
        return _ARM_PARTS.get(int(fields["cpu part"], 16), f"Arm part {fields['cpu part']}")
    except (KeyError, ValueError):
        return platform.processor() or None if root == ROOT else None


def cpu_device() -> str:
    """Returns what decides which engine is the fastest here, such as "Intel(R) Xeon(R) Processor @ 2.50GHz, 2 cores".

    The cores are those of the machine: a process may be kept on fewer of them, as every measurement is, and is still
    on the same device.
    """
    cores = os.cpu_count() or 1
    return f"{cpu_model(ROOT) or 'unknown CPU'}, {cores} {'core' if cores == 1 else 'cores'}"


def saturates() -> bool:
    """Returns whether products of uint8 and int8 may overflow here; True on an x86-64 CPU that is not known."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return _EXACT_INT8.isdisjoint(cpu_fields(ROOT).get("flags", "").split())


def cpu_fields(root: Path = ROOT) -> dict[str, str]:
    """Returns /proc/cpuinfo as {key in small letters: value}: of several CPUs the first that has the key."""
    try:
        text = (root / CPUINFO).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields
