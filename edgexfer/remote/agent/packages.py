"""What edgexfer needs on the device beside the device's own Python: edgexfer itself, and packages that are missing.

Nothing is installed into the device's Python: both lie in the agent's home and are put on PYTHONPATH of the runs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import operator
import os
import platform
import re
import shlex
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgexfer.remote.agent.child import Children
from edgexfer.remote.agent.home import Home, RefusalError

# Distributions whose module is called otherwise. A module that is there counts, whichever wheel has brought it:
# onnxruntime and onnxruntime-gpu own the same.
_MODULES = {"pillow": "PIL", "cuda-bindings": "cuda.bindings"}
_PIP_OPTIONS = ("--no-input", "--disable-pip-version-check", "--prefer-binary", "--no-warn-conflicts", "--quiet")
_COMPARE = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def unpack(home: Home, sha256: str) -> Path | None:
    """Unpacks the wheel `sha256` out of the store; returns where edgexfer lies, None where the wheel is missing."""
    place = home.use("python", sha256)
    if not place.exists():
        wheel = home.files / sha256
        if not wheel.exists():
            return None
        with home.scratch("python") as stage:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(stage)
            _flush(stage)
            home.place(stage, place)
    return place


def lacking(requirements: Sequence[str]) -> list[str]:
    """Returns those of `requirements` ("numpy>=1.26; python_version < '3.11'") that this Python does not meet."""
    return [text for text in requirements if _applies(text) and not _met(text)]


def provide(
    home: Home,
    children: Children,
    requirements: Sequence[str],
    begin: Callable[[], None],
    on_line: Callable[[str, bytes], None],
) -> Path | None:
    """Installs `requirements` into a folder of the home, unless it is there already.

    Args:
        home: the agent's home.
        children: what pip is started with.
        requirements: as pip reads them.
        begin: called before anything is installed.
        on_line: called with "out" or "err" and each line that pip prints.

    Returns:
        The folder; None where the connection ended meanwhile.

    Raises:
        RefusalError: there is no pip, or it fails.
    """
    version = ".".join(map(str, sys.version_info[:2]))
    key = hashlib.sha256(json.dumps([sys.executable, version, sorted(requirements)]).encode()).hexdigest()
    place = home.use("deps", key)
    if place.exists():
        return place
    begin()
    wanted = " ".join(shlex.quote(text.partition(";")[0].strip()) for text in requirements)
    names = ", ".join(text.partition(";")[0].strip() for text in requirements)
    if importlib.util.find_spec("pip") is None:
        raise RefusalError(
            f"{sys.executable} lacks {names}, and has no pip to install them with",
            f"on the device: sudo apt-get install python3-pip, or {sys.executable} -m pip install {wanted}",
        )
    said: list[str] = []

    def heard(stream: str, line: bytes) -> None:
        said.append(line.decode("utf-8", "replace"))
        on_line(stream, line)

    with home.scratch("pip") as work:
        stage = work / "deps"
        stage.mkdir(parents=True)
        command = ["pip", "install", "--target", str(stage), *_PIP_OPTIONS, *requirements]
        code = children.run(command, work, (), heard)
        if code is None:
            return None
        if code != 0:
            errors = [line for line in said if line.startswith("ERROR:")] or said or [f"it ended with code {code}"]
            raise RefusalError(
                f"pip cannot install {names}: {errors[0].removeprefix('ERROR: ')}",
                f"give the device a network, or install there: {sys.executable} -m pip install {wanted}",
            )
        _flush(stage)
        home.place(stage, place)
    return place


def _flush(folder: Path) -> None:
    # Nobody verifies these files later: a power cut must not leave a whole folder of empty ones.
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _applies(requirement: str) -> bool:
    _, _, marker = requirement.partition(";")
    return any(all(_holds(term) for term in re.split(r"\s+and\s+", side)) for side in re.split(r"\s+or\s+", marker))


def _holds(term: str) -> bool:
    match = re.fullmatch(r"\s*(\w+)\s*([<>=!]+)\s*['\"]([^'\"]+)['\"]\s*", term)
    known = {"platform_machine": platform.machine(), "sys_platform": sys.platform, "platform_system": platform.system()}
    if match is not None and match[1] == "python_version":
        return bool(_COMPARE[match[2]](sys.version_info[:2], _numbers(match[3])))
    if match is not None and match[1] in known:
        return bool(_COMPARE[match[2]](known[match[1]], match[3]))
    return True  # pip knows them all


def _met(requirement: str) -> bool:
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)", requirement)
    if match is None:
        return False
    try:
        found = _numbers(importlib.metadata.version(match[1]))
    except importlib.metadata.PackageNotFoundError:
        return _has_module(_MODULES.get(match[1].lower(), match[1].replace("-", "_")))
    for spec in filter(None, re.split(r"\s*,\s*", match[2].strip())):
        bound = re.fullmatch(r"(>=|<=|>|<|==|!=)\s*([\d.]+)", spec)
        if bound is not None and not _COMPARE[bound[1]](found, _numbers(bound[2])):
            return False
    return True


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[\d.]*", version)
    numbers = [int(part) for part in (match[0] if match else "").split(".") if part]
    while numbers and numbers[-1] == 0:  # 1.0 is 1
        numbers.pop()
    return tuple(numbers)
