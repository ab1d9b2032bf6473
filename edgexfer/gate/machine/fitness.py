"""Fitness: does the state of the machine allow the numbers that were measured on it? Every objection is a sentence.

It names what was found and, where there is one, the command that mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgexfer.gate.machine.contention import contended, throttled_by_quota
from edgexfer.gate.machine.jetson import same_mode
from edgexfer.gate.machine.thermal import near_trip, throttled_between

if TYPE_CHECKING:
    from edgexfer.core.target import Target

_BUSY = 0.5  # a load average above this share of the CPUs disturbs
_TRIP_MARGIN = 5.0  # °C below the point where the kernel slows down
_FREE_MIB = 256
_FREE_SHARE = 0.05
_SWAPPED_MIB = 16


def objections(host: dict[str, Any], after: dict[str, Any], target: Target | None = None) -> list[str]:
    """Returns why the machine was not fit to be measured, in sentences.

    Args:
        host: facts from before the measurement (edgexfer/gate/machine/host.py).
        after: reading of `device_state` from after it.
        target: the profile that the bundle was made for; None where it does not matter.
    """
    found = [_heat(after), _load(host)]
    crowded = contended(host.get("contention"), after.get("contention"))
    return [*disqualifying(host, after, target), *(reason for reason in found if reason), *crowded]


def disqualifying(host: dict[str, Any], after: dict[str, Any], target: Target | None = None) -> list[str]:
    """Returns those objections that make times worthless, whatever the samples look like; arguments as `objections`.

    Load, heat and others on the same CPUs are not among them: what they did is seen in the samples, as drift, and
    weighs alike on sides that take turns.
    """
    found = [
        throttled_between(host["throttling"], after["throttling"]),
        throttled_by_quota(host.get("contention"), after.get("contention")),
        _power_mode(host, after, target),
        _clocks(host, after),
        _memory(host, after),
        _gpu(after),
        _governor(host),
    ]
    return [reason for reason in found if reason]


def _power_mode(host: dict[str, Any], after: dict[str, Any], target: Target | None) -> str | None:
    mode, wanted = host.get("power_mode"), target.host.get("power_mode") if target else None
    if mode is None:
        return None
    if after.get("power_mode") not in (mode, None):
        return f"the power mode changed from {mode} to {after['power_mode']} while measuring"
    if target is None or wanted is None or same_mode(mode, wanted):
        return None
    offered = host.get("power_modes") or {}
    number = next((number for number, name in offered.items() if same_mode(name, wanted)), None)
    said = f"the power mode is {mode}, the target {target.name} means {wanted}"
    if number is not None:
        return f"{said}: `sudo nvpmodel -m {number}` switches"
    return f"{said}, which this board does not offer ({', '.join(offered.values())})" if offered else said


def _clocks(host: dict[str, Any], after: dict[str, Any]) -> str | None:
    before, later = host.get("clocks") or {}, after.get("clocks") or {}
    # Elsewhere than on a Jetson nothing locks clocks, and nobody expects it.
    if host.get("power_mode") is not None and before.get("locked") is False:
        return "the clocks are not locked: run `sudo jetson_clocks` before measuring"
    for key, name in (("cpu_mhz", "CPU"), ("gpu_mhz", "GPU")):
        old, new = (((state.get(key) or {}).get("most")) for state in (before, later))
        if old is not None and new is not None and old != new:
            return f"the {name}'s highest clock changed from {old} to {new} MHz while measuring"
    return None


def _heat(after: dict[str, Any]) -> str | None:
    close = near_trip(after.get("temperatures_celsius") or {}, after.get("trips_celsius") or {}, _TRIP_MARGIN)
    return f"it is nearly too hot ({', '.join(close)}): soon its clocks will be held down" if close else None


def _memory(host: dict[str, Any], after: dict[str, Any]) -> str | None:
    free, whole = after.get("memory_available_mib"), host.get("memory_mib")
    old, new = host.get("swap_used_mib"), after.get("swap_used_mib")
    if old is not None and new is not None and new - old > _SWAPPED_MIB:
        return f"the machine swapped {new - old} MiB to disk while measuring: end what needs the memory"
    if free is not None and whole is not None and free < max(_FREE_MIB, _FREE_SHARE * whole):
        return f"little memory is free ({free} of {whole} MiB): end what needs it"
    return None


def _gpu(after: dict[str, Any]) -> str | None:
    slowed = (after.get("gpu") or {}).get("slowed_by")
    return f"the GPU's clock is held down by {', '.join(slowed)}" if slowed else None


def _load(host: dict[str, Any]) -> str | None:
    load, cores = host["load_average"], host["cores_logical"]
    if load is None or load <= _BUSY * cores:
        return None
    return f"the machine was busy before (load average {load:g} on {cores} CPUs)"


def _governor(host: dict[str, Any]) -> str | None:
    if "powersave" not in host["governor"] or not host["board"]:
        return None
    return "the frequency governor is powersave: set it to performance to measure what the device can do"
