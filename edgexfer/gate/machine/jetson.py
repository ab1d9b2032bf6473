"""What a Jetson says about itself: L4T release, JetPack, and the power modes of nvpmodel by name.

    /etc/nv_tegra_release       # R36 (release), REVISION: 4.3, GCID: ...
    /etc/nvpmodel.conf          < POWER_MODEL ID=2 NAME=MAXN_SUPER >
    /var/lib/nvpmodel/status    pmode:0002

A mode's number means another mode on another board and JetPack, so it never leaves this file as what a mode is.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgexfer.gate.machine.sysfs import read_text

# L4T release: JetPack. From OE4T/meta-tegra's branches and release notes.
_JETPACKS = {
    **{f"32.7.{number}": f"4.6.{number}" for number in range(1, 7)},
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "35.6.4": "5.1.6",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}
_RELEASE = re.compile(r"# R([0-9]+) \(release\), REVISION: ([0-9.]*[0-9])")
_MODE = re.compile(
    r"^\s*<\s*POWER_MODEL\s+(?:ID=(?P<id>[0-9]{1,9})\s+NAME=(?P<name>\S+)|NAME=(?P<name2>\S+)\s+ID=(?P<id2>[0-9]{1,9}))\s*>",
    re.MULTILINE,
)
_CURRENT = re.compile(r"pmode:([0-9]{1,9})")


def l4t_release(root: Path) -> str | None:
    """Returns the release of NVIDIA's Linux for Tegra, such as "36.4.3"; None on what is no Jetson."""
    match = _RELEASE.match(read_text(root / "etc/nv_tegra_release") or "")
    return f"{match[1]}.{match[2]}" if match else None


def jetpack_release(root: Path) -> str | None:
    """Returns the JetPack that this L4T belongs to, such as "6.2"; None for one that is not in the table."""
    release = l4t_release(root)
    if release is None:
        return None
    # "36.3" and "36.3.0" are both seen in the wild.
    return _JETPACKS.get(release) or _JETPACKS.get(f"{release}.0")


def power_modes(root: Path) -> dict[str, str]:
    """Returns the names of the power modes that this board offers, by their number as text."""
    text = read_text(root / "etc/nvpmodel.conf") or ""
    return {str(int(match["id"] or match["id2"])): match["name"] or match["name2"] for match in _MODE.finditer(text)}


def power_mode(root: Path) -> str | None:
    """Returns the name of the current power mode, such as "MAXN_SUPER".

    Where nvpmodel's configuration cannot be read, its status stands for the name, such as "pmode:0002".
    """
    status = read_text(root / "var/lib/nvpmodel/status")
    if status is None:
        return None
    match = _CURRENT.search(status)
    return power_modes(root).get(str(int(match[1])), match[0]) if match else status


def same_mode(one: str, other: str) -> bool:
    """Returns whether two names mean one mode: AGX Orin's configuration says MODE_30W, its documents say 30W."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    return name.strip().upper().replace(" ", "_").removeprefix("MODE_")
