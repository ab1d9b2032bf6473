"""A machine on a clock of its own: two bundles of the fake backend whose calls take what a test says."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image

from edgexfer.backends.fake import FakeSession
from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.measure.timing import timed_call
from edgexfer.gate.measure.turns import Side, Turns
from edgexfer.runtime.classifier import Classifier
from edgexfer.runtime.opened import Opened

Level = Callable[[float], float]
LATENCY_S = 0.005


class Machine:
    """A clock, how slow the machine is at each moment, and how much single calls scatter."""

    def __init__(self, level: Level = lambda _: 1.0, *, scatter: float = 0.05, seed: int = 0) -> None:
        self.now_s, self._level, self._scatter = 0.0, level, scatter
        self._random = random.Random(seed)

    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds * self._level(self.now_s) * self._random.lognormvariate(0, self._scatter)


def evidence_of(bundle: Path, machine: Machine, *, slower: float = 1.0, baseline: Path | None = None) -> Evidence:
    """Opens `bundle` as candidate and as its own baseline, and replaces the clock by the machine's."""
    seen = Evidence(bundle, baseline=baseline or bundle, threads=1)
    latencies_s = (slower * LATENCY_S, LATENCY_S)
    seen.turns = Turns([partial(_side, seen, machine, one) for one in latencies_s], threads=1, clock=machine.now_ns)
    return seen


def _one_bundle_only(_: object) -> Opened:
    raise NotImplementedError


@contextmanager
def _side(seen: Evidence, machine: Machine, latency_s: float) -> Iterator[Side]:
    preprocess, memory = seen.bundle.preprocess, io.BytesIO()
    size = (preprocess.height, preprocess.width)
    Image.new("RGB", size).save(memory, "PNG")
    session = FakeSession(size, len(seen.bundle.labels), latency_s, machine.wait)
    classifier = Classifier(Opened(seen.bundle, session, "fake"), _one_bundle_only)
    yield lambda _: timed_call(classifier, memory.getvalue(), clock=machine.now_ns)
