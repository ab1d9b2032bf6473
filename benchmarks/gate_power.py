"""How often does the gate cry wolf, and how often does it sleep?

    python benchmarks/gate_power.py [simulate] [--runs 1000] [--slower 1.0 1.05 1.02]
    python benchmarks/gate_power.py real BUNDLE [--runs 20] [--slower 1.0 1.05 1.02]
    python benchmarks/gate_power.py record BUNDLE     # makes gate_noise.npz anew, two minutes

A bundle is judged against itself with the standard limit (p50 at most 2 % slower), or against itself made slower.
`simulate` runs the fake backend on a clock of its own that replays latency recorded on a loaded machine: quiet at
first, a busy second core, another program on the same core, one that comes and goes like throttling, short bursts.
Each run begins at a random place of the recording. Everything else is the gate's own code. `real` runs the bundle
itself while the other core is loaded on and off; slower is then a busy loop of so many per cent of each call.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count, repeat
from pathlib import Path

import numpy as np

from edgexfer.backends.fake import FakeSession
from edgexfer.core.bundle import MODEL, REFERENCE, Bundle, open_bundle
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import Target
from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.interval import drift
from edgexfer.gate.judge.limits import parse_limit
from edgexfer.gate.judge.sampling import judge_calls
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.measure.timing import encoded_images
from edgexfer.gate.measure.turns import Opener, Side, Turns, bundle_side

NOISE = Path(__file__).with_name("gate_noise.npz")
LIMIT = "latency_p50_ms.max_regress"
TOLERANCE = "2%"
SECONDS = 45.0
_LATENCY_S = 0.005
_PHASE_SECONDS = 24.0
_BUSY = "while True: pass"
_ON_AND_OFF = """
import time
while True:
    end = time.time() + {on_s}
    while time.time() < end:
        pass
    time.sleep({off_s})
"""

# As a governor or a quota does: the process gets some milliseconds of work and then none, for seconds, and all again.
_THROTTLE = """
import os, signal, time
while True:
    end = time.time() + 4
    while time.time() < end:
        os.kill({process}, signal.SIGSTOP)
        time.sleep(0.001)
        os.kill({process}, signal.SIGCONT)
        time.sleep(0.002)
    time.sleep(4)
"""


class Noise:
    """A clock that runs as slowly as the recording says, from a place in it that is drawn."""

    def __init__(self, seed: int) -> None:
        with np.load(NOISE) as file:
            self._starts_s, self._factors = file["starts_s"].astype(float), file["factors"].astype(float)
        self._now_s = 0.0
        self._offset_s = random.Random(seed).uniform(0, float(self._starts_s[-1]))

    def wait(self, seconds: float) -> None:
        """Lets a computation of so many undisturbed seconds pass."""
        place = (self._now_s + self._offset_s) % self._starts_s[-1]
        self._now_s += seconds * self._factors[np.searchsorted(self._starts_s, place, side="right") - 1]

    def now_ns(self) -> int:
        """Returns the time in nanoseconds."""
        return int(self._now_s * 1e9)


def main() -> None:
    """Prints one line for each slowness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulate", "real", "record"), nargs="?", default="simulate")
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--slower", type=float, nargs="+", default=[1.0, 1.05, 1.02])
    arguments = parser.parse_args()
    if arguments.what == "record":
        record(open_bundle(arguments.bundle))
        return
    runs = arguments.runs or (1000 if arguments.what == "simulate" else 20)
    heads = ("slower", "runs", "pass", "fail", "inconclusive", "longest s", "median s", "drift")
    print("".join(f"{head:>13}" for head in heads))
    for slower in arguments.slower:
        if arguments.what == "simulate":
            found = simulate(slower, runs)
        else:
            found = real(open_bundle(arguments.bundle), slower, runs)
        outcomes = Counter(outcome for outcome, _, _ in found)
        seconds, drifts = ([row[i] for row in found] for i in (1, 2))
        cells = [f"{100 * (slower - 1):.0f} %", str(runs), *(str(outcomes[name]) for name in heads[2:5])]
        cells += [f"{max(seconds):.1f}", f"{np.median(seconds):.1f}", f"{np.median(drifts):.2f}"]
        print("".join(f"{cell:>13}" for cell in cells), flush=True)


