"""Heat and what it did: temperatures, the points where the kernel slows down, and every counter of slowing down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgexfer.gate.machine.sysfs import files_like, read_number, read_text

# Sensors that are off answer -256 °C; on JetPack 4 and 5 the zone PMIC-Die is a constant (100 or 50 °C), no sensor.
_COLDEST, _HOTTEST = -40.0, 150.0
_NO_SENSOR = ("PMIC-Die",)
# Cooling devices that take clocks away; fans, "TCC Offset" and others do not.
_SLOWING = re.compile(
    r"throttle|^cpufreq|^devfreq|balanced|hot-surface|^Processor|powerclamp|^thermal-cpufreq", re.IGNORECASE
)


def temperatures(root: Path) -> dict[str, float]:
    """Returns the temperature of every zone in °C, by its type; the hottest of those that share one."""
    found: dict[str, float] = {}
    for zone, kind in _zones(root):
        millidegrees = read_number(zone / "temp")
        if millidegrees is not None and _COLDEST < (degrees := millidegrees / 1000) < _HOTTEST:
            found[kind] = max(found.get(kind, _COLDEST), degrees)
    return found


def trips(root: Path) -> dict[str, float]:
    """Returns the lowest temperature in °C at which the kernel slows down because of a zone, by the zone's type."""
    found: dict[str, float] = {}
    for zone, kind in _zones(root):
        for path in files_like(zone, "trip_point_*_type"):
            millidegrees = read_number(path.with_name(path.name.removesuffix("type") + "temp"))
            if read_text(path) in ("passive", "hot") and millidegrees is not None and millidegrees > 0:
                found[kind] = min(found.get(kind, _HOTTEST), millidegrees / 1000)
    return found


def throttling(root: Path) -> dict[str, Any]:
    """Reads the counters that tell whether the machine slowed itself down.

    Returns:
        - `thermal_events`: how often x86 cores throttled since boot, or None.
        - `raspberry_pi`: the firmware's bits in hexadecimal ("0" is never), or None.
        - `over_current`: events of a Jetson since boot (under-voltage, over-current), by counter.
        - `cooling`: devices that hold clocks down now, and how far.
        - `hottest_celsius`: of all zones, or None.
    """
    counters = files_like(root, "sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    events = [count for path in counters if (count := read_number(path)) is not None]
    firmware = [read_text(path) for path in files_like(root, "sys/devices/platform/soc*/*firmware/get_throttled")]
    over_current = {
        path.name.removesuffix("_event_cnt"): count
        for path in files_like(root, "sys/class/hwmon/hwmon*/oc*_event_cnt")
        if (count := read_number(path)) is not None
    }
    degrees = [value for kind, value in temperatures(root).items() if kind not in _NO_SENSOR]
    return {
        "thermal_events": sum(events) if events else None,
        "raspberry_pi": next((bits for bits in firmware if bits), None),
        "over_current": over_current,
        "cooling": _cooling(root),
        "hottest_celsius": max(degrees, default=None),
    }


def throttled_between(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Compares two readings of `throttling`; returns why the time between them is not to be trusted, or None."""
    events = (after["thermal_events"] or 0) - (before["thermal_events"] or 0)
    if events > 0:
        return f"the CPU throttled {events} times while measuring (too hot or too little power)"
    earlier = before.get("over_current") or {}
    counted = sum(max(0, count - earlier.get(name, 0)) for name, count in (after.get("over_current") or {}).items())
    if counted > 0:
        return f"the board throttled {counted} times while measuring for want of power (over-current or under-voltage)"
    if cooling := {**(before.get("cooling") or {}), **(after.get("cooling") or {})}:
        return f"clocks were held down because of heat ({', '.join(sorted(cooling))}): let it cool, or cool it better"
    bits, earlier_bits = _firmware_bits(after), _firmware_bits(before)
    # Bits 0 to 3 are now: under-voltage, frequency capped, throttled, soft temperature limit; 16 to 19 are the same at
    # any time since boot, and so tell of what began and ended between the two readings.
    if bits & 0xF or bits & ~earlier_bits & 0xF0000:
        word = "is" if bits & 0xF else "was"
        return f"the Raspberry Pi {word} throttled while measuring (get_throttled is {bits:#x})"
    return None


def _firmware_bits(reading: dict[str, Any]) -> int:
    try:
        return int(reading.get("raspberry_pi") or "0", 16)
    except ValueError:
        return 0


def near_trip(degrees: dict[str, float], points: dict[str, float], margin: float) -> list[str]:
    """Returns, in words, the zones that are less than `margin` °C below the point where the kernel slows down."""
    return [
        f"{kind} {degrees[kind]:.0f} °C of {point:.0f}"
        for kind, point in points.items()
        if kind in degrees and kind not in _NO_SENSOR and degrees[kind] > point - margin
    ]


def _zones(root: Path) -> list[tuple[Path, str]]:
    zones = files_like(root, "sys/class/thermal/thermal_zone*")
    return [(zone, read_text(zone / "type") or zone.name) for zone in zones]


def _cooling(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for device in files_like(root, "sys/class/thermal/cooling_device*"):
        kind, state = read_text(device / "type"), read_number(device / "cur_state")
        if kind and state is not None and state > 0 and _SLOWING.search(kind):
            found[kind] = max(found.get(kind, 0), state)
    return found
