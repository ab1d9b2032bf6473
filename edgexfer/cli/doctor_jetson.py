"""The part of `edgexfer doctor` about Jetsons and TensorRT: what the board is, how it is set, what mends what lacks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

_ROOT = Path("/")
_BINDINGS = "usr/lib/python3*/dist-packages/tensorrt/__init__.py"
_APT = "sudo apt install python3-libnvinfer"
_VENV = "python3 -m venv --system-site-packages VENV"
_ELSEWHERE = "pip install tensorrt 'edgexfer[tensorrt]'"


def jetson_rows(facts: dict[str, Any]) -> dict[str, str]:
    """Returns what to print about a Jetson, by heading; empty for what is none."""
    if facts["l4t"] is None:
        return {}
    jetpack = facts["jetpack"] or "unknown to edgexfer"
    rows = {
        "board": facts["board"] or "unknown",
        "jetpack": f"{jetpack} (L4T {facts['l4t']})",
        "power": _power(facts),
        "clocks": _clocks(facts["clocks"]),
        "heat": _heat(facts["throttling"]),
        "free": _free(facts),
    }
    return {key: value for key, value in rows.items() if value}


def tensorrt_row() -> tuple[str, str | None]:
    """Returns what there is of TensorRT, and None; or what lacks, and the command that mends it."""
    from edgexfer.backends import find_backend
    from edgexfer.gate.machine.jetson import l4t_release

    backend = find_backend("tensorrt")
    lacking = backend.missing()
    if lacking is None:
        return backend.engine_version(), None
    reason, _, remedy = lacking.partition("; ")
    if "is not installed" in reason and reason.startswith("TensorRT"):
        return reason, bindings_remedy(_ROOT) if l4t_release(_ROOT) else _ELSEWHERE
    return reason, remedy


def bindings_remedy(root: Path = _ROOT, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """Returns what makes JetPack's own bindings of TensorRT visible to this Python.

    Args:
        root: where the system's packages lie, /usr below it.
        python: major and minor number of the Python that asks.
    """
    versions = sorted({release for path in root.glob(_BINDINGS) if (release := _python_of(root, path))})
    if not versions:
        return f"{_APT}; then a venv that sees it: {_VENV}"
    if python in versions or (3, 0) in versions:
        return f"they are installed for the system: use a venv that sees them: {_VENV}"
    wanted = ", ".join(f"{major}.{minor}" for major, minor in versions)
    return f"JetPack has them for Python {wanted}, this is {python[0]}.{python[1]}: use that Python, {_VENV}"


def _python_of(root: Path, path: Path) -> tuple[int, int] | None:
    # /usr/lib/python3.10/dist-packages; Debian's own place, /usr/lib/python3, serves every version and counts as 3.0.
    match = re.match(r"python3(?:\.([0-9]{1,3}))?$", path.relative_to(root).parts[2])
    return (3, int(match[1] or 0)) if match else None


def _power(facts: dict[str, Any]) -> str:
    offered = ", ".join(facts["power_modes"].values())
    mode = facts["power_mode"] or "unknown (nvpmodel's status cannot be read)"
    return f"{mode} (this board offers {offered})" if offered else mode


def _clocks(clocks: dict[str, Any]) -> str:
    now = [f"GPU {clocks['gpu_mhz']['now']} MHz"] if clocks["gpu_mhz"] and clocks["gpu_mhz"]["now"] is not None else []
    if clocks["cpu_mhz"] and clocks["cpu_mhz"]["now"]:
        now.append(f"CPU {clocks['cpu_mhz']['now'][1]} MHz")
    if clocks["emc_mhz"] is not None:
        now.append(f"memory {clocks['emc_mhz']} MHz")
    if clocks["locked"] is None:
        return ", ".join(now)
    state = "locked" if clocks["locked"] else "not locked (before measuring: sudo jetson_clocks)"
    return ", ".join([*now, state])


def _heat(throttling: dict[str, Any]) -> str:
    degrees = throttling["hottest_celsius"]
    held = ", ".join(throttling["cooling"])
    said = "" if degrees is None else f"{degrees:.0f} °C at the hottest sensor"
    return f"{said}, clocks are held down by {held}".lstrip(", ") if held else said


def _free(facts: dict[str, Any]) -> str:
    free, swapped = facts["memory_available_mib"], facts["swap_used_mib"]
    if free is None:
        return ""
    return f"{free / 1024:.1f} GiB of memory" + (f", {swapped} MiB swapped out" if swapped else "")
