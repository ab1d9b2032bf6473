"""What kills would leave of a verb: its files, copied at each of its points in one run.

SIGKILL takes from a process what it has in memory, and from the system nothing that was written: so files as they are
at a point are what a kill there leaves. A copy holds no lock, as a file of a killed process holds none.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.files import sha256_of_file
from tests.faults.faults import DURABLE, interposed
from tests.faults.forked import in_child
from tests.faults.struck import REST_S, Whole, go_on
from tests.faults.verbs import Verb, call

_DRAWN = re.compile(r"[0-9a-f]{8}(?=\.(tmp|scratch|old|new)\b)")


@dataclass(frozen=True)
class Copied:
    """What a kill leaves at one or more points of a verb, between which no file changed.

    Attributes:
        points: their numbers.
        copy: of the folder that the verb worked in, which was at `place`.
        place: where it has to lie again, since files may name it.
    """

    points: tuple[int, ...]
    copy: Path
    place: Path


def all_copied(verb: Verb, shared: Path, folder: Path) -> list[Copied]:
    """Runs a verb once and keeps what a kill at each of its points would leave; names that are drawn count as one name.

    Args:
        verb: which.
        shared: what `make_shared` made.
        folder: empty or missing; the copies are in it.
    """
    place, notes = folder / "place", folder / "seen.txt"
    place.mkdir(parents=True)
    verb.begin(place, shared)
    words = verb.command(place, shared)
    ended = in_child(lambda: _copying(place, folder, notes, words), within_s=REST_S)
    if ended.code:
        raise AssertionError(f"{verb.name} failed unstruck ({ended.code}): {ended.said}")
    shutil.rmtree(place)
    states: dict[str, list[int]] = {}
    for point, state in enumerate(notes.read_text(encoding="utf-8").split()):
        states.setdefault(state, []).append(point)
    return [Copied(tuple(points), folder / state, place) for state, points in states.items()]


def go_on_from(copied: Copied, verb: Verb, shared: Path, undisturbed: Whole) -> str:
    """Puts what a kill left to its place and does there what `go_on` does; the copy is used up."""
    shutil.rmtree(copied.place, ignore_errors=True)
    copied.copy.rename(copied.place)
    return go_on(verb, shared, copied.place, undisturbed)


def undrawn(path: Path) -> str:
    """Returns a path with the drawn part of its names left out: the same in every run."""
    return _DRAWN.sub("", path.as_posix())


def _copying(place: Path, folder: Path, notes: Path, words: list[str]) -> int:
    states: list[str] = []

    def fault(_: str, __: bool) -> None:
        states.append(_state(place))
        if not (folder / states[-1]).exists():
            shutil.copytree(place, folder / states[-1], symlinks=True)

    with interposed(fault, DURABLE):
        code = call(words)
    notes.write_text(" ".join(states), encoding="utf-8")
    return code


def _state(place: Path) -> str:
    """Returns a digest of the names and bytes below a folder."""
    found = hashlib.sha256()
    for path in sorted(place.rglob("*")):
        content = sha256_of_file(path) if path.is_file() else ""
        found.update(repr((undrawn(path.relative_to(place)), path.is_dir(), content)).encode())
    return found.hexdigest()[:16]
