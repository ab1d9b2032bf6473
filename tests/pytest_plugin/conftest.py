"""A user's project with bundles and tests of its own, run by pytest in other processes with our plugin installed.

Not pytest's own `pytester`: it forgets every module that a test has imported, and NumPy and onnx die of being imported
again. Its RunResult, which reads what pytest printed, is taken from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from edgexfer.core.toml import read_toml
from tests.bundles import make_bundle
from tests.gate.images import write_folders

ROOT = Path(__file__).parents[2]
OTHERS = [part for name in ("anyio", "cacheprovider", "cov", "hypothesispytest") for part in ("-p", f"no:{name}")]
"""Plugins that take seconds to load and have nothing to do with it."""
OFF = {"top1": {"max_drop": "off", "max_regress": "off"}, "latency_p50_ms": {"max_regress": "off"}}
"""Takes away those standard limits that need answers or minutes."""


class Project:
    """A folder with tests; `run` is a run of pytest there, in a process of its own, warnings being errors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tests(self, text: str, name: str = "test_model.py") -> None:
        """Writes a test file."""
        (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def bundle(self, name: str, *, latency_ms: float = 0.0, gates: dict[str, Any] | None = None, **rest: Any) -> Path:
        """Makes a bundle for the backend fake; all are called "signs"."""
        options = {"latency_ms": latency_ms} if latency_ms else None
        return make_bundle(
            self.folder / name, backend="fake", options=options, gates=OFF | (gates or {}), name="signs", **rest
        )

    def data(self, name: str = "data", each: int = 12) -> Path:
        """Writes images that the bundles answer without a mistake."""
        return write_folders(self.folder / name, each)

    def run(self, *arguments: str, folder: str = ".") -> pytest.RunResult:
        """Runs the project's tests in one of its folders; pytest's warnings are errors, and it may take a minute."""
        started = time.monotonic()
        command = [sys.executable, "-W", "error", "-m", "pytest", *OTHERS, *arguments]
        if folder != ".":
            command.append(str(self.folder))
        place = self.folder / folder
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=place, timeout=60)
        took = time.monotonic() - started
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), took)

    def record(self, name: str = "gates.json") -> Any:
        """Reads what --edgexfer-json wrote."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def properties(self, test: str, name: str = "junit.xml") -> dict[str, str]:
        """Reads a test's properties from JUnit XML."""
        parsed = ET.parse(self.folder / name)  # noqa: S314 - pytest wrote it
        (case,) = (case for case in parsed.iter("testcase") if case.get("name") == test)
        return {entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """An empty project, where our plugin is installed as pyproject.toml says, whether or not it is in this venv."""
    declared = read_toml(ROOT / "pyproject.toml")["project"]["entry-points"]["pytest11"]
    installed = tmp_path / "site" / "edgexfer_as_declared-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: edgexfer-as-declared\nVersion: 0\n")
    entries = "".join(f"{name} = {place}\n" for name, place in declared.items())
    (installed / "entry_points.txt").write_text(f"[pytest11]\n{entries}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed.parent), str(ROOT)]))
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")
