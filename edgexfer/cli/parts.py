"""Parts: what can be installed beside the base, which packages that is, and the command that brings them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from edgexfer.core.errors import MissingPartError

Part: TypeAlias = Literal["cpu", "train", "sweep", "sign", "trackers", "openvino"]
PURPOSE: dict[Part, str] = {
    "cpu": "run bundles with ONNX Runtime",
    "train": "fine-tune, compress, export, lint, demo",
    "sweep": "search settings: sweep (with [train])",
    "sign": "keygen, sign, and load(..., trust=...)",
    "trackers": "log to MLflow, TensorBoard, Weights & Biases",
    "openvino": "run bundles with OpenVINO where that is faster: build",
}


@dataclass(frozen=True)
class Package:
    """One package of a part.

    Attributes:
        name: on PyPI.
        least: the oldest version that serves.
        found: the version that is installed, or None.
    """

    name: str
    least: str
    found: str | None

    @property
    def serves(self) -> bool:
        """Whether it is installed and not too old."""
        return self.found is not None and _release(self.found) >= _release(self.least)


def install_command(part: Part) -> str:
    """Returns what the user types to get `part`."""
    return f"pip install 'edgexfer[{part}]'"


@contextmanager
def needs(part: Part) -> Iterator[None]:
    """Turns "no module named torch" into an error that says what to install.

    Raises:
        MissingPartError: something that the block imports is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # A module of our own that is missing is our bug, and so is a nameless one.
        if error.name is None or error.name.partition(".")[0] == "edgexfer":
            raise
        raise MissingPartError(
            f"this needs the package '{error.name.partition('.')[0]}', which is not installed", install_command(part)
        ) from error


def packages(part: Part) -> list[Package]:
    """Returns the packages of `part`, sorted by name, and what of them is installed; empty where that is not known."""
    found = []
    for requirement in _requirements(part):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?\s*(?:>=\s*([0-9.]+))?", requirement)
        if match is not None:
            found.append(Package(match[1], match[2] or "0", _version(match[1])))
    return sorted(found, key=lambda package: package.name.lower())


def _requirements(part: Part) -> list[str]:
    try:
        every = metadata.requires("edgexfer") or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        from edgexfer.core.toml import read_toml

        project = Path(__file__).parents[2] / "pyproject.toml"
        if not project.is_file():
            return []
        listed: list[str] = read_toml(project)["project"]["optional-dependencies"][part]
        return listed
    marker = re.compile(rf"extra\s*==\s*['\"]{part}['\"]")
    return [requirement for requirement in every if marker.search(requirement)]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    # "2.14.1+cpu" and "2.14.1rc1" count as 2.14.1: a table for people needs no more.
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
