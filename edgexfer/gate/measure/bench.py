"""Bench: a bundle and images in, a Latency with every sample out."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.latency import STEPS, Latency
from edgexfer.gate.measure.process import started_in_turns
from edgexfer.gate.measure.record import subject_of
from edgexfer.gate.measure.timing import (
    Progress,
    check_seconds,
    doubts,
    encoded_images,
    quiet_collector,
    timed_call,
    warm_up,
)
from edgexfer.gate.metrics import Started
from edgexfer.runtime.classifier import load

SECONDS = 5.0
_LEAST_CALLS = 30


def bench(
    bundle: str | Path | Bundle,
    *,
    threads: int | None = None,
    seconds: float = SECONDS,
    images: str | Path | None = None,
    backend: str | None = None,
    processes: int = 0,
    progress: Progress | None = None,
) -> Latency:
    """Measures how long single images take on this machine.

    Args:
        bundle: its folder, or one that is open.
        threads: CPU threads of one inference; None for what the target says.
        seconds: how long to measure after the warm-up, more than 0; at least 30 calls are made.
        images: a folder with images; None for the bundle's reference pixels as JPEGs of 640 x 480.
        backend: the engine; None for the one that `load` takes.
        processes: fresh ones that open the bundle one after the other, for load time and peak memory; 0 for none.
        progress: called with (seconds since the warm-up, all seconds), at most ten times a second.

    Raises:
        SettingsError: seconds out of range.
        DataError: no image in the folder that can be decoded.
        EdgexferError: what `load` raises.
    """
    check_seconds(seconds)
    with load(bundle, backend=backend, threads=threads) as classifier:
        files, description = encoded_images(classifier.bundle, images)
        subject = subject_of(classifier)
        host = host_facts(engine=subject.engine, threads=threads)

        def call(index: int) -> dict[str, int]:
            return timed_call(classifier, files[index % len(files)])

        warmup, steady, _ = warm_up(call)
        samples: dict[str, list[int]] = {step: [] for step in STEPS}
        with quiet_collector():
            started = told = time.perf_counter()
            for index in count():
                for step, duration in call(index).items():
                    samples[step].append(duration)
                now = time.perf_counter()
                if now - started >= seconds and len(samples["total"]) >= _LEAST_CALLS:
                    break
                if progress is not None and now - told > 0.1:
                    told = now
                    progress(min(now - started, seconds), seconds)
        after, target = device_state(), classifier.bundle.target
    processes_said, unknown = _started(bundle, processes, backend, threads)
    return Latency(
        subject=subject,
        images=description,
        samples_ns={step: tuple(values) for step, values in samples.items()},
        warmup=warmup,
        threads=threads,
        warnings=(*doubts(samples, host, after, steady=steady, target=target), *unknown),
        host={**host, "after": after},
        started=processes_said,
    )


def _started(
    bundle: str | Path | Bundle, processes: int, backend: str | None, threads: int | None
) -> tuple[tuple[Started, ...], tuple[str, ...]]:
    if processes == 0:
        return (), ()
    try:
        (said,) = started_in_turns([bundle], processes, backend=backend, threads=threads)
    except EdgexferError as error:  # what was measured here stands all the same
        return (), (f"load time and peak memory are not known: {error.message}",)
    return said, ()
