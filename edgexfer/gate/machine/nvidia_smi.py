"""nvidia-smi: clocks, temperature, power and throttling of a discrete NVIDIA GPU, as its driver tells them.

A Jetson has the program too, from JetPack 6 on, but there most of it is [N/A]; its figures come from sysfs.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

_PROGRAM = "nvidia-smi"
_PATIENCE_SECONDS = 10.0
# Our key: the driver's field, and what it is read as.
_FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "sm_most_mhz": "clocks.max.sm",
    "memory_mhz": "clocks.mem",
    "celsius": "temperature.gpu",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "memory_free_mib": "memory.free",
    "memory_mib": "memory.total",
    "slowed_by": "clocks_event_reasons.active",
}
_TEXTS = ("name", "driver")
# Drivers before 535 know the field by this name.
_OLD_REASONS = "clocks_throttle_reasons.active"
# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h) that mean slower than wanted. Idle, application clocks,
# synchronous boost and display clocks are left out: they are somebody's choice.
_REASONS = {
    0x04: "its power limit",
    0x08: "the hardware (heat or power)",
    0x20: "heat",
    0x40: "heat (hardware)",
    0x80: "the power supply",
}


def read_nvidia_smi(program: str | None = None) -> dict[str, Any] | None:
    """Asks the driver about the first GPU; None where there is no driver or no GPU.

    Args:
        program: path of nvidia-smi; None for the one that is installed.

    Returns:
        name, driver, sm_mhz, sm_most_mhz, memory_mhz, celsius, power_w, power_limit_w, memory_free_mib, memory_mib
        (each None where the driver does not say), and slowed_by: what holds its clock down at this moment, in words.
    """
    path = program or shutil.which(_PROGRAM)
    if path is None:
        return None
    answer = _ask(path, list(_FIELDS.values()))
    if answer is None:
        fields = [_OLD_REASONS if field == _FIELDS["slowed_by"] else field for field in _FIELDS.values()]
        answer = _ask(path, fields)
    return None if answer is None else parse_nvidia_smi(answer)


def parse_nvidia_smi(text: str) -> dict[str, Any] | None:
    """Reads the first line of a query for our fields, as CSV without heading and units."""
    cells = [cell.strip() for cell in text.strip().partition("\n")[0].split(",")]
    if len(cells) != len(_FIELDS):
        return None
    row = dict(zip(_FIELDS, cells, strict=True))
    found: dict[str, Any] = {key: _text(row[key]) if key in _TEXTS else _number(row[key]) for key in row}
    return {**found, "slowed_by": _reasons(row["slowed_by"])}


def _ask(path: str, fields: list[str]) -> str | None:
    query = [path, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, timeout=_PATIENCE_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _text(cell: str) -> str | None:
    return None if not cell or cell.startswith("[") else cell


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _reasons(cell: str) -> list[str]:
    try:
        bits = int(cell, 16)
    except ValueError:
        return []
    return [reason for bit, reason in _REASONS.items() if bits & bit]
