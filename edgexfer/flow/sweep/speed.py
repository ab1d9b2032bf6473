"""How long each network of a sweep takes on this machine: measured once, before anything is trained.

Latency depends on backbone and input size alone, so stand-ins (train/stand_in.py) are timed instead of every trial's
network: all of them in turns in one process, lest what else the machine does weigh on one of them.
"""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends import find_backend, missing_here
from edgexfer.core.bundle import Bundle
from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import BackendError, EdgexferError, ImageError
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.core.target import Target
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.timing import doubts, encoded_images
from edgexfer.gate.measure.turns import Turns, bundle_side
from edgexfer.gate.metrics import METRICS
from edgexfer.train.loop.memory import is_out_of_memory
from edgexfer.train.stand_in import write_stand_in

log = logging.getLogger(__name__)

_IMAGES = 16
_SECONDS_EACH = 1.5
_ROUNDS = 3
_THREADS = 1


@dataclass(frozen=True)
class Speed:
    """What one backbone at one input size costs.

    Attributes:
        latency_ms: median of one whole prediction (the metric latency_p50_ms); None where it cannot run.
        precision: what it computes in there: the fastest of those that were tried.
        tried: the median of each precision, in ms.
        reason: why it cannot run; "" where it can.
    """

    latency_ms: float | None
    precision: str
    tried: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class Speeds:
    """The latency of every network in a sweep's space, and where it is from.

    Attributes:
        of: by "BACKBONE@SIZE".
        engine: name and version of the inference engine.
        host: the machine's name.
        warnings: why the figures are not the target's, or not to be trusted, in sentences.
    """

    of: dict[str, Speed]
    engine: str
    host: str
    warnings: tuple[str, ...] = ()

    def at(self, backbone: str, input_size: int) -> Speed:
        """Returns the speed of a backbone at an input size.

        Raises:
            KeyError: it was not measured.
        """
        return self.of[_key(backbone, input_size)]

    def to_json(self) -> dict[str, Any]:
        """Returns what the study records."""
        return dataclasses.asdict(self)


def speeds_from_json(record: dict[str, Any]) -> Speeds:
    """Reads what `to_json` wrote."""
    of = {key: Speed(**entry) for key, entry in record["of"].items()}
    return Speeds(of, record["engine"], record["host"], tuple(record["warnings"]))


def measure_speeds(
    networks: Iterable[tuple[str, int]],
    precisions: Sequence[str],
    dataset: Dataset,
    target: Target,
    scratch: Path,
    *,
    weights: str = "auto",
    seconds_each: float = _SECONDS_EACH,
    progress: Callable[[int, int], None] | None = None,
) -> Speeds:
    """Times a stand-in of every network in every precision, with one thread and one image at a time.

    Args:
        networks: backbones, each with an input size in pixels.
        precisions: what the network may ship in; of several the fastest counts.
        dataset: its images calibrate and are timed with; its labels decide the size of the classifiers.
        target: decides dialect and engine. Where its engine is not on this machine, ONNX Runtime takes its place and a
            warning says so.
        scratch: a folder for the stand-ins.
        weights: as in FinetuneSettings.
        seconds_each: how long to time each stand-in.
        progress: called with (stand-ins made, all of them).

    Raises:
        DataError: no image can be decoded.
        EdgexferError: what `write_stand_in` raises.
    """
    wanted = list(dict.fromkeys(networks))
    backend = target.backend if missing_here(target.backend) is None else "ort"
    engine = find_backend(backend).engine_version()
    made: dict[tuple[str, str], Bundle] = {}
    reasons: dict[str, str] = {}
    for number, (backbone, size) in enumerate(wanted):
        key = _key(backbone, size)
        shown = _some_pixels(dataset, size)
        for precision in precisions:
            try:
                place = scratch / f"{key}-{precision}"
                made[key, precision] = write_stand_in(
                    place, backbone, dataset.labels, shown, target, precision=precision, weights=weights
                )
                _try_out(made[key, precision], backend)
            except BackendError as error:
                made.pop((key, precision), None)
                reasons[key] = error.message
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, EdgexferError) or not is_out_of_memory(error):
                    raise
                made.pop((key, precision), None)
                reasons[key] = "there is not enough memory for it"
        if progress is not None:
            progress(number + 1, len(wanted))
    log.info("timing them in %s with %s", " and ".join(precisions), engine)
    medians, found = _timed(made, backend, seconds_each) if made else ({}, ())
    of = {}
    for backbone, size in wanted:
        key = _key(backbone, size)
        tried = {precision: medians[key, precision] for precision in precisions if (key, precision) in medians}
        best = min(tried, key=lambda name: tried[name], default=precisions[0])
        of[key] = Speed(tried.get(best), best, tried, "" if tried else reasons[key])
    return Speeds(of, engine, platform.node(), (*_not_the_targets(target, backend, engine), *found))


def _timed(
    made: dict[tuple[str, str], Bundle], backend: str, seconds_each: float
) -> tuple[dict[tuple[str, str], float], tuple[str, ...]]:
    """Returns the median of each stand-in in ms, and what makes it doubtful."""
    bundles = list(made.values())
    host = host_facts(engine=find_backend(backend).engine_version(), threads=_THREADS)
    openers = [
        partial(bundle_side, bundle, encoded_images(bundle, None)[0], backend=backend, threads=_THREADS)
        for bundle in bundles
    ]
    turns = Turns(openers, threads=_THREADS)
    for _ in range(_ROUNDS):
        turns.more(seconds_each * len(bundles) / _ROUNDS)
    after = device_state()
    sides = [{step: values.reshape(-1) for step, values in side.items()} for side in turns.sides]
    metric = METRICS["latency_p50_ms"]
    medians = {name: float(metric.value(side)) for name, side in zip(made, sides, strict=True)}
    slowest = max(sides, key=lambda side: float(np.median(side["total"])))
    samples = {step: values.tolist() for step, values in slowest.items()}
    found = doubts(samples, host, after, steady=turns.steady)
    return medians, tuple(
        text.replace("measure longer with --seconds", "time them anew with --remeasure") for text in found
    )


def _not_the_targets(target: Target, backend: str, engine: str) -> tuple[str, ...]:
    if backend != target.backend:
        instead = f"latencies are those of {engine} on this machine"
        return (f"{missing_here(target.backend)}: {instead}, and not those of {target.name}",)
    machine = target.host.get("machine", platform.machine())
    if machine != platform.machine():
        return (f"latencies are those of this machine ({platform.machine()}); {target.name} is {machine}",)
    return ()


def _some_pixels(dataset: Dataset, size: int) -> NDArray[np.uint8]:
    preprocess = Preprocess(size, size)
    seen: list[NDArray[np.uint8]] = []
    step = max(1, len(dataset.samples) // _IMAGES)
    refused: ImageError | None = None
    for sample in [*dataset.samples[::step], *dataset.samples]:
        if len(seen) == _IMAGES:
            break
        try:
            seen.append(pixels(sample.path, preprocess))
        except ImageError as error:
            refused = error
    if not seen and refused is not None:
        raise refused
    return np.stack(seen)


def _try_out(bundle: Bundle, backend: str) -> None:
    with bundle_side(bundle, encoded_images(bundle, None)[0][:1], backend=backend, threads=_THREADS) as side:
        side(0)


def _key(backbone: str, input_size: int) -> str:
    return f"{backbone}@{input_size}"
