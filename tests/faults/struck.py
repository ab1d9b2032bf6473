"""One strike at one verb, and all that is promised afterwards."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import DURABLE, counted, interposed, killing_at
from tests.faults.forked import KILLED, Ended, cpu_s, in_child
from tests.faults.verbs import Verb, call, import_all

REST_S = 1800.0
_DRAWN = re.compile(r"[0-9a-f]{8}(?=\.(tmp|scratch|old|new)\b)")


@dataclass(frozen=True)
class Whole:
    """A verb that nothing struck.

    Attributes:
        folder: what it left.
        cpu_s: for how long it used the CPU.
        points: at which it can be struck.
        result: what must be the same.
    """

    folder: Path
    cpu_s: float
    points: tuple[str, ...]
    result: object


def whole(verb: Verb, shared: Path, folder: Path) -> Whole:
    """Runs a verb undisturbed, twice: the first run tells which modules it needs, and they are loaded here."""
    for attempt in ("first", "whole"):
        place, notes = folder / attempt, folder / f"{attempt}.txt"
        place.mkdir(parents=True)
        verb.begin(place, shared)
        ended = in_child(lambda: _noting(verb, place, shared, notes), within_s=REST_S)  # noqa: B023 - called at once
        if ended.code:
            raise AssertionError(f"{verb.name} failed unstruck ({ended.code}): {ended.said}")
        seconds, points, modules = notes.read_text(encoding="utf-8").split("\n")
        import_all(modules.split())
    return Whole(place, float(seconds), tuple(points.split(";")), verb.result(place))


def strike(
    verb: Verb, shared: Path, folder: Path, undisturbed: Whole, *, point: int | None = None, after_s: float = 0.0
) -> str:
    """Strikes a verb once and returns what came of it in a word; `folder` must not exist, and does not afterwards.

    Args:
        verb: which.
        shared: what `make_shared` made.
        folder: where it works.
        undisturbed: the same verb, whole.
        point: kill it at this one of its points.
        after_s: else kill it after so many seconds of CPU.

    Raises:
        AssertionError: a promise was broken.
    """
    killed = kill(verb, shared, folder, point=point, after_s=after_s)
    came = go_on(verb, shared, folder, undisturbed)
    return came if killed else "had ended"


def kill(verb: Verb, shared: Path, folder: Path, *, point: int | None = None, after_s: float = 0.0) -> bool:
    """Begins a verb in `folder` and kills it, as `strike` does; returns whether it had not ended by then."""
    folder.mkdir(parents=True)
    verb.begin(folder, shared)
    words = verb.command(folder, shared)
    if point is None:
        ended = in_child(lambda: call(words), kill_after_s=after_s, within_s=REST_S)
    else:
        ended = in_child(lambda: _killed_at(point, words), within_s=REST_S)
    if ended.code not in (0, KILLED):
        raise AssertionError(f"it ended with {ended.code} before it was struck: {ended.said}")
    return ended.code == KILLED


@dataclass(frozen=True)
class Left:
    """What a kill leaves at one or more points of a verb, between which no file changed.

    Attributes:
        points: their numbers.
        copy: of the folder that the verb worked in, which was at `place`.
        place: where it has to lie again, since files may name it.
    """

    points: tuple[int, ...]
    copy: Path
    place: Path


def all_left(verb: Verb, shared: Path, folder: Path) -> list[Left]:
    """Runs a verb once and keeps what a kill at each of its points would leave.

    SIGKILL takes from a process what it has in memory, and from the system nothing that was written: so at each point
    the files as they are then are copied, with one run in place of one for each point. A copy holds no lock, as a file
    of a killed process holds none. Names that are drawn count as one name.

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
    return [Left(tuple(points), folder / state, place) for state, points in states.items()]


def go_on_from(left: Left, verb: Verb, shared: Path, undisturbed: Whole) -> str:
    """Puts what a kill left to its place and does there what `go_on` does; the copy is used up."""
    shutil.rmtree(left.place, ignore_errors=True)
    left.copy.rename(left.place)
    return go_on(verb, shared, left.place, undisturbed)


def go_on(verb: Verb, shared: Path, folder: Path, undisturbed: Whole) -> str:
    """Looks at what a killed verb left and begins it again, as a user would; returns what came of it in a word.

    Raises:
        AssertionError: a promise was broken.
    """
    words = verb.command(folder, shared)
    verb.sound(folder)
    follow = verb.again(folder, shared)
    if follow is not None:
        _expect(in_child(lambda: call(follow), within_s=REST_S), follow)
    verb.sound(folder)
    if (found := verb.result(folder)) != undisturbed.result:
        raise AssertionError(f"it ends otherwise than undisturbed: {found} in place of {undisturbed.result}")
    if follow is None and _left(folder, undisturbed):  # for the next one that works there
        anew = [*words, "--overwrite"]
        _expect(in_child(lambda: call(anew), within_s=REST_S), anew)
    if left := _left(folder, undisturbed):
        raise AssertionError(f"left behind: {left}")
    shutil.rmtree(folder)
    return "had ended" if follow is None else "resumed" if "--resume" in follow else "began anew"


def _left(folder: Path, undisturbed: Whole) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - {path.name for path in undisturbed.folder.iterdir()})


def _expect(ended: Ended, words: list[str]) -> None:
    if ended.code:
        raise AssertionError(f"`{' '.join(words)}` ended with {ended.code}: {ended.said}")


def _noting(verb: Verb, place: Path, shared: Path, notes: Path) -> int:
    before, codes = set(sys.modules), []
    points = counted(lambda: codes.append(call(verb.command(place, shared))), DURABLE)
    loaded = " ".join(sorted(set(sys.modules) - before))
    notes.write_text("\n".join([str(cpu_s(os.getpid())), ";".join(points), loaded]), encoding="utf-8")
    return codes[0]


def _killed_at(point: int, words: list[str]) -> int:
    with interposed(killing_at(point), DURABLE):
        return call(words)


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
        content = path.read_bytes() if path.is_file() else b""
        name = undrawn(path.relative_to(place))
        found.update(repr((name, path.is_dir(), hashlib.sha256(content).digest())).encode())
    return found.hexdigest()[:16]
