"""Contention: counters of who else had the CPUs, which CI runners share: quota, other machines, other programs.

Each is a sum since boot (or since the container began), so that two readings tell what happened between them:

    throttled_periods, throttled_ms   by the container's CPU quota: nr_throttled and throttled_usec of cpu.stat (cgroup
                                      v2; throttled_time in ns of v1): kernel.org, admin-guide/cgroup-v2, sched-bwc
    stolen_ticks, all_ticks           of all CPUs: `steal` of proc_stat(5), time in which a virtual machine wanted to
                                      run and another one did; and all of its time, idle or not
    pressure_us                       in which some task of the container (else of the machine) waited for a CPU:
                                      `some ... total` of kernel.org, accounting/psi
    ran_ns, waited_ns                 of the thread that measures: on a CPU, and runnable but waiting for one:
                                      schedstat of kernel.org, scheduler/sched-stats
    uptime_ms                         proc_uptime(5): when this was read

A key that the machine does not tell is None.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgexfer.gate.machine.sysfs import read_text

_MOST_STOLEN = 0.02
_MOST_WAITED = 0.05
_MOST_PRESSURE = 0.25
_LEAST_MS = 100  # between two readings, below which a share says nothing
_NUMBER = r"([0-9]{1,18})\b"


def contention(root: Path) -> dict[str, int | None]:
    """Reads the counters; see the module's docstring."""
    folders = _cgroups(root)
    statistics = [text for folder in folders if "nr_throttled" in (text := read_text(folder / "cpu.stat") or "")]
    quota = statistics[0] if statistics else ""
    pressures = [read_text(folder / "cpu.pressure") for folder in folders]
    pressure = next((text for text in pressures if text), None) or read_text(root / "proc/pressure/cpu") or ""
    throttled_us, throttled_ns = _number(r"^throttled_usec ", quota), _number(r"^throttled_time ", quota)
    if throttled_us is None and throttled_ns is not None:
        throttled_us = throttled_ns // 1000
    # The times of guests, which come after `steal`, are part of `user` already.
    cpu = re.match(r"cpu\s+([0-9 ]{1,400})", read_text(root / "proc/stat") or "")
    ticks = [int(word[:18]) for word in cpu[1].split()[:8]] if cpu else []
    waited = re.match(rf"{_NUMBER} {_NUMBER} ", read_text(root / "proc/thread-self/schedstat") or "")
    uptime = re.match(r"([0-9]{1,12})\.([0-9]{2})", read_text(root / "proc/uptime") or "")
    return {
        "throttled_periods": _number(r"^nr_throttled ", quota),
        "throttled_ms": None if throttled_us is None else throttled_us // 1000,
        "stolen_ticks": ticks[7] if len(ticks) == 8 else None,
        "all_ticks": sum(ticks) if ticks else None,
        "pressure_us": _number(r"^some .*\btotal=", pressure),
        "ran_ns": int(waited[1]) if waited else None,
        "waited_ns": int(waited[2]) if waited else None,
        "uptime_ms": 1000 * int(uptime[1]) + 10 * int(uptime[2]) if uptime else None,
    }


def throttled_by_quota(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str | None:
    """Returns how the container's quota stopped what was measured between two readings, or None."""
    periods = _between(before, after, "throttled_periods")
    if not periods:
        return None
    stopped = _between(before, after, "throttled_ms")
    length = "" if stopped is None else f", for {stopped} ms"
    times = "once" if periods == 1 else f"{periods} times"
    return f"the container's CPU quota stopped this process {times} while measuring{length}: give it more CPUs"


def contended(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Returns who else used the CPUs between two readings of `contention`, in sentences; empty where nobody did much.

    Readings of older versions, which lack some counters or all of them, tell nothing.
    """
    found = []
    stolen = _share(before, after, "stolen_ticks", "all_ticks")
    if stolen is not None and stolen > _MOST_STOLEN:
        found.append(f"other virtual machines took {_percent(stolen)} of the CPUs' time while measuring")
    if waited := kept_waiting(before, after):
        found.append(waited)
    return found


def kept_waiting(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str | None:
    """Returns how much other programs kept what was measured from running between two readings, or None.

    Such times do not compare with those of another day: a long call is interrupted more often than a short one.
    """
    ran, waited = _between(before, after, "ran_ns"), _between(before, after, "waited_ns")
    if ran is not None and waited is not None and waited > _MOST_WAITED * (ran + waited) > 0:
        share = _percent(waited / (ran + waited))
        return f"it waited for a CPU for {share} of its time: end what else runs on this machine"
    uptime, pressed = _between(before, after, "uptime_ms"), _between(before, after, "pressure_us")
    if uptime is not None and pressed is not None and uptime >= _LEAST_MS and pressed / 1000 > _MOST_PRESSURE * uptime:
        share = _percent(min(1.0, pressed / 1000 / uptime))
        return f"programs waited for a CPU for {share} of the time: end what else runs on this machine"
    return None


def _cgroups(root: Path) -> list[Path]:
    # This process's own group where it is in sight (v2), then the container's: v2, v1.
    top = root / "sys/fs/cgroup"
    own = re.search(r"^0::/([^\n]*)", read_text(root / "proc/self/cgroup") or "", re.MULTILINE)
    name = own[1] if own else ""
    inner = [top / name] if name and ".." not in Path(name).parts and "\0" not in name else []
    return [*inner, top, top / "cpu"]


def _number(before: str, text: str) -> int | None:
    match = re.search(before + _NUMBER, text, re.MULTILINE)
    return int(match[1]) if match else None


def _between(before: dict[str, Any] | None, after: dict[str, Any] | None, key: str) -> int | None:
    # None where a reading lacks the counter, or where it went back: another thread or container, or a reboot.
    old, new = (before or {}).get(key), (after or {}).get(key)
    return new - old if isinstance(old, int) and isinstance(new, int) and new >= old else None


def _share(before: dict[str, Any] | None, after: dict[str, Any] | None, key: str, whole: str) -> float | None:
    part, all_of_it = _between(before, after, key), _between(before, after, whole)
    return part / all_of_it if part is not None and all_of_it else None


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