def simulate(slower: float, runs: int) -> list[tuple[str, float, float]]:
    """Judges on the fake backend; returns (outcome, seconds on its clock, drift) of each run."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        return list(pool.map(_simulated, range(runs), repeat(slower), chunksize=10))


def _simulated(seed: int, slower: float) -> tuple[str, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = _fake_bundle(Path(folder) / "fake.edgx")
        clock = Noise(seed)
        openers = [partial(_fake_side, bundle, clock, factor * _LATENCY_S) for factor in (slower, 1.0)]
        return _judged(bundle, Turns(openers, seed=seed, clock=clock.now_ns), clock.now_ns)


def real(bundle: Bundle, slower: float, runs: int) -> list[tuple[str, float, float]]:
    """Judges a bundle on this machine while the other core is loaded on and off; returns as `simulate`."""
    files, _ = encoded_images(bundle, None)
    openers: list[Opener] = [
        partial(_slowed_side, bundle, files, slower),
        partial(bundle_side, bundle, files, threads=1),
    ]
    with _load_on_and_off():
        return [_judged(bundle, Turns(openers, threads=1, seed=seed)) for seed in range(runs)]


def _judged(bundle: Bundle, turns: Turns, clock: Callable[[], int] = time.perf_counter_ns) -> tuple[str, float, float]:
    limit = parse_limit(LIMIT, TOLERANCE, "benchmark")
    assert limit is not None
    seen = Evidence(bundle, baseline=bundle.folder, threads=1)
    seen.turns = turns
    began = clock()
    verdict: Verdict = judge_calls([limit], seen, SECONDS)[limit.key]
    return verdict.outcome, (clock() - began) / 1e9, drift(seen.turns.sides)


@contextmanager
def _fake_side(bundle: Bundle, clock: Noise, latency_s: float) -> Iterator[Side]:
    pixels = np.zeros((1, bundle.preprocess.height, bundle.preprocess.width, 3), np.uint8)
    session = FakeSession(pixels.shape[1:3], len(bundle.labels), latency_s, clock.wait)

    def call(index: int) -> dict[str, int]:  # noqa: ARG001 - every image is alike here
        began = clock.now_ns()
        session.run(pixels)
        return {"total": clock.now_ns() - began}

    yield call


def _fake_bundle(folder: Path) -> Bundle:
    folder.mkdir()
    (folder / MODEL).write_bytes(b"the fake backend never reads it")
    np.savez(folder / REFERENCE, pixels=np.zeros((16, 8, 8, 3), np.uint8), probabilities=np.full((16, 2), 0.5, "f4"))
    target = Target("simulated", "a machine that is not there", "fake", "ort")
    labels = ("a", "b")
    content = {
        "name": "simulated", "labels": labels, "labels_sha256": labels_digest(labels), "precision": "float32",
        "preprocess": Preprocess(8, 8).to_json(), "target": target.to_json(), "parent": "0" * 64,
    }  # fmt: skip
    write_manifest(folder, "bundle", content)
    return open_bundle(folder)


@contextmanager
def _slowed_side(bundle: Bundle, files: list[bytes], slower: float) -> Iterator[Side]:
    with bundle_side(bundle, files, threads=1) as side:

        def call(index: int) -> dict[str, int]:
            found = dict(side(index))
            began, extra = time.perf_counter_ns(), (slower - 1) * found["total"]
            while slower > 1 and time.perf_counter_ns() - began < extra:
                pass
            found["total"] += time.perf_counter_ns() - began
            return found

        yield call


@contextmanager
def _load_on_and_off(on_s: float = 3.0, off_s: float = 3.0) -> Iterator[None]:
    program = (
        f"import time\nwhile True:\n end = time.time() + {on_s}\n while time.time() < end: pass\n time.sleep({off_s})"
    )
    with _running(program):
        yield


@contextmanager
def _running(program: str, cpu: int | None = None) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", program])  # noqa: S603 - this benchmark's own text
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        yield
    finally:
        process.kill()
        process.wait()


def record(bundle: Bundle) -> None:
    """Times single calls on one core through five phases of disturbance, and keeps them as gate_noise.npz."""
    here, other = max(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {here})
    files, _ = encoded_images(bundle, None)
    throttle = _THROTTLE.format(process=os.getpid())
    burst = (
        "import random, time\nwhile True:\n end = time.time() + random.uniform(0.01, 0.2)\n"
        " while time.time() < end: pass\n time.sleep(random.uniform(0.2, 2))"
    )
    phases = [None, (_BUSY, other), (_BUSY, here), (throttle, other), (burst, here)]
    starts, durations = [], []
    with bundle_side(bundle, files, threads=1) as side:
        for index in range(200):
            side(index)
        began = time.perf_counter()
        for phase in phases:
            with _running(*phase) if phase else nullcontext():
                end = time.perf_counter() + _PHASE_SECONDS
                for index in count():
                    starts.append(time.perf_counter() - began)
                    durations.append(side(index)["total"])
                    if time.perf_counter() > end:
                        break
    quiet = np.percentile(durations[: len(durations) // 20], 10)
    factors = np.array(durations) / quiet
    np.savez_compressed(NOISE, starts_s=np.float32(starts), factors=np.float16(np.minimum(factors, 6e4)))
    print(
        f"{len(factors)} calls, factor p5 {np.percentile(factors, 5):.2f}, p50 {np.median(factors):.2f}, "
        f"p95 {np.percentile(factors, 95):.2f}, max {factors.max():.1f}; {NOISE.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
