"""`edgexfer doctor`: what this machine can do with edgexfer, and the command that mends what it cannot."""

from __future__ import annotations

import platform
import shutil
from typing import get_args

from rich.table import Table

import edgexfer
from edgexfer.cli import show
from edgexfer.cli.doctor_jetson import jetson_rows, tensorrt_row
from edgexfer.cli.parts import PURPOSE, Part, install_command, packages

_EXACT_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def doctor() -> None:
    """Show what is installed, what is missing, and what mends it."""
    from edgexfer.gate.machine.host import host_facts, machine_class

    facts = host_facts()
    show.line(f"edgexfer {edgexfer.__version__}", "bold")
    rows = {
        "python": f"{facts['python']} (numpy {facts['numpy']})",
        "system": f"{facts['os']}, kernel {facts['kernel']}, {facts['architecture']}",
        "machine": machine_class(facts),
        "cpu": f"{facts['cpu'] or 'unknown'}: {' '.join(facts['isa']) or 'no known 8-bit instructions'}",
        "8-bit": _eight_bit(facts["isa"]),
        "memory": "unknown" if facts["memory_mib"] is None else f"{facts['memory_mib'] / 1024:.1f} GiB",
        "governor": ", ".join(facts["governor"]) or "none (virtual machine or container)",
        **jetson_rows(facts),
    }
    engine, remedy = tensorrt_row()
    rows["tensorrt"] = engine
    if facts["gpu"] and facts["gpu"]["name"]:
        rows["gpu"] = f"{facts['gpu']['name']}, driver {facts['gpu']['driver'] or 'unknown'}"
    for key, value in rows.items():
        show.line(f"{key:<9} {value}")
    show.console().print(_packages())
    if remedies := _parts(remedy):
        show.line("to get what is missing", "bold")
        for part, command in remedies:
            show.line(f"  {part:<10} {command}")


def _eight_bit(isa: list[str]) -> str:
    exact = [flag for flag in _EXACT_INT8 if flag in isa]
    if exact:
        return f"fast and exact ({', '.join(exact)})"
    if platform.machine().lower() in ("x86_64", "amd64"):
        return "without VNNI: uint8 x int8 saturates; export for x86-cpu-avx2, or it runs slower"
    return "no dot product instructions: expect little gain from INT8"


def _parts(tensorrt: str | None) -> list[tuple[str, str]]:
    # Prints a line for each part; returns (what is not there, the command that mends it). TensorRT's is known before.
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    lacking = {part: [package.name for package in packages(part) if not package.serves] for part in get_args(Part)}
    rows = [("base", "evaluate, bench, targets", True, "")]
    rows += [(part, PURPOSE[part], not lacking[part], install_command(part)) for part in get_args(Part)]
    rows += [
        ("tensorrt", "run bundles on NVIDIA GPUs", tensorrt is None, tensorrt or ""),
        ("compiler", "faster quantization-aware training", compiler is not None, "apt install g++"),
    ]
    made = show.table("part", "state", "what for")
    for name, purpose, there, _ in rows:
        made.add_row(name, "[green]ok[/]" if there else "[yellow]missing[/]", purpose)
    show.console().print(made)
    return [(name, command) for name, _, there, command in rows if not there]


def _packages() -> Table:
    listed = {package.name: package for part in get_args(Part) for package in packages(part)}
    made = show.table("package", "installed", "wanted", "state")
    for name in sorted(listed, key=str.lower):
        package = listed[name]
        state = "[green]ok[/]" if package.serves else "[yellow]too old[/]" if package.found else "[yellow]missing[/]"
        made.add_row(show.cell(name), show.cell(package.found or "–"), f">= {package.least}", state)
    return made
