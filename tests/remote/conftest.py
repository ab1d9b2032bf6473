"""A device for the tests: an sshd of their own, with an empty home for each test, and a look at what is left there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.remote.sshd import Server, serve


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sshd")
    wheels = folder / "wheels"
    wheels.mkdir()
    # pip on the device sees these wheels and no index.
    with serve(folder, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}) as server:
        yield server


@pytest.fixture
def server(_sshd: Server) -> Iterator[Server]:
    """A device with an empty home; afterwards no process of ours may be left, and no agent's scratch."""
    shutil.rmtree(_sshd.home)
    _sshd.home.mkdir()
    yield _sshd
    _sshd.wait_until_idle()
    runs = _sshd.on / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []


@pytest.fixture
def rows(tmp_path: Path) -> list[tuple[Path, str, str]]:
    """Six images of three classes, as (file here, name there, label)."""
    made = []
    for label, colour in (("a", (220, 30, 30)), ("b", (30, 220, 30)), ("c", (30, 30, 220))):
        for number in range(2):
            path = tmp_path / f"{label}{number}.png"
            Image.fromarray(np.full((10, 10 + number, 3), colour, np.uint8)).save(path)
            made.append((path, f"{label}/{number}.png", label))
    return made
