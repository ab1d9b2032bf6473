"""Surface: how latency and throughput change with threads and images per call, all measured in turns in one process.

Two things are timed for every number of threads: inference alone, pixels to probabilities, for each number of images
per call; and whole JPEGs to labels, one after the other and as `Classifier.stream` does it, which decodes the next
image while this one is inferred.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.threads import cpu_count
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.record import Subject, subject_of, to_record
from edgexfer.gate.measure.timing import Progress, check_seconds, encoded_images
from edgexfer.gate.measure.turns import Blocks, Side, Turns
from edgexfer.runtime.classifier import Classifier, load

SECONDS = 20.0
MOST_IMAGES = 1024
_STREAMED = 16  # images of one streamed call


@dataclass(frozen=True)
class Point:
    """One way to run the network.

    Attributes:
        threads: of one inference.
        batch: images per call; for "one by one" and "streamed" the images that are timed together.
        what: "inference", or from JPEG to label: "one by one" or "streamed".
        p50_ms: of a call, milliseconds.
        p95_ms: of a call, milliseconds.
        images_per_s: images a second, from the median.
    """

    threads: int
    batch: int
    what: str
    p50_ms: float
    p95_ms: float
    images_per_s: float


@dataclass(frozen=True)
class Surface:
    """What `bench --threads 1,2 --batch 1,8` found.

    Attributes:
        subject: what was measured, and with what.
        points: in the order in which they were asked for.
        images: what the JPEGs were, in words.
        steady: whether all times had settled before they were counted.
        host: see edgexfer/gate/machine/host.py.
    """

    subject: Subject
    points: tuple[Point, ...]
    images: str
    steady: bool = True
    host: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `bench --json` writes."""
        fastest = min((point for point in self.points if point.what == "inference"), key=lambda point: point.p50_ms)
        most = max(self.points, key=lambda point: point.images_per_s if point.what == "inference" else 0.0)
        return to_record(
            "surface",
            self,
            {
                "lowest_latency": {"threads": fastest.threads, "batch": fastest.batch, "p50_ms": fastest.p50_ms},
                "most_images": {"threads": most.threads, "batch": most.batch, "images_per_s": most.images_per_s},
            },
        )


def surface(
    bundle: str | Path | Bundle,
    *,
    threads: Sequence[int],
    batches: Sequence[int],
    seconds: float = SECONDS,
    images: str | Path | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
) -> Surface:
    """Measures every combination of `threads` and `batches` on this machine.

    Args:
        bundle: its folder, or one that is open.
        threads: CPU threads of one inference, each 1 or more and no more than this process may use.
        batches: images per call, each from 1 to 1024.
        seconds: how long to measure in all, more than 0.
        images: a folder with images; None for the bundle's reference pixels as JPEGs of 640 x 480.
        backend: the engine; None for the one that `load` takes.
        progress: called with (seconds so far, all seconds).

    Raises:
        SettingsError: a number out of range.
        DataError: no image in the folder that can be decoded.
        EdgexferError: what `load` raises.
    """
    check_seconds(seconds)
    _check("threads", threads, cpu_count(), "CPUs that this process may use")
    _check("batch", batches, MOST_IMAGES, "images")
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    files, description = encoded_images(opened, images)
    asked: list[tuple[int, int, str]] = []
    openers = []
    for count in dict.fromkeys(threads):
        side = partial(_side, opened, files, backend, count)
        for batch in dict.fromkeys(batches):
            asked.append((count, batch, "inference"))
            openers.append(partial(side, partial(_inference, batch)))
        for what, way in (("one by one", _one_by_one), ("streamed", _streamed)):
            asked.append((count, _STREAMED, what))
            openers.append(partial(side, way))
    turns = Turns(openers)
    while turns.seconds < seconds:
        turns.more(min(2.0, seconds))
        if progress is not None:
            progress(min(turns.seconds, seconds), seconds)
    with load(opened, backend=backend, threads=threads[0]) as classifier:
        subject = subject_of(classifier)
    points = tuple(_point(*one, calls) for one, calls in zip(asked, turns.sides, strict=True))
    return Surface(subject, points, description, turns.steady, host_facts(engine=subject.engine, threads=None))


def _check(name: str, found: Sequence[int], most: int, noun: str) -> None:
    for number in found:
        if not 1 <= number <= most:
            raise SettingsError(f"{name} is {number}, expected 1 to {most} {noun}")


Way = Callable[[Classifier, "Sequence[bytes]"], Callable[[int], object]]


@contextmanager
def _side(bundle: Bundle, files: Sequence[bytes], backend: str | None, threads: int, way: Way) -> Iterator[Side]:
    with load(bundle, backend=backend, threads=threads) as classifier:
        work = way(classifier, files)

        def call(index: int) -> dict[str, int]:
            began = time.perf_counter_ns()
            work(index)
            return {"total": time.perf_counter_ns() - began}

        yield call


def _inference(batch: int, classifier: Classifier, _: Sequence[bytes]) -> Callable[[int], object]:
    pixels = classifier.bundle.references()[0]
    rows = np.arange(batch)
    calls = [np.ascontiguousarray(pixels[(rows + first) % len(pixels)]) for first in range(len(pixels))]
    return lambda index: classifier.probabilities(calls[index % len(calls)])


def _one_by_one(classifier: Classifier, files: Sequence[bytes]) -> Callable[[int], object]:
    return lambda index: [classifier(data) for data in _some(files, index)]


def _streamed(classifier: Classifier, files: Sequence[bytes]) -> Callable[[int], object]:
    return lambda index: list(classifier.stream(_some(files, index)))


def _some(files: Sequence[bytes], index: int) -> list[bytes]:
    return [files[(index + number) % len(files)] for number in range(_STREAMED)]


def _point(threads: int, batch: int, what: str, calls: Blocks) -> Point:
    p50, p95 = np.percentile(calls["total"], [50, 95]) / 1e6
    return Point(threads, batch, what, float(p50), float(p95), 1e3 * batch / float(p50))
