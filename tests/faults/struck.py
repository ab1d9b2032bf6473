"""One strike at one verb, and all that is promised afterwards."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import DURABLE, counted, interposed, killing_at
from tests.faults.forked import KILLED, Ended, cpu_s, in_child
from tests.faults.verbs import Verb, call, import_all

REST_S = 1800.0


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
