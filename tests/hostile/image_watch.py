"""Image files read one by one, in a process that is watched: time, memory, warnings, files opened, exceptions.

Each is read in full, as `data check` does, and scaled to a network's size, as training and the runtime do: from its
path, and from its bytes. All three must decide alike.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import ImageError
from edgexfer.core.findings import Looks
from edgexfer.core.intake import inspect
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.core.sample import Sample
from tests.hostile.image_mutants import Mutant

MOST_S = 10.0
MOST_MIB = 1280
_SMALL = Preprocess(32, 32)
_OWN = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/proc/self/", "/dev/null")


@dataclass
class Watched:
    """What came of files that were read one by one.

    Attributes:
        came: {name: "" where it was used, else the reason}.
        kinds: {name: how it was made}.
        bad: what should not be, in sentences.
        said: what libraries in C wrote to stderr, each line once.
        slowest: most seconds of processor time that one reading took, and of what.
        largest: most MiB that one reading took beyond what the process had, and of what.
    """

    came: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")


def watch(mutants: Iterable[Mutant], folder: Path) -> Watched:
    """Reads mutants one by one and notes what came; for a process of its own, since audit hooks stay.

    Args:
        mutants: what is read.
        folder: where their files lie for as long as they are read.
    """
    watched = Watched()
    opened: list[str] = []
    listening = [False]

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if listening[0] and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(listen)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryFile() as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)  # libraries in C write there
        try:
            for each in mutants:
                path = folder / each.name
                path.write_bytes(each.data)
                watched.kinds[each.name] = each.kind
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    listening[0] = True
                    _read(path, each, watched)
                    listening[0] = False
                watched.bad += [f"{each.name} ({each.kind}) warns: {one.message}" for one in warned]
                path.unlink()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            logging.disable(logging.NOTSET)
        said.seek(0)
        watched.said = sorted(set(said.read().decode("utf-8", "replace").splitlines()))
    outside = {name for name in opened if not name.startswith((str(folder), *_OWN))}
    watched.bad += [f"opened outside: {name}" for name in sorted(outside)]
    return watched


def _read(path: Path, each: Mutant, watched: Watched) -> None:
    said: list[str] = []
    for read in (_as_the_check, _as_the_runtime, _as_the_runtime_in_memory):
        before, started = _memory_mib("VmRSS"), time.process_time()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is forgotten
        try:
            said.append(read(path))
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            watched.bad.append(f"{each.name} ({each.kind}): {type(error).__name__}: {error}")
        seconds, mib = time.process_time() - started, _memory_mib("VmHWM") - before
        watched.slowest = max(watched.slowest, (seconds, each.kind))
        watched.largest = max(watched.largest, (mib, each.kind))
        if seconds > MOST_S or mib > MOST_MIB:
            watched.bad.append(f"{each.name} ({each.kind}): {seconds:.1f} s, {mib:.0f} MiB")
    if len(set(said)) > 1:
        watched.bad.append(f"{each.name} ({each.kind}) is not told alike: {said}")
    watched.came[each.name] = said[0] if said else "?"


def _as_the_check(path: Path) -> str:
    looks = Looks(1)
    found = inspect(Dataset(path.parent, (Sample(path, ""),), ("",)), workers=1, on_image=looks.keep)
    return found.rejected[0].reason if found.rejected else ""


def _as_the_runtime(path: Path) -> str:
    return _why_refused(path, f"{path} ")


def _as_the_runtime_in_memory(path: Path) -> str:
    data = path.read_bytes()
    return _why_refused(data, f"the image of {len(data)} bytes ")


def _why_refused(source: Path | bytes, name: str) -> str:
    try:
        found = pixels(source, _SMALL)
    except ImageError as error:
        refusal = error
    else:
        assert found.shape == (32, 32, 3)
        return ""
    # One line, that names the file, and what to do.
    assert refusal.message.startswith(name), refusal.message
    assert refusal.message.isprintable(), repr(refusal.message)
    assert refusal.hint, refusal.message
    return refusal.message.removeprefix(name)


def _memory_mib(which: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    raise AssertionError(which)
