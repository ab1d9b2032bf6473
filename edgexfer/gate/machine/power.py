"""Power: what the device says it draws at this moment, in watts, and whose figure that is.

Where more than one sensor tells, the one that sees the most of the device is taken:

    jetson      sysfs of the INA3221: in<n>_label names the rail, in<n>_input is in mV, curr<n>_input in mA (kernel.org,
                hwmon/ina3221); on JetPack 4 an IIO device with rail_name_<n> and in_power<n>_input in mW. VDD_IN, and
                POM_5V_IN on a Nano, is the whole module (forums.developer.nvidia.com/t/200883 and /t/73608). Boards
                without such a rail (AGX) tell of parts: those that do not feed each other are added
    hwmon       power1_average, else power1_input of a meter of the whole machine, in µW (kernel.org, hwmon/sysfs-
                interface): ACPI's of servers; the INA238 of a Jetson Thor (jetson_stats#900)
    rapl        energy_uj of each CPU package, in µJ, which begins again at max_energy_range_uj (kernel.org, power/
                powercap). Since CVE-2020-8694 root alone may read it
    nvidia-smi  power.draw of a discrete GPU: that of the GPU alone
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgexfer.gate.machine.jetson import l4t_release
from edgexfer.gate.machine.nvidia_smi import read_nvidia_smi
from edgexfer.gate.machine.sysfs import files_like, read_number, read_text

ROOT = Path("/")
_WHOLE_MODULE = ("VDD_IN", "POM_5V_IN")
# AGX Xavier (its product design guide, 5.6.2: SYS5V is beside the others), and AGX Orin (VIN_SYS_5V0 likewise, and
# VDDQ_VDD2_1V8AO is a part of it, as jetson_stats#344 and energymon's JetsonPowerRails.md have it; not checked on one).
_PARTS = (
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
)
_METERS = ("power_meter", "acpi_power_meter", "ina238")
_MOST_W = 10_000.0


@dataclass(frozen=True)
class PowerSource:
    """A sensor that tells of power.

    Attributes:
        name: what it is and what it sees, in words.
        read_w: returns watts at this moment, or since it was last called; None where the sensor is silent.
    """

    name: str
    read_w: Callable[[], float | None]


def power_source(root: Path = ROOT) -> tuple[PowerSource | None, str]:
    """Finds what tells of this device's power.

    Args:
        root: where /proc, /sys and /etc lie. Programs are asked only where that is the machine itself.

    Returns:
        The source, and ""; or None, and why nothing tells, in words.
    """
    for found in (_ina3221(root), _ina3221x(root), _meter(root), _rapl(root)):
        if found is not None and (found.name.startswith("RAPL") or found.read_w() is not None):
            return found, ""
    if root == ROOT and l4t_release(root) is None and _gpu_w() is not None:
        return PowerSource("nvidia-smi (the GPU alone)", _gpu_w), ""
    if files_like(root, "sys/class/powercap/intel-rapl:*/energy_uj"):
        return None, (
            "the CPU's energy counter may be read by root alone: run as root, or "
            "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`"
        )
    return None, "this device does not tell how much power it draws"


def _ina3221(root: Path) -> PowerSource | None:
    rails: dict[str, tuple[Path, Path]] = {}
    for chip in files_like(root, "sys/class/hwmon/hwmon*/name"):
        if not (read_text(chip) or "").startswith("ina3221"):
            continue
        for label in files_like(chip.parent, "in[123]_label"):
            number = label.name[2]
            name = read_text(label)
            if name:
                rails[name] = (chip.with_name(f"in{number}_input"), chip.with_name(f"curr{number}_input"))

    def rail_w(name: str) -> float | None:
        millivolts, milliamperes = (read_number(path) for path in rails[name])
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6

    return _rails("INA3221", set(rails), rail_w)


def _ina3221x(root: Path) -> PowerSource | None:
    rails: dict[str, Path] = {}
    for label in files_like(root, "sys/bus/i2c/drivers/ina3221x/*/iio*device*/rail_name_[012]"):
        if name := read_text(label):
            rails[name] = label.with_name(f"in_power{label.name[-1]}_input")

    def rail_w(name: str) -> float | None:
        milliwatts = read_number(rails[name])
        return None if milliwatts is None else milliwatts / 1000

    return _rails("INA3221", set(rails), rail_w)


def _rails(chip: str, names: set[str], rail_w: Callable[[str], float | None]) -> PowerSource | None:
    for name in _WHOLE_MODULE:
        if name in names:
            return PowerSource(f"{chip} {name} (the whole module)", partial(_sum, rail_w, (name,)))
    for parts in _PARTS:
        if set(parts) <= names:
            return PowerSource(f"{chip} {' + '.join(parts)}", partial(_sum, rail_w, parts))
    return None


def _sum(rail_w: Callable[[str], float | None], parts: tuple[str, ...]) -> float | None:
    found = [watts for part in parts if (watts := rail_w(part)) is not None]
    return _sane(sum(found)) if len(found) == len(parts) else None


def _meter(root: Path) -> PowerSource | None:
    for chip in files_like(root, "sys/class/hwmon/hwmon*/name"):
        if read_text(chip) not in _METERS:
            continue
        for name in ("power1_average", "power1_input"):
            path = chip.with_name(name)
            if read_number(path) is not None:
                return PowerSource("a power meter (the whole machine)", partial(_microwatts, path))
    return None


def _microwatts(path: Path) -> float | None:
    number = read_number(path)
    return None if number is None else _sane(number / 1e6)


def _rapl(root: Path) -> PowerSource | None:
    # Packages are intel-rapl:<n>, on AMD too; intel-rapl:<n>:<m> are parts of them, psys is more than the CPU.
    folders = [
        folder
        for folder in files_like(root, "sys/class/powercap/intel-rapl:*")
        if re.fullmatch(r"intel-rapl:[0-9]{1,4}", folder.name)
        and (read_text(folder / "name") or "").startswith("package")
        and read_number(folder / "energy_uj") is not None
    ]
    if not folders:
        return None
    counters = [(folder / "energy_uj", read_number(folder / "max_energy_range_uj") or 0) for folder in folders]
    return PowerSource("RAPL (the CPU package alone)", _Energy(counters))


class _Energy:
    """Watts since the last call, from counters of microjoules that begin again; None at the first call."""

    def __init__(self, counters: list[tuple[Path, int]], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._counters, self._clock = counters, clock
        self._last: tuple[int, list[int]] | None = None

    def __call__(self) -> float | None:
        now = self._clock()
        read = [read_number(path) for path, _ in self._counters]
        values = [value for value in read if value is not None]
        if len(values) < len(read):
            self._last = None
            return None
        last, self._last = self._last, (now, values)
        if last is None or now <= last[0]:
            return None
        joules = 0.0
        for (_, most), old, new in zip(self._counters, last[1], values, strict=True):
            joules += (new - old if new >= old else new - old + most) / 1e6
        return _sane(joules / ((now - last[0]) / 1e9))


def _gpu_w() -> float | None:
    return _sane((read_nvidia_smi() or {}).get("power_w"))


def _sane(watts: float | None) -> float | None:
    return watts if watts is not None and 0 <= watts < _MOST_W else None
