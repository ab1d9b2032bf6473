"""`edgexfer targets`: the device profiles that come with edgexfer, or one of them in full."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from edgexfer.cli import show


def targets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="Show this profile in full.", show_default=False)
    ] = None,
) -> None:
    """List the devices edgexfer knows, or show one in full.

    A profile is a small TOML file: copy one, change it, and give its path wherever a target's name is asked.
    """
    from edgexfer.core.target import load_target, target_names

    if name is None:
        made = show.table("target", "engine", "precision", "device")
        for known in target_names():
            target = load_target(known)
            made.add_row(show.cell(known), show.cell(target.backend), target.precision, show.cell(target.title))
        show.console().print(made)
        show.line("`edgexfer targets NAME` shows one in full.", "dim")
        return
    target = load_target(name)
    show.line(target.name, "bold")
    show.line(target.title)
    show.line()
    shown = {
        key: value for key, value in target.to_json().items() if key not in ("name", "title", "notes") and value != {}
    }
    for key, value in shown.items():
        show.line(f"{key:<12} {_value(value)}")
    for note in target.notes:
        show.line()
        show.paragraph(note)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
