"""From an application's start to its first label: how long `load` and one JPEG take in a fresh process, and its memory.

    python benchmarks/start.py BUNDLE [BUNDLE ...] [--processes N]

The clock of each process starts when Python runs and the engine is imported, which every application with that engine
pays for; it ends with the first label. Importing edgexfer and Pillow, checking every digest, opening the network and
decoding a JPEG all count. "bare" is the engine alone: it opens the file and runs it once, without checks and images.
All ways take turns, there and back. Exit code 1 where a median passes LIMIT_MS.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from parts.machine import machine_line, use_cores, versions_of

from edgexfer import open_bundle
from edgexfer.backends import builder_of, find_backend, missing_here
from edgexfer.gate.measure.timing import encoded_images

LIMIT_MS = 500.0
_PREDICT = """
import json, time
import {engine}
ready, worked = time.perf_counter(), time.process_time()
from edgexfer import load
with load({bundle!r}, backend={backend!r}, threads=1) as classifier:
    classifier({image!r}).label
"""
_BARE = """
import json, time
import numpy, onnxruntime
ready, worked = time.perf_counter(), time.process_time()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({model!r}, options)
session.run(None, {{session.get_inputs()[0].name: numpy.zeros({shape}, numpy.uint8)}})
"""
# VmHWM of proc(5): the peak of the resident set, in KiB.
_SAY = """
taken, worked = time.perf_counter() - ready, time.process_time() - worked
with open("/proc/self/status", encoding="ascii") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
print("\\n" + json.dumps([1e3 * taken, 1e3 * worked, peak / 1024]))
"""


@dataclass(frozen=True)
class Way:
    """One way to the first prediction.

    Attributes:
        bundle: what is opened.
        words: how, for the table.
        program: what the fresh process runs.
        limited: whether LIMIT_MS holds for it.
    """

    bundle: str
    words: str
    program: str
    limited: bool = True


def main() -> int:
    """Measures and prints the table as Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--processes", type=int, default=15, help="of each way, after one that is not counted")
    arguments = parser.parse_args()
    if not arguments.bundles:
        print("skipped: no bundle was given (python benchmarks/start.py BUNDLE)")
        return 0
    cores = use_cores(2)
    with tempfile.TemporaryDirectory() as place:
        ways = [way for n, folder in enumerate(arguments.bundles) for way in ways_of(folder, Path(place) / str(n))]
        found = in_turns(ways, arguments.processes)
    print("| bundle | | median ms | fastest ms | CPU ms | peak memory MiB | limit |\n" + 7 * "|---" + "|")
    good = True
    for way, said in zip(ways, found, strict=True):
        wall, cpu, peak = np.median(said, axis=0)
        fastest = min(one[0] for one in said)
        holds = wall <= LIMIT_MS
        good &= holds or not way.limited
        limit = ("**holds**" if holds else "**missed**") if way.limited else ""
        print(f"| {way.bundle} | {way.words} | {wall:.0f} | {fastest:.0f} | {cpu:.0f} | {peak:.0f} | {limit} |")
    print("\n" + machine_line(cores, versions_of("onnxruntime", "openvino", "numpy", "pillow")))
    return 0 if good else 1


def ways_of(folder: Path, place: Path) -> Iterator[Way]:
    """Yields what this machine can open the bundle with; what is built for that lies in `place`."""
    bundle, built = open_bundle(folder), place / "built.edgx"
    place.mkdir()
    image = place / "photo.jpg"
    image.write_bytes(encoded_images(bundle, None)[0][0])
    name = f"{bundle.manifest['name']} {bundle.precision} at {bundle.preprocess.height}"
    # A copy, since this one may hold engines already.
    fresh = shutil.copytree(folder, place / "fresh.edgx", ignore=shutil.ignore_patterns("engines"))
    if missing_here("ort") is None:
        shape = (1, bundle.preprocess.height, bundle.preprocess.width, 3)
        yield Way(name, "ONNX Runtime, bare", _BARE.format(model=str(bundle.model), shape=shape) + _SAY, limited=False)
        yield Way(name, "ONNX Runtime", predicting(fresh, "ort", "onnxruntime", image))
    builder = None if missing_here("openvino") else builder_of(find_backend("openvino"))
    if builder is not None:
        shutil.copytree(fresh, built)
        builder.build_engine(open_bundle(built))
        yield Way(name, "OpenVINO, after `edgexfer build`", predicting(built, "openvino", "openvino", image))
        never = predicting(fresh, "openvino", "openvino", image)
        yield Way(name, "OpenVINO, never built", never, limited=False)


def predicting(folder: Path, backend: str, engine: str, image: Path) -> str:
    """Returns the program that opens a bundle with an engine and predicts one image."""
    return _PREDICT.format(engine=engine, bundle=str(folder), backend=backend, image=str(image)) + _SAY


def in_turns(ways: Sequence[Way], processes: int) -> list[list[tuple[float, float, float]]]:
    """Starts processes of all ways in turns; returns wall ms, CPU ms and peak MiB of each one's processes."""
    found: list[list[tuple[float, float, float]]] = [[] for _ in ways]
    for turn in range(processes + 1):
        for number in range(len(ways)) if turn % 2 == 0 else reversed(range(len(ways))):
            command = [sys.executable, "-c", ways[number].program]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            wall, cpu, peak = json.loads(done.stdout.rstrip().rpartition("\n")[2])
            if turn > 0:  # the first brings the files into memory and compiles modules
                found[number].append((wall, cpu, peak))
    return found


if __name__ == "__main__":
    sys.exit(main())
