"""What a CI service gives a job: a workspace, an `edgexfer` on the PATH, and files to write to."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import make_bundle

ROOT = Path(__file__).parents[2]
OFF = {"top1": {"max_drop": "off", "max_regress": "off"}, "latency_p50_ms": {"max_regress": "off"}}
"""Takes away those standard limits that need answers or minutes."""
HOSTILE = "\"; touch pwned; $(touch pwned) `touch pwned` '; touch pwned; #"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A project with the bundle signs.edgx, that passes where it is compared with itself."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    bundle(folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a job: nothing of ours but an `edgexfer` that is this repository's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "edgexfer"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m edgexfer "$@"\n')
    program.chmod(0o755)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    return {**kept, "PATH": f"{programs}:{os.environ['PATH']}"}


def bundle(folder: Path, **limits: Any) -> Path:
    """Makes the bundle signs.edgx for the backend fake, with limits on its size, in bytes."""
    return make_bundle(folder / "signs.edgx", backend="fake", gates=OFF | {"size_bytes": limits}, name="signs")
