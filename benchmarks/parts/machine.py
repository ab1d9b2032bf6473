"""The line that belongs under every table: when, on what machine, with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path


def use_cores(count: int) -> int:
    """Keeps this process and those it starts on `count` of the cores it may use; returns how many those are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return len(cores)


def machine_line(cores: int, versions: Mapping[str, str]) -> str:
    """Returns date, processor, cores in use, load, system and versions in one sentence."""
    today = datetime.now(timezone.utc).date().isoformat()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    threads = os.environ.get("OMP_NUM_THREADS")
    bound = f", OMP_NUM_THREADS={threads}" if threads else ""
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{today}, {cores} cores of {_processor()}{load}{bound}, {platform.system()}, {named}."


def versions_of(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of those `packages` that are installed here."""
    found = {"Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
