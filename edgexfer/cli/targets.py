"""`edgexfer targets`: the device profiles that come with edgexfer, or one of them in full."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from edgexfer.cli import show

if TYPE_CHECKING:
    from edgexfer.core.target import Target

_ENGINES = {"ort": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}


def targets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="Show this profile in full.", show_default=False)
    ] = None,
) -> None:
    """List the devices edgexfer knows, or show one in full.

    A profile is a small TOML file: copy one, change it, and give its path wherever a target's name is asked.
    """
    if name is None:
        _list()
    else:
        _explain(named_target(name))


def named_target(name: str) -> Target:
    """Reads a profile, and says so where its name stands for another.

    Raises:
        SettingsError: as `load_target`.
    """
    from edgexfer.core.target import load_target, meaning_of

    target = load_target(name)
    if meaning := meaning_of(name):
        show.line(f"{meaning}: {target.title}")
    return target


def _list() -> None:
    from edgexfer.core.target import ALIASES, load_target, meaning_of, target_names

    made = show.table("target", "engine", "precision", "device")
    made.columns[0].no_wrap = True
    for known in target_names():
        target = load_target(known)
        # What a title says in brackets and after a comma is in `targets NAME`.
        device = re.split(r" \(|, ", target.title)[0]
        made.add_row(show.cell(known), show.cell(_engine(target)), target.precision, show.cell(device))
    show.console().print(made)
    for alias in ALIASES:
        show.line(f"{meaning_of(alias) or alias}.", "dim")
    show.line("`edgexfer targets NAME` shows one in full.", "dim")


def _explain(target: Target) -> None:
    from edgexfer.core.trtexec import example_lines, only_by_trtexec

    show.line(target.name, "bold")
    show.line(target.title)
    _section("the machine", _machine(target.host))
    _section("what is written for it", _written(target))
    if target.facts:
        show.line()
        show.line("published figures, none of them measured by edgexfer", "bold")
        _facts(target)
    for note in target.notes:
        show.line()
        show.paragraph(note)
    if only_by_trtexec(target):
        show.line()
        show.line("how it is built there, for signs.edgx of 224 x 224 pixels", "bold")
        for found in example_lines(target):
            show.line(found.text)
        show.line("`edgexfer build BUNDLE --trtexec` prints the line for yours.", "dim")


def _engine(target: Target) -> str:
    versions = target.engine_versions
    served = f"{versions[0]}–{versions[-1]}" if len(versions) > 1 else "".join(versions)
    return f"{_ENGINES.get(target.backend, target.backend)} {served}".strip()


def _machine(host: dict[str, Any]) -> dict[str, str]:
    capability = host.get("compute_capability")
    return {
        "machine": host.get("machine", "any"),
        "GPU": f"compute capability {capability}" if capability else "",
        "boards": ", ".join(f"{begin} ..." for begin in host.get("boards", ())),
        "JetPack": ", ".join(host.get("jetpack", ())),
        "power mode": f"{host['power_mode']}, as nvpmodel names it" if "power_mode" in host else "",
    }


def _written(target: Target) -> dict[str, str]:
    points = 100 * target.max_drop
    limit = f"at most {points:g} {'point' if points == 1 else 'points'} of top-1 below float"
    chosen = (
        "auto: the fastest of float and INT8 that holds the limit" if target.precision == "auto" else target.precision
    )
    quantized = target.precision not in ("float16", "float32")
    form = f"in the form for {_ENGINES[target.dialect]}, weights of {target.weight_bits} bits"
    gates = [f"{name}: {_pairs(gate) if isinstance(gate, dict) else gate}" for name, gate in target.gates.items()]
    return {
        "engine": f"{_ENGINES.get(target.backend, target.backend)} {', '.join(target.engine_versions)}".strip(),
        "or": _rivals(target),
        "precision": chosen,
        "limit": limit,
        "INT8": form if quantized else "",
        "file": f"float layers in {target.float_type}, pixels in {target.engine_pixels}, opset {target.opset}",
        "calibration": target.calibration,
        "options": _pairs(target.options),
        "gates": "; ".join(gates),
    }


def _rivals(target: Target) -> str:
    names = " or ".join(_ENGINES.get(name, name) for name in target.rivals)
    return f"{names}, where that is installed and `edgexfer build` finds it faster" if names else ""


def _pairs(table: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in table.items())


def _section(title: str, rows: dict[str, str]) -> None:
    show.line()
    show.line(title, "bold")
    grid = _grid()
    for key, value in rows.items():
        if value:
            grid.add_row(Text(key), Text(show.printable(value)))
    show.console().print(grid)


def _facts(target: Target) -> None:
    grid = _grid()
    for fact in target.facts:
        grid.add_row(Text(show.printable(fact.name)), Text(show.printable(fact.value)))
        grid.add_row("", Text(show.printable(f"{fact.certainty}: {fact.source}"), "dim"))
    show.console().print(grid)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=len("calibration"))
    grid.add_column(overflow="fold")
    return grid
