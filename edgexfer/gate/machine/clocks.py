"""Clocks as they are at this moment: CPU, GPU, memory, whether they are locked, and the fan; from sysfs.

`jetson_clocks` locks by making the least and the most allowed frequency the same; that is how it is recognised here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgexfer.gate.machine.sysfs import files_like, first_number, read_number, read_text

# GPU nodes of devfreq: Orin (JetPack 6, 5), Xavier, TX2, Nano, Thor; `*.gpu` is also what other Arm boards call theirs.
_GPU_NODES = ("*.gpu", "*.ga10b", "*.gv11b", "*.gp10b", "*.gm20b", "gpu-gpc-0")
_GPU_FILES = {"now": "cur_freq", "least": "min_freq", "most": "max_freq"}
_LEAST, _MOST = "scaling_min_freq", "scaling_max_freq"
_GPU_LOADS = ("sys/devices/platform/gpu.0/load", "sys/devices/gpu.0/load", "sys/devices/platform/*.gpu/load")
# The memory controller's clock: debugfs, which root alone reads (JetPack 5 and later; JetPack 4).
_EMC_RATES = ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "sys/kernel/debug/clk/emc/clk_rate")


def clocks(root: Path, cpus: Iterable[int]) -> dict[str, Any]:
    """Reads the clocks of `cpus`, of the GPU and of the memory.

    Returns:
        - `cpu_mhz`: now (lowest, highest), least and most allowed, and possible; None where the kernel has none.
        - `gpu_mhz`: now, least and most allowed; None where devfreq knows no GPU.
        - `gpu_load`: in percent, or None.
        - `emc_mhz`: of the memory controller, or None.
        - `locked`: whether least and most are the same for every CPU and the GPU; None where neither is known.
    """
    folders = [root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    gpu = _gpu_mhz(root)
    bounds = [(read_number(folder / _LEAST), read_number(folder / _MOST)) for folder in folders]
    bounds += [(gpu["least"], gpu["most"])] if gpu else []
    known = [pair for pair in bounds if None not in pair]
    load = first_number(path for pattern in _GPU_LOADS for path in files_like(root, pattern))
    emc = first_number(root / rate for rate in _EMC_RATES)
    return {
        "cpu_mhz": _cpu_mhz(folders),
        "gpu_mhz": gpu,
        "gpu_load": None if load is None else load / 10,
        "emc_mhz": None if emc is None else emc // 1_000_000,
        "locked": all(least == most for least, most in known) if known else None,
    }


def fan(root: Path) -> dict[str, Any]:
    """Reads the fan: `pwm` (0 to 255) and `rpm`, each None where there is none that tells."""
    chips = files_like(root, "sys/class/hwmon/hwmon*/name")
    fans = [path.parent for path in chips if (read_text(path) or "").startswith(("pwmfan", "pwm_fan", "pwm_tach"))]
    old = root / "sys/devices/pwm-fan"
    return {
        "pwm": first_number([*(chip / "pwm1" for chip in fans), old / "cur_pwm"]),
        "rpm": first_number([*(chip / name for chip in fans for name in ("rpm", "fan1_input")), old / "rpm_measured"]),
    }


def _cpu_mhz(folders: list[Path]) -> dict[str, Any] | None:
    read = {
        name: [khz // 1000 for folder in folders if (khz := read_number(folder / name)) is not None]
        for name in ("scaling_cur_freq", _LEAST, _MOST, "cpuinfo_max_freq")
    }
    if not any(read.values()):
        return None
    now = read["scaling_cur_freq"]
    return {
        "now": [min(now), max(now)] if now else None,
        "least": min(read[_LEAST], default=None),
        "most": max(read[_MOST], default=None),
        "possible": max(read["cpuinfo_max_freq"], default=None),
    }


def _gpu_mhz(root: Path) -> dict[str, Any] | None:
    for pattern in _GPU_NODES:
        for node in files_like(root, f"sys/class/devfreq/{pattern}"):
            hertz = {key: read_number(node / name) for key, name in _GPU_FILES.items()}
            if any(value is not None for value in hertz.values()):
                return {key: None if value is None else value // 1_000_000 for key, value in hertz.items()}
    return None
