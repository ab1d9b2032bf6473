"""tegrastats: NVIDIA's own line about a Jetson's load, clocks, temperatures and power, read once and parsed.

Its fields differ by board and release. JetPack 4 writes `EMC_FREQ 0% GR3D_FREQ 34% CPU@39.5C POM_5V_IN 3129/3129`,
JetPack 5 and later `EMC_FREQ 3%@2133 GR3D_FREQ 0%@[305] cpu@48.562C VDD_IN 5251mW/8535mW`. The memory controller's
clock and some rails are shown to root alone. A sensor that is switched off is written as -256C.
"""

from __future__ import annotations

import io
import re
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

_PROGRAM = "tegrastats"
_INTERVAL_MS = 100
_PATIENCE_SECONDS = 3.0
_COLDEST = -40.0

_MEMORY = r"\b{} ([0-9]{{1,9}})/([0-9]{{1,9}})MB"
_CPUS = re.compile(r"\bCPU \[([^\]]*)\]")
_CPU = re.compile(r"([0-9]{1,3})%@([0-9]{1,9})")
_ENGINE = r"\b{}_FREQ ([0-9]{{1,3}})%(?:@\[?([0-9]{{1,9}}))?"
_TEMPERATURE = re.compile(r"\b([A-Za-z][A-Za-z0-9_-]*)@(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)C\b")
_POWER = re.compile(r"\b([A-Z][A-Z0-9_]*) ([0-9]{1,9})(?:mW)?/([0-9]{1,9})(?:mW)?(?= |$)")


def parse_tegrastats(line: str) -> dict[str, Any]:
    """Takes one line of tegrastats apart.

    Returns:
        What the line tells; a key that it does not tell is absent.

        - `ram_mib`, `swap_mib`: used and all.
        - `cpus`: load in percent and clock in MHz of each core, None for one that is off.
        - `emc`, `gpu`: load in percent; and `emc_mhz`, `gpu_mhz`.
        - `celsius`: by sensor.
        - `power_mw`: by rail, now and on average since tegrastats began.
    """
    found: dict[str, Any] = {}
    for key, word in (("ram_mib", "RAM"), ("swap_mib", "SWAP")):
        if match := re.search(_MEMORY.format(word), line):
            found[key] = [int(match[1]), int(match[2])]
    if cpus := _CPUS.search(line):
        cores = [_CPU.fullmatch(core.strip()) for core in cpus[1].split(",")]
        found["cpus"] = [[int(core[1]), int(core[2])] if core else None for core in cores]
    for key, word in (("emc", "EMC"), ("gpu", "GR3D")):
        if match := re.search(_ENGINE.format(word), line):
            found[key] = int(match[1])
            if match[2]:
                found[f"{key}_mhz"] = int(match[2])
    degrees = {match[1]: float(match[2]) for match in _TEMPERATURE.finditer(line)}
    if sensors := {name: value for name, value in degrees.items() if value > _COLDEST}:
        found["celsius"] = sensors
    rails = {match[1]: [int(match[2]), int(match[3])] for match in _POWER.finditer(line)}
    if rails := {name: values for name, values in rails.items() if name not in ("RAM", "SWAP", "NC")}:
        found["power_mw"] = rails
    return found


def read_tegrastats(program: str | None = None) -> dict[str, Any] | None:
    """Runs tegrastats for one line; None where there is no such program, or it says nothing.

    Args:
        program: its path; None for the one that is installed.
    """
    path = program or shutil.which(_PROGRAM)
    if path is None or not Path(path).is_file():
        return None
    try:
        process = subprocess.Popen(  # noqa: S603 - NVIDIA's program, or the one the caller names
            [path, "--interval", str(_INTERVAL_MS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None
    with process:
        try:
            line = _first_line(process)
        finally:
            process.kill()
    return parse_tegrastats(line) or None


def _first_line(process: subprocess.Popen[bytes]) -> str:
    # What comes before the first line's end, or as much of it as comes in time.
    read, deadline = b"", time.monotonic() + _PATIENCE_SECONDS
    with selectors.DefaultSelector() as ready:
        if process.stdout is not None:
            ready.register(process.stdout, selectors.EVENT_READ)
        while b"\n" not in read and ready.select(max(0.0, deadline - time.monotonic())):
            chunk = process.stdout.read1(4096) if isinstance(process.stdout, io.BufferedReader) else b""
            if not chunk:
                break
            read += chunk
    return read.partition(b"\n")[0].decode("utf-8", "replace").strip()
