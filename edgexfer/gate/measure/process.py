"""Process: a fresh process opens a bundle, predicts, and says how long that took and how much memory it held.

In a process that has run for a while nothing is cold any more and memory is nobody's in particular; so each Started is
of a process of its own, which loads the bundle as an application would and answers with one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import BackendError, EdgexferError
from edgexfer.gate.metrics import Started

PROCESSES = 9
"""Of each bundle: enough for an interval of 99 % confidence that one disturbed process on each side does not reach."""
_PATIENCE_SECONDS = 300.0

# What the process runs. It sees the modules that this process sees, and nothing of the folder it happens to start in.
# Memory: VmHWM of proc(5), the peak of the resident set since exec; elsewhere getrusage(2), whose ru_maxrss is in
# KiB, on macOS in bytes, and on Linux would be that of the parent where it is larger.
_PROGRAM = """
import json, sys, time
asked = json.loads(sys.argv[1])
sys.path[:] = asked["path"]
from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.runtime.classifier import load

def peak_mib():
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration, ValueError):
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))

try:
    started = time.perf_counter()
    opened = open_bundle(asked["bundle"])
    opened = opened if asked["chosen"] is None else opened.at(asked["chosen"])
    with load(opened, backend=asked["backend"], threads=asked["threads"]) as classifier:
        loaded = time.perf_counter()
        images = opened.references()[0]  # no part of opening a bundle
        found = time.perf_counter()
        classifier(images[0])
        load_ms = 1e3 * (time.perf_counter() - found + loaded - started)
        for image in images:
            classifier(image)
        said = {"load_ms": load_ms, "peak_memory_mib": peak_mib()}
except EdgexferError as error:
    said = {"error": error.message, "hint": error.hint}
print("\\n" + json.dumps(said), flush=True)
"""


def start(
    bundle: str | Path | Bundle,
    *,
    backend: str | None = None,
    threads: int | None = None,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Started:
    """Opens a bundle in a fresh process and predicts its reference images there.

    Args:
        bundle: its folder, or one that is open.
        backend: the engine; None for the one that `load` takes.
        threads: CPU threads of one inference; None for what the target says.
        patience_seconds: after so long the process is ended.

    Raises:
        BackendError: the process was killed, crashed, or took too long.
        EdgexferError: what `load` raises there.
    """
    folder = bundle.folder if isinstance(bundle, Bundle) else Path(bundle)
    asked = {
        "path": [os.path.abspath(place) for place in sys.path],  # noqa: PTH100 - "" is this folder too
        "bundle": str(folder.absolute()),
        "chosen": bundle.chosen if isinstance(bundle, Bundle) else None,
        "backend": backend,
        "threads": threads,
    }
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, with the program above
            [sys.executable, "-I", "-c", _PROGRAM, json.dumps(asked)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(
            f"a fresh process needed more than {patience_seconds:g} s to open {folder} and predict",
            "build its engine first with `edgexfer build`, or end what else runs on this machine",
        ) from error
    if done.returncode != 0:
        raise BackendError(f"a fresh process that opened {folder} {_end_of(done.returncode, done.stderr)}")
    said = _answer(done.stdout)
    if said is None:
        raise BackendError(
            f"a fresh process that opened {folder} did not say how it went", "try it by `edgexfer bench`"
        )
    if "error" in said:
        raise EdgexferError(str(said["error"]), str(said.get("hint", "")))
    return Started(float(said["load_ms"]), float(said["peak_memory_mib"]))


def started_in_turns(
    bundles: Sequence[str | Path | Bundle],
    processes: int = PROCESSES,
    *,
    backend: str | None = None,
    threads: int | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> list[tuple[Started, ...]]:
    """Starts processes of several bundles in turns (A B, B A, ...), so that drift weighs on all of them alike.

    One of each comes first and is not counted: it brings the files into memory.

    Args:
        bundles: one or more.
        processes: of each bundle.
        backend: the engine, for all; None for the one that `load` takes for each.
        threads: CPU threads of one inference, for all.
        progress: called with (processes that have ended, all processes).

    Returns:
        For each bundle what its processes said, in the order of `bundles`.

    Raises:
        EdgexferError: as `start`.
    """
    found: list[list[Started]] = [[] for _ in bundles]
    numbers = list(range(len(bundles)))
    whole, ended = (processes + 1) * len(bundles), 0
    for turn in range(processes + 1):
        for number in numbers if turn % 2 == 0 else numbers[::-1]:
            said = start(bundles[number], backend=backend, threads=threads)
            if turn > 0:
                found[number].append(said)
            ended += 1
            if progress is not None:
                progress(ended, whole)
    return [tuple(each) for each in found]


def _answer(stdout: bytes) -> dict[str, Any] | None:
    # Engines may print as well; the answer is the last line.
    try:
        said = json.loads(stdout.rstrip().rpartition(b"\n")[2])
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _end_of(code: int, stderr: bytes) -> str:
    if code == -signal.SIGKILL:
        return "was killed: this machine may have too little memory for it"
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"crashed with {names.get(-code, f'signal {-code}')}"
    last = stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"ended with exit code {code}{f': {last}' if last else ''}"
