"""Affinity: which CPUs a measurement runs on, chosen once and held, lest the scheduler add noise of its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgexfer.gate.machine.sysfs import read_text

ROOT = Path("/")
_LOOK_SECONDS = 0.1


@contextmanager
def held_cpus(threads: int | None) -> Iterator[list[int]]:
    """Keeps this thread, and those that it starts meanwhile, on the idlest CPUs; yields their numbers.

    Args:
        threads: so many CPUs; None, or more than there are, for all that this process may use. Elsewhere than on
            Linux nothing is held, and the list is empty.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield []
        return
    before = os.sched_getaffinity(0)
    chosen = idlest_cpus(before, threads) if threads is not None and threads < len(before) else sorted(before)
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def idlest_cpus(usable: set[int], wanted: int, root: Path = ROOT) -> list[int]:
    """Returns `wanted` of the CPUs `usable`: those that idled most in the last tenth of a second, the last one first.

    The first CPU comes last among equals: it serves most interrupts.
    """
    before = _idle_ticks(root)
    time.sleep(_LOOK_SECONDS)
    after = _idle_ticks(root)
    idled = {cpu: after.get(cpu, 0) - before.get(cpu, 0) for cpu in usable}
    return sorted(sorted(usable, key=lambda cpu: (-idled[cpu], -cpu))[:wanted])


def _idle_ticks(root: Path) -> dict[int, int]:
    # proc(5): cpuN user nice system idle iowait ...
    lines = re.findall(r"^cpu([0-9]+) [0-9]+ [0-9]+ [0-9]+ ([0-9]+)", read_text(root / "proc/stat") or "", re.MULTILINE)
    return {int(cpu): int(idle) for cpu, idle in lines}
