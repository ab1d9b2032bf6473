"""Starts Python on an emulated CPU: with the repository on its path, and the CPU's own /proc/cpuinfo."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.arm.cpus import HASWELL, Cpu
from tests.arm.make_sysroot import ROOT

CHILDREN = Path(__file__).with_name("children")
_FOLDERS = ("bin", "etc", "lib", "usr")


def run(cpu: Cpu, sysroot: Path, own: Path, *words: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `python WORDS` in the repository's root.

    Args:
        cpu: which one is emulated. On Haswell this interpreter runs with its packages, on Arm that of `sysroot`.
        sysroot: what `make_sysroot` made.
        own: a folder for what the CPU sees in place of this machine's files; made where it is not there.
        words: the command line.
        log: where QEMU writes each block of code that it translates; None for no log.

    Returns:
        The ended process with its output; whoever calls looks at its code.
    """
    natively = cpu is HASWELL
    (own / "proc").mkdir(parents=True, exist_ok=True)
    (own / "proc/cpuinfo").write_text(cpu.cpuinfo + "\n", encoding="utf-8")
    for name in () if natively else _FOLDERS:
        if not (own / name).exists():
            (own / name).symlink_to(sysroot / "debian" / name)
    python = sys.executable if natively else str(sysroot / "debian/usr/bin/python3")
    path = [ROOT] if natively else [ROOT, sysroot / "wheels"]
    logged = [] if log is None else ["-d", "in_asm", "-D", str(log)]
    emulator = [str(sysroot / "qemu" / cpu.emulator), "-cpu", cpu.name, "-L", str(own), *logged]
    started = _program(own / "python", [*emulator, python], [*path, CHILDREN])
    environment = {"OMP_NUM_THREADS": "1", "HOME": str(own), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(started), *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def _program(place: Path, command: list[str], path: list[Path]) -> Path:
    """Writes what starts Python, for its children too: the system starts none for Arm unless root has told it how."""
    added = shlex.quote(":".join(map(str, path)))
    lines = (
        "#!/bin/sh",
        f'export EDGEXFER_EMULATED_PYTHON="$0" PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}"{added}',
        f'exec {shlex.join(command)} "$@"',
    )
    place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    place.chmod(0o755)
    return place
