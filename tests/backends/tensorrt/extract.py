"""The extract of TensorRT's API by version, api.json, as the stand-in and its tests ask for it."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

API = json.loads(Path(__file__).with_name("api.json").read_text(encoding="utf-8"))
VERSIONS: list[str] = API["versions"]


def names(kind: str, version: str) -> dict[str, str]:
    """What a class has in a version: {name: "method", "r" or "rw"}; empty where the class itself is absent."""
    members = API["classes"][kind].items()
    return {
        name: entry["kind"] for name, entry in members if entry["versions"] == "all" or version in entry["versions"]
    }


def make_enum(name: str, version: str) -> Any:
    members = {member: values[version] for member, values in API["enums"][name].items() if version in values}
    return enum.IntEnum(name.rpartition(".")[2], members)
