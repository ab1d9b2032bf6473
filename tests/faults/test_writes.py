"""Killed or refused at every rename, flush and removal, what was being written is whole or as it was; then it works."""

from __future__ import annotations

import contextlib
import errno
import functools
import shutil
from pathlib import Path

import pytest

from edgexfer.core.errors import ArtifactError, EdgexferError
from tests.bundles import make_bundle
from tests.faults.faults import ALL, counted, interposed, killing_at, refusing_at
from tests.faults.forked import KILLED, in_child
from tests.faults.writes import NEW, OLD, WRITES, Write

pytestmark = pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)


@pytest.fixture
def before(write: Write, tmp_path: Path) -> Path:
    """A folder as it is before the write; who strikes takes a copy."""
    folder = tmp_path / "before"
    make_bundle(folder / "b.edgx")
    if write.over:
        write.do(folder, OLD)
    return folder


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_killed_at_every_point_it_is_whole_and_the_next_leaves_nothing(
    write: Write, before: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    points = counted(lambda: write.do(whole, NEW), ALL)
    assert len(points) >= 6
    for number, point in enumerate(points):
        place = tmp_path / str(number)
        shutil.copytree(before, place)
        ended = in_child(functools.partial(_struck, write, place, number))
        assert ended.code == KILLED, f"{point}: {ended.said}"
        assert write.read(place) in ((OLD, NEW) if write.over else (None, NEW)), point
        write.do(place, NEW)
        assert write.read(place) == NEW, point
        assert names_below(place) == names_below(whole), point
        shutil.rmtree(place)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO], ids=["disk full", "not allowed", "broken"])
def test_where_a_call_is_refused_it_is_said_and_all_is_as_it_was(
    write: Write, before: Path, tmp_path: Path, number: int
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    points = counted(lambda: write.do(whole, NEW))
    for at, point in enumerate(points):
        if point.startswith("after"):
            continue
        place = tmp_path / str(at)
        shutil.copytree(before, place)
        said: list[EdgexferError] = []
        try:
            with interposed(refusing_at(at, number)):
                write.do(place, NEW)
        except EdgexferError as error:
            said.append(error)
        assert all(error.hint and "\n" not in error.message for error in said), point
        assert write.read(place) in ((OLD, NEW) if write.over else (None, NEW)), point
        write.do(place, NEW)
        assert write.read(place) == NEW, point
        assert names_below(place) == names_below(whole), point
        shutil.rmtree(place)


def test_what_is_cut_short_afterwards_is_refused(write: Write, before: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    write.do(whole, NEW)
    written = [path for path in whole.rglob("*") if path.is_file() and path.stat().st_size]
    for path in written:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with contextlib.suppress(ArtifactError, ValueError):
            assert write.read(whole) in (None, NEW), path  # None: of a cache, which is made anew
        path.write_bytes(data)
    assert write.read(whole) == NEW


def _struck(write: Write, place: Path, number: int) -> None:
    with interposed(killing_at(number), ALL):
        write.do(place, NEW)
